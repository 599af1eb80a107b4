"""Who is connected: strangers, and those whose request carries the token. Neither takes room from the other.

Every page that the user visits can open connections to the port. What a stranger can hold is therefore small, and what
a page with the token needs does not depend on how many strangers there are: a further stranger is let in, and the one
of them in whose connection nothing has moved for the longest time is closed for it. A page that loads, or that is
about to show its token, moves; those who only hold what they have do not.
"""

from __future__ import annotations

import logging

import trio

from jchannel._core.limits import Limits
from jchannel._guarded import log

__all__ = ["Visitor", "Visitors"]


class Visitors:
    """The connections of a server.

    Args:
        limits: The server's limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Those in whose connections something has moved last are behind.
        self._strangers: dict[Visitor, None] = {}
        self._known = 0
        self._crowded = False

    @property
    def count(self) -> int:
        """The number of connections. Safe in any thread."""
        return len(self._strangers) + self._known

    def enter(self) -> Visitor:
        """Return a new connection's visitor: a stranger."""
        visitor = Visitor(self)
        self.receive_stranger(visitor)
        return visitor

    def receive_stranger(self, visitor: Visitor) -> None:
        """Count a stranger, and close the one that is too many."""
        self._strangers[visitor] = None
        if len(self._strangers) <= self._limits.strangers:
            return
        if not self._crowded:
            # Once, and not for each of hundreds. It is said again when it was over meanwhile.
            self._crowded = True
            text = "%d connections without the token are open (Limits.strangers): silent ones are closed for new ones"
            log(logging.WARNING, text, self._limits.strangers)
        silent = next(iter(self._strangers))
        self.let_go(silent)
        silent.scope.cancel()

    def move_behind(self, visitor: Visitor) -> None:
        """Note that something has moved in the connection of a visitor."""
        if visitor in self._strangers:
            del self._strangers[visitor]
            self._strangers[visitor] = None

    def recognize(self, visitor: Visitor) -> bool:
        """Count a visitor as one that has shown the token. Return whether there is room for it."""
        if self._known >= self._limits.connections:
            text = "a request with the token was refused: %d connections with it are open (Limits.connections)"
            log(logging.WARNING, text, self._known)
            return False
        self.let_go(visitor)
        self._known += 1
        visitor.known = True
        return True

    def let_go(self, visitor: Visitor) -> None:
        """Count a visitor no more. One that is not counted stays so."""
        if visitor.known:
            visitor.known = False
            self._known -= 1
        else:
            self._strangers.pop(visitor, None)
            if 2 * len(self._strangers) <= self._limits.strangers:
                self._crowded = False


class Visitor:
    """A connection, by whether what it asks for carries the token. ``Visitors.enter`` makes it.

    Attributes:
        known: Whether what is under way in it carries the token.
        scope: What is done for it runs in this scope, which is cancelled when it has to make room.
    """

    def __init__(self, visitors: Visitors) -> None:
        self.known = False
        self.scope = trio.CancelScope()
        self._visitors = visitors

    def note_move(self) -> None:
        """Note that something has been received from it, or that it has taken something."""
        self._visitors.move_behind(self)

    def show_token(self) -> bool:
        """Let it be known, because its request carries the token, a ticket, or whatever else only a page has that does.

        Returns:
            Whether there is room for it. If there is not, the request is to be refused.
        """
        return self.known or self._visitors.recognize(self)

    def end_request(self) -> None:
        """Let it be a stranger again, because what it has asked for with the token has ended."""
        if self.known:
            self._visitors.let_go(self)
            self._visitors.receive_stranger(self)

    def leave(self) -> None:
        """Note that its connection has ended."""
        self._visitors.let_go(self)

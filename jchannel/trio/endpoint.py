"""One side of a channel: it calls the far side's handler, and runs its own handler's methods for the far side.

What is the same for the server's channels and the Python peer's is here.
"""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from jchannel.errors import ClosedError, PageLostError, StateError
from jchannel.protocol.messages import Call, Echo, Request
from jchannel.protocol.values import Packed, pack
from jchannel.timeouts import check_timeout
from jchannel.trio.handlers import Invoke, NothingToCallError, invoke
from jchannel.trio.session import PendingRequest, Session

__all__ = ["Endpoint"]

logger = logging.getLogger("jchannel")


class Endpoint(ABC):
    """One side of a channel.

    Attributes:
        handler: The object that handles calls from the far side, or ``None``. Its public methods can be called, sync
            and async ones. It may be set at any time, and counts from the next call on.
    """

    def __init__(
        self, nursery: trio.Nursery, handler: object, *, tracebacks: bool, run_method: Invoke = invoke
    ) -> None:
        self.handler = handler
        self._nursery = nursery
        self._tracebacks = tracebacks
        self._run_method = run_method
        self._line: deque[_Asked] = deque()
        self._calls: dict[PendingRequest, Session] = {}
        self._handling: set[trio.CancelScope] = set()
        self._idle = trio.Event()
        self._arrived: deque[tuple[Session, Call]] = deque()

    async def call(self, name: str, *args: object, timeout: float | None = 3) -> Any:
        """Calls a method of the far side's handler.

        Args:
            name: The method's name.
            *args: The arguments: JSON values, with bytes and arrays anywhere inside.
            timeout: Seconds for the whole request, waiting for the far side included; ``None`` for no limit.

        Returns:
            What the method returned.

        Raises:
            trio.TooSlowError: The time ran out. The message says what was waited for.
            TypeError, ValueError: An argument cannot be sent as it is, or the timeout is not one. Nothing was sent.
            RemoteError: The method raised, or there is no such method: ``FrontendError`` where the far side is a page.
            ClosedError: The channel is closed, or was closed meanwhile, on either side.
            PageLostError: The connection was lost after the request had been sent. It may have run.

        Cancelling it, and a time that runs out, cancel the call on the far side, and wait until it has ended there, at
        most ``Limits.cancel_seconds``.
        """
        return await self.begin_call(name, pack_args(args), timeout)

    def begin_call(self, name: str, args: Packed, timeout: float | None) -> Awaitable[Any]:
        """As ``call``, with arguments that were packed before: for those who make requests in another thread.

        The call is made now: it leaves before every call and echo that is made later. What is given must be awaited
        at once; it does the waiting.
        """
        limit = check_timeout(timeout)
        check_name(name)
        return self._request(lambda id_, channel: Call(id_, channel, name, args), limit, f"the call of {name!r}")

    async def echo(self, *args: object, timeout: float | None = 3) -> list[Any]:
        """Sends arguments to the far side and receives them back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call``.

        Returns:
            The arguments, as a list.
        """
        return await self.begin_echo(pack_args(args), timeout)

    def begin_echo(self, args: Packed, timeout: float | None) -> Awaitable[list[Any]]:
        """As ``echo``, with arguments that were packed before, and made now as by ``begin_call``."""
        limit = check_timeout(timeout)
        return self._request(lambda id_, channel: Echo(id_, channel, args), limit, "the echo")

    def serve(self, session: Session, request: Request) -> None:
        """Starts what answers a request of the far side. Called by the session; it must not wait."""
        if isinstance(request, Echo):
            session.answer_value(request, request.args, shown_as="args")
        else:
            # Nothing else comes here: only a server opens and closes channels, and the peer answers that itself.
            assert isinstance(request, Call)
            if not self._handling:
                self._idle = trio.Event()
            self._handling.add(session.scope_of(request))
            # trio runs new tasks in any order. Each takes the oldest call, so that methods begin in the order of calls.
            self._arrived.append((session, request))
            self._nursery.start_soon(self._run_next_call)

    @abstractmethod
    def _find_session(self) -> tuple[Session, int] | None:
        """Gives the session in which the channel is open, and the channel's id; ``None`` when there is none now.

        Raises:
            ClosedError, PageLostError: There will be none.
        """

    @abstractmethod
    async def _wait_session(self) -> tuple[Session, int]:
        """As ``_find_session``, but waits until there is a session."""

    @abstractmethod
    def _explain_wait(self) -> str:
        """What ``_wait_session`` waits for, as a sentence."""

    def _request(self, make: Callable[[int, int], Request], limit: float, what: str) -> Awaitable[Any]:
        asked = _Asked(make)
        self._line.append(asked)
        with suppress(StateError):  # Whoever waits for it hears of it.
            self._send_line()
        return self._finish_request(asked, limit, what)

    def _send_line(self) -> None:
        """Sends the requests that wait to be sent, in their order, as far as there is room for them."""
        while self._line:
            found = self._find_session()
            if found is None or not found[0].has_room:
                return
            asked = self._line.popleft()
            asked.send(*found)
            if asked.pending is not None:
                self._calls[asked.pending] = found[0]

    async def _finish_request(self, asked: _Asked, limit: float, what: str) -> Any:
        with trio.move_on_after(limit):
            try:
                while asked.waiting:
                    session, _ = await self._wait_session()
                    if not session.has_room:
                        await session.wait_room()
                    self._send_line()
            finally:
                if asked.waiting:
                    self._line.remove(asked)
            session, pending = asked.unwrap()
            try:
                return await session.wait_answer(pending)
            finally:
                del self._calls[pending]
        if asked.pending is None:
            raise trio.TooSlowError(f"{what} was not sent within {limit:g} s: {self._explain_wait()}")
        raise trio.TooSlowError(f"{what} was not answered within {limit:g} s, and has been cancelled")

    async def _run_next_call(self) -> None:
        session, call = self._arrived.popleft()
        with session.running_request(call) as scope:
            try:
                # A sync method has no checkpoint, and may have been cancelled before it began.
                await trio.lowlevel.checkpoint_if_cancelled()
                value = await self._run_method(self.handler, call.name, call.args)
            except NothingToCallError as error:
                session.answer_error(call, error.kind, "", str(error))
            except Exception as error:
                logger.exception("the handler method %r raised", call.name)
                stack = "".join(traceback.format_exception(error)) if self._tracebacks else None
                session.answer_error(call, "exception", type(error).__name__, str(error), stack)
            else:
                session.answer_value(call, value)
            finally:
                self._handling.discard(scope)
                if not self._handling:
                    self._idle.set()

    def _end_calls(self, why: str, *, tell: bool) -> None:
        """Ends the calls under way in both directions, because the channel is closing."""
        for pending, session in self._calls.items():
            if tell:
                session.cancel_request(pending)
            pending.fail(ClosedError(why))
        for scope in self._handling:
            scope.cancel()

    async def _wait_idle(self) -> None:
        """Waits until no method of the handler is running."""
        if self._handling:
            await self._idle.wait()


class _Asked:
    """A request of this side: in the line of those that wait to be sent, and then sent.

    Attributes:
        pending: The request, when it has been sent.
    """

    def __init__(self, make: Callable[[int, int], Request]) -> None:
        self.pending: PendingRequest | None = None
        self._make = make
        self._session: Session
        self._error: Exception | None = None

    @property
    def waiting(self) -> bool:
        """Whether it waits to be sent."""
        return self.pending is None and self._error is None

    def send(self, session: Session, channel: int) -> None:
        """Sends it. Errors are for ``unwrap``."""
        self._session = session
        try:
            self.pending = session.send_request(lambda id_: self._make(id_, channel))
        except (PageLostError, ValueError) as error:
            self._error = error

    def unwrap(self) -> tuple[Session, PendingRequest]:
        """Gives the session and the request that was sent, or raises why it could not be."""
        if self._error is not None:
            raise self._error
        assert self.pending is not None
        return self._session, self.pending


def pack_args(args: tuple[object, ...]) -> Packed:
    """Checks and encodes a call's arguments.

    Raises:
        TypeError, ValueError: One of them cannot be sent as it is. The message names its place, as in ``args[0]['x']``.
    """
    return pack(args, field_name="args", shown_as="args")


def check_name(name: object) -> None:
    """Refuses what cannot be a method's name.

    Raises:
        TypeError: It is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a method must be a str, and not {name!r}")

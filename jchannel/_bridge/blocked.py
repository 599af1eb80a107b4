"""Handler methods that cannot begin because the thread that runs their loop waits, and the advice about it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jchannel._bridge.methods import LoopInvocation

__all__ = ["BlockedMethods"]


class BlockedMethods:
    """The methods that wait for the loop of a thread while that thread waits. Made in the thread.

    Attributes:
        thread: The thread.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._methods: list[LoopInvocation] = []

    def add(self, method: LoopInvocation) -> None:
        """Add a method that was given to the loop, if it has not begun: it cannot, now."""
        if not method.claimed.locked():
            self._methods.append(method)

    def explain(self) -> str:
        """Return what was blocked, and what to do about it, as the end of a sentence; empty when nothing was."""
        names = list(dict.fromkeys(repr(method.name) for method in self._methods))
        if not names:
            return ""
        methods, it = ("method", "it") if len(names) == 1 else ("methods", "them")
        return (
            f"; meanwhile the page called the handler's {methods} {', '.join(names)}, which could not begin: the loop "
            f"that runs {it} is that of this thread, which waited for the answer. If the page needs {it} for its "
            f"answer, await the call, mark the {methods} with @jchannel.background, or make the call from another "
            "thread"
        )

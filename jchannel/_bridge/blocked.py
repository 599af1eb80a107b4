"""Handler methods that cannot begin because the thread that runs their loop waits, and the advice about it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jchannel._bridge.methods import LoopInvocation

__all__ = ["BlockedMethods", "explain_busy"]


class BlockedMethods:
    """The methods that wait for the loop of a thread while that thread waits. Made in the thread.

    Attributes:
        thread: The thread.
    """

    def __init__(self) -> None:
        self.thread: int = threading.get_ident()
        self._methods: list[LoopInvocation] = []

    def add(self, method: LoopInvocation) -> None:
        """Add a method that was given to the loop, if it has not begun: it cannot, now."""
        if not method.claimed.locked():
            self._methods.append(method)

    def explain(self) -> str:
        """Return what was blocked, and what to do about it, as the end of a sentence; empty when nothing was."""
        return _explain(
            [method.name for method in self._methods],
            "is that of this thread, which waited for the answer",
            "await the call, mark the {methods} with @jchannel.background, or make the call from another thread",
        )


def explain_busy(methods: Sequence[str]) -> str:
    """Return why methods could not begin while a call was awaited, and what to do about it; empty for none."""
    return _explain(
        methods,
        "was busy",
        "mark the {methods} with @jchannel.background, or let the loop go on: await in between, or compute in another "
        "thread",
    )


def _explain(methods: Sequence[str], why: str, advice: str) -> str:
    names = list(dict.fromkeys(map(repr, methods)))
    if not names:
        return ""
    noun, it = ("method", "it") if len(names) == 1 else ("methods", "them")
    return (
        f"; meanwhile the page called the handler's {noun} {', '.join(names)}, which could not begin: the loop that "
        f"runs {it} {why}. If the page needs {it} for its answer, {advice.format(methods=noun)}"
    )

"""Which handler methods could not begin because a thread waited that runs their loop, and what to do about it."""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["HeldUp"]


class _Method(Protocol):
    """A method that was given to a loop.

    Attributes:
        name: Its name.
    """

    name: str

    @property
    def begun(self) -> bool:
        """Whether it has begun, or was cancelled before."""


class HeldUp:
    """The methods that wait for the loop of a thread while that thread waits. Made in the thread.

    Attributes:
        thread: The thread.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._methods: list[_Method] = []

    def add(self, method: _Method) -> None:
        """Notes a method that was given to the loop, if it has not begun: it cannot, now."""
        if not method.begun:
            self._methods.append(method)

    def explain(self) -> str:
        """What was held up, and what to do about it, as the continuation of a sentence; empty when nothing was."""
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

"""What a page that is connected over the comm sends, and who waits for it where the kernel does not hand it over.

Kernels hand over a page's messages in the thread that runs cells. Where the tap does not take them before, and no other
thread reads them, a cell that waits for an answer keeps it from being heard. That is known for certain of a thread that
blocks, and of an asyncio Task that the kernel's own Task awaits, maybe by others and by ``asyncio.gather``. Which Task
awaits which is not documented: this is the only module that looks. What waits elsewhere may be heard later, and its
time-out says what may have kept it.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from jchannel._core.server import Server
from jchannel._notebook import marimo
from jchannel._notebook.tap import open_tap
from jchannel._protocol.messages import Door
from jchannel.errors import StateError

__all__ = ["Hearing", "Waiter", "find_awaited", "find_hearing"]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """When a kernel hands over what pages send.

    Attributes:
        why: That, as a sentence without its end.
        advice: What to do, as one.
        thread: The thread in which it does; ``None`` where that is not known.
        runs_cells: Returns whether a Task is the kernel's own, which runs a cell and then hands over messages; ``None``
            where they are handed over while a cell awaits, or where that is not known.
    """

    why: str
    advice: str
    thread: int | None = None
    runs_cells: Callable[[asyncio.Task[Any]], bool] | None = None


_OUTLIVE: Final = (
    "await it in a task that outlives its cell, as asyncio.create_task() makes it, call what blocks, such as "
    "jchannel.sync, in a thread of your own"
)
_PORT: Final = "or give the page a way to the server's port (docs/hosts.md)"


def _find_kernel(kernel: Any) -> _Kernel | None:
    """Return the kernel that this is; ``None`` where it hands over messages while a cell computes, too."""
    if marimo.is_marimo():
        return _Kernel(
            "marimo hands over what a page sends over the comm when no cell runs",
            f"{_OUTLIVE}, {_PORT}",
            threading.get_ident(),
            marimo.find_cell_runner(),
        )
    tap = open_tap(kernel)
    if tap is None:
        return _Kernel(
            "this kernel may hand over what a page sends over the comm when no cell runs",
            f"{_OUTLIVE}, {_PORT}",
        )
    if tap.thread is None:
        return None
    return _Kernel(
        "this kernel hands over what a page sends over the comm when a cell awaits something, or none runs",
        "await the channel's own method where one blocks, with jchannel.start() in place of jchannel.sync, await "
        f"something in between where the cell computes, install ipykernel 7, {_PORT}",
        tap.thread,
    )


class Waiter(Protocol):
    """Who waits for an answer in asyncio, with a Task."""

    def refuse(self, error: StateError) -> None:
        """End it with an error, because its answer cannot be heard as long as it is awaited."""


class _Asked(dict["asyncio.Task[Any]", Waiter]):
    """The Tasks that somebody has begun to await since a loop has come round, and who waits for their answers.

    Args:
        loop: The loop.

    Attributes:
        loop: As above.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop


class Hearing:
    """How the page of a server is heard by the kernel in the present thread.

    Args:
        server: The server.
        door: The only way by which its page is to connect; ``None`` for the best.
        kernel: When the kernel hands over what pages send.
    """

    def __init__(self, server: Server, door: Door | None, kernel: _Kernel) -> None:
        self._server = server
        self._door = door
        self._kernel = kernel
        # Weak: the look that a loop will take keeps it, so that it goes with a loop that is closed before.
        self._asked: weakref.ref[_Asked] | None = None

    @property
    def _needs_comm(self) -> bool:
        """Whether the page has come by the comm, or can come by nothing else. Safe in any thread."""
        session = self._server.session
        return (self._door if session is None else session.door) == "comm"

    def explain(self) -> str:
        """Return what may have kept an answer from being heard, as the end of a sentence; empty for nothing."""
        if self._needs_comm:
            return f"; {self._kernel.why}: {self._kernel.advice}"
        if self._server.session is None and self._door is None:
            return f"; where the page does not reach the port, {self._kernel.why}: {self._kernel.advice}"
        return ""

    def check_blocking(self) -> None:
        """Refuse to let the present thread wait for the page, if what the page answers is handed over in it.

        Raises:
            StateError: It is.
        """
        if threading.get_ident() == self._kernel.thread and self._needs_comm:
            raise StateError(
                "the page could not be heard while this thread waits for it, and nothing was sent: "
                f"{self._kernel.why}; {self._kernel.advice}"
            )

    def look_soon(self, task: asyncio.Task[Any], waiter: Waiter) -> None:
        """Refuse a Task that somebody has begun to await, if the cell that runs waits for it. Called in its loop.

        It looks when the loop comes round, as only then it is known who waits for whom. In other threads no cell runs.
        """
        runs_cells = self._kernel.runs_cells
        if runs_cells is None or threading.get_ident() != self._kernel.thread or not self._needs_comm:
            return
        loop = task.get_loop()
        asked = None if self._asked is None else self._asked()
        if asked is None or asked.loop is not loop:
            asked = _Asked(loop)
            self._asked = weakref.ref(asked)
            loop.call_soon(self._look, asked, runs_cells)
        asked[task] = waiter

    def _look(self, asked: _Asked, runs_cells: Callable[[asyncio.Task[Any]], bool]) -> None:
        self._asked = None
        awaited = find_awaited(task for task in asyncio.all_tasks() if runs_cells(task))
        for task, waiter in asked.items():
            if task in awaited and not task.done():
                waiter.refuse(
                    StateError(
                        f"{task.get_name()} cannot be answered while the cell that runs waits for it, and was given up "
                        f"(the page may have begun it): {self._kernel.why}; {self._kernel.advice}"
                    )
                )


def find_awaited(tasks: Iterable[asyncio.Future[Any]]) -> set[asyncio.Future[Any]]:
    """Return Tasks and all that they await, directly, by other Tasks, or by ``asyncio.gather``."""
    found: set[asyncio.Future[Any]] = set()
    rest: list[Any] = list(tasks)
    while rest:
        waiting = rest.pop()
        if waiting is not None and waiting not in found:
            found.add(waiting)
            rest.append(getattr(waiting, "_fut_waiter", None))
            rest.extend(getattr(waiting, "_children", ()))
    return found


def find_hearing(server: Server, door: Door | None, kernel: Any) -> Hearing | None:
    """Return how the pages of a server are heard in the present kernel; ``None`` where they are at any time.

    Args:
        server: The server.
        door: The only way by which its page is to connect; ``None`` for the best.
        kernel: The kernel of IPython; ``None`` in marimo.
    """
    found = _find_kernel(kernel)
    return None if found is None else Hearing(server, door, found)

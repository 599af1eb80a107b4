"""What an interrupt (SIGINT) does in the kernel: it ends the cell, wherever the cell is, and nothing else.

A cell that computes gets a ``KeyboardInterrupt`` where it is. One that waits gets it where it waits. The kernel's own
code and background tasks never do.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

import trio

from jchannel.kernel.cell import Cell

__all__ = ["Interrupts"]


class Interrupts:
    """Route interrupts to the cell that they are meant for. Create it in trio, in the main thread.

    As a context manager it surrounds the code of a cell while that runs.
    """

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._cell: Cell | None = None
        self._computing = False
        self._asked = False

    @property
    def computing(self) -> bool:
        """Whether a cell's code is running at this moment."""
        return self._computing

    def install(self) -> None:
        """Install the handler of SIGINT."""
        signal.signal(signal.SIGINT, self.handle)

    @contextmanager
    def hold(self, cell: Cell | None) -> Iterator[None]:
        """Send interrupts to a cell during the block; ``None`` for a cell that does not wait. For the main thread."""
        self._cell = cell
        self._asked = False
        try:
            yield
        finally:
            self._cell = None

    def __enter__(self) -> None:
        """Note that the code of the cell is about to run."""
        self._computing = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Note that the code of the cell waits, or has ended."""
        self._computing = False

    def check(self) -> None:
        """Raise the interrupt that is due, if one is. Call it right before the code of the cell runs.

        Raises:
            KeyboardInterrupt: An interrupt came when nothing could be raised.
        """
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: The code of a cell was interrupted.
        """
        if self._computing and not trio.lowlevel.currently_ki_protected():
            raise KeyboardInterrupt
        # Not at once: trio may be anywhere now, and may be asleep.
        self._asked = True
        self._token.run_sync_soon(self._interrupt, idempotent=True)

    def _interrupt(self) -> None:
        if self._asked and self._cell is not None:
            self._asked = False
            self._cell.throw(KeyboardInterrupt())

"""The run of trio that something lives in, as another thread sees it that makes a step of trio's.

``_bridge.steps`` lets threads do that while trio waits for the network. They may change what is trio's, but not wake
its tasks or move its scopes: that is done in trio's own thread, soon.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import trio

__all__ = ["TrioRun"]


class TrioRun:
    """The run of trio that it is made in.

    Attributes:
        now: Returns the time by trio's clock. Safe in any thread.
        thread: The identifier of trio's own thread.
    """

    __slots__ = ("_token", "now", "thread")

    def __init__(self) -> None:
        self.now: Final[Callable[[], float]] = trio.lowlevel.current_clock().current_time
        self.thread: Final = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()

    def run_soon(self, function: Callable[[], object]) -> None:
        """Run a function in trio's own thread, once however often this is called until then."""
        self._token.run_sync_soon(function, idempotent=True)

"""A real ipykernel, in a process of its own, driven as a notebook's front end drives it."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

__all__ = ["Cell", "Kernel"]

TIMEOUT = 60.0
"""Seconds that whatever is waited for may take: a guard and no assertion."""

OPEN = """
import asyncio, threading, time
import jchannel
from tests.asking_page import AskingPeer
from tests.peer_thread import TIMEOUT

server = await jchannel.start(port=0)
peer = AskingPeer(server.page_url).__enter__()
channel = await server.open("(channel) => {}")
"""
"""What opens a channel in a kernel. The peer plays the page, in a thread of the kernel's process."""

CLOSE = """
peer.leave()
await server.stop()
"""


class Cell:
    """A cell that was run.

    Attributes:
        status: `ok` or `error`.
        error: The name of the exception that ended it; empty when none did.
        shown: The texts of what it has shown beside that.
    """

    def __init__(self) -> None:
        self.status = ""
        self.error = ""
        self.shown: list[str] = []
        self._written: list[str] = []

    @property
    def text(self) -> str:
        """What it has written so far, also after its end, and its result."""
        return "".join(self._written)

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """Takes a message that belongs to it."""
        if kind == "stream":
            self._written.append(content["text"])
        elif kind == "execute_result":
            self._written.append(content["data"]["text/plain"])
        elif kind == "display_data":
            self.shown.append(content["data"]["text/plain"])
        elif kind == "error":
            self.error = content["ename"]


class Kernel:
    """A kernel with an open channel. A context manager.

    Attributes:
        strays: What was written outside of any cell, and so is shown nowhere.
    """

    def __init__(self) -> None:
        self.strays: list[str] = []
        # Signed messages on the loopback address are all that a test needs.
        self._manager = KernelManager(kernel_name="python3")
        self._client: BlockingKernelClient
        self._cells: dict[str, Cell] = {}

    def __enter__(self) -> Self:
        self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=TIMEOUT)
        opened = self.run(OPEN)
        assert opened.status == "ok", opened.text
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.run(CLOSE)
        self._client.stop_channels()
        self._manager.shutdown_kernel()
        self._manager.context.destroy(linger=0)

    def run(
        self, code: str, *, when: Callable[[Cell], bool] | None = None, do: Callable[[], None] | None = None
    ) -> Cell:
        """Runs a cell to its end.

        Args:
            code: What is in it.
            when: Says, of the cell as it is so far, whether the time has come for `do`.
            do: Done once, while the cell runs.
        """
        id_ = self._client.execute(code)
        cell = self._cells[id_] = Cell()
        while True:
            message = self._client.get_iopub_msg(timeout=TIMEOUT)
            parent = message["parent_header"].get("msg_id")
            kind, content = message["msg_type"], message["content"]
            if parent in self._cells:
                self._cells[parent].take(kind, content)
            elif kind == "stream":
                self.strays.append(content["text"])
            if when is not None and do is not None and when(cell):
                do()
                when = None
            if parent == id_ and kind == "status" and content["execution_state"] == "idle":
                break
        cell.status = "error" if cell.error else "ok"
        return cell

    def interrupt(self) -> None:
        """Interrupts the kernel, as the front end's button does."""
        self._manager.interrupt_kernel()

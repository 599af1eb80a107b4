"""Taking a widget's messages where the kernel reads its shell socket, so that they come while a cell runs.

ipykernel hands every message of a page to the thread that runs cells, where those of comms wait for the end of the
cell. From version 7 on another thread reads the socket, and what is taken there comes at once. Version 6 reads it on
the loop that runs cells, and what is taken there comes while a cell awaits something. None of that is documented: this
is the only module that uses it, and where a kernel has another shape, nothing is changed and messages wait.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jchannel._guarded import log

__all__ = ["Tap", "open_tap", "route_by_header"]

#: Called with the content and the buffers of a custom message, in the thread that reads the socket.
Take = Callable[[object, Sequence[Any]], None]

#: Where the content is among the parts of a message, and the header, behind the signature.
_HEADER = 1
_CONTENT = 4


class Tap:
    """Takes the custom messages of some comms in one kernel, and lets everything else go on as before.

    Args:
        kernel: The kernel.

    Attributes:
        thread: The thread in which they come, where that is the one that runs cells; ``None`` for another.
    """

    def __init__(self, kernel: Any) -> None:
        self._session = kernel.session
        self._takers: dict[str, Take] = {}
        self.thread: int | None = None
        stream = kernel.shell_stream
        stream.on_recv  # noqa: B018 (it raises where there is none)
        if hasattr(kernel, "schedule_dispatch"):  # Of version 6.
            self.thread = threading.main_thread().ident
            self._go_on: Callable[[list[Any]], Any] = partial(kernel.schedule_dispatch, kernel.dispatch_shell)
            loop = kernel.io_loop
        else:
            self._go_on = kernel.shell_channel_thread_main
            loop = kernel.shell_channel_thread.io_loop
        loop.add_callback(stream.on_recv, self._handle, copy=False)

    def add(self, comm_id: str, take: Take) -> None:
        """Take the messages of a comm from now on."""
        self._takers[comm_id] = take

    def remove(self, comm_id: str) -> None:
        """Take them no more."""
        self._takers.pop(comm_id, None)

    def _handle(self, frames: list[Any]) -> Any:
        try:
            if self._take(frames):
                return None
        except Exception as error:  # noqa: BLE001 (a bulkhead: the kernel goes on, and says what is wrong with a message)
            log(logging.DEBUG, "a message of the kernel's could not be looked at: %r", error)
        return self._go_on(frames)

    def _take(self, frames: list[Any]) -> bool:
        session = self._session
        _, parts = session.feed_identities(frames, copy=False)
        if session.unpack(parts[_HEADER].bytes)["msg_type"] != "comm_msg":
            return False
        content = session.unpack(parts[_CONTENT].bytes)
        take = self._takers.get(content["comm_id"])
        if take is None or content["data"].get("method") != "custom":
            return False
        message = session.deserialize(parts, content=True, copy=False)  # It checks the signature.
        take(message["content"]["data"]["content"], message["buffers"])
        return True


def route_by_header(comm: Any) -> bool:
    """Let a page's messages for a comm go to the subshell that they ask for. Return whether the kernel has that.

    It is for a kernel without a tap. ipykernel 7.4 would send them where the comm was last used from: to the busy cell.
    """
    if not hasattr(comm, "_reply_subshell_for"):
        return False
    comm._reply_subshell_for = _keep_default  # noqa: SLF001 (there is no other way)
    return True


def _keep_default(_: object, default: object) -> object:
    return default


def open_tap(kernel: Any) -> Tap | None:
    """Return the tap of a kernel; ``None`` where the kernel is not of the shape that is known."""
    tap = getattr(kernel, "_jchannel_tap", None)
    if tap is None:
        try:
            tap = kernel._jchannel_tap = Tap(kernel)  # noqa: SLF001 (our own)
        except AttributeError as error:
            log(logging.INFO, "a page on the kernel's own messages is heard between cells only: %s", error)
    return tap

"""A stream that replays what was already read of it, so that its next owner sees it from the beginning."""

from __future__ import annotations

import operator
from typing import Any

import trio

__all__ = ["ReplayStream"]


class ReplayStream(trio.abc.HalfCloseableStream):
    """A stream, preceded by the bytes that have been read of it already.

    Args:
        stream: The stream. It should have a ``socket``, as hypercorn reads the two addresses from it.
        head: What was read of it.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes) -> None:
        self._stream = stream
        self._head = head
        self._receiving = False
        # No wrapper per frame: sending is the stream's own method, and receiving is, too, after the head.
        self.send_all = stream.send_all  # type: ignore[method-assign]
        self.wait_send_all_might_not_block = stream.wait_send_all_might_not_block  # type: ignore[method-assign]
        #: The socket, or a substitute for one where the stream is in memory.
        self.socket: Any = getattr(stream, "socket", _NO_SOCKET)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive bytes, as trio's streams do. The bytes that were read already come first."""
        if not self._head:
            return await self._stream.receive_some(max_bytes)
        size = len(self._head) if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes must be 1 or more")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving already")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._receiving = False
        if not self._head:
            raise trio.ClosedResourceError("the stream was closed while this task was receiving")
        taken, self._head = self._head[:size], self._head[size:]
        if not self._head:
            self.receive_some = self._stream.receive_some  # type: ignore[method-assign]
        return taken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:  # noqa: ARG002 (trio's)
        """Refuse to send bytes after ``send_eof``. Until then, the stream's own method replaces this one."""
        raise trio.ClosedResourceError("nothing can be sent behind send_eof")

    async def wait_send_all_might_not_block(self) -> None:
        """Refuse to wait behind ``send_eof``. Before it, the stream's own method stands here."""
        raise trio.ClosedResourceError("nothing can be sent behind send_eof")

    async def send_eof(self) -> None:
        """Send nothing more. If the stream cannot be half-closed, the far side notices when the whole is closed."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        else:
            self.__dict__.pop("send_all", None)
            self.__dict__.pop("wait_send_all_might_not_block", None)
            await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the stream."""
        self._head = b""
        await self._stream.aclose()


class _NoSocket:
    """A substitute for the socket of a stream that has none: hypercorn reads addresses, and accepts unknown ones."""

    family = None

    def getpeername(self) -> None:
        """Return no address."""

    def getsockname(self) -> None:
        """Return no address."""


_NO_SOCKET = _NoSocket()

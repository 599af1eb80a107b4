"""A stream that gives again what was already read of it, so that its next owner sees it from the beginning."""

from __future__ import annotations

import operator
from typing import Any

import trio

__all__ = ["ReplayStream"]


class ReplayStream(trio.abc.HalfCloseableStream):
    """A stream with bytes before it that have been read already.

    Args:
        stream: The stream. It should have a ``socket``, as hypercorn asks it for the two addresses.
        head: What was read of it.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes) -> None:
        self._stream = stream
        self._head = head
        self._receiving = False
        self._sent_eof = False
        #: The socket, or what stands for one in a stream of memory.
        self.socket: Any = getattr(stream, "socket", _NO_SOCKET)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As trio's. The bytes before the stream come first."""
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
        return taken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio's."""
        self._check_sending()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's."""
        self._check_sending()
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """As trio's. A far side whose stream cannot be closed by halves hears of it when the whole is closed."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        else:
            self._sent_eof = True
            await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """As trio's."""
        self._head = b""
        await self._stream.aclose()

    def _check_sending(self) -> None:
        if self._sent_eof:
            raise trio.ClosedResourceError("nothing can be sent behind send_eof")


class _NoSocket:
    """Stands for the socket of a stream that has none: hypercorn asks for addresses, and takes unknown ones."""

    family = None

    def getpeername(self) -> None:
        """No address."""

    def getsockname(self) -> None:
        """No address."""


_NO_SOCKET = _NoSocket()

"""A page's handler for tests of streams in the facades, for the Python peer in `peer_thread`."""

import hashlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import trio

from jchannel._streams.reader import MetaGenerator
from jchannel.trio import PeerChannel
from tests.peer_thread import PeerThread

__all__ = ["StreamPage", "StreamPeer", "make_bytes"]


def make_bytes(size: int) -> bytes:
    """So many bytes that do not repeat soon, always the same."""
    return hashlib.shake_128(b"jchannel").digest(size)


class StreamPage:
    """The handler.

    Attributes:
        reading: Set when `hold` has read its first part.
        ended: Set when a stream of `give` has ended, however it did.
        failed: Set when `hold` has ended, however it did.
        errors: What reading in `hold` has raised.
    """

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.failed = threading.Event()
        self.ended = threading.Event()
        self.errors: list[Exception] = []

    async def digest(self, stream: MetaGenerator, *rest: object) -> list[object]:
        data = await stream.join()
        return [len(data), hashlib.sha256(data).hexdigest(), *rest]

    async def lengths(self, stream: MetaGenerator) -> list[int]:
        return [len(chunk) async for chunk in stream]

    def ignore(self, stream: MetaGenerator) -> str:
        return "ignored"

    async def break_off(self, stream: MetaGenerator) -> str:
        async with stream:
            await anext(stream)
        return "broken off"

    async def hold(self, stream: MetaGenerator) -> None:
        try:
            await anext(stream)
            self.reading.set()
            async for _ in stream:
                pass
        except Exception as error:
            self.errors.append(error)
            raise
        finally:
            self.failed.set()

    async def give(self, count: float, size: int = 1_000, end: str = "") -> AsyncIterator[bytes]:
        try:
            given = 0
            while given < count:
                given += 1
                yield bytes(size)
            if end == "fail":
                raise ValueError("the page's source has failed")
            if end == "pause":
                await trio.sleep_forever()
        finally:
            self.ended.set()


class StreamPeer(PeerThread):
    """A peer whose channels have a `StreamPage`.

    Attributes:
        streams: The handler.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, self._set_handler)
        self.streams = StreamPage()

    def call_with_stream(self, name: str, stream: object, *args: object) -> Any:
        """Calls a method of the Python handler with a stream, and waits for the result, which it reads if it is one."""
        return self.run(self._call_with_stream, name, stream, args)

    def read(self, name: str, *args: object) -> bytes:
        """Calls a method of the Python handler that gives a stream, and reads that."""
        data: bytes = self.run(self._read, name, args)
        return data

    def read_first(self, name: str) -> bytes:
        """Calls a method of the Python handler that gives a stream, reads a part of that, and closes it."""
        data: bytes = self.run(self._read_first, name)
        return data

    def _set_handler(self, channel: PeerChannel, _: str) -> None:
        channel.handler = self.streams

    async def _call_with_stream(self, name: str, stream: object, args: tuple[object, ...]) -> Any:
        channel = await self._peer.wait_channel()
        result = await channel.call_with_stream(name, stream, *args, timeout=20)
        return await result.join() if isinstance(result, MetaGenerator) else result

    async def _read(self, name: str, args: tuple[object, ...]) -> bytes:
        channel = await self._peer.wait_channel()
        async with await channel.call(name, *args, timeout=20) as stream:
            data: bytes = await stream.join()
            return data

    async def _read_first(self, name: str) -> bytes:
        channel = await self._peer.wait_channel()
        async with await channel.call(name, timeout=20) as stream:
            data: bytes = await anext(stream)
            return data

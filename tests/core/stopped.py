"""A stream whose owner can be stopped, as a process is by SIGSTOP: nothing is sent or received until it goes on."""

from __future__ import annotations

import trio


class Switch:
    """Stops streams and lets them go on."""

    def __init__(self) -> None:
        self._running = trio.Event()
        self._running.set()

    def stop(self) -> None:
        """Stops all streams that are wrapped."""
        self._running = trio.Event()

    def go_on(self) -> None:
        """Lets them go on."""
        self._running.set()

    async def wait(self) -> None:
        """Waits while they are stopped."""
        await self._running.wait()


class StoppableStream(trio.abc.Stream):
    """A stream that a switch stops."""

    def __init__(self, stream: trio.abc.Stream, switch: Switch) -> None:
        self._stream = stream
        self._switch = switch

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio's."""
        await self._switch.wait()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's."""
        await self._switch.wait()
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As trio's. What has been received when it is stopped is given when it goes on."""
        await self._switch.wait()
        data = await self._stream.receive_some(max_bytes)
        await self._switch.wait()
        return data

    async def aclose(self) -> None:
        """As trio's. The system does it, and it cannot be stopped."""
        await self._stream.aclose()

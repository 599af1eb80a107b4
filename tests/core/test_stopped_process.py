"""The Python peer in a process that is stopped, over real sockets: neither cancelling nor the server's exit hangs.

How long they take is asserted with a clock that jumps, in ``test_stopped_page``; here only that they come to their end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import trio
import trio.testing

from jchannel._core.stream import READ_AHEAD
from jchannel.errors import ClosedError, PageLostError
from jchannel.trio import Channel, Limits, open_server
from tests.core.world import endless

#: A guard against hanging, and no assertion about a duration.
GUARD = 60

PEER = """
import sys
import trio
from jchannel.trio import open_peer

class Handler:
    async def hang(self):
        await trio.sleep_forever()

    async def read_slowly(self, stream):
        async for _ in stream:
            await trio.sleep(0.01)

    async def give(self):
        return self._pieces()

    async def _pieces(self):
        while True:
            await trio.sleep(0)
            yield bytes(100_000)

async def main():
    async with open_peer(sys.argv[1], Handler()) as peer:
        await peer.wait_ended()

trio.run(main)
"""


class Process:
    """The process of a peer."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def stop(self) -> None:
        """Stops it, and waits until it is stopped."""
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)


@contextmanager
def run_peer(url: str) -> Iterator[Process]:
    """Runs a peer in a process of its own, which is killed in the end."""
    process = subprocess.Popen([sys.executable, "-c", PEER, url])
    try:
        yield Process(process)
    finally:
        process.kill()
        process.wait()


async def send_until_it_ends(channel: Channel, under_way: trio.Event) -> None:
    """Sends a stream without an end. It is under way when more has been taken of it than is read ahead."""

    def look(sent: int, _total: int | None) -> None:
        if sent > 2 * READ_AHEAD:
            under_way.set()

    with suppress(PageLostError, ClosedError):
        await channel.call_with_stream("read_slowly", endless(), timeout=None, progress=look)


async def read_until_it_ends(channel: Channel, under_way: trio.Event) -> None:
    """Reads a stream without an end."""
    with suppress(PageLostError, ClosedError):
        async with await channel.call("give", timeout=None) as stream:
            async for _ in stream:
                under_way.set()


async def fill(channel: Channel) -> None:
    """Sends more than all buffers between here and the peer take."""
    with suppress(PageLostError, ClosedError):
        await channel.call("no such method", bytes(32 * 2**20), timeout=None)


async def test_a_call_to_a_stopped_process_can_be_cancelled_while_its_connection_is_full() -> None:
    with trio.fail_after(GUARD):
        async with open_server(port=0, heartbeat=1_000) as server, trio.open_nursery() as nursery:
            with run_peer(server.page_url) as process:
                async with server.hold_channel("code") as channel:
                    await channel.open(None)
                    process.stop()
                    with trio.move_on_after(0.1) as scope:
                        await channel.call("hang", timeout=None)
                    assert scope.cancelled_caught
                    nursery.start_soon(fill, channel)
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    with pytest.raises(trio.TooSlowError, match="has been cancelled"):
                        await channel.call("hang", timeout=0.1)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_server_ends_while_its_page_is_stopped_with_streams_both_ways(*, cancelled: bool) -> None:
    sending, reading = trio.Event(), trio.Event()
    with trio.fail_after(GUARD), ExitStack() as processes:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope, suppress(ZeroDivisionError):
                async with open_server(port=0, heartbeat=1_000, limits=Limits(close_seconds=0.2)) as server:
                    process = processes.enter_context(run_peer(server.page_url))
                    async with server.open_channel("code", timeout=None) as channel:
                        nursery.start_soon(send_until_it_ends, channel, sending)
                        nursery.start_soon(read_until_it_ends, channel, reading)
                        await sending.wait()
                        await reading.wait()
                        process.stop()
                        nursery.start_soon(fill, channel)
                        await trio.testing.wait_all_tasks_blocked(0.05)
                        if not cancelled:
                            raise ZeroDivisionError
                        scope.cancel()
                        await trio.lowlevel.checkpoint()
        statistics = server.statistics()
        assert (statistics.page_connected, statistics.connections, statistics.channels) == (False, 0, 0)

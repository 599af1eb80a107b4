"""The outbox, in moments that its users cannot hold on to."""

import math
from collections.abc import AsyncIterator

import trio
import trio.testing

from jchannel._core.arguments import pack_call
from jchannel._core.outgoing import INLINE_BYTES
from jchannel._core.request import Request
from tests.core.internals import channel_core, count_entries, start_pipe
from tests.core.memory import open_memory_server


async def test_a_request_that_is_cancelled_in_the_moment_its_stream_is_ready_is_not_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    requests: list[Request] = []
    closed = trio.Event()

    async def give() -> AsyncIterator[bytes]:
        try:
            yield bytes(INLINE_BYTES + 1)
            # The task that waited for the piece has been woken, and has not run yet.
            requests[0].cancel()
            await trio.sleep_forever()
        finally:
            closed.set()

    async with open_memory_server() as memory, memory.open_peer(), memory.server.open_channel("code") as channel:
        requests.append(start_pipe(channel, give()))
        await closed.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert requests[0].id is None
        assert count_entries(channel) == (0, 0, 0, 0)


async def test_requests_that_another_thread_makes_while_trio_waits_are_sent_in_their_order() -> None:
    received: list[int] = []

    class Page:
        def record(self, number: int) -> int:
            received.append(number)
            return -number

    async with open_memory_server() as memory, memory.open_peer(Page()), memory.server.open_channel("code") as channel:
        outbox = channel_core(channel).outbox
        await trio.testing.wait_all_tasks_blocked()

        def make() -> list[Request]:
            return [outbox.start(pack_call("record", (number,)), math.inf, parent=None) for number in range(3)]

        requests = await trio.to_thread.run_sync(make)
        assert [await request.wait() for request in requests] == [0, -1, -2]
    assert received == [0, 1, 2]

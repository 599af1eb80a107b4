"""The outbox, in moments that its users cannot hold on to."""

from collections.abc import AsyncIterator

import trio
import trio.testing

from jchannel._core.outgoing import INLINE_BYTES
from jchannel._core.request import Request
from tests.core.internals import count_entries, start_pipe
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

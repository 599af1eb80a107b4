"""One side of a channel, and the nursery of its tasks."""

import trio

from tests.core.internals import hold_in_server
from tests.core.memory import open_memory_server


async def test_a_task_that_comes_before_the_nursery_starts_as_soon_as_there_is_one() -> None:
    started = trio.Event()

    async def run(number: int) -> None:
        await trio.lowlevel.checkpoint()
        assert number == 3
        started.set()

    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        other, _ = hold_in_server(channel, "code")
        assert other.nursery is None
        other.start_soon(run, 3)
        await started.wait()

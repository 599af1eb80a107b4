"""One page at a time, and moving the channels to the newest one."""

import pytest
import trio
import trio.testing

from jchannel._protocol.messages import Goodbye, Hello, Open, Result, Welcome
from jchannel._protocol.values import pack
from jchannel.errors import ClosedError
from tests.core.internals import server_core
from tests.core.memory import open_memory_server


async def test_the_next_page_takes_over_with_the_open_channels() -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.open_page("old") as old:
            async with memory.server.hold_channel("code") as channel:
                nursery.start_soon(channel.open)
                opened = await old.expect(Open)
                await old.send(Result(opened.id, pack(None, field_name="value", shown_as="value")))
                nursery.start_soon(memory.server.move_to_newest_page)
                await trio.testing.wait_all_tasks_blocked()

                async with memory.open_page("new") as new:
                    assert (await new.expect(Open)).code == "code"
                    goodbye = await old.expect(Goodbye)

                    assert goodbye.reason == "replaced"
                    assert "move_to_newest_page" in goodbye.message
                    assert memory.server.statistics().page == "new"
                    assert server_core(memory.server).pages == 2
                nursery.cancel_scope.cancel()


async def test_only_one_page_takes_over() -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.open_page("old"):
            nursery.start_soon(memory.server.move_to_newest_page)
            await trio.testing.wait_all_tasks_blocked()
            async with memory.open_page("new"):
                async with memory.open_page("third", hello=False) as third:
                    await third.send(Hello("third"))

                    assert (await third.expect(Goodbye)).reason == "taken"


async def test_one_that_gives_up_leaves_the_others_waiting(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, memory.open_page("old"), trio.open_nursery() as nursery:
        nursery.start_soon(memory.server.move_to_newest_page)
        with pytest.raises(trio.TooSlowError):
            await memory.server.move_to_newest_page(timeout=1)
        async with memory.open_page("new"):
            assert memory.server.statistics().page == "new"


async def test_the_old_page_that_comes_back_meanwhile_is_not_the_newest(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.open_page("old"):
            nursery.start_soon(memory.server.move_to_newest_page)
            await trio.testing.wait_all_tasks_blocked()
            async with memory.open_page("old", hello=False) as again:
                await again.send(Hello("old"))
                await again.expect(Welcome)
                async with memory.open_page("new"):
                    assert (await again.expect(Goodbye)).reason == "replaced"


async def test_without_a_page_it_waits_for_one() -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        nursery.start_soon(memory.server.move_to_newest_page)
        await trio.testing.wait_all_tasks_blocked()
        async with memory.open_page("new"):
            async with memory.open_page("other", hello=False) as other:
                await other.send(Hello("other"))

                assert (await other.expect(Goodbye)).reason == "taken"


async def test_when_the_time_runs_out_the_page_stays(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, memory.open_page("old"):
        with pytest.raises(trio.TooSlowError, match="no other page connected within 2 s"):
            await memory.server.move_to_newest_page(2)

        async with memory.open_page("new", hello=False) as new:
            await new.send(Hello("new"))
            assert (await new.expect(Goodbye)).reason == "taken"


async def test_cancelling_it_leaves_everything_as_it_is() -> None:
    async with open_memory_server() as memory, memory.open_page("old"):
        with trio.CancelScope() as scope:
            scope.cancel()
            await memory.server.move_to_newest_page()

        async with memory.open_page("new", hello=False) as new:
            await new.send(Hello("new"))
            assert (await new.expect(Goodbye)).reason == "taken"


async def test_a_closed_server_has_no_newest_page() -> None:
    async with open_memory_server() as memory:
        pass
    with pytest.raises(ClosedError):
        await memory.server.move_to_newest_page()


async def test_closing_the_server_ends_the_waiting() -> None:
    failures: list[Exception] = []

    async def move() -> None:
        try:
            await memory.server.move_to_newest_page(None)
        except ClosedError as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        async with open_memory_server() as memory:
            nursery.start_soon(move)
            await trio.testing.wait_all_tasks_blocked()
    assert len(failures) == 1

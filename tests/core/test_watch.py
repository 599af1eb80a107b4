"""Watching the page and a channel in trio: the newest state, and never a backlog of events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import pytest
import trio
import trio.testing

import jchannel.testing
from jchannel._core.watch import Board, Watch
from jchannel.trio import ChannelStatus, PageStatus
from tests.core.internals import close_server, session_of
from tests.core.memory import open_memory_server

S = TypeVar("S")


class Reader(Generic[S]):
    """Reads states in a task of its own."""

    def __init__(self, states: AsyncIterator[S]) -> None:
        self._states = states
        self.seen: list[S] = []
        self.ended = False

    async def read(self) -> None:
        async for state in self._states:
            self.seen.append(state)
        self.ended = True

    async def take(self) -> list[S]:
        """The states that have come since."""
        await trio.testing.wait_all_tasks_blocked()
        seen, self.seen = self.seen, []
        return seen


async def test_a_page_that_comes_is_lost_and_comes_back() -> None:
    async with jchannel.testing.open_server() as server, trio.open_nursery() as nursery:
        reader = Reader(server.watch())
        nursery.start_soon(reader.read)
        assert await reader.take() == [PageStatus(connected=False, page="", pages=0, why="")]
        async with jchannel.testing.open_page(server, client="tab") as page:
            assert await reader.take() == [PageStatus(connected=True, page="tab", pages=1, why="")]
            page.lose()
            (lost,) = await reader.take()
            assert (lost.connected, lost.page, lost.pages) == (False, "tab", 1)
            assert lost.why.startswith("the connection to the page was lost")
            await page.reload()
            assert await reader.take() == [PageStatus(connected=True, page="tab", pages=2, why="")]
        (left,) = await reader.take()
        assert left.why.startswith("the page has closed the connection")
        assert not reader.ended
        await close_server(server)
        await reader.take()
        assert reader.ended


async def test_a_channel_that_is_opened_waits_for_a_page_and_is_opened_again() -> None:
    async with jchannel.testing.open_server() as server, trio.open_nursery() as nursery:
        async with jchannel.testing.open_page(server) as page, server.hold_channel("code") as channel:
            reader = Reader(channel.watch())
            nursery.start_soon(reader.read)
            never = "it has not been opened: call open() first"
            assert await reader.take() == [ChannelStatus(state="closed", openings=0, why=never)]
            await channel.open()
            assert (await reader.take())[-1] == ChannelStatus(state="open", openings=1, why="")
            page.lose()
            assert await reader.take() == [ChannelStatus(state="opening", openings=1, why="")]
            await page.reload()
            (again,) = await reader.take()
            assert (again.is_open, again.openings) == (True, 2)
            await channel.close()
            assert await reader.take() == [
                ChannelStatus(state="closed", openings=2, why="close() was called, and open() opens it again")
            ]
            await channel.open()
            assert (await reader.take())[-1] == ChannelStatus(state="open", openings=3, why="")
        assert (await reader.take())[-1].state == "closed"
        assert reader.ended


async def test_who_is_slow_gets_the_newest_state_and_can_tell_that_there_were_others() -> None:
    async with jchannel.testing.open_pair() as (channel, page):
        states = channel.watch()
        assert (await anext(states)).openings == 1
        for _ in range(3):
            await page.reload()
            await trio.testing.wait_all_tasks_blocked()
        assert await anext(states) == ChannelStatus(state="open", openings=4, why="")
        with trio.move_on_after(0):
            await anext(states)
        await page.reload()
        await trio.testing.wait_all_tasks_blocked()
        assert (await anext(states)).openings == 5


async def test_a_server_that_ends_ends_the_watching_of_channels_too() -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        states = channel.watch()
        await anext(states)
        await close_server(memory.server)
        with pytest.raises(StopAsyncIteration):
            await anext(states)


async def test_the_same_state_again_is_no_news() -> None:
    board = Board(1)
    states = Watch(board)
    assert await anext(states) == 1
    board.show(1)
    board.show(2)
    assert await anext(states) == 2
    board.show(2)
    board.end()
    with pytest.raises(StopAsyncIteration):
        await anext(states)


async def test_a_page_that_is_gone_while_it_is_being_welcomed_was_never_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_memory_server() as memory:
        core = memory.server._core
        attached = core._open_channels

        def end_first(session: object) -> None:
            found = session_of(memory.server)
            assert found is not None
            found.end("closed", "at once")
            attached(found)

        monkeypatch.setattr(core, "_open_channels", end_first)
        states = memory.server.watch()
        await anext(states)
        async with memory.open_page():
            (state,) = [await anext(states)]
        assert (state.connected, state.pages, state.why) == (False, 1, "at once")

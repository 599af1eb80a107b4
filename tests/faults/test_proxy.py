"""The proxy does to a connection what a fault says, at its byte."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from jchannel.testing.network import MemoryListener
from tests.core.helpers import read_all
from tests.faults.proxy import Fault, Kind, Proxy, Way


@asynccontextmanager
async def carry(*faults: Fault) -> AsyncIterator[tuple[trio.abc.Stream, trio.abc.Stream]]:
    """Both ends of a connection that a proxy carries, which meets some faults."""
    listener = MemoryListener()
    proxy = Proxy.in_memory(listener)
    proxy.plan(0, faults)
    async with trio.open_nursery() as nursery:
        near = proxy.connect_in_memory(nursery)
        yield near, await listener.accept()
        assert proxy.met == list(faults)
        nursery.cancel_scope.cancel()


async def test_without_a_fault_everything_passes_and_the_end_of_each_direction(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with carry() as (near, far):
        await near.send_all(b"there")
        assert await far.receive_some() == b"there"
        await near.send_eof()  # type: ignore[attr-defined]
        assert await far.receive_some() == b""
        await far.send_all(b"back")
        assert await near.receive_some() == b"back"


@pytest.mark.parametrize("at", [0, 1, 4])
async def test_a_cut_resets_both_ends_behind_the_bytes_before_it(
    at: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with carry(Fault(Kind.CUT, Way.TO_SERVER, at)) as (near, far):
        await near.send_all(b"there")
        for end in (near, far):
            with pytest.raises(trio.BrokenResourceError):
                await read_all(end)


async def test_an_end_closes_both_directions(autojump_clock: trio.testing.MockClock) -> None:
    async with carry(Fault(Kind.END, Way.TO_PAGE, 2)) as (near, far):
        await far.send_all(b"back")
        assert await near.receive_some() == b"ba"
        assert await near.receive_some() == b""
        assert await far.receive_some() == b""


async def test_a_half_close_ends_one_direction(autojump_clock: trio.testing.MockClock) -> None:
    async with carry(Fault(Kind.HALF_CLOSE, Way.TO_SERVER, 2)) as (near, far):
        await near.send_all(b"there")
        assert await far.receive_some() == b"th"
        assert await far.receive_some() == b""
        await far.send_all(b"back")
        assert await near.receive_some() == b"back"


async def test_a_delay_stops_one_direction_for_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with carry(Fault(Kind.DELAY, Way.TO_SERVER, 2, seconds=5)) as (near, far):
        await near.send_all(b"there")
        assert await far.receive_some() == b"th"
        began = trio.current_time()
        assert await far.receive_some() == b"ere"
        assert trio.current_time() - began == pytest.approx(5)


async def test_a_throttled_direction_carries_pieces_with_pauses(autojump_clock: trio.testing.MockClock) -> None:
    async with carry(Fault(Kind.THROTTLE, Way.TO_SERVER, 1, seconds=2, size=2)) as (near, far):
        await near.send_all(b"there")
        began = trio.current_time()
        assert [await far.receive_some() for _ in range(3)] == [b"t", b"he", b"re"]
        assert trio.current_time() - began == pytest.approx(2)


async def test_corrupted_bytes_are_others(autojump_clock: trio.testing.MockClock) -> None:
    async with carry(Fault(Kind.CORRUPT, Way.TO_SERVER, 1, size=2)) as (near, far):
        await near.send_all(b"there")
        assert await far.receive_some() == b"t"
        assert await far.receive_some() == bytes([ord("h") ^ 0x55, ord("e") ^ 0x55]) + b"re"


async def test_silence_carries_nothing_more_and_tells_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with carry(Fault(Kind.SILENCE, Way.TO_SERVER, 2)) as (near, far):
        await near.send_all(b"there")
        assert await far.receive_some() == b"th"
        with trio.move_on_after(1_000) as timer:
            await far.receive_some()
        assert timer.cancelled_caught
        await far.send_all(b"back")
        assert await near.receive_some() == b"back"

"""Owners. The values they own are not servers here: anything that a context manager gives will do."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from jchannel._bridge.owner import Owner
from jchannel._core.nursery import open_flat_nursery
from jchannel.errors import ClosedError


class Value:
    """What is owned.

    Attributes:
        entered: Set when it is being entered.
        gate: Set to let it be entered.
        broken: Set to make it fail inside.
        closed: Set when it is closed.
        refusal: What entering it raises.
    """

    def __init__(self) -> None:
        self.entered = trio.Event()
        self.gate = trio.Event()
        self.broken = trio.Event()
        self.closed = trio.Event()
        self.refusal: Exception | None = None

    @asynccontextmanager
    async def hold(self) -> AsyncIterator["Value"]:
        async with open_flat_nursery() as nursery:
            self.entered.set()
            await self.gate.wait()
            if self.refusal is not None:
                raise self.refusal
            nursery.start_soon(self._break)
            try:
                yield self
            finally:
                self.closed.set()
                nursery.cancel_scope.cancel()

    async def _break(self) -> None:
        await self.broken.wait()
        raise LookupError("broken inside")


async def start_soon(nursery: trio.Nursery, owner: Owner[Any]) -> None:
    nursery.start_soon(owner.run)
    await wait_all_tasks_blocked()


async def test_it_stays_open_until_it_is_told_to_stop(nursery: trio.Nursery) -> None:
    value = Value()
    value.gate.set()
    owner = Owner(value.hold(), "the value")
    nursery.start_soon(owner.run)
    assert await owner.wait_open() is value
    assert (owner.stopping, owner.ended, value.closed.is_set()) == (False, False, False)
    owner.stop()
    assert (owner.stopping, owner.ended, value.closed.is_set()) == (True, False, False)
    await owner.wait_ended()
    assert (owner.stopping, owner.ended, value.closed.is_set()) == (True, True, True)


async def test_who_waits_for_the_opening_gets_what_was_opened(nursery: trio.Nursery) -> None:
    value = Value()
    owner = Owner(value.hold(), "the value")
    await start_soon(nursery, owner)
    assert owner.value is None

    async def open_gate() -> None:
        await wait_all_tasks_blocked()
        value.gate.set()

    nursery.start_soon(open_gate)
    assert await owner.wait_open() is value
    owner.stop()


async def test_the_next_waits_for_the_end_of_the_one_before(nursery: trio.Nursery) -> None:
    first, second = Value(), Value()
    first.gate.set()
    second.gate.set()
    before = Owner(first.hold(), "the value")
    nursery.start_soon(before.run)
    await before.wait_open()
    after = Owner(second.hold(), "the value", before)
    await start_soon(nursery, after)
    assert not second.entered.is_set()
    before.stop()
    assert await after.wait_open() is second
    assert first.closed.is_set()
    after.stop()


async def test_an_error_of_the_one_before_does_not_hinder_the_next(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Value(), Value()
    first.gate.set()
    second.gate.set()
    before = Owner(first.hold(), "the value")
    nursery.start_soon(before.run)
    await before.wait_open()
    after = Owner(second.hold(), "the value", before)
    nursery.start_soon(after.run)
    first.broken.set()
    with caplog.at_level(logging.CRITICAL):
        assert await after.wait_open() is second
    after.stop()


async def test_an_error_of_entering_is_raised_by_who_waits_for_it_and_not_by_who_stops_it() -> None:
    value = Value()
    value.gate.set()
    value.refusal = OSError("taken")
    owner = Owner(value.hold(), "the value")
    await owner.run()
    assert (owner.stopping, owner.ended) == (True, True)
    with pytest.raises(OSError, match="taken"):
        await owner.wait_open()
    await owner.wait_ended()


async def test_cancelling_the_opening_gives_it_up(nursery: trio.Nursery) -> None:
    owner = Owner(Value().hold(), "the value")
    await start_soon(nursery, owner)
    with trio.CancelScope() as scope:
        scope.cancel()
        await owner.wait_open()
    assert owner.ended
    with pytest.raises(ClosedError, match="stopped before it was open"):
        await owner.wait_open()


async def test_an_error_inside_is_logged_and_reaches_those_who_stop_it(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    value = Value()
    value.gate.set()
    owner = Owner(value.hold(), "the value")
    nursery.start_soon(owner.run)
    await owner.wait_open()
    value.broken.set()
    with caplog.at_level(logging.ERROR, "jchannel"):
        await owner.wait_closed()
    assert "the value has ended with an error of jchannel" in caplog.text
    with pytest.raises(ClosedError, match="broken inside") as caught:
        await owner.wait_ended()
    assert isinstance(caught.value.__cause__, LookupError)


async def test_being_cancelled_is_no_error_of_the_library(nursery: trio.Nursery) -> None:
    value = Value()
    value.gate.set()
    owner = Owner(value.hold(), "the value")
    scope = trio.CancelScope()

    async def run() -> None:
        with scope:
            await owner.run()

    nursery.start_soon(run)
    await owner.wait_open()
    scope.cancel()
    await owner.wait_ended()
    assert value.closed.is_set()


async def test_a_waiting_that_is_cancelled_in_the_moment_of_the_opening_returns_what_was_opened(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Settled:
        """An event that cancels whoever waits for it when it is set."""

        def __init__(self) -> None:
            self._event = trio.Event()

        def set(self) -> None:
            self._event.set()
            scope.cancel()

        async def wait(self) -> None:
            await self._event.wait()

    value = Value()
    owner = Owner(value.hold(), "the value")
    scope = trio.CancelScope()
    monkeypatch.setattr(owner, "_settled", Settled())

    returned: list[Value] = []

    async def wait() -> None:
        with scope:
            returned.append(await owner.wait_open())  # So that whoever is cancelled can undo it.

    nursery.start_soon(wait)
    await start_soon(nursery, owner)
    value.gate.set()
    await wait_all_tasks_blocked()
    assert returned == [value]
    owner.stop()
    await owner.wait_ended()

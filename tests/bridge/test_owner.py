"""Owners. The values they own are not servers here: anything that a context manager gives will do."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
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
        gate: Set to let it be entered.
        broken: Set to make it fail inside.
        asked: What it was asked, in order.
        refusal: What entering it raises.
    """

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.broken = trio.Event()
        self.asked: list[int] = []
        self.closed = trio.Event()
        self.refusal: Exception | None = None

    @asynccontextmanager
    async def hold(self) -> AsyncIterator["Value"]:
        async with open_flat_nursery() as nursery:
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

    def ask(self, number: int) -> Awaitable[int]:
        self.asked.append(number)
        return self._answer(number)

    def wait_closed(self) -> Awaitable[Any]:
        return self._wait_closed()

    async def _answer(self, number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number

    async def _wait_closed(self) -> None:
        await self.closed.wait()
        raise ClosedError("closed")


def asking(number: int) -> Callable[[Value], Awaitable[int]]:
    return lambda value: value.ask(number)


async def refuse(value: Value) -> int:
    raise AssertionError(value)


def fail(value: Value) -> Awaitable[int]:
    raise LookupError("cannot be asked")


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


async def test_what_is_asked_before_it_is_open_is_asked_in_order_when_it_is(nursery: trio.Nursery) -> None:
    value = Value()
    owner = Owner(value.hold(), "the value")
    await start_soon(nursery, owner)
    first, second = owner.begin(asking(1)), owner.begin(asking(2))
    assert value.asked == []
    value.gate.set()
    await owner.wait_open()
    third = owner.begin(asking(3))
    assert value.asked == [1, 2, 3]
    assert [await third, await second, await first] == [3, 2, 1]
    owner.stop()


async def test_who_waits_for_the_opening_while_asking_gets_the_answer(nursery: trio.Nursery) -> None:
    value = Value()
    owner = Owner(value.hold(), "the value")
    await start_soon(nursery, owner)
    asked = owner.begin(asking(1))

    async def open_gate() -> None:
        await wait_all_tasks_blocked()
        value.gate.set()

    nursery.start_soon(open_gate)
    assert await asked == 1
    owner.stop()


async def test_what_is_cancelled_before_it_is_open_is_not_asked(nursery: trio.Nursery) -> None:
    value = Value()
    owner = Owner(value.hold(), "the value")
    await start_soon(nursery, owner)
    with trio.CancelScope() as scope:
        scope.cancel()
        await owner.begin(asking(1))
    assert scope.cancelled_caught
    value.gate.set()
    await owner.wait_open()
    assert value.asked == []
    owner.stop()


async def test_an_error_of_asking_is_raised_at_once_when_it_is_open(nursery: trio.Nursery) -> None:
    value = Value()
    value.gate.set()
    owner = Owner(value.hold(), "the value")
    nursery.start_soon(owner.run)
    await owner.wait_open()
    with pytest.raises(LookupError):
        owner.begin(fail)
    owner.stop()


async def test_an_error_of_asking_later_is_raised_where_it_is_awaited(nursery: trio.Nursery) -> None:
    value = Value()
    owner = Owner(value.hold(), "the value")
    await start_soon(nursery, owner)
    asked = owner.begin(fail)
    value.gate.set()
    with pytest.raises(LookupError):
        await asked
    owner.stop()


async def test_an_error_of_entering_is_raised_by_who_waits_for_it_and_is_the_cause_for_others() -> None:
    value = Value()
    value.gate.set()
    value.refusal = OSError("taken")
    owner = Owner(value.hold(), "the value")
    asked = owner.begin(refuse)
    await owner.run()
    with pytest.raises(OSError, match="taken"):
        await owner.wait_open()
    with pytest.raises(ClosedError, match="the value has ended with an error: OSError") as caught:
        await asked
    assert isinstance(caught.value.__cause__, OSError)
    await owner.wait_ended()


async def test_cancelling_the_opening_gives_it_up(nursery: trio.Nursery) -> None:
    owner = Owner(Value().hold(), "the value")
    asked = owner.begin(refuse)
    await start_soon(nursery, owner)
    with trio.CancelScope() as scope:
        scope.cancel()
        await owner.wait_open()
    assert owner.ended
    with pytest.raises(ClosedError, match="stopped before it was open"):
        await asked


async def test_an_error_inside_reaches_those_who_wait_and_those_who_stop_it(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    value = Value()
    value.gate.set()
    owner = Owner(value.hold(), "the value")
    nursery.start_soon(owner.run)
    await owner.wait_open()
    asked = owner.begin(Value.wait_closed)
    value.broken.set()
    with caplog.at_level(logging.CRITICAL), pytest.raises(ClosedError, match="broken inside") as caught:
        await asked
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(ClosedError, match="broken inside"):
        await owner.wait_ended()


async def test_an_error_inside_a_parent_reaches_those_who_wait_for_its_child(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    outer, inner = Value(), Value()
    outer.gate.set()
    inner.gate.set()
    parent = Owner(outer.hold(), "the parent")
    nursery.start_soon(parent.run)
    await parent.wait_open()
    child = Owner(inner.hold(), "the child", parent)
    parent.start_child(child)
    await child.wait_open()
    asked = child.begin(lambda _: outer.wait_closed())
    outer.broken.set()
    with caplog.at_level(logging.CRITICAL), pytest.raises(ClosedError, match="the parent has ended with an error"):
        await asked
    assert child.ended


async def test_being_closed_on_purpose_is_no_error_of_the_library(nursery: trio.Nursery) -> None:
    value = Value()
    value.gate.set()
    owner = Owner(value.hold(), "the value")
    nursery.start_soon(owner.run)
    await owner.wait_open()
    asked = owner.begin(Value.wait_closed)
    owner.stop()
    with pytest.raises(ClosedError, match=r"^closed$"):
        await asked


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
    asked = owner.begin(Value.wait_closed)
    scope.cancel()
    with pytest.raises(ClosedError, match=r"^closed$"):
        await asked
    await owner.wait_ended()


async def test_a_child_is_stopped_after_its_parent(nursery: trio.Nursery) -> None:
    outer, inner = Value(), Value()
    outer.gate.set()
    inner.gate.set()
    parent = Owner(outer.hold(), "the parent")
    nursery.start_soon(parent.run)
    await parent.wait_open()
    child = Owner(inner.hold(), "the child", parent)
    parent.start_child(child)
    await child.wait_open()
    parent.stop()
    await parent.wait_ended()
    assert child.ended
    assert inner.closed.is_set()

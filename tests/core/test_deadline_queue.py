"""The queue of deadlines: what is due expires, in the order of time, and nothing that was taken out does."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing

from jchannel._core.deadlines import Deadlines, Timer
from jchannel._core.request import Request


class Thing(Request):
    """Something that expires. It notes when.

    Args:
        due: When it expires.
        then: Called when it does.
    """

    def __init__(self, due: float, then: Callable[[], object] = lambda: None) -> None:
        self.due = due
        self.expired: list[float] = []
        self.errors: list[BaseException] = []
        self._then = then

    def expire(self) -> None:
        self.expired.append(trio.current_time())
        self._then()

    def fail(self, error: BaseException) -> None:
        self.errors.append(error)
        self._then()


def add_in_thread(deadlines: Deadlines, thing: Thing) -> Timer:
    """Adds something in another thread. Trio waits for that, and its clock with it."""
    timers: list[Timer] = []
    thread = threading.Thread(target=lambda: timers.append(deadlines.add(thing)))
    thread.start()
    thread.join()
    return timers[0]


@pytest.fixture
async def deadlines(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Deadlines]:
    """A queue whose task runs."""
    deadlines = Deadlines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        await trio.testing.wait_all_tasks_blocked()
        yield deadlines
        nursery.cancel_scope.cancel()


async def test_what_is_due_expires_once_and_at_its_time(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()
    things = [Thing(start + seconds) for seconds in (3, 1, 2)]
    for thing in things:
        deadlines.add(thing)
    assert len(deadlines) == 3
    await trio.sleep(10)
    assert [thing.expired for thing in things] == [[start + 3], [start + 1], [start + 2]]
    assert len(deadlines) == 0


async def test_what_is_due_at_the_same_time_expires_in_the_order_of_adding(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    order: list[int] = []
    due = trio.current_time() + 1
    for number in range(50):
        deadlines.add(Thing(due, lambda number=number: order.append(number)))  # type: ignore[misc]
    await trio.sleep(2)
    assert order == list(range(50))


@pytest.mark.parametrize("seconds", [0, -5, float("-inf")])
async def test_what_is_due_already_expires_at_once_but_not_while_it_is_added(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock, seconds: float
) -> None:
    start = trio.current_time()
    thing = Thing(start + seconds)
    deadlines.add(thing)
    assert thing.expired == []
    await trio.testing.wait_all_tasks_blocked()
    assert thing.expired == [start]


async def test_what_was_added_before_the_task_ran_expires_too(autojump_clock: trio.testing.MockClock) -> None:
    deadlines, thing = Deadlines(), Thing(trio.current_time() + 1)
    deadlines.add(thing)
    with trio.move_on_after(2):
        await deadlines.run()
    assert len(thing.expired) == 1


async def test_what_was_taken_out_does_not_expire(deadlines: Deadlines, autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    first, second, third = (Thing(start + seconds) for seconds in (1, 2, 3))
    timers = [deadlines.add(thing) for thing in (first, second, third)]
    deadlines.remove(timers[0])
    deadlines.remove(timers[1])
    deadlines.remove(timers[1])
    assert len(deadlines) == 1
    await trio.sleep(10)
    assert (first.expired, second.expired, third.expired) == ([], [], [start + 3])
    deadlines.remove(timers[2])
    assert len(deadlines) == 0


async def test_what_is_moved_to_a_later_time_expires_then(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()
    thing, other = Thing(start + 1), Thing(start + 2)
    deadlines.add(thing)
    deadlines.add(other)
    thing.due = start + 5
    await trio.sleep(3)
    assert (thing.expired, other.expired) == ([], [start + 2])
    await trio.sleep(3)
    assert thing.expired == [start + 5]


async def test_what_was_moved_can_be_taken_out(deadlines: Deadlines, autojump_clock: trio.testing.MockClock) -> None:
    thing = Thing(trio.current_time() + 1)
    timer = deadlines.add(thing)
    thing.due += 5
    await trio.sleep(3)
    deadlines.remove(timer)
    await trio.sleep(10)
    assert thing.expired == []
    assert len(deadlines) == 0


async def test_an_earlier_one_that_is_added_later_comes_first(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()
    deadlines.add(Thing(start + 100))
    await trio.sleep(1)
    early = Thing(start + 2)
    deadlines.add(early)
    await trio.sleep(1.5)
    assert early.expired == [start + 2]


async def test_one_that_expires_may_take_out_another_that_is_due(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    due = trio.current_time() + 1
    other = Thing(due)
    deadlines.add(Thing(due, lambda: deadlines.remove(timer)))
    timer = deadlines.add(other)
    await trio.sleep(2)
    assert other.expired == []
    assert len(deadlines) == 0


async def test_one_that_expires_may_add_another(deadlines: Deadlines, autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    at_once, later = Thing(start + 1), Thing(start + 2)
    deadlines.add(Thing(start + 1, lambda: (deadlines.add(at_once), deadlines.add(later))))
    await trio.sleep(3)
    assert (at_once.expired, later.expired) == ([start + 1], [start + 2])


async def test_what_was_taken_out_is_not_kept_until_its_time(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()
    first, last = Thing(start + 1), Thing(start + 10_000)
    deadlines.add(first)
    for _ in range(100):
        timers = [deadlines.add(Thing(start + 3_600)) for _ in range(100)]
        for timer in timers:
            deadlines.remove(timer)
    deadlines.add(last)
    assert len(deadlines) == 2
    assert len(deadlines._timers) < 2_000
    await trio.sleep(20_000)
    assert (first.expired, last.expired) == ([start + 1], [start + 10_000])
    assert len(deadlines) == 0


async def test_it_wakes_up_once_for_what_was_taken_out_and_then_for_nothing_but_what_is_due(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    for seconds in (5, 6, 7):
        deadlines.remove(deadlines.add(Thing(trio.current_time() + seconds)))
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == 5
    await trio.sleep(5)
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")


async def test_what_another_thread_adds_expires_at_its_time(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()
    soon, later = Thing(start + 1), Thing(start + 2)
    add_in_thread(deadlines, later)
    add_in_thread(deadlines, soon)
    await trio.sleep(10)
    assert [soon.expired, later.expired] == [[start + 1], [start + 2]]


async def test_what_another_thread_adds_need_not_wake_the_queue_that_wakes_up_before(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()
    first, second = Thing(start + 1), Thing(start + 3)
    timer = add_in_thread(deadlines, first)
    await trio.testing.wait_all_tasks_blocked()
    deadlines.remove(timer)
    add_in_thread(deadlines, second)
    await trio.sleep(10)
    assert [first.expired, second.expired] == [[], [start + 3]]


async def test_an_error_in_expiring_ends_its_own_item_and_nothing_else(
    deadlines: Deadlines, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    error = ZeroDivisionError()

    def fail() -> None:
        raise error

    due = trio.current_time() + 1
    broken, whole = Thing(due, fail), Thing(due)
    for thing in (broken, whole):
        deadlines.add(thing)
    await trio.sleep(2)
    assert broken.errors == [error]
    assert whole.expired == [due]
    assert len(deadlines) == 0
    assert "when the time of a request was over" in caplog.text
    assert "when it ended a request" in caplog.text  # That has failed, too.

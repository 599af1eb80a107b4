"""The threads in which code of the user's may wait: who gets one, who stands in line for one, and for how long."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from jchannel._core.limits import Limits
from jchannel._core.threads import NoThreadLeftError, TrioThreads, WaitingLimiter

#: More than run at once of those that are not known to wait.
MANY = 40


class Borrower:
    """A task that stands in line, and what comes of it."""

    def __init__(self, limiter: WaitingLimiter, nursery: trio.Nursery) -> None:
        self.limiter = limiter
        self.scope = trio.CancelScope()
        self.got_at: float | None = None
        self.failed_at: float | None = None
        self.words = ""
        nursery.start_soon(self._stand_in_line)

    async def _stand_in_line(self) -> None:
        with self.scope:
            try:
                await self.limiter.acquire_on_behalf_of(self)
                self.got_at = trio.current_time()
            except NoThreadLeftError as error:
                self.failed_at = trio.current_time()
                self.words = str(error)

    def give_back(self) -> None:
        self.limiter.release_on_behalf_of(self)


def make_limiter() -> WaitingLimiter:
    return WaitingLimiter(Limits(waiting_threads=1, thread_seconds=2))


@asynccontextmanager
async def open_line() -> AsyncIterator[tuple[WaitingLimiter, Borrower, Borrower]]:
    """A limiter whose only thread is held, and two tasks in line. Leaving the block waits for both."""
    limiter = make_limiter()
    limiter.acquire_on_behalf_of_nowait("held")
    async with trio.open_nursery() as nursery:
        first = Borrower(limiter, nursery)
        await trio.testing.wait_all_tasks_blocked()
        second = Borrower(limiter, nursery)
        await trio.testing.wait_all_tasks_blocked()
        yield limiter, first, second


async def test_a_function_waits_for_a_thread_that_comes_free() -> None:
    threads = TrioThreads(Limits(waiting_threads=1))
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go.wait()

    answers: list[int] = []

    async def run(number: int) -> None:
        answers.append(await threads.run_waiting(lambda: number))

    threads.start(hold, "held")
    await trio.to_thread.run_sync(begun.wait)
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(run, number)
            await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        go.set()
    assert answers == [0, 1, 2]


async def test_whoever_stands_in_line_fails_when_no_thread_has_come_free_for_the_time(
    autojump_clock: MockClock,
) -> None:
    limiter = make_limiter()
    limiter.acquire_on_behalf_of_nowait("held")
    async with trio.open_nursery() as nursery:
        borrower = Borrower(limiter, nursery)
    assert borrower.failed_at == 2
    assert borrower.words == (
        "1 threads wait already, as many as Limits.waiting_threads allows, and none has come free for 2 s "
        "(Limits.thread_seconds): for handler methods that have not returned, and for sources and files that have not "
        "given their next bytes"
    )
    limiter.release_on_behalf_of("held")
    assert limiter.holders == 0


async def test_a_line_that_moves_waits_on_and_in_its_order(autojump_clock: MockClock) -> None:
    limiter = make_limiter()
    limiter.acquire_on_behalf_of_nowait("held")
    async with trio.open_nursery() as nursery:
        borrowers = []
        for _ in range(3):
            borrowers.append(Borrower(limiter, nursery))
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1.5)
        limiter.release_on_behalf_of("held")
        await trio.sleep(1.5)
        borrowers[0].give_back()
    assert [borrower.got_at for borrower in borrowers] == [1.5, 3, None]
    assert borrowers[2].failed_at == 5


async def test_a_place_in_line_that_is_given_up_is_nobodys() -> None:
    async with open_line() as (limiter, first, second):
        first.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        limiter.release_on_behalf_of("held")
    assert first.got_at is None
    assert second.got_at is not None


async def test_whoever_is_cancelled_as_it_gets_its_thread_passes_it_on() -> None:
    async with open_line() as (limiter, first, second):
        first.scope.cancel()
        limiter.release_on_behalf_of("held")
    assert first.got_at is None
    assert second.got_at is not None
    assert limiter.holders == 1


async def test_nobody_overtakes_the_line() -> None:
    limiter = make_limiter()
    limiter.acquire_on_behalf_of_nowait("held")
    async with trio.open_nursery() as nursery:
        first = Borrower(limiter, nursery)
        await trio.testing.wait_all_tasks_blocked()
        limiter.release_on_behalf_of("held")
        second = Borrower(limiter, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert first.got_at is not None
        assert second.got_at is None
        first.give_back()


async def test_functions_that_wait_for_each_other_all_get_a_thread() -> None:
    threads = TrioThreads(Limits())
    barrier = threading.Barrier(MANY)

    async def meet() -> None:
        await threads.run_users(barrier.wait)

    async with trio.open_nursery() as nursery:
        for _ in range(MANY):
            nursery.start_soon(meet)
    assert threads.waiting == 0


async def test_a_few_run_at_once_and_more_only_while_those_do_not_end(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Callable[[object], object]] = []

    def start_thread_soon(_: object, wake: Callable[[object], object], __: object) -> None:
        looks.append(wake)

    async def look() -> None:
        looks.pop()(None)
        await trio.testing.wait_all_tasks_blocked()

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", start_thread_soon)
    limiter = WaitingLimiter(Limits(waiting_threads=35))
    async with trio.open_nursery() as nursery:
        borrowers = [Borrower(limiter, nursery) for _ in range(MANY)]
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(100)
        assert limiter.holders == 16
        assert all(borrower.failed_at is None for borrower in borrowers), "there are threads left"
        next(borrower for borrower in borrowers if borrower.got_at is not None).give_back()
        await trio.testing.wait_all_tasks_blocked()
        assert limiter.holders == 16
        await look()
        assert limiter.holders == 31  # Only one of those that run began after the first look.
        await look()
        assert limiter.holders == 35
        assert not looks, "there is nothing to be gained"
        nursery.cancel_scope.cancel()


async def test_whoever_looks_at_the_threads_may_come_too_late() -> None:
    limiter = WaitingLimiter(Limits())
    wakes: list[Callable[[object], object]] = []

    async def stand_in_line() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio.lowlevel, "start_thread_soon", lambda _, wake, __: wakes.append(wake))
            async with trio.open_nursery() as nursery:
                for _ in range(MANY):
                    Borrower(limiter, nursery)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

    await trio.to_thread.run_sync(trio.run, stand_in_line)
    (wake,) = wakes
    wake(None)


async def test_a_look_at_the_threads_that_cannot_begin_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = WaitingLimiter(Limits(thread_seconds=0.01))
    start, refused = trio.lowlevel.start_thread_soon, False

    def refuse_once(fn: Callable[[], object], deliver: Callable[[object], object], name: str | None = None) -> None:
        nonlocal refused
        if not refused:
            refused = True
            raise RuntimeError("can't start new thread")
        start(fn, deliver, name)

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", refuse_once)
    async with trio.open_nursery() as nursery:
        for _ in range(MANY):
            Borrower(limiter, nursery)
        await trio.testing.wait_all_tasks_blocked()
        await limiter.acquire_on_behalf_of("the next in line")
        assert refused
        nursery.cancel_scope.cancel()


async def test_a_thread_that_cannot_be_started_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = TrioThreads(Limits(waiting_threads=1))

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(trio.lowlevel, "start_thread_soon", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.start(threading.Event().set, "refused")

    assert threads.waiting == 0

"""The threads in which code of the user's may wait: who gets one, who stands in line for one, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from jchannel._core import thread_pool
from jchannel._core.limits import Limits
from jchannel._core.thread_pool import NoThreadLeftError, ThreadPool
from jchannel._core.threads import TrioThreads

#: More than run at once of those that are not known to wait.
MANY = 40

#: Those that do.
BUSY = 16

#: Seconds that whatever is waited for may take: a guard and no assertion.
TIMEOUT = 20.0


class Call:
    """A function that a task has called in a pool, and what came of it."""

    def __init__(
        self,
        pool: ThreadPool,
        nursery: trio.Nursery,
        function: Callable[[], Any] = threading.get_ident,
        *,
        abandon: bool = False,
    ) -> None:
        self.scope = trio.CancelScope()
        self.result: Any = None
        self.failure: tuple[float, Exception] | None = None
        nursery.start_soon(self._run, pool, function, abandon)

    async def _run(self, pool: ThreadPool, function: Callable[[], Any], abandon: bool) -> None:  # noqa: FBT001 (trio's)
        with self.scope:
            try:
                self.result = await pool.run(function, abandon_on_cancel=abandon)
            except (NoThreadLeftError, RuntimeError) as error:
                self.failure = (trio.current_time(), error)


class Gate:
    """Functions that wait until it is opened."""

    def __init__(self) -> None:
        self._begun = threading.Semaphore(0)
        self._open = threading.Event()

    def pass_through(self, result: Any = None) -> Any:
        self._begun.release()
        assert self._open.wait(TIMEOUT)
        return result

    def check(self) -> str:
        self.pass_through()
        trio.from_thread.check_cancelled()
        return "not cancelled"

    async def wait_begun(self, count: int = 1) -> None:
        for _ in range(count):
            assert await trio.to_thread.run_sync(partial(self._begun.acquire, timeout=TIMEOUT))

    def open(self) -> None:
        self._open.set()


def make_pool(waiting_threads: int = 1) -> ThreadPool:
    return ThreadPool(Limits(waiting_threads=waiting_threads, thread_seconds=2))


async def test_a_function_waits_for_a_thread_that_comes_free(mock_clock: MockClock) -> None:
    threads = TrioThreads(Limits(waiting_threads=1))
    gate = Gate()
    begun: list[int] = []

    async def run(number: int) -> None:
        await threads.run_waiting(begun.append, number)

    threads.start(gate.pass_through, "held")
    await gate.wait_begun()
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(run, number)
            await trio.testing.wait_all_tasks_blocked()
        assert begun == []
        gate.open()
    assert begun == [0, 1, 2]


async def test_whoever_stands_in_line_fails_when_no_thread_has_come_free_for_the_time(
    autojump_clock: MockClock,
) -> None:
    pool = make_pool()
    pool.acquire_nowait("held")
    async with trio.open_nursery() as nursery:
        call = Call(pool, nursery)
    assert call.failure is not None
    time, error = call.failure
    assert time == 2
    assert str(error) == (
        "1 threads wait already, as many as Limits.waiting_threads allows, and none has come free for 2 s "
        "(Limits.thread_seconds): for handler methods that have not returned, and for sources and files that have not "
        "given their next bytes"
    )
    pool.release("held")
    assert pool.holders == 0


async def test_what_lives_long_does_not_stand_in_line() -> None:
    pool = make_pool()
    pool.acquire_nowait("held")
    with pytest.raises(NoThreadLeftError, match=r"1 threads wait already, as many as Limits\.waiting_threads allows: "):
        pool.acquire_nowait("one more")


async def test_a_line_that_moves_waits_on_and_in_its_order(autojump_clock: MockClock) -> None:
    pool, gate = make_pool(), Gate()
    pool.acquire_nowait("held")
    async with trio.open_nursery() as nursery:
        first = Call(pool, nursery, gate.pass_through)
        await trio.testing.wait_all_tasks_blocked()
        second = Call(pool, nursery)
        await trio.sleep(1.5)
        pool.release("held")
        await trio.sleep(5)
        gate.open()
    assert first.failure is None
    assert second.failure is not None
    assert second.failure[0] == 3.5


async def test_a_place_in_line_that_is_given_up_is_nobodys(mock_clock: MockClock) -> None:
    pool = make_pool()
    pool.acquire_nowait("held")
    async with trio.open_nursery() as nursery:
        first = Call(pool, nursery)
        await trio.testing.wait_all_tasks_blocked()
        second = Call(pool, nursery)
        await trio.testing.wait_all_tasks_blocked()
        first.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert first.scope.cancelled_caught
        pool.release("held")
    assert first.result is None
    assert second.result is not None
    assert pool.holders == 0


async def test_a_line_that_everybody_has_left_fails_nobody(autojump_clock: MockClock) -> None:
    pool = make_pool()
    pool.acquire_nowait("held")
    async with trio.open_nursery() as nursery:
        call = Call(pool, nursery)
        await trio.testing.wait_all_tasks_blocked()
        call.scope.cancel()
        await trio.sleep(3)
        pool.release("held")
        assert await pool.run(threading.get_ident, abandon_on_cancel=False)


@pytest.mark.parametrize("abandon", [True, False])
async def test_a_function_whose_task_is_cancelled_is_told_and_its_thread_runs_no_other(*, abandon: bool) -> None:
    pool, gate = make_pool(2), Gate()
    threads: list[int] = []

    def look() -> None:
        threads.append(threading.get_ident())
        gate.check()

    async with trio.open_nursery() as nursery:
        call = Call(pool, nursery, look, abandon=abandon)
        await gate.wait_begun()
        call.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert call.scope.cancelled_caught == abandon
        other = Call(pool, nursery)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert call.scope.cancelled_caught
    assert other.result not in threads


async def test_a_function_that_is_waited_for_returns_its_value_though_its_task_is_cancelled() -> None:
    pool, gate = make_pool(), Gate()
    async with trio.open_nursery() as nursery:
        call = Call(pool, nursery, partial(gate.pass_through, "value"))
        await gate.wait_begun()
        call.scope.cancel()
        gate.open()
    assert call.result == "value"


async def test_what_is_given_up_before_its_thread_has_started_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, started, begun = make_pool(), trio.Event(), threading.Event()
    run_sync: Any = trio.to_thread.run_sync

    async def start_late(*args: object, **options: object) -> None:
        await started.wait()
        await run_sync(*args, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", start_late)
    async with trio.open_nursery() as nursery:
        call = Call(pool, nursery, begun.set)
        await trio.testing.wait_all_tasks_blocked()
        call.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert call.scope.cancelled_caught
        started.set()
        assert await pool.run(threading.get_ident, abandon_on_cancel=False)
    assert not begun.is_set()
    assert pool.holders == 0


async def test_to_give_up_what_has_ended_already_cancels_nothing_else(mock_clock: MockClock) -> None:
    pool = make_pool()
    entered, first_gate, second_gate = threading.Event(), Gate(), Gate()

    async with trio.open_nursery() as nursery:
        calls = []
        for function in (first_gate.pass_through, entered.set, second_gate.check):
            calls.append(Call(pool, nursery, function, abandon=True))
            await trio.testing.wait_all_tasks_blocked()
        await first_gate.wait_begun()
        first_gate.open()
        # Trio's thread stands here, and hears of nothing that ends.
        assert entered.wait(TIMEOUT)
        calls[0].scope.cancel()
        await second_gate.wait_begun()
        second_gate.open()
    assert calls[0].scope.cancelled_caught
    assert calls[2].result == "not cancelled"


async def test_functions_that_wait_for_each_other_all_get_a_thread() -> None:
    threads = TrioThreads(Limits())
    barrier = threading.Barrier(MANY)

    async def meet() -> None:
        await threads.run_users(barrier.wait)

    async with trio.open_nursery() as nursery:
        for _ in range(MANY):
            nursery.start_soon(meet)
    assert threads.waiting == 0


class Looks:
    """The looks at the threads, which the test takes instead of the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.due: list[Callable[[object], object]] = []
        monkeypatch.setattr(trio.lowlevel, "start_thread_soon", self._start_thread_soon)

    def _start_thread_soon(self, _: object, wake: Callable[[object], object], __: object) -> None:
        self.due.append(wake)

    async def take(self) -> None:
        self.due.pop()(None)
        await trio.testing.wait_all_tasks_blocked()


async def test_a_few_run_at_once_and_more_only_while_those_do_not_end(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, gate, pool = Looks(monkeypatch), Gate(), make_pool(35)
    async with trio.open_nursery() as nursery:
        for _ in range(MANY):
            Call(pool, nursery, gate.pass_through)
        await gate.wait_begun(BUSY)
        assert pool.holders == BUSY
        await looks.take()
        assert pool.holders == BUSY, "the line has moved meanwhile"
        await looks.take()
        await gate.wait_begun(BUSY)
        assert pool.holders == 2 * BUSY
        await looks.take()
        assert pool.holders == 2 * BUSY
        await looks.take()
        await gate.wait_begun(3)
        assert pool.holders == 35
        assert not looks.due, "there is nothing to be gained"
        gate.open()
    assert pool.holders == 0


async def test_a_function_among_many_that_end_does_not_count_as_one_that_waits(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, gate, pool = Looks(monkeypatch), Gate(), make_pool(35)
    async with trio.open_nursery() as nursery:
        Call(pool, nursery, gate.pass_through)
        await gate.wait_begun()
        async with trio.open_nursery() as batch:
            for _ in range(MANY):
                Call(pool, batch)
        await looks.take()
        for _ in range(MANY):
            Call(pool, nursery, gate.pass_through)
        await gate.wait_begun(BUSY - 1)
        assert pool.holders == BUSY
        gate.open()


async def test_whoever_looks_at_the_threads_may_come_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, gate, pool = Looks(monkeypatch), Gate(), ThreadPool(Limits())

    async def stand_in_line() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(MANY):
                Call(pool, nursery, gate.pass_through, abandon=True)
            await gate.wait_begun(BUSY)
            nursery.cancel_scope.cancel()

    await trio.to_thread.run_sync(trio.run, stand_in_line)
    (wake,) = looks.due
    wake(None)
    gate.open()


async def test_where_nobody_can_look_at_the_threads_the_line_moves_when_one_comes_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, pool = Gate(), ThreadPool(Limits())

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", refuse)
    async with trio.open_nursery() as nursery:
        for _ in range(BUSY):
            Call(pool, nursery, gate.pass_through)
        await gate.wait_begun(BUSY)
        last = Call(pool, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert last.result is None
        gate.open()
    assert last.result is not None


async def refuse_thread(*_: object, **__: object) -> None:
    await trio.lowlevel.checkpoint()
    raise RuntimeError("can't start new thread")


async def test_a_function_fails_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool(2)
    monkeypatch.setattr(trio.to_thread, "run_sync", refuse_thread)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await pool.run(threading.get_ident, abandon_on_cancel=False)
    assert pool.holders == 0


async def test_a_call_in_turn_finds_the_thread_of_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_IDLE_SECONDS", TIMEOUT)
    pool = make_pool()
    threads = {await pool.run(threading.get_ident, abandon_on_cancel=False) for _ in range(3)}
    assert len(threads) == 1


async def test_a_thread_that_has_nothing_to_do_for_a_while_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_IDLE_SECONDS", 0)
    pool = make_pool()
    assert await pool.run(threading.get_ident, abandon_on_cancel=False) != threading.get_ident()
    await trio.testing.wait_all_threads_completed()
    assert await pool.run(threading.get_ident, abandon_on_cancel=False) != threading.get_ident()

"""Calls, of jobs that need no server."""

import asyncio
import gc
import signal
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import outcome
import pytest
import trio

from jchannel._bridge import call as module
from jchannel._bridge.call import Call, _ThreadCall, in_task, wait_blocking
from jchannel._bridge.jobs import Job, Running, TaskJob
from jchannel._bridge.portal import Portal, open_thread_portal
from jchannel.errors import StateError
from tests.peer_thread import TIMEOUT


class Hanging:
    """A job that hangs until it is cancelled, and then until it is let go."""

    def __init__(self) -> None:
        self.hanging = threading.Event()
        self.cancelled = threading.Event()
        self.let_go = threading.Event()
        self.begun = 0

    def begin(self) -> Awaitable[None]:
        self.begun += 1
        return self._hang()

    async def _hang(self) -> None:
        self.hanging.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self.let_go.wait, TIMEOUT)


def job(begin: Callable[[], Awaitable[Any]]) -> TaskJob[Any]:
    return TaskJob(open_thread_portal(), begin)


def test_a_task_gives_the_value_under_the_jobs_name() -> None:
    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 42

    async def program() -> None:
        task = in_task(job(answer), "the answer")
        assert task.get_name() == "the answer"
        assert task.get_loop() is asyncio.get_running_loop()
        assert await task == 42

    asyncio.run(program())


def test_jobs_begin_in_the_order_of_the_calls_before_any_task_runs() -> None:
    begun: list[int] = []
    all_begun = threading.Event()

    async def nothing() -> None:
        await trio.lowlevel.checkpoint()

    def begin(number: int) -> Awaitable[None]:
        begun.append(number)
        if number == 1_999:
            all_begun.set()
        return nothing()

    async def program() -> None:
        tasks = [in_task(job(lambda number=number: begin(number)), "") for number in range(2_000)]  # type: ignore[misc]
        assert all_begun.wait(TIMEOUT)
        assert not any(task.done() for task in tasks)
        await asyncio.gather(*tasks)

    asyncio.run(program())
    assert begun == list(range(2_000))


def test_an_error_of_beginning_is_the_outcome() -> None:
    def begin() -> Awaitable[None]:
        raise LookupError("cannot begin")

    async def program() -> None:
        with pytest.raises(LookupError, match="cannot begin"):
            await in_task(job(begin), "")

    asyncio.run(program())


def test_a_time_that_ran_out_is_a_timeout_error_with_the_same_message() -> None:
    async def be_too_slow() -> None:
        await trio.lowlevel.checkpoint()
        raise trio.TooSlowError("too slow by far")

    async def program() -> None:
        with pytest.raises(TimeoutError, match=r"^too slow by far$") as caught:
            await in_task(job(be_too_slow), "")
        # The error of trio says the same.
        assert caught.value.__suppress_context__

    asyncio.run(program())


def test_a_cancelled_task_ends_when_its_job_has_ended() -> None:
    hanging = Hanging()

    async def program() -> None:
        task = in_task(job(hanging.begin), "")
        await asyncio.to_thread(hanging.hanging.wait, TIMEOUT)
        task.cancel()
        await asyncio.to_thread(hanging.cancelled.wait, TIMEOUT)
        assert not task.done()
        # Cancelled again, it still waits.
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        hanging.let_go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(program())


def test_a_task_that_is_cancelled_before_its_first_step_cancels_its_job() -> None:
    hanging = Hanging()
    hanging.let_go.set()

    async def program() -> None:
        task = in_task(job(hanging.begin), "")
        assert hanging.hanging.wait(TIMEOUT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hanging.cancelled.is_set()

    asyncio.run(program())


def test_a_job_that_is_cancelled_before_it_begins_never_begins() -> None:
    hanging = Hanging()
    held = threading.Event()

    async def program() -> None:
        portal = open_thread_portal()
        portal.post(lambda: held.wait(TIMEOUT))
        task = in_task(TaskJob(portal, hanging.begin), "")
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        held.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(program())
    assert hanging.begun == 0


def test_a_task_that_is_cancelled_when_its_job_has_succeeded_is_cancelled() -> None:
    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 42

    async def program() -> None:
        portal = open_thread_portal()
        task = in_task(TaskJob(portal, answer), "")
        done = threading.Event()

        async def wait() -> None:
            await trio.testing.wait_all_tasks_blocked()
            done.set()

        other = in_task(TaskJob(portal, wait), "")
        assert done.wait(TIMEOUT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await other

    asyncio.run(program())


@pytest.mark.parametrize("succeeds", [True, False])
def test_what_nobody_takes_is_undone(*, succeeds: bool) -> None:
    undone = threading.Event()
    done = threading.Event()

    async def acquire() -> None:
        await trio.lowlevel.checkpoint()
        if not succeeds:
            raise LookupError("nothing to be undone")

    async def undo() -> None:
        await trio.lowlevel.checkpoint()
        undone.set()

    async def wait() -> None:
        await trio.testing.wait_all_tasks_blocked()
        done.set()

    async def program() -> None:
        task = in_task(TaskJob(open_thread_portal(), acquire, undo), "")
        await_done = in_task(job(wait), "")
        assert done.wait(TIMEOUT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await await_done

    asyncio.run(program())
    assert undone.is_set() is succeeds


def test_a_loop_that_is_closed_under_its_task_cancels_the_job() -> None:
    hanging = Hanging()
    hanging.let_go.set()
    loop = asyncio.new_event_loop()

    async def program() -> weakref.ref[asyncio.Task[None]]:
        task = in_task(job(hanging.begin), "")
        assert hanging.hanging.wait(TIMEOUT)
        await asyncio.sleep(0)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return weakref.ref(task)

    kept = loop.run_until_complete(program())
    loop.close()
    del loop
    gc.collect()
    assert kept() is None
    assert hanging.cancelled.wait(TIMEOUT)


def test_a_task_that_nobody_keeps_is_kept_until_it_has_ended() -> None:
    hanging = Hanging()
    hanging.let_go.set()

    def begin_and_forget() -> weakref.ref[asyncio.Task[None]]:
        return weakref.ref(in_task(job(hanging.begin), ""))

    async def program() -> None:
        kept = begin_and_forget()
        await asyncio.to_thread(hanging.hanging.wait, TIMEOUT)
        gc.collect()
        task = kept()
        assert task is not None
        assert not hanging.cancelled.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Whoever awaits a Task hears of its end as soon as its own callbacks do.
        await asyncio.sleep(0)
        del task
        gc.collect()
        assert kept() is None

    asyncio.run(program())


def test_an_outcome_for_a_closed_loop_is_dropped() -> None:
    settled = threading.Event()
    let_go = threading.Event()

    async def answer() -> None:
        await trio.to_thread.run_sync(let_go.wait, TIMEOUT)

    async def program() -> asyncio.Task[None]:
        task = in_task(job(answer), "")
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(program())
    loop.close()
    let_go.set()

    async def after() -> None:
        await trio.testing.wait_all_tasks_blocked()
        settled.set()

    wait_blocking(job(after))
    assert settled.is_set()
    del task


def test_without_a_loop_the_error_points_to_the_blocking_facade() -> None:
    with pytest.raises(RuntimeError, match=r"jchannel\.sync"):
        in_task(job(Hanging().begin), "")


def test_a_blocking_wait_gives_the_value() -> None:
    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 42

    assert wait_blocking(job(answer)) == 42


def test_an_interrupt_of_a_blocking_wait_cancels_the_job() -> None:
    hanging = Hanging()
    hanging.let_go.set()

    def interrupt() -> None:
        assert hanging.hanging.wait(TIMEOUT)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        wait_blocking(job(hanging.begin))
    thread.join()
    assert hanging.cancelled.is_set()


def test_an_interrupt_before_the_submission_ends_the_waiting_too(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging()
    portal = open_thread_portal()
    submit = portal.submit
    interrupts = [KeyboardInterrupt()]

    def interrupted(submission: Any) -> None:
        if interrupts:
            raise interrupts.pop()
        submit(submission)

    monkeypatch.setattr(portal, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wait_blocking(TaskJob(portal, hanging.begin))
    assert hanging.begun == 0


def test_an_interrupt_in_the_moment_of_the_outcome_ends_the_waiting_too() -> None:
    class InterruptedLock:
        """A lock, and an interrupt as soon as it is acquired."""

        def __init__(self, lock: threading.Lock) -> None:
            self._lock = lock
            self.release = lock.release

        def acquire(self, timeout: float) -> None:
            assert self._lock.acquire(timeout=timeout)
            raise KeyboardInterrupt

    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 42

    async def undo() -> None:
        await trio.lowlevel.checkpoint()
        undone.set()

    undone = threading.Event()
    waiting = _ThreadCall(TaskJob(open_thread_portal(), answer, undo))
    waiting._pending = InterruptedLock(waiting._pending)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        waiting.run()
    assert undone.is_set()


def test_a_thread_that_waits_long_wakes_up_now_and_then_to_hear_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_SLEEP", 0.001)
    waits: list[float] = []
    let_go = threading.Event()

    class CountingLock:
        """A lock that lets the job go when it was waited for three times."""

        def __init__(self, lock: threading.Lock) -> None:
            self._lock = lock
            self.release = lock.release

        def acquire(self, timeout: float) -> bool:
            waits.append(timeout)
            if len(waits) == 3:
                let_go.set()
            return self._lock.acquire(timeout=timeout)

    async def answer() -> int:
        await trio.to_thread.run_sync(let_go.wait, TIMEOUT)
        return 42

    waiting = _ThreadCall(job(answer))
    waiting._pending = CountingLock(waiting._pending)  # type: ignore[assignment]
    assert waiting.run() == 42
    assert len(waits) >= 3


def test_an_interrupt_when_trio_has_ended_ends_the_waiting_too(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = Portal()
    portal.end("all is over")
    submit = portal.submit
    interrupts = [KeyboardInterrupt()]

    def interrupted(submission: Any) -> None:
        submit(submission)
        if interrupts:
            raise interrupts.pop()

    monkeypatch.setattr(portal, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wait_blocking(TaskJob(portal, Hanging().begin))


def test_where_loop_and_trio_are_one_the_end_of_trio_cancels_the_task() -> None:
    async def program() -> None:
        portal = Portal()
        portal.loop = weakref.ref(asyncio.get_running_loop())
        task = in_task(TaskJob(portal, Hanging().begin), "")
        await asyncio.sleep(0)
        portal.end("all is over")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(program())


def test_what_a_job_says_after_its_trio_has_ended_changes_nothing() -> None:
    class LateJob(Job[int]):
        """A job whose outcome the test brings."""

        call: Call[int]

        def start(self, call: Call[int]) -> Running:
            self.call = call
            return trio.CancelScope()

    late = LateJob()
    late.portal = Portal()
    waiting = _ThreadCall(late)
    waiting.submit()
    late.portal.run()
    late.portal.end("all is over")
    late.call.finish(outcome.Value(42))
    with pytest.raises(StateError, match="all is over"):
        waiting.unwrap()


@pytest.mark.parametrize("can_be_undone", [True, False])
def test_what_has_succeeded_in_the_moment_of_a_refusal_is_undone(*, can_be_undone: bool) -> None:
    portal = open_thread_portal()
    acquired, undone = trio.Event(), trio.Event()

    async def acquire() -> int:
        await acquired.wait()
        return 42

    async def undo() -> None:
        await trio.lowlevel.checkpoint()
        undone.set()

    async def refuse() -> None:
        await trio.testing.wait_all_tasks_blocked()
        acquired.set()  # The job ends in the next step, before its cancellation can come.
        waiting.refuse(StateError("given up"))
        await trio.testing.wait_all_tasks_blocked()

    waiting = _ThreadCall(TaskJob(portal, acquire, undo if can_be_undone else None))
    waiting.submit()
    wait_blocking(TaskJob(portal, refuse))

    assert undone.is_set() is can_be_undone
    with pytest.raises(StateError, match="given up"):
        waiting.unwrap()


def test_what_an_interrupted_thread_does_not_take_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    portal = open_thread_portal()
    submit = portal.submit
    interrupts = [KeyboardInterrupt()]
    acquired, undone = threading.Event(), threading.Event()

    async def acquire() -> None:
        await trio.lowlevel.checkpoint()
        acquired.set()

    async def undo() -> None:
        await trio.lowlevel.checkpoint()
        undone.set()

    def interrupted(submission: Any) -> None:
        submit(submission)
        if interrupts:
            assert acquired.wait(TIMEOUT)
            wait_blocking(TaskJob(portal, trio.testing.wait_all_tasks_blocked))
            raise interrupts.pop()

    def submit_twice(submission: Any) -> None:
        monkeypatch.setattr(portal, "submit", submit)
        interrupted(submission)

    monkeypatch.setattr(portal, "submit", submit_twice)
    with pytest.raises(KeyboardInterrupt):
        wait_blocking(TaskJob(portal, acquire, undo))
    assert undone.is_set()


def test_trios_own_thread_is_told_not_to_wait_for_itself() -> None:
    async def wait_in_trio() -> None:
        await trio.lowlevel.checkpoint()
        wait_blocking(job(Hanging().begin))

    with pytest.raises(RuntimeError, match="would wait for itself"):
        wait_blocking(job(wait_in_trio))


@pytest.mark.parametrize("error", [LookupError(), SystemExit(), KeyboardInterrupt()])
def test_what_starting_a_job_raises_is_its_outcome_but_for_an_interrupt_of_the_program(error: BaseException) -> None:
    class Failing(Job[None]):
        def __init__(self, portal: Portal) -> None:
            self.portal = portal

        def start(self, call: Call[None]) -> Running:
            raise error

    portal = Portal()
    portal._thread = threading.get_ident()
    call = _ThreadCall(Failing(portal))
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            call.start()
    else:
        call.start()
        with pytest.raises(type(error)):
            call.unwrap()


def test_an_interrupt_behind_the_submission_cancels_the_job_that_no_task_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hanging = Hanging()
    hanging.let_go.set()
    portal = open_thread_portal()
    submit = portal.submit

    def interrupted(submission: Any) -> None:
        submit(submission)
        assert hanging.hanging.wait(TIMEOUT)
        raise KeyboardInterrupt  # As one that has waited for the end of a step.

    async def program() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(portal, "submit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                in_task(TaskJob(portal, hanging.begin), "")

    asyncio.run(program())
    assert hanging.cancelled.wait(TIMEOUT)

"""Progress that is told outside of trio. The test plays trio and the place where the user's progress lives."""

import asyncio
import logging
import threading

import pytest
import trio
import trio.testing

from jchannel._bridge.call import wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.mailbox import LoopMailbox, Work
from jchannel._bridge.portal import Portal, open_thread_portal
from jchannel._bridge.progress import BridgedProgress
from jchannel._core.limits import Limits
from jchannel._core.threads import TrioThreads
from jchannel.errors import StateError
from tests.peer_thread import TIMEOUT


def find_threads() -> TrioThreads:
    return TrioThreads(Limits())


class Told:
    """The user's progress."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls: list[object] = []
        self.error = error

    def __call__(self, done: int, total: int | None) -> None:
        self.calls.append((done, total))
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.calls.append("closed")


class Later(BridgedProgress):
    """What is to be run elsewhere waits until the test lets it go."""

    def __init__(self, told: object) -> None:
        portal = Portal()
        portal._thread = threading.get_ident()
        super().__init__(told, portal, None, find_threads)  # type: ignore[arg-type]
        self.waiting: list[Work] = []

    def _run_there(self, work: Work) -> None:
        self.waiting.append(work)

    def let_go(self) -> None:
        self.waiting.pop(0)()


def test_the_latest_is_told_when_the_one_before_has_been() -> None:
    told = Told()
    progress = Later(told)
    for done in range(5):
        progress(done, 10)
    progress.close()
    assert len(progress.waiting) == 1
    progress.let_go()
    assert told.calls == [(0, 10)]
    progress.let_go()
    assert told.calls == [(0, 10), (4, 10), "closed"]
    assert not progress.waiting


def test_a_plain_function_needs_no_close() -> None:
    calls: list[int] = []
    progress = Later(lambda done, _: calls.append(done))
    progress.close()
    progress.let_go()
    assert calls == []


def test_an_exception_is_raised_by_the_next_call() -> None:
    progress = Later(Told(LookupError("enough")))
    progress(1, None)
    progress.let_go()
    with pytest.raises(LookupError, match="enough"):
        progress(2, None)


def test_an_exception_is_raised_by_the_end_when_no_call_follows() -> None:
    told = Told(LookupError("enough"))
    progress = Later(told)
    progress(1, None)
    progress.let_go()
    with pytest.raises(LookupError, match="enough"):
        progress.close()
    progress.let_go()
    assert told.calls == [(1, None), "closed"]


def test_an_exception_after_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    progress = Later(Told(LookupError("too late")))
    progress(1, None)
    progress.close()
    with caplog.at_level(logging.ERROR):
        progress.let_go()
    assert "the progress of a stream that has ended raised" in caplog.text


def test_an_exit_goes_to_its_own_program_and_ends_the_stream() -> None:
    progress = Later(Told(SystemExit()))
    progress(1, None)
    with pytest.raises(SystemExit):
        progress.let_go()
    with pytest.raises(StateError, match="progress has ended with SystemExit"):
        progress(2, None)


def test_a_closed_loop_is_told_nothing() -> None:
    async def program() -> LoopMailbox:
        return LoopMailbox.of(asyncio.get_running_loop())

    told = Told()
    progress = BridgedProgress(told, Portal(), asyncio.run(program()), find_threads)
    progress(1, None)
    progress.close()
    assert told.calls == []


def test_a_progress_that_no_thread_is_left_for_ends_the_stream_with_the_name_of_the_limit() -> None:
    held = threading.Event()

    def hold() -> None:
        held.wait(TIMEOUT)

    async def tell_on(progress: BridgedProgress) -> None:
        while True:
            progress(1, 1)
            await trio.lowlevel.checkpoint()

    async def tell() -> None:
        threads = TrioThreads(Limits(waiting_threads=1, thread_seconds=0.001))
        threads.start(hold, "held")
        progress = BridgedProgress(Told(), open_thread_portal(), None, lambda: threads)
        with pytest.raises(StateError, match=r"1 threads wait already, as many as Limits\.waiting_threads allows"):
            await tell_on(progress)

    wait_blocking(TaskJob(open_thread_portal(), tell))
    held.set()


def test_worker_threads_tell_it() -> None:
    closed = threading.Event()

    class Closing(Told):
        def close(self) -> None:
            super().close()
            closed.set()

    told = Closing()
    progress = BridgedProgress(told, open_thread_portal(), None, find_threads)

    async def tell() -> None:
        progress(1, 1)
        progress.close()
        await trio.lowlevel.checkpoint()

    wait_blocking(TaskJob(open_thread_portal(), tell))
    assert closed.wait(TIMEOUT)
    assert told.calls == [(1, 1), "closed"]

"""Portals."""

import asyncio
import logging
import signal
import threading
import weakref
from typing import Any

import outcome
import pytest
import trio

from jchannel._bridge import portal as module
from jchannel._bridge.call import Call, in_task, wait_blocking
from jchannel._bridge.jobs import Job, Running, TaskJob
from jchannel._bridge.portal import Portal, open_thread_portal, portal_of
from jchannel.errors import StateError
from tests.conftest import FreshPython
from tests.peer_thread import TIMEOUT


class Endless(Job[None]):
    """A job that notes when it is started, and never ends."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.started = threading.Event()

    def start(self, call: Call[None]) -> Running:
        assert self.portal.is_here
        self.started.set()
        return trio.CancelScope()


class EndlessCall(Call[None]):
    """A call that is ended by the end of its portal alone."""

    def __init__(self, portal: Portal) -> None:
        job = Endless(portal)
        super().__init__(job)
        self.started = job.started
        self.lost = threading.Event()
        self.error: BaseException | None = None

    def _notify(self) -> None:
        assert isinstance(self._outcome, outcome.Error)
        self.error = self._outcome.error
        self.lost.set()


class Hanging:
    """A job that never ends."""

    def __init__(self) -> None:
        self.hanging = threading.Event()

    async def hang(self) -> None:
        self.hanging.set()
        await trio.sleep_forever()


def break_trio() -> None:
    raise SystemExit("broken on purpose")


def kill(portal: Portal) -> None:
    """Breaks a portal's trio, and waits until it has ended."""
    call = EndlessCall(portal)
    portal.submit(call)
    portal.post(break_trio)
    assert call.lost.wait(TIMEOUT)


def test_an_error_in_what_is_done_in_trio_is_logged_and_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError("broken on purpose")

    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 42

    portal = open_thread_portal()
    portal.post(fail)
    assert wait_blocking(TaskJob(portal, answer)) == 42
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_there_is_one_trio_thread() -> None:
    async def program() -> Portal:
        return portal_of(asyncio.get_running_loop())

    assert asyncio.run(program()) is asyncio.run(program()) is open_thread_portal()


def test_what_is_submitted_before_trio_has_begun_starts_with_it() -> None:
    portal = Portal()
    call = EndlessCall(portal)
    portal.submit(call)

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal.run_until_cancelled)
            await trio.testing.wait_all_tasks_blocked()
            assert call.started.is_set()
            assert portal.is_here
            nursery.cancel_scope.cancel()

    trio.run(program)


def test_what_is_submitted_in_trio_starts_at_once() -> None:
    async def program() -> None:
        portal = Portal()
        call = EndlessCall(portal)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal.run_until_cancelled)
            await trio.testing.wait_all_tasks_blocked()
            portal.submit(call)
            assert call.started.is_set()
            nursery.cancel_scope.cancel()

    trio.run(program)


def test_what_is_submitted_after_the_end_is_lost() -> None:
    portal = Portal()
    call = EndlessCall(portal)
    portal.end("all is over")
    portal.submit(call)
    assert str(call.error) == "all is over"


def test_what_is_submitted_when_trio_has_just_ended_is_lost_when_the_portal_notices() -> None:
    portal = Portal()
    call = EndlessCall(portal)

    async def program() -> None:
        with trio.move_on_after(0):
            await portal.run_until_cancelled()

    trio.run(program)
    portal._thread = None  # The thread that notices is not this one.
    portal.submit(call)
    assert call.error is None
    portal.end("all is over")
    assert str(call.error) == "all is over"


def test_what_is_submitted_while_the_portal_ends_is_lost() -> None:
    class EndingPortal(Portal):
        """Ends when it is about to be woken, as another thread may end it."""

        def _wake(self) -> None:
            self.why_ended = "all is over"

    portal = EndingPortal()
    call = EndlessCall(portal)
    portal.submit(call)
    assert str(call.error) == "all is over"


def test_everything_under_way_gets_the_error_that_has_ended_the_trio_thread() -> None:
    portal = open_thread_portal()

    async def program() -> None:
        hanging = Hanging()
        task = in_task(TaskJob(portal, hanging.hang), "hang")
        assert hanging.hanging.wait(TIMEOUT)
        kill(portal)
        with pytest.raises(StateError, match="trio thread has ended with an error") as caught:
            await task
        assert isinstance(caught.value.__cause__, trio.TrioInternalError)

    asyncio.run(program())


def test_a_blocking_wait_gets_the_error_that_has_ended_the_trio_thread() -> None:
    portal, hanging = open_thread_portal(), Hanging()

    def wait_and_kill() -> None:
        assert hanging.hanging.wait(TIMEOUT)
        kill(portal)

    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    with pytest.raises(StateError, match="trio thread has ended with an error"):
        wait_blocking(TaskJob(portal, hanging.hang))
    thread.join()
    with pytest.raises(StateError, match="trio thread has ended with an error"):
        wait_blocking(TaskJob(portal, Hanging().hang))


def test_another_trio_thread_is_started_after_one_has_died() -> None:
    portal = open_thread_portal()
    kill(portal)
    assert open_thread_portal() is not portal

    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 42

    assert wait_blocking(TaskJob(open_thread_portal(), answer)) == 42


def test_a_forked_process_does_not_wait_for_the_thread_of_the_other(fresh_python: FreshPython) -> None:
    program = """
import os, sys, warnings
import jchannel.sync
warnings.simplefilter("ignore")
server = jchannel.sync.start(port=0)
child = os.fork()
if not child:
    try:
        server.wait_page(20)
    except jchannel.StateError as error:
        print(error, flush=True)
    jchannel.sync.start(port=0).stop()
    print("a server of its own", flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
server.stop()
"""
    assert fresh_python(program).splitlines() == [
        "the server belongs to the process that this one was forked from: start one of its own here",
        "a server of its own",
    ]


def test_what_a_fork_leaves_behind_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    # The same as in a forked process, which coverage does not see.
    monkeypatch.setattr(Portal, "_all", weakref.WeakSet())
    portal, ended = Portal(), Portal()
    ended.end("it has ended before")
    monkeypatch.setattr(module, "_thread_portal", portal)
    module._end_after_fork()
    call = EndlessCall(portal)
    portal.submit(call)
    assert "forked" in str(call.error)
    module._end_after_fork()
    assert module._thread_portal is None
    assert str(ended.explain_end()) == "it has ended before"


class NoTrio:
    """Steps that could always be had."""

    def __init__(self) -> None:
        self.borrowed = 0
        self.borrowed_here = False

    def borrow(self) -> bool:
        self.borrowed += 1
        return True

    def give_back(self) -> None:
        self.borrowed -= 1


class LendingPortal(Portal):
    """A portal whose trio does not come to run what has been posted."""

    def __init__(self) -> None:
        super().__init__()
        steps: Any = NoTrio()
        self._steps = steps

    def _wake(self) -> None:
        pass


def test_there_is_no_step_before_what_the_thread_has_posted() -> None:
    portal = LendingPortal()
    assert portal.borrow_step()
    portal.give_step_back()
    portal.post(lambda: None)
    assert not portal.borrow_step()


def test_an_interrupt_while_trio_is_woken_leaves_the_portal_working() -> None:
    interrupts: list[BaseException] = [KeyboardInterrupt()]
    wakes: list[int] = []

    class Interrupted(Portal):
        def _wake(self) -> None:
            if interrupts:
                raise interrupts.pop()
            wakes.append(1)

    portal = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        portal.post_later(lambda: None)
    portal.post_later(lambda: None)
    assert wakes == [1]


def test_a_step_that_was_made_when_the_process_was_forked_is_left() -> None:
    portal = open_thread_portal()
    handler = signal.getsignal(signal.SIGINT)
    while not portal.borrow_step():
        pass
    portal.leave_step_after_fork()
    assert signal.getsignal(signal.SIGINT) is handler
    portal.give_step_back()


def test_there_is_no_step_where_log_handlers_would_run_in_it(caplog: pytest.LogCaptureFixture) -> None:
    portal = LendingPortal()
    with caplog.at_level(logging.DEBUG, "jchannel.wire"):
        assert not portal.borrow_step()
    assert portal.borrow_step()


def test_a_plain_loop_is_not_one_with_trio() -> None:
    loop = asyncio.new_event_loop()
    assert Portal().loop is None
    loop.close()


def test_an_error_in_a_borrowed_step_is_logged_behind_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        starts_anywhere = True

        def start(self) -> None:
            raise ZeroDivisionError

    portal = open_thread_portal()
    monkeypatch.setattr(portal, "borrow_step", lambda: True)
    monkeypatch.setattr(portal, "give_step_back", lambda: None)
    broken: Any = Broken()
    portal.submit(broken)
    assert "ZeroDivisionError" in caplog.text

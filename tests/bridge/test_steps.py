"""Steps of trio's that other threads borrow, and what is done in them."""

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import trio

from jchannel._bridge.steps import Steps
from tests.conftest import FreshPython

T = TypeVar("T")

LONG = 20.0
"""Seconds that whatever is waited for may take: a guard and no assertion."""


class Run:
    """A run of trio in a thread of its own, which lends its steps.

    Attributes:
        steps: Its steps.
    """

    def __init__(self) -> None:
        self.steps = Steps()
        self._token: trio.lowlevel.TrioToken | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(
            target=trio.run, args=(self._main,), kwargs={"instruments": [self.steps]}, daemon=True
        )
        self._thread.start()
        assert self._started.wait(LONG)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._end = trio.Event()
        self._started.set()
        await self._end.wait()

    def do(self, function: Callable[[], object]) -> None:
        """Calls a function in trio, soon."""
        assert self._token is not None
        self._token.run_sync_soon(function)

    def borrow(self) -> None:
        """Borrows a step as soon as there is one: trio may not have come to its rest yet."""
        while not self.steps.borrow():
            pass

    def end(self) -> None:
        """Ends it."""
        self.do(self._end.set)
        self._thread.join(LONG)


@pytest.fixture
def run() -> Iterator[Run]:
    """A run that waits."""
    run = Run()
    yield run
    run.end()


def in_thread(function: Callable[[], T]) -> T:
    """Returns what a function returns in another thread."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(LONG)
    return results[0]


def test_trio_does_nothing_while_its_step_is_borrowed(run: Run) -> None:
    done = threading.Event()
    run.borrow()
    run.do(done.set)
    assert not done.wait(0.01)
    run.steps.give_back()
    assert done.wait(LONG)


def test_there_is_no_step_while_trio_runs(run: Run) -> None:
    began, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        let_go.wait(LONG)

    run.do(hold)
    assert began.wait(LONG)
    assert not run.steps.borrow()
    let_go.set()


def test_there_is_one_step_at_a_time(run: Run) -> None:
    run.borrow()
    try:
        assert not in_thread(run.steps.borrow)
    finally:
        run.steps.give_back()


def test_there_is_no_step_of_a_trio_that_has_woken_up_and_is_about_to_take_it() -> None:
    steps = Steps()
    steps.before_run()
    steps.before_io_wait(1)
    steps._resting = False
    assert not steps.borrow()
    steps.after_io_wait(1)


def test_a_look_at_the_network_lends_nothing() -> None:
    steps = Steps()
    steps.before_run()
    steps.before_io_wait(0)
    assert not steps.borrow()
    steps.after_io_wait(0)


def test_there_is_no_step_after_the_end() -> None:
    run = Run()
    run.end()
    assert not run.steps.borrow()


def test_an_interrupt_waits_for_the_end_of_the_step(run: Run) -> None:
    handler = signal.getsignal(signal.SIGINT)
    events: list[str] = []
    run.borrow()
    signal.raise_signal(signal.SIGINT)
    events.append("the step went on")
    with pytest.raises(KeyboardInterrupt):
        run.steps.give_back()
    assert events == ["the step went on"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupt_that_came_while_no_step_was_to_be_had_is_raised(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    in_thread(run.borrow)
    hold = run.steps._hold_interrupts

    def interrupted() -> bool:
        held = hold()
        signal.raise_signal(signal.SIGINT)
        return held

    monkeypatch.setattr(run.steps, "_hold_interrupts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.steps.borrow()
    assert signal.getsignal(signal.SIGINT) is handler
    in_thread(run.steps.give_back)


def test_a_handler_that_is_no_function_stays(run: Run) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run.borrow()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        run.steps.give_back()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_finalizer_within_a_step_borrows_no_other(run: Run) -> None:
    borrowed: list[bool] = []

    class Finalized:
        def __del__(self) -> None:
            borrowed.append(run.steps.borrow())

    handler = signal.getsignal(signal.SIGINT)
    run.borrow()
    cycle: list[Any] = [Finalized()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    run.steps.give_back()
    assert borrowed == [False]
    assert signal.getsignal(signal.SIGINT) is handler


def test_whoever_has_borrowed_a_step_cannot_wait_for_trio(run: Run) -> None:
    run.borrow()
    places = [run.steps.borrowed_here, in_thread(lambda: run.steps.borrowed_here)]
    run.steps.give_back()
    assert [*places, run.steps.borrowed_here] == [True, False, False]


@pytest.fixture
def alarm() -> Iterator[None]:
    """A program whose time limits are raised as exceptions, wherever its main thread is."""

    def ring(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGTERM, ring)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_main_thread_borrows_no_step_where_a_signal_may_raise_in_it(run: Run, alarm: None) -> None:
    in_thread(run.borrow)  # There is one for all others.
    in_thread(run.steps.give_back)
    handler = signal.getsignal(signal.SIGINT)
    assert not any(run.steps.borrow() for _ in range(100))
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.skipif(sys.platform == "win32", reason="its loops take no signals")
def test_a_signal_that_a_loop_takes_raises_nothing(run: Run) -> None:
    async def program() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
        run.borrow()
        run.steps.give_back()

    asyncio.run(program())


@pytest.mark.skipif(sys.platform == "win32", reason="its loops take no signals")
def test_an_interrupt_in_a_step_is_one_for_a_loop_that_takes_it(run: Run) -> None:
    interrupts: list[int] = []

    async def program() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, interrupts.append, 1)
        run.borrow()
        signal.raise_signal(signal.SIGINT)
        run.steps.give_back()
        for _ in range(5):  # It has been woken, and runs what it has taken.
            await asyncio.sleep(0)
        loop.remove_signal_handler(signal.SIGINT)

    asyncio.run(program())
    assert interrupts == [1]


def test_a_process_that_is_forked_within_a_step_has_its_handler_of_interrupts(run: Run) -> None:
    handler = signal.getsignal(signal.SIGINT)
    run.borrow()
    run.steps.leave_after_fork()
    assert signal.getsignal(signal.SIGINT) is handler
    run.steps.give_back()
    run.steps.leave_after_fork()
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_process_that_another_thread_forks_meanwhile_can_be_interrupted(fresh_python: FreshPython) -> None:
    program = """
import os, signal, threading, warnings
from jchannel._bridge.portal import open_thread_portal
warnings.simplefilter("ignore")
portal = open_thread_portal()
while not portal.borrow_step():
    pass
codes = []
def fork():
    child = os.fork()
    if not child:
        os._exit(0 if signal.getsignal(signal.SIGINT) is signal.default_int_handler else 1)
    codes.append(os.waitpid(child, 0)[1])
thread = threading.Thread(target=fork)
thread.start()
thread.join()
portal.give_step_back()
print(codes)
"""
    assert fresh_python(program).strip() == "[0]"

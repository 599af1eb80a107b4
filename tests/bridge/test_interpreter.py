"""The interpreter's sharing, with a loop and clocks that the test moves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jchannel._bridge import interpreter as module
from jchannel._bridge.interpreter import (
    LoopPauses,
    forget_sharers,
    share_interpreter,
    stop_sharing_interpreter,
)


class FakeLoop:
    """An asyncio loop, as far as it is needed."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, work: Callable[[], None]) -> None:
        self.timers.append((seconds, work))


class FakeTime:
    """The time, and that in which the thread has computed."""

    def __init__(self) -> None:
        self.now = 100.0
        self.computed = 10.0
        self.rests = 0

    def perf_counter(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.computed

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.rests += 1

    def compute(self, seconds: float) -> None:
        self.now += seconds
        self.computed += seconds

    def wait(self, seconds: float) -> None:
        self.now += seconds


class Bench:
    """The pauses of a loop, and what they see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = FakeTime()
        self.loop = FakeLoop()
        monkeypatch.setattr(module, "time", self.time)
        loop: Any = self.loop
        self.pauses = LoopPauses(loop)

    def pass_time(self, spend: Callable[[float], None]) -> float:
        """Lets the time until the next look pass, and looks. Gives how long it was."""
        ((seconds, look),) = self.loop.timers
        self.loop.timers.clear()
        spend(seconds)
        look()
        return seconds


@pytest.fixture
def switch_interval(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The interpreter's own switch interval, while nobody shares. Afterwards all is as it was."""
    monkeypatch.setattr(module, "sharers", 0)
    monkeypatch.setattr(module, "_shortened", False)
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def sharing(switch_interval: None) -> Iterator[None]:
    """Somebody shares the interpreter."""
    share_interpreter()
    yield
    stop_sharing_interpreter()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, sharing: None) -> Bench:
    return Bench(monkeypatch)


def test_a_loop_that_never_rests_is_stopped_again_and_again_while_a_request_waits(bench: Bench) -> None:
    bench.pauses.begin_wait()
    for number in range(1, 6):
        assert bench.pass_time(bench.time.compute) == pytest.approx(0.005)
        assert bench.time.rests == number


def test_a_loop_that_rests_by_itself_is_looked_at_less_and_less_often(bench: Bench) -> None:
    bench.pauses.begin_wait()
    assert [bench.pass_time(bench.time.wait) for _ in range(7)] == pytest.approx(
        [0.005, 0.01, 0.02, 0.04, 0.08, 0.1, 0.1]
    )
    assert bench.time.rests == 0


def test_a_loop_that_becomes_busy_is_looked_at_often_again(bench: Bench) -> None:
    bench.pauses.begin_wait()
    for _ in range(4):
        bench.pass_time(bench.time.wait)
    assert bench.pass_time(bench.time.compute) == pytest.approx(0.08)
    assert bench.time.rests == 1
    assert bench.pass_time(bench.time.compute) == pytest.approx(0.005)


def test_without_a_request_nothing_is_looked_at(bench: Bench) -> None:
    bench.pauses.begin_wait()
    bench.pauses.begin_wait()
    bench.pauses.end_wait()
    bench.pass_time(bench.time.wait)
    bench.pauses.end_wait()
    bench.pass_time(bench.time.wait)
    assert bench.loop.timers == []
    bench.pauses.begin_wait()
    assert len(bench.loop.timers) == 1


def test_after_something_came_from_trio_the_loop_is_looked_at_for_a_second(bench: Bench) -> None:
    bench.pauses.note_arrival()
    spent = 0.0
    while bench.loop.timers:
        spent += bench.pass_time(bench.time.compute)
    assert 0.9 <= spent <= 1.1
    assert bench.time.rests > 100


def test_a_request_of_a_cell_that_computes_gives_the_one_before_its_turn(bench: Bench) -> None:
    bench.pauses.begin_wait()
    bench.time.compute(0.001)
    bench.pauses.begin_wait()
    assert bench.time.rests == 0
    bench.time.compute(1)
    bench.pauses.begin_wait()
    assert bench.time.rests == 1
    bench.time.wait(1)
    bench.pauses.begin_wait()
    assert bench.time.rests == 1
    assert len(bench.loop.timers) == 1


@pytest.mark.usefixtures("sharing")
def test_the_loop_may_be_gone_before_its_timer() -> None:
    loop = asyncio.new_event_loop()
    LoopPauses(loop).begin_wait()
    loop.close()


def test_while_nobody_shares_no_loop_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.pauses.begin_wait()
    bench.pauses.note_arrival()
    bench.time.compute(1)
    bench.pauses.begin_wait()
    assert bench.loop.timers == []
    assert bench.time.rests == 0


@pytest.mark.usefixtures("switch_interval")
def test_when_nobody_shares_any_more_a_loop_is_looked_at_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    share_interpreter()
    bench.pauses.begin_wait()
    stop_sharing_interpreter()
    bench.pass_time(bench.time.compute)
    assert bench.loop.timers == []
    assert bench.time.rests == 0


@pytest.mark.usefixtures("switch_interval")
def test_requests_that_were_made_before_somebody_shares_end_as_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch)
    bench.pauses.begin_wait()
    share_interpreter()
    bench.pauses.begin_wait()
    bench.pauses.end_wait()
    assert bench.pass_time(bench.time.compute) == pytest.approx(0.005)
    bench.pauses.end_wait()
    bench.pass_time(bench.time.compute)
    assert bench.loop.timers == []
    stop_sharing_interpreter()


@pytest.mark.usefixtures("switch_interval")
def test_the_interpreters_own_switch_interval_is_shortened_while_somebody_shares() -> None:
    share_interpreter()
    share_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    stop_sharing_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    stop_sharing_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.005)


@pytest.mark.usefixtures("switch_interval")
@pytest.mark.parametrize("seconds", [0.0001, 0.004, 0.01])
def test_a_switch_interval_that_somebody_has_set_stays(seconds: float) -> None:
    sys.setswitchinterval(seconds)
    share_interpreter()
    assert sys.getswitchinterval() == pytest.approx(seconds)
    stop_sharing_interpreter()
    assert sys.getswitchinterval() == pytest.approx(seconds)


@pytest.mark.usefixtures("sharing")
def test_a_switch_interval_that_somebody_sets_meanwhile_stays() -> None:
    sys.setswitchinterval(0.01)
    stop_sharing_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.01)
    share_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.01)


@pytest.mark.usefixtures("switch_interval")
def test_a_forked_process_has_the_interpreters_own_switch_interval_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_lock", module._lock)  # Put back afterwards: this process has not been forked.
    share_interpreter()
    share_interpreter()
    forget_sharers()
    assert sys.getswitchinterval() == pytest.approx(0.005)
    assert module.sharers == 0

"""Turns of the trio thread, with a loop and clocks that the test moves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jchannel._bridge import turns
from jchannel._bridge.turns import Turns, shorten_switch_interval


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
    """The turns of a loop, and what they see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = FakeTime()
        self.loop = FakeLoop()
        monkeypatch.setattr(turns, "time", self.time)
        loop: Any = self.loop
        self.turns = Turns(loop)

    def pass_time(self, spend: Callable[[float], None]) -> float:
        """Lets the time until the next look pass, and looks. Gives how long it was."""
        ((seconds, look),) = self.loop.timers
        self.loop.timers.clear()
        spend(seconds)
        look()
        return seconds


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


@pytest.fixture
def switch_interval() -> Iterator[None]:
    """Has the interpreter's switch interval as it was, afterwards."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_a_loop_that_never_rests_is_stopped_again_and_again_while_a_request_waits(bench: Bench) -> None:
    bench.turns.begin_wait()
    for number in range(1, 6):
        assert bench.pass_time(bench.time.compute) == pytest.approx(0.005)
        assert bench.time.rests == number


def test_a_loop_that_rests_by_itself_is_looked_at_less_and_less_often(bench: Bench) -> None:
    bench.turns.begin_wait()
    assert [bench.pass_time(bench.time.wait) for _ in range(7)] == pytest.approx(
        [0.005, 0.01, 0.02, 0.04, 0.08, 0.1, 0.1]
    )
    assert bench.time.rests == 0


def test_a_loop_that_becomes_busy_is_looked_at_often_again(bench: Bench) -> None:
    bench.turns.begin_wait()
    for _ in range(4):
        bench.pass_time(bench.time.wait)
    assert bench.pass_time(bench.time.compute) == pytest.approx(0.08)
    assert bench.time.rests == 1
    assert bench.pass_time(bench.time.compute) == pytest.approx(0.005)


def test_without_a_request_nothing_is_looked_at(bench: Bench) -> None:
    bench.turns.begin_wait()
    bench.turns.begin_wait()
    bench.turns.end_wait()
    bench.pass_time(bench.time.wait)
    bench.turns.end_wait()
    bench.pass_time(bench.time.wait)
    assert bench.loop.timers == []
    bench.turns.begin_wait()
    assert len(bench.loop.timers) == 1


def test_after_something_came_from_trio_the_loop_is_looked_at_for_a_second(bench: Bench) -> None:
    bench.turns.take_note()
    spent = 0.0
    while bench.loop.timers:
        spent += bench.pass_time(bench.time.compute)
    assert 0.9 <= spent <= 1.1
    assert bench.time.rests > 100


def test_a_request_of_a_cell_that_computes_gives_the_one_before_its_turn(bench: Bench) -> None:
    bench.turns.begin_wait()
    bench.time.compute(0.001)
    bench.turns.begin_wait()
    assert bench.time.rests == 0
    bench.time.compute(1)
    bench.turns.begin_wait()
    assert bench.time.rests == 1
    bench.time.wait(1)
    bench.turns.begin_wait()
    assert bench.time.rests == 1
    assert len(bench.loop.timers) == 1


def test_the_loop_may_be_gone_before_its_timer() -> None:
    loop = asyncio.new_event_loop()
    Turns(loop).begin_wait()
    loop.close()


@pytest.mark.usefixtures("switch_interval")
def test_the_interpreters_own_switch_interval_is_shortened() -> None:
    sys.setswitchinterval(0.005)
    shorten_switch_interval()
    assert sys.getswitchinterval() == pytest.approx(0.0002)


@pytest.mark.usefixtures("switch_interval")
@pytest.mark.parametrize("seconds", [0.0001, 0.004, 0.01])
def test_a_switch_interval_that_somebody_has_set_stays(seconds: float) -> None:
    sys.setswitchinterval(seconds)
    shorten_switch_interval()
    assert sys.getswitchinterval() == pytest.approx(seconds)

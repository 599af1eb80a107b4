"""The pauses of an asyncio loop that never rests, with a loop and clocks that the test moves."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from jchannel._bridge import pauses as module
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.pauses import LoopPauses


class FakeLoop:
    """An asyncio loop, as far as it is needed."""

    def __init__(self, clock: FakeTime) -> None:
        self.timers: list[tuple[float, Callable[[float], None], float]] = []
        self._clock = clock

    def time(self) -> float:
        return self._clock.now

    def call_at(self, when: float, work: Callable[[float], None], argument: float) -> None:
        self.timers.append((when, work, argument))


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

    def compute_a_third(self, seconds: float) -> None:
        self.compute(seconds * 0.34)
        self.wait(seconds * 0.66)

    def compute_a_quarter(self, seconds: float) -> None:
        self.compute(seconds * 0.25)
        self.wait(seconds * 0.75)


class Bench:
    """The pauses of a loop, and what they see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = FakeTime()
        self.loop = FakeLoop(self.time)
        monkeypatch.setattr(module, "time", self.time)
        loop: Any = self.loop
        self.pauses = LoopPauses(loop)

    def wait_for_one(self) -> None:
        """Makes a request, which begins at once."""
        self.pauses.waiting += 1
        if self.pauses.looks_late or not self.pauses.looks:
            self.pauses.look_soon()

    def pass_time(self, spend: Callable[[float], None]) -> float:
        """Lets the time until the next look pass, and looks. Gives how long it was."""
        when, look, argument = self.loop.timers.pop(0)
        seconds = max(0.0, when - self.time.now)
        spend(seconds)
        look(argument)
        return seconds


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_a_loop_that_never_rests_is_stopped_again_and_again_while_a_request_waits(bench: Bench) -> None:
    bench.wait_for_one()
    for number in range(1, 6):
        assert bench.pass_time(bench.time.compute) <= 0.005
        assert bench.time.rests == number


def test_a_loop_that_rests_by_itself_is_looked_at_less_and_less_often(bench: Bench) -> None:
    bench.wait_for_one()
    assert [bench.pass_time(bench.time.wait) for _ in range(10)] == pytest.approx(
        [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1]
    )
    assert bench.time.rests == 0


def test_a_loop_that_has_a_third_of_a_core_is_one_that_never_rests(bench: Bench) -> None:
    bench.wait_for_one()
    bench.pass_time(bench.time.compute_a_third)
    bench.pass_time(bench.time.compute_a_third)
    assert bench.time.rests == 2


def test_a_loop_that_computes_less_is_not_stopped(bench: Bench) -> None:
    bench.wait_for_one()
    for _ in range(4):
        bench.pass_time(bench.time.compute_a_quarter)
    assert bench.time.rests == 0


def test_a_busy_loop_is_not_stopped_while_something_comes_from_trio(bench: Bench) -> None:
    bench.wait_for_one()
    for _ in range(4):
        bench.pauses.has_arrived = True
        assert bench.pass_time(bench.time.compute) == pytest.approx(0.005)
        assert bench.time.rests == 0
    bench.pass_time(bench.time.compute)
    assert bench.time.rests == 1


def test_a_loop_that_becomes_busy_is_looked_at_often_again(bench: Bench) -> None:
    bench.wait_for_one()
    for _ in range(4):
        bench.pass_time(bench.time.wait)
    assert bench.pass_time(bench.time.compute) == pytest.approx(0.08)
    assert bench.time.rests == 1
    assert bench.pass_time(bench.time.compute) < 0.01


def test_a_busy_loop_that_waits_long_is_stopped_less_and_less_often(bench: Bench) -> None:
    bench.wait_for_one()
    spent = [bench.pass_time(bench.time.compute) for _ in range(200)]
    assert spent[:15] == pytest.approx([0.005] * 15, rel=0.2)
    assert spent[-1] == pytest.approx(0.1, rel=0.01)
    bench.pauses.has_arrived = True
    bench.pass_time(bench.time.compute)
    assert bench.pass_time(bench.time.compute) <= 0.005


@pytest.mark.parametrize(("spend", "looks"), [("compute", 100), ("wait", 8)])
def test_a_new_request_does_not_wait_for_a_late_look(bench: Bench, spend: str, looks: int) -> None:
    bench.wait_for_one()
    for _ in range(looks):
        bench.pass_time(getattr(bench.time, spend))
    for _ in range(3):  # The first one has a soon look set up, for the others, too.
        bench.wait_for_one()
    late, soon = bench.loop.timers
    assert soon[0] - bench.time.now == pytest.approx(0.005)
    bench.loop.timers = [soon]
    bench.pass_time(bench.time.compute)
    assert len(bench.loop.timers) == 1
    bench.loop.timers.insert(0, late)
    bench.pass_time(bench.time.compute)  # Another one has taken its place.
    assert len(bench.loop.timers) == 1


def test_a_loop_is_looked_at_as_long_as_a_request_is_waited_for_and_no_more_after_that(bench: Bench) -> None:
    bench.wait_for_one()
    bench.wait_for_one()
    bench.pauses.waiting -= 1
    for _ in range(20):
        bench.pass_time(bench.time.wait)
    bench.pauses.waiting -= 1
    bench.pass_time(bench.time.wait)
    assert bench.loop.timers == []
    assert not bench.pauses.looks
    bench.wait_for_one()
    assert len(bench.loop.timers) == 1


def test_after_something_came_from_trio_the_loop_is_looked_at_for_a_second(bench: Bench) -> None:
    bench.pauses.has_arrived = True
    bench.pauses.look_soon()
    spent = 0.0
    while bench.loop.timers:
        spent += bench.pass_time(bench.time.compute)
    assert 0.9 <= spent <= 1.1
    assert bench.time.rests > 50


def test_a_request_that_waits_for_trio_while_a_cell_computes_stops_it(bench: Bench) -> None:
    bench.wait_for_one()
    bench.time.compute(0.001)
    bench.pauses.rest_if_held_up()
    assert bench.time.rests == 0
    bench.time.compute(1)
    bench.pauses.rest_if_held_up()
    assert bench.time.rests == 1
    bench.time.wait(1)
    bench.pauses.rest_if_held_up()
    assert bench.time.rests == 1
    assert len(bench.loop.timers) == 1


def test_what_arrives_while_a_cell_computes_keeps_the_looks_frequent(bench: Bench) -> None:
    bench.wait_for_one()
    for _ in range(100):
        bench.pauses.has_arrived = True
        bench.time.compute(0.005)
        bench.pauses.rest_if_held_up()
    assert bench.time.rests == 0
    bench.pass_time(bench.time.compute)
    assert bench.loop.timers[0][0] - bench.time.now < 0.02


def test_an_error_of_a_signals_handler_in_a_pause_does_not_end_the_pauses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise TimeoutError

    bench.wait_for_one()
    monkeypatch.setattr(bench.time, "sleep", interrupt)
    with pytest.raises(TimeoutError):
        bench.pass_time(bench.time.compute)
    assert len(bench.loop.timers) == 1


def test_the_loop_may_be_gone_before_its_timer() -> None:
    loop = asyncio.new_event_loop()
    LoopPauses(loop).look_soon()
    loop.close()


def test_a_closed_loop_is_not_kept_by_its_timer() -> None:
    async def call() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        LoopMailbox.of(loop).pauses.look_soon()
        return weakref.ref(loop)

    gone = asyncio.run(call())
    gc.collect()
    assert gone() is None

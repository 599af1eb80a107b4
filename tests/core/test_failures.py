"""Failures that nobody waits for: the first of a kind is logged at once, and the others together."""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from jchannel import _guarded
from jchannel._core import failures
from jchannel._core.failures import Failures
from jchannel._tracebacks import Place, find_caller
from jchannel.errors import FrontendError


@dataclass
class Timer:
    """Stands for the thread that waits, whose time comes when the test says so."""

    wait: Callable[[int], None]
    generation: int
    slept: list[float]

    def come(self) -> None:
        self.wait(self.generation)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    made: list[Timer] = []
    slept: list[float] = []

    def start(wait: Callable[[int], None], args: tuple[int]) -> None:
        made.append(Timer(wait, args[0], slept))

    monkeypatch.setattr(failures, "_thread", SimpleNamespace(start_new_thread=start))
    monkeypatch.setattr(failures, "time", SimpleNamespace(sleep=slept.append, strftime=time.strftime))
    return made


def report(some: Failures, what: str = "channel.post('draw')", error: Exception | None = None) -> None:
    context = contextvars.copy_context()
    some.report(what, "nobody waits for it", error or LookupError("no"), find_caller(), context)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_thousand_failures_of_a_kind_are_two_records_of_one_line(
    caplog: pytest.LogCaptureFixture, timers: list[Timer]
) -> None:
    some = Failures()
    for number in range(1_039):
        report(some, error=LookupError(str(number)))
    (timer,) = timers
    timer.come()
    assert timer.slept == [failures.SUMMARY_SECONDS]
    first, rest = messages(caplog)
    assert first.startswith("channel.post('draw') has failed, and nobody waits for it: LookupError: 0; made at ")
    assert "test_failures.py:" in first
    assert '(some.report(what, "nobody waits for it"' in first
    assert rest.startswith("channel.post('draw') has failed 1,038 times more since ")
    assert "nobody waits for it; the last time: LookupError: 1038; the first was made at " in rest
    assert all(record.exc_info is None and record.name == "jchannel.call" for record in caplog.records)


def test_kinds_are_told_apart_by_what_has_failed_and_by_the_error(
    caplog: pytest.LogCaptureFixture, timers: list[Timer]
) -> None:
    some = Failures()
    for what in ("a", "b"):
        for error in (LookupError(), OSError()):
            report(some, what, error)
    assert len(messages(caplog)) == 4
    assert len(timers) == 1


def test_a_kind_that_goes_on_is_told_again_and_one_that_has_ended_is_new_after_that(
    caplog: pytest.LogCaptureFixture, timers: list[Timer]
) -> None:
    some = Failures()
    report(some)
    report(some)
    timers[0].come()
    report(some)
    timers[1].come()
    timers[2].come()
    assert len(timers) == 3
    report(some)
    assert [text.split(" has failed")[1][:12] for text in messages(caplog)] == [
        ", and nobody",
        " once more s",
        " once more s",
        ", and nobody",
    ]


def test_kinds_beyond_a_number_are_told_together(caplog: pytest.LogCaptureFixture, timers: list[Timer]) -> None:
    some = Failures()
    for number in range(105):
        report(some, f"call {number}")
    timers[0].come()
    assert len(messages(caplog)) == 102
    assert messages(caplog)[-1].startswith("what is told with others has failed 4 times more since ")


def test_they_are_told_in_the_context_of_the_first(timers: list[Timer]) -> None:
    cell: contextvars.ContextVar[str] = contextvars.ContextVar("cell", default="none")
    told: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            told.append(cell.get())

    logger, recorder = logging.getLogger("jchannel"), Recorder()
    logger.addHandler(recorder)
    try:
        some = Failures()
        cell.set("first")
        report(some)
        cell.set("second")
        report(some)
        some.flush()
    finally:
        logger.removeHandler(recorder)
    assert told == ["first", "first"]


def test_what_a_log_handler_has_caused_is_not_counted(
    caplog: pytest.LogCaptureFixture, timers: list[Timer], capsys: pytest.CaptureFixture[str]
) -> None:
    in_a_handler = True
    context = contextvars.copy_context()
    context.run(_guarded._LOGGING.set, in_a_handler)
    some = Failures()
    for _ in range(2):
        some.report("a", "nobody waits for it", LookupError("no"), None, context)
    assert timers == []
    assert messages(caplog) == []
    assert capsys.readouterr().err.count("jchannel: a has failed, and nobody waits for it: LookupError: no\n") == 2


@pytest.mark.parametrize("is_ending", [False, True])
def test_where_no_thread_can_be_started_the_end_of_the_program_tells(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, timers: list[Timer], *, is_ending: bool
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    some = Failures()
    if is_ending:
        some.end()
    else:
        monkeypatch.setattr("jchannel._core.failures._thread.start_new_thread", refuse)
    report(some)
    report(some)
    some.end()
    assert len(messages(caplog)) == 2
    assert timers == []


def test_a_forked_process_tells_nothing_of_its_parent(caplog: pytest.LogCaptureFixture, timers: list[Timer]) -> None:
    some = Failures()
    report(some)
    report(some)
    some.clear()
    timers[0].come()
    some.flush()
    assert len(messages(caplog)) == 1


def test_a_place_is_shown_with_its_line_cut_short() -> None:
    def here() -> Place:
        found = find_caller()  # xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        assert found is not None
        return found

    place = here()
    assert place.line == here.__code__.co_firstlineno + 1
    assert str(place).startswith(f"{__file__}:{place.line} (found = find_caller()  # xxx")
    assert str(place).endswith("x…)")


def test_a_place_without_a_source_is_shown_by_its_number() -> None:
    scope: dict[str, Any] = {"find_caller": find_caller}
    exec(compile("\nplace = find_caller()", "<nowhere>", "exec"), scope)  # noqa: S102 (code without a file)
    assert str(scope["place"]) == "<nowhere>:2"


def test_a_caller_is_not_in_the_package() -> None:
    scope: dict[str, Any] = {"find_caller": find_caller, "__name__": "jchannel.sync"}
    exec("def call():\n    return find_caller()", scope)  # noqa: S102 (code that seems to be of the package)
    assert scope["call"]().code.co_name == "test_a_caller_is_not_in_the_package"


def test_code_that_only_the_package_runs_has_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = SimpleNamespace(f_globals={"__name__": "jchannel.sync"}, f_back=None)
    monkeypatch.setattr("jchannel._tracebacks.sys", SimpleNamespace(_getframe=lambda _: frame))
    assert find_caller() is None


def test_an_error_of_the_page_has_its_place_in_javascript(
    caplog: pytest.LogCaptureFixture, timers: list[Timer]
) -> None:
    error = FrontendError("exception", "TypeError", "no")
    error.add_note("JavaScript, the innermost call first:\n  channel-1.js:2:5\n    draw()")
    report(Failures(), error=error)
    (text,) = messages(caplog)
    assert (
        "FrontendError: TypeError: no [JavaScript, the innermost call first: channel-1.js:2:5 draw()]; made at" in text
    )

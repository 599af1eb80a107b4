"""Telling how far a stream has come."""

import functools
import io
import re
import sys
from collections.abc import Callable

import pytest

from jchannel._streams.progress import ProgressReporter, TqdmProgress, check_progress, tqdm_progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    """A progress that notes its calls and can raise."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int | None]] = []
        self.closed = 0
        self.error: Exception | None = None

    def __call__(self, done: int, total: int | None) -> None:
        self.calls.append((done, total))
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1


async def coroutine_function(done: int, total: int | None) -> None:
    raise NotImplementedError


class AsyncCallable:
    async def __call__(self, done: int, total: int | None) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("progress", [None, print, Recorder(), functools.partial(print, "x")])
def test_a_progress_is_a_callable_or_none(progress: object) -> None:
    check_progress(progress)


@pytest.mark.parametrize("progress", [True, 3, "tqdm", []])
def test_what_cannot_be_called_is_no_progress(progress: object) -> None:
    with pytest.raises(TypeError, match=r"^progress must be a callable or None, and not "):
        check_progress(progress)


@pytest.mark.parametrize("progress", [coroutine_function, AsyncCallable()])
def test_a_coroutine_function_is_no_progress(progress: object) -> None:
    with pytest.raises(TypeError, match=r"is a coroutine function$"):
        check_progress(progress)


def test_progress_is_told_at_the_beginning_at_times_and_at_the_end() -> None:
    clock = Clock()
    recorder = Recorder()
    with ProgressReporter(recorder, 100, interval=1.0, clock=clock) as report:
        report.advance(10)
        clock.now += 0.9
        report.advance(10)
        assert recorder.calls == [(0, 100)]
        clock.now += 0.1
        report.advance(10)
        assert recorder.calls == [(0, 100), (30, 100)]
        report.advance(5)
    assert recorder.calls == [(0, 100), (30, 100), (35, 100)]
    assert report.done == 35
    assert recorder.closed == 1


def test_the_end_is_not_told_twice() -> None:
    recorder = Recorder()
    with ProgressReporter(recorder, None, interval=0.0) as report:
        report.advance(5)
    assert recorder.calls == [(0, None), (5, None)]


def test_the_end_of_what_has_failed_is_not_told() -> None:
    def transfer() -> None:
        with ProgressReporter(recorder, None, interval=9.0) as report:
            report.advance(5)
            raise ZeroDivisionError

    recorder = Recorder()
    with pytest.raises(ZeroDivisionError):
        transfer()
    assert recorder.calls == [(0, None)]
    assert recorder.closed == 1


def raises_at_the_beginning(report: ProgressReporter, recorder: Recorder) -> None:
    recorder.error = ZeroDivisionError()
    report.__enter__()


def raises_in_between(report: ProgressReporter, recorder: Recorder) -> None:
    with report:
        recorder.error = ZeroDivisionError()
        report.advance(1)


def raises_at_the_end(report: ProgressReporter, recorder: Recorder) -> None:
    with report:
        report.done = 1
        recorder.error = ZeroDivisionError()


@pytest.mark.parametrize("run", [raises_at_the_beginning, raises_in_between, raises_at_the_end])
def test_an_exception_of_the_progress_passes_through_and_it_is_closed(
    run: Callable[[ProgressReporter, Recorder], None],
) -> None:
    recorder = Recorder()
    with pytest.raises(ZeroDivisionError):
        run(ProgressReporter(recorder, None, interval=0.0), recorder)
    assert recorder.closed == 1


def test_a_progress_without_close_is_enough() -> None:
    calls: list[int] = []
    with ProgressReporter(lambda done, _total: calls.append(done), None) as report:
        report.advance(3)
    assert calls == [0, 3]


def test_no_progress_counts_all_the_same() -> None:
    with ProgressReporter(None, None) as report:
        report.advance(3)
    assert report.done == 3


def test_the_bar_of_tqdm_shows_bytes_and_total() -> None:
    written = io.StringIO()
    bar = tqdm_progress("picture", file=written, mininterval=0)
    bar(0, 2048)
    bar(1024, 2048)
    bar(2048, 2048)
    bar.close()
    assert re.search(r"picture: +50%.* 1\.00k/2\.00k ", written.getvalue())
    assert re.search(r"picture: 100%.* 2\.00k/2\.00k ", written.getvalue())


def test_the_bar_of_tqdm_shows_bytes_without_a_total() -> None:
    written = io.StringIO()
    bar = tqdm_progress(file=written, mininterval=0)
    bar(0, None)
    bar(1536, None)
    bar.close()
    assert "1.50kB [" in written.getvalue()


def test_a_closed_bar_can_be_used_again() -> None:
    written = io.StringIO()
    bar = tqdm_progress(file=written, leave=True)
    for _ in range(2):
        bar(0, 5)
        bar(5, 5)
        bar.close()
        bar.close()
    assert written.getvalue().count("100%") == 2


@pytest.mark.parametrize("option", ["total", "iterable", "initial"])
def test_what_the_stream_decides_is_refused(option: str) -> None:
    with pytest.raises(TypeError, match=f"^tqdm_progress does not accept {option}: the stream sets it$"):
        tqdm_progress("picture", **{option: 5})


def test_without_tqdm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"pip install 'jchannel\[progress\]'$") as caught:
        tqdm_progress()
    assert caught.value.name == "tqdm"


def test_tqdm_is_imported_only_when_it_is_asked_for(fresh_python: Callable[[str], str]) -> None:
    assert fresh_python("import sys, jchannel._streams.progress; print('tqdm' in sys.modules)") == "False\n"


def test_a_bar_is_a_progress() -> None:
    check_progress(TqdmProgress(print, {}))

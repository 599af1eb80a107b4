"""Telling somebody how far a stream has come.

``progress=`` takes a callable with two arguments: the bytes that are done, and the total or ``None`` where it is not
known. If it also has a method ``close``, that is called once when the stream has ended, however it ended. This module
imports nothing of the project, and tqdm only where it is asked for.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress", "ProgressReporter", "TqdmProgress", "check_progress", "tqdm_progress"]

Progress = Callable[[int, int | None], object]
"""What is called with the bytes that are done, and the total or ``None`` where it is not known."""

INTERVAL = 0.1
"""Seconds that lie at least between two calls of a ``Progress``. The first and the last call come in any case."""


def check_progress(progress: object) -> None:
    """Checks the argument ``progress``.

    Args:
        progress: A callable, or ``None`` for nothing.

    Raises:
        TypeError: It is neither, or it is a coroutine function.
    """
    if progress is None:
        return
    if not callable(progress):
        raise TypeError(f"progress must be a callable or None, and not {progress!r}")
    if inspect.iscoroutinefunction(progress) or inspect.iscoroutinefunction(type(progress).__call__):
        raise TypeError(f"progress must be a plain callable, and {progress!r} is a coroutine function")


class ProgressReporter:
    """Calls a ``Progress`` while a stream runs: at the beginning, at times in between, and at the end.

    A context manager. Leaving it without an exception makes the last call; leaving it in any way calls the method
    ``close`` of a progress that has one. An exception of the progress passes through, so that it ends the stream: it is
    the way to stop one from there.

    Args:
        progress: What to call; ``None`` for nothing.
        total: The bytes that are to come; ``None`` where that is not known.
        interval: Seconds that lie at least between two calls.
        clock: Gives the present time in seconds.

    Attributes:
        done: The bytes that are done.
    """

    def __init__(
        self,
        progress: Progress | None,
        total: int | None,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.done = 0
        self._progress = progress
        self._total = total
        self._interval = interval
        self._clock = clock
        self._told = -1
        self._due = 0.0

    def __enter__(self) -> Self:
        try:
            self._tell()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None and self._told != self.done:
                self._tell()
        finally:
            self._close()

    def advance(self, count: int) -> None:
        """Takes note of progress, and tells it unless the last call was just now.

        Args:
            count: How many more bytes are done.
        """
        self.done += count
        if self._progress is not None and self._clock() >= self._due:
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.done, self._total)
            self._told = self.done
            # From the end of the call: one that takes long shall not be called all the time.
            self._due = self._clock() + self._interval

    def _close(self) -> None:
        close = getattr(self._progress, "close", None)
        if callable(close):
            close()


class TqdmProgress:
    """A progress bar of tqdm. ``tqdm_progress`` makes one.

    It appears with the first call and ends with ``close``, which jchannel calls at the end of the stream. It can then
    be used for another stream.
    """

    def __init__(self, make_bar: Callable[..., Any], options: dict[str, Any]) -> None:
        self._make_bar = make_bar
        self._options = options
        self._bar: Any = None

    def __call__(self, done: int, total: int | None) -> None:
        """Shows how far the stream has come.

        Args:
            done: The bytes that are done.
            total: The bytes that are to come; ``None`` where that is not known.
        """
        if self._bar is None:
            self._bar = self._make_bar(**self._options, total=total)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Ends the bar as it is. Without a bar it does nothing."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()


def tqdm_progress(description: str | None = None, **options: Any) -> TqdmProgress:
    """A progress bar for notebooks and terminals, to be given as ``progress=``.

    Args:
        description: What stands before the bar.
        options: Any other argument of ``tqdm.tqdm``, such as ``leave=False`` or ``file=sys.stdout``, but not ``total``,
            ``iterable`` or ``initial``, which the stream decides. ``unit`` is ``"B"``, scaled by 1,024, where nothing
            else is asked for.

    Returns:
        The progress.

    Raises:
        ImportError: tqdm is not installed.
        TypeError: One of the arguments that the stream decides is given.
    """
    taken = sorted({"total", "iterable", "initial"} & options.keys())
    if taken:
        raise TypeError(f"tqdm_progress takes no {taken[0]}: the stream decides it")
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 # An optional dependency.
    except ImportError as error:
        raise ImportError(
            "tqdm_progress needs tqdm, which is not installed: pip install 'jchannel[progress]'", name="tqdm"
        ) from error
    defaults = {"desc": description, "unit": "B", "unit_scale": True, "unit_divisor": 1024}
    return TqdmProgress(tqdm, defaults | options)

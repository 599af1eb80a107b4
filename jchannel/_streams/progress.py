"""Reporting the progress of a stream.

``progress=`` accepts a callable with two arguments: the number of bytes done, and the total or ``None`` if it is
unknown. If the callable has a method ``close``, it is called once when the stream ends, for any reason. This module
imports nothing from the project, and tqdm only when it is used.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress", "ProgressReporter", "TqdmProgress", "check_progress", "tqdm_progress"]

Progress = Callable[[int, int | None], object]
"""A callable that receives the number of bytes done, and the total or ``None`` if it is unknown."""

_INTERVAL = 0.1
"""The minimum time between two calls of a ``Progress``, in seconds. The first and the last call are always made."""


def check_progress(progress: object) -> None:
    """Check the argument ``progress``.

    Args:
        progress: A callable, or ``None`` for no progress.

    Raises:
        TypeError: ``progress`` is neither, or it is a coroutine function.
    """
    if progress is None:
        return
    if not callable(progress):
        raise TypeError(f"progress must be a callable or None, and not {progress!r}")
    if inspect.iscoroutinefunction(progress) or inspect.iscoroutinefunction(type(progress).__call__):
        raise TypeError(f"progress must be a plain callable, and {progress!r} is a coroutine function")


class ProgressReporter:
    """A context manager that calls a ``Progress`` while a stream runs.

    It calls the progress on entry, from time to time in between, and on exit unless an exception leaves the block. On
    any exit it calls the method ``close`` of the progress, if there is one. An exception from the progress propagates
    and ends the stream.

    Args:
        progress: The callable; ``None`` for no progress.
        total: The expected number of bytes; ``None`` if it is unknown.
        interval: The minimum time between two calls, in seconds.
        clock: Returns the current time in seconds.

    Attributes:
        done: The number of bytes done.
    """

    def __init__(
        self,
        progress: Progress | None,
        total: int | None,
        *,
        interval: float = _INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.done = 0
        self._progress = progress
        self._total = total
        self._interval = interval
        self._clock = clock
        self._reported = -1
        self._due = 0.0

    def __enter__(self) -> Self:
        try:
            self._report()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None and self._reported != self.done:
                self._report()
        finally:
            self._close()

    def advance(self, count: int) -> None:
        """Add to the number of bytes done, and call the progress unless its last call was too recent.

        Args:
            count: The number of bytes to add.
        """
        self.done += count
        if self._progress is not None and self._clock() >= self._due:
            self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.done, self._total)
            self._reported = self.done
            # Counted from the end of the call, so that a slow progress is not called all the time.
            self._due = self._clock() + self._interval

    def _close(self) -> None:
        close = getattr(self._progress, "close", None)
        if callable(close):
            close()


class TqdmProgress:
    """A tqdm progress bar, returned by ``tqdm_progress``.

    The bar appears with the first call and ends with ``close``, which jchannel calls at the end of the stream. It can
    then be used for another stream.
    """

    def __init__(self, make_bar: Callable[..., Any], options: dict[str, Any]) -> None:
        self._make_bar = make_bar
        self._options = options
        self._bar: Any = None

    def __call__(self, done: int, total: int | None) -> None:
        """Show the progress of the stream.

        Args:
            done: The number of bytes done.
            total: The expected number of bytes; ``None`` if it is unknown.
        """
        if self._bar is None:
            self._bar = self._make_bar(**self._options, total=total)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the bar and leave it as it is. Do nothing if there is no bar."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()


def tqdm_progress(description: str | None = None, **options: Any) -> TqdmProgress:
    """Return a progress bar for notebooks and terminals, to pass as ``progress=``.

    Args:
        description: The text before the bar.
        options: Any other argument of ``tqdm.tqdm``, such as ``leave=False`` or ``file=sys.stdout``, except ``total``,
            ``iterable`` and ``initial``, which the stream sets. By default ``unit`` is ``"B"``, scaled by 1,024.

    Returns:
        The progress bar.

    Raises:
        ImportError: tqdm is not installed.
        TypeError: ``options`` has an argument that the stream sets.
    """
    reserved = sorted({"total", "iterable", "initial"} & options.keys())
    if reserved:
        raise TypeError(f"tqdm_progress does not accept {reserved[0]}: the stream sets it")
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415 # An optional dependency.
    except ImportError as error:
        raise ImportError(
            "tqdm_progress needs tqdm, which is not installed: pip install 'jchannel[progress]'", name="tqdm"
        ) from error
    defaults = {"desc": description, "unit": "B", "unit_scale": True, "unit_divisor": 1024}
    return TqdmProgress(tqdm, defaults | options)

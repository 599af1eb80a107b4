"""What the demo prints: its steps with their times, and its figures, in plain aligned text."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

from jchannel.demo.latency import Figures, percentile

__all__ = ["Step", "describe_file", "print_figures", "print_note", "report_step"]

_NAME_WIDTH: Final = 22
_DETAIL_WIDTH: Final = 52
_TIME_WIDTH: Final = 10
_KIB: Final = 2**10


@dataclass(slots=True)
class Step:
    """A step under way.

    Attributes:
        detail: What came of it, in a few words.
    """

    detail: str = ""


@contextmanager
def report_step(name: str) -> Iterator[Step]:
    """Times what happens in the block, and prints a line about it at its end, unless it raises."""
    step = Step()
    start = perf_counter()
    yield step
    time = f"{(perf_counter() - start) * 1000:,.0f} ms"
    print(f"  {name:<{_NAME_WIDTH}}{step.detail:<{_DETAIL_WIDTH}}{time:>{_TIME_WIDTH}}", flush=True)


def print_note(text: str) -> None:
    """Prints a line that stands between the steps."""
    print(f"  {text}", flush=True)


def print_figures(figures: Figures) -> None:
    """Prints the figures of one round."""
    in_turn, at_once = len(figures.to_page), figures.at_once
    turns = f"{in_turn:,} calls in turn"
    print(f"\n  {turns:<{_NAME_WIDTH}}{'median':>12}{'p95':>12}")
    for name, times in (("Python to page", figures.to_page), ("page to Python", figures.to_python)):
        median, slow = statistics.median(times), percentile(times, 95)
        print(f"  {name:<{_NAME_WIDTH}}{f'{median:.2f} ms':>12}{f'{slow:.2f} ms':>12}")
    print(f"\n  {f'{at_once:,} calls at once':<{_NAME_WIDTH}}{'rate':>24}")
    for name, rate in (("Python to page", figures.rate_to_page), ("page to Python", figures.rate_to_python)):
        print(f"  {name:<{_NAME_WIDTH}}{f'{rate:,.0f} calls/s':>24}")
    print(flush=True)


def describe_file(path: Path, size: int) -> str:
    """A file that was written, and its size in bytes."""
    return f"{path}, {max(1, round(size / _KIB)):,} KiB"

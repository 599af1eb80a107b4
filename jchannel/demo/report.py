"""What the demo prints: its steps with their times, and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from jchannel.demo.latency import Figures

__all__ = ["Step", "print_figures", "report_step"]


@dataclass(slots=True)
class Step:
    """A step under way.

    Attributes:
        detail: What came of it, in a few words.
    """

    detail: str = ""


@contextmanager
def report_step(name: str) -> Iterator[Step]:
    """Time the block, and print a line about it at its end, unless it raises."""
    step = Step()
    start = perf_counter()
    yield step
    print(f"  {name:<22}{step.detail:<52}{(perf_counter() - start) * 1000:>7,.0f} ms", flush=True)


def print_figures(figures: Sequence[Figures], at_once: int) -> None:
    """Print the figures of one round as a table."""
    in_turn = len(figures[0]["times"])
    print(f"\n  {'calls in turn: ' + format(in_turn, ','):<22}{'median':>12}{'p95':>12}{f'{at_once:,} at once':>20}")
    for way in figures:
        times = f"{way['median']:>9.2f} ms{way['p95']:>9.2f} ms"
        print(f"  {way['name']:<22}{times}{way['rate']:>12,.0f} calls/s")
    print(flush=True)

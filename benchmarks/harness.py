"""What the benchmarks share: headless Chromium with one page, and medians over several runs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from jchannel._page.chromium import find_chromium, how_to_install

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser_command(url: str, profile: str, *flags: str) -> list[str]:
    """The command that shows a page in headless Chromium, with a profile of its own and more flags.

    Raises:
        SystemExit: There is no Chromium.
    """
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit(f"The benchmark needs Chromium: {how_to_install()}")
    return [str(chromium), *FLAGS, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", url]


@asynccontextmanager
async def open_page(url: str, *flags: str) -> AsyncIterator[None]:
    """Shows a page in headless Chromium, with more flags, for the time of the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = browser_command(url, profile, *flags)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(trio.run_process, command, capture_stdout=True, capture_stderr=True, check=False)
            )
            yield
            nursery.cancel_scope.cancel()


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def show(label: str, values: Sequence[float], unit: str, shown: Callable[[float], str] = "{:,.2f}".format) -> None:
    """Prints the median of several runs, with the least and the greatest."""
    print(f"{label:<44} {shown(median(values)):>10} {unit:<8} ({shown(min(values))} to {shown(max(values))})")


class Figures:
    """What was measured, by label."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[float]] = {}

    def add(self, label: str, unit: str, value: float) -> None:
        """Adds one run's figure."""
        self.values.setdefault((label, unit), []).append(value)

    def median(self, label: str, unit: str) -> float:
        """The median of what was added."""
        return median(self.values[label, unit])

    def show(self) -> None:
        """Prints the medians."""
        for (label, unit), values in self.values.items():
            show(label, values, unit, "{:,.3f}".format if unit == "ms" else "{:,.0f}".format)

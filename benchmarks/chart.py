"""Charts of growth on logarithmic axes, as SVG: one for light and one for dark pages, with a transparent ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMNS: Final = 2

#: The colours of text and frame, of the guides, and of the lines.
THEMES: Final = {
    "light": ("#24292f", "#8c959f", ("#0b5cad", "#c2410c")),
    "dark": ("#d6dde5", "#6e7681", ("#6cb6ff", "#f69d50")),
}

MARKERS: Final = ("o", "s")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a panel: its label, and how long how many took, in milliseconds."""

    label: str
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One axis of growth: its title, what is counted, and its lines."""

    title: str
    unit: str
    lines: Sequence[Line]


def draw(panels: Sequence[Panel], folder: Path, name: str) -> None:
    """Draw `NAME-light.svg` and `NAME-dark.svg` into a folder."""
    # The same figures give the same file: without a date, and with fixed ids. Text is drawn, so that no font is missed.
    with mpl.rc_context({"svg.hashsalt": "jchannel", "font.size": 10}):
        for theme in THEMES:
            figure = _draw_theme(panels, theme)
            figure.savefig(folder / f"{name}-{theme}.svg", transparent=True, metadata={"Date": None})


def _draw_theme(panels: Sequence[Panel], theme: str) -> Figure:
    text, _, _ = THEMES[theme]
    rows = math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(9, 2.7 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    places = [axes for row in grid for axes in row]
    for axes, panel in zip(places, panels, strict=False):
        _draw_panel(axes, panel, theme)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    figure.supylabel("milliseconds, median", color=text, fontsize=10)
    return figure


def _draw_panel(axes: Axes, panel: Panel, theme: str) -> None:
    text, guide, colours = THEMES[theme]
    axes.set_xscale("log")
    axes.set_yscale("log")
    counts = [count for line in panel.lines for count, _ in line.points]
    times = [milliseconds for line in panel.lines for _, milliseconds in line.points]
    # Whole powers of ten, so that each axis has two labels at least.
    low, high = 10.0 ** math.floor(math.log10(min(times))), 10.0 ** math.ceil(math.log10(max(times)))
    least, most = min(counts), max(counts)
    # Guides of linear growth, ten times apart: a line that is steeper than they are grows faster.
    first = math.floor(math.log10(low / most))
    for power in range(first, math.ceil(math.log10(high / least)) + 1):
        ends = [10.0**power * least, 10.0**power * most]
        axes.plot([least, most], ends, color=guide, linewidth=0.6, linestyle=(0, (4, 4)), zorder=1)
    for line, colour, marker in zip(panel.lines, colours, MARKERS, strict=False):
        xs, ys = [count for count, _ in line.points], [milliseconds for _, milliseconds in line.points]
        axes.plot(xs, ys, color=colour, marker=marker, markersize=4.5, linewidth=1.8, label=line.label, zorder=3)
    axes.set_ylim(low, high)
    axes.set_title(panel.title, color=text, fontsize=10.5, loc="left")
    axes.set_facecolor("none")
    axes.minorticks_off()
    axes.tick_params(colors=text, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(guide)
    legend = axes.legend(loc="upper left", frameon=False, fontsize=9)
    for label in legend.get_texts():
        label.set_color(text)

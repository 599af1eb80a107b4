"""Panels: HTML that shows a server or a channel in a notebook, and that is useful without the page's client, too.

The HTML contains no script and nothing secret. While the page's client is connected to the server, it asks the server's
desk for the figures of the visible panels, by their names, and inserts the texts. A page that runs no script, or that
shows a saved notebook, has the figures of the time when the panel was rendered, and says so.

Styles are in the elements: front ends remove ``<style>`` from untrusted notebooks, and leave most of these. Colours are
those of the front end if it names them, and otherwise those of the surrounding text, which suit any background.
"""

from __future__ import annotations

import html
import itertools
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

__all__ = [
    "NO_VALUE",
    "Figure",
    "Mood",
    "Panel",
    "Panels",
    "Subject",
    "format_bytes",
    "format_count",
    "format_latency",
    "format_span",
    "render",
]

#: The state of a panel as a colour: that of its dot while the panel is live.
Mood: TypeAlias = Literal["good", "busy", "off"]

#: The text of a missing figure.
NO_VALUE: Final = "\N{EN DASH}"

_KIB: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")

_MILLISECONDS: Final = 1000
_SPANS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))

_STRONG: Final = "var(--jp-content-font-color1, inherit)"
_QUIET: Final = "var(--jp-content-font-color2, inherit)"
# If a style sets its own colour, it first sets a plain one for front ends that remove variables.
_STYLES: Final = {
    "panel": "display: inline-block; box-sizing: border-box; max-width: 46em; margin: 4px 0; padding: 10px 14px 4px; "
    "border: 1px solid #9e9e9e; border-color: var(--jp-border-color2, #9e9e9e); border-radius: 4px; "
    f"color: {_STRONG}; font-family: var(--jp-ui-font-family, sans-serif); font-size: 13px; line-height: 18px;",
    "head": "margin: 0;",
    "dot": f"color: {_QUIET};",
    "state": "margin: 0 0 0 6px;",
    "foot": f"margin: 0 0 8px 0; font-size: 11px; color: {_QUIET};",
    "address": "margin: 0 8px 0 0;",
    "list": "margin: 0; padding: 0;",
    "figure": "display: inline-block; width: 10em; margin: 0 6px 6px 0; vertical-align: top;",
    "label": "float: none; width: auto; margin: 0; padding: 0; font-size: 11px; font-weight: normal; text-align: left; "
    f"color: {_QUIET};",
    "value": "margin: 0; padding: 0; font-variant-numeric: tabular-nums;",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a panel.

    Attributes:
        name: Its name for the page's client, in lower-case letters and hyphens.
        label: Its name for users.
        value: Its value, as text with the unit.
    """

    name: str
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The contents of a panel at one time.

    Attributes:
        title: Its title.
        address: The server's URL; empty if there is none.
        state: The state of the subject, in a few words.
        mood: The state as a colour.
        figures: Its figures. Once a panel has figures, their names do not change.
    """

    title: str
    address: str
    state: str
    mood: Mood
    figures: tuple[Figure, ...] = ()


class Subject(Protocol):
    """The subject of a panel. It must be hashable by identity, and support weak references."""

    def panel(self) -> Panel:
        """Return the current contents of its panel. May be called in any thread."""


class Panels:
    """The panels of one server, by their names. It refers to their subjects only weakly.

    Args:
        server_id: The server's public name.
        now: Returns the local time.
    """

    def __init__(self, server_id: str, now: Callable[[], time.struct_time] = time.localtime) -> None:
        self._server_id = server_id
        self._now = now
        self._numbers = itertools.count(1)
        self._names: weakref.WeakKeyDictionary[Subject, str] = weakref.WeakKeyDictionary()
        self._subjects: weakref.WeakValueDictionary[str, Subject] = weakref.WeakValueDictionary()

    def render(self, subject: Subject) -> str:
        """Return the panel of a subject as HTML that the page's client can update. May be called in any thread."""
        name = self._names.get(subject)
        if name is None:
            name = self._names[subject] = str(next(self._numbers))
            self._subjects[name] = subject
        return render(subject.panel(), f"{self._server_id} {name}", self._now)

    def report(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the current contents of panels for the page's client, by name, without those whose subject is gone."""
        subjects = {name: self._subjects.get(name) for name in names}
        return {name: self._report(subject.panel()) for name, subject in subjects.items() if subject is not None}

    def _report(self, panel: Panel) -> dict[str, Any]:
        texts = {figure.name: figure.value for figure in panel.figures}
        return {"mood": panel.mood, "texts": {"state": panel.state, **texts}, "note": _note(self._now())}


def render(panel: Panel, name: str = "", now: Callable[[], time.struct_time] = time.localtime) -> str:
    """Return a panel as HTML.

    Args:
        panel: The contents of the panel.
        name: The server's public name, a space, and the name of the panel, for the page's client. Empty for a panel
            that does not change.
        now: Returns the local time.
    """
    address = f"<span {_style('address')}>{html.escape(panel.address)}</span> " if panel.address else ""
    figures = "".join(
        f"<div {_style('figure')}><dt {_style('label')}>{html.escape(figure.label)}</dt>"
        f"<dd {_style('value')} {_slot(figure.name)}>{html.escape(figure.value)}</dd></div>"
        for figure in panel.figures
    )
    return (
        f'<div class="jchannel-panel" data-jchannel-panel="{html.escape(name)}" role="group" aria-live="off" '
        f'aria-label="{html.escape(panel.title)}" {_style("panel")}>'
        f"<div {_style('head')}><span {_style('dot')} {_slot('dot')} aria-hidden='true'>● </span>"
        f"<b>{html.escape(panel.title)}</b> "
        f"<span {_style('state')} {_slot('state')}>{html.escape(panel.state)}</span></div>"
        f"<div {_style('foot')}>{address}<span {_slot('note')}>{html.escape(_note(now()))}</span></div>"
        + (f"<dl {_style('list')}>{figures}</dl>" if figures else "")
        + "</div>"
    )


def format_count(count: int, one: str = "", several: str = "") -> str:
    """Format a number of things, as in ``12,345 calls``."""
    return f"{count:,} {one if count == 1 else several}".rstrip()


def format_bytes(size: float) -> str:
    """Format a number of bytes, as in ``1.3 MiB``."""
    unit = 0
    while round(size) >= _KIB and unit < len(_UNITS) - 1:
        size /= _KIB
        unit += 1
    return _format(size if unit else round(size), _UNITS[unit], precise=bool(unit))


def format_latency(seconds: float | None) -> str:
    """Format a short time, as in ``0.9 ms``; a dash for ``None``."""
    if seconds is None:
        return NO_VALUE
    milliseconds = seconds * _MILLISECONDS
    return _format(seconds, "s") if round(milliseconds) >= _MILLISECONDS else _format(milliseconds, "ms")


def format_span(seconds: float | None) -> str:
    """Format a time that may be long, as in ``2 min 5 s``; a dash for ``None``."""
    if seconds is None:
        return NO_VALUE
    rest = int(seconds)
    parts = []
    for unit, size in _SPANS:
        amount, rest = divmod(rest, size)
        parts.append((amount, unit))
    first = next((index for index, (amount, _) in enumerate(parts) if amount), len(parts) - 1)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2])


def _format(number: float, unit: str, *, precise: bool = True) -> str:
    return f"{number:.{int(precise and round(number, 1) < 100)}f} {unit}"  # noqa: PLR2004 (three digits are enough)


def _note(now: time.struct_time) -> str:
    return time.strftime("as of %Y-%m-%d %H:%M:%S %Z", now)


def _style(name: str) -> str:
    return f'style="{_STYLES[name]}"'


def _slot(name: str) -> str:
    return f'data-jchannel-text="{name}"'

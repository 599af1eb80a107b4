"""The table of ``docs/hosts.md``: which host passes which check. Tests make it, and no hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.conformance.checks import CANNOT, WORKS
from tests.conformance.names import CHECKS, FAKES, HOSTS

__all__ = ["parse_table", "read_table", "render_table", "write_table"]

#: The outcomes, by the names of the host and the check. One that is missing was not tried.
TableOutcomes = Mapping[tuple[str, str], str]

_FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "hosts.md"
_BEGIN: Final = "<!-- made by python -m tests.conformance.renew -->\n"
_END: Final = "<!-- end of what it has made -->\n"

_YES: Final = "yes"
_UNTRIED: Final = "not tried"


def render_table(outcomes: TableOutcomes) -> str:
    """Return the table as Markdown."""
    shown = [outcomes.get((host, check), WORKS) for host in HOSTS + FAKES for check in CHECKS]
    reasons = list(dict.fromkeys(outcome for outcome in shown if outcome != WORKS))
    lines = [
        *_render_rows("host and door", HOSTS, outcomes, reasons),
        "",
        *_render_rows("fake host: otherwise than Jupyter", FAKES, outcomes, reasons),
    ]
    if reasons:
        lines.append("")
        lines += [f"{number}. {reason.removeprefix(CANNOT)}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(lines) + "\n"


def _render_rows(title: str, hosts: Sequence[str], outcomes: TableOutcomes, reasons: Sequence[str]) -> list[str]:
    def show(host: str, check: str) -> str:
        outcome = outcomes.get((host, check))
        if outcome is None:
            return _UNTRIED
        return _YES if outcome == WORKS else f"no ({reasons.index(outcome) + 1})"

    rows = [[title, *CHECKS], ["---"] * (len(CHECKS) + 1)]
    rows += [[host, *(show(host, check) for check in CHECKS)] for host in hosts]
    return [f"| {' | '.join(row)} |" for row in rows]


def parse_table(text: str) -> dict[tuple[str, str], str]:
    """Return the outcomes that a rendered table says."""
    reasons = {number: CANNOT + reason for number, reason in re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE)}
    outcomes: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        host, *shown = (part.strip() for part in line.strip("| ").split(" | "))
        if host in HOSTS + FAKES:
            for check, word in zip(CHECKS, shown, strict=True):
                if word != _UNTRIED:
                    outcomes[host, check] = WORKS if word == _YES else reasons[word.strip("no ()")]
    return outcomes


def read_table() -> dict[tuple[str, str], str]:
    """Return the outcomes that the documentation says."""
    _, _, rest = _FILE.read_text().partition(_BEGIN)
    return parse_table(rest.partition(_END)[0])


def write_table(outcomes: TableOutcomes) -> None:
    """Write the table into the documentation."""
    before, begin, rest = _FILE.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin and end, f"{_FILE} has no place for the table"  # noqa: PT018 (both are one)
    _FILE.write_text(f"{before}{begin}{render_table(outcomes)}{end}{after}")

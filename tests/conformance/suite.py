"""The one suite that every host of notebooks is put through: what runs in a cell, and what is done from outside."""

from __future__ import annotations

import abc
import json

from tests.conformance import checks
from tests.conformance.outcomes import Outcomes

__all__ = ["Host", "come_and_go", "conform", "make_cells", "note_checks"]

_START, _OPEN, _CHECK, _CALL = range(4)


def make_cells(start: str, busy_patience: float = checks.PATIENCE) -> list[str]:
    """Return the cells of a host's notebook.

    Args:
        start: The first, which starts ``server``.
        busy_patience: As that of ``checks.run_checks``.
    """
    return [start, checks.OPEN, checks.make_check(busy_patience), checks.CALL]


class Host(abc.ABC):
    """A host with a notebook whose first cells are those of ``make_cells``.

    Attributes:
        name: Its name in the table of ``docs/hosts.md``.
    """

    name: str

    @abc.abstractmethod
    def run(self, n: int) -> str:
        """Run a cell, and return what it has printed."""

    def check(self) -> list[str]:
        """Run all checks, and return what their cells have printed."""
        return [self.run(_CHECK)]

    def call(self) -> str:
        """Call the page once, and return the outcome."""
        return self.run(_CALL).strip()

    @abc.abstractmethod
    def expect_connected(self) -> None:
        """Wait until the line of the first cell says that the page is connected."""

    @abc.abstractmethod
    def reload(self) -> None:
        """Load the page again, as it was saved."""

    @abc.abstractmethod
    def open_second_page(self) -> None:
        """Open the notebook in a second page, and wait until that says that another page is connected."""

    @abc.abstractmethod
    def restart(self) -> None:
        """Restart the kernel."""


def note_checks(host: str, printed: str, outcomes: Outcomes) -> None:
    """Note what the cell with all checks has printed in a host of a name."""
    for check, outcome in json.loads(printed).items():
        outcomes.note(host, check, outcome)


def conform(host: Host, outcomes: Outcomes) -> None:
    """Put a host through all checks, and note the outcomes."""
    host.run(_START)
    host.run(_OPEN)
    host.expect_connected()
    for printed in host.check():
        note_checks(host.name, printed, outcomes)
    come_and_go(host, outcomes)


def come_and_go(host: Host, outcomes: Outcomes) -> None:
    """Let the page of a host that is connected come and go, then its kernel, and note the outcomes."""
    host.reload()
    host.expect_connected()
    outcomes.note(host.name, "a reload", host.call())

    host.open_second_page()
    outcomes.note(host.name, "a second page", host.call())

    host.restart()
    host.run(_START)
    host.run(_OPEN)
    outcomes.note(host.name, "a restart", host.call())

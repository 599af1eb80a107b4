"""What the checks of hosts have come to in one run of the tests, and how that differs from the documentation."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Final

from tests.conformance.names import CHECKS, FAKES, HOSTS
from tests.conformance.table import read_table

__all__ = ["RENEWING", "Outcomes", "notes_in", "read_outcomes"]

#: The environment variable under which the table is made anew, so that nothing differs from it.
RENEWING: Final = "JCHANNEL_TEST_RENEWS_TABLE"

_NUMBERS: Final = re.compile(r"\d[\d,.]*\d|\d")


class Outcomes:
    """Notes outcomes, and compares them with the table of the documentation.

    Args:
        folder: The folder of the notes, a file for each: the tests may run in several processes.

    Attributes:
        differences: What differs from the table.
    """

    def __init__(self, folder: Path) -> None:
        self.differences: list[str] = []
        self._folder = folder
        self._said = read_table()

    def note(self, host: str, check: str, outcome: str) -> None:
        """Note the outcome of a check in a host: ``works``, or ``cannot: `` and why."""
        assert host in HOSTS + FAKES, host
        assert check in CHECKS, check
        outcome = _NUMBERS.sub("N", outcome)  # Those of messages and bytes are others in each run.
        name = hashlib.sha256(f"{host}\0{check}".encode()).hexdigest()
        (self._folder / f"{name}.json").write_text(json.dumps([host, check, outcome]))
        said = self._said.get((host, check))
        if said != outcome:
            self.differences.append(f"{host}, {check}: {outcome!r}, and the table says {said!r}")


def notes_in(cache: Path) -> Path:
    """Return the folder of the notes in pytest's cache."""
    return cache / "d" / "conformance"


def read_outcomes(folder: Path) -> dict[tuple[str, str], str]:
    """Read the notes of a run."""
    notes = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    return {(host, check): outcome for host, check, outcome in notes}

"""``python -m tests.conformance.renew``: runs the tests of hosts, and writes what they show into the documentation."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.outcomes import RENEWING, notes_in, read_outcomes
from tests.conformance.table import write_table


def main() -> int:
    """Run the tests, and write the table if they pass. Return the status of the process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "conformance",
            "-o",
            f"cache_dir={folder}",
            *sys.argv[1:],
        ]
        status = subprocess.run(command, env=os.environ | {RENEWING: "1"}, check=False).returncode
        if status == 0:
            write_table(read_outcomes(notes_in(Path(folder))))
    return status


if __name__ == "__main__":
    sys.exit(main())

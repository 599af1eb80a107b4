"""``python -m tests.conformance.renew``: runs the tests of hosts, and writes what they show into the documentation.

Arguments are pytest's, for a part of the tests. What they do not show stays as it is then; without arguments it is "not
tried".
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.outcomes import RENEWING, notes_in, read_outcomes
from tests.conformance.table import read_table, write_table


def main(arguments: Sequence[str]) -> int:
    """Run the tests, and write the table if they pass. Return the status of the process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "-q", "-m", "conformance", "-o", f"cache_dir={folder}", *arguments]
        status = subprocess.run(command, env=os.environ | {RENEWING: "1"}, check=False).returncode
        if status == 0:
            kept = read_table() if arguments else {}
            write_table(kept | read_outcomes(notes_in(Path(folder))))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

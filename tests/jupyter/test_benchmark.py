"""The benchmark of notebooks runs: a little of it, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import BROWSER, ROOT
from benchmarks.notebook import MEASURED
from tests.browser.chromium import find_chromium


def test_the_benchmark_measures_calls_and_a_widget_in_jupyterlab(tmp_path: Path) -> None:
    file = tmp_path / "notebook.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.notebook", "--short", "--rounds", "1", "--json", str(file)],
        cwd=ROOT,
        env={**os.environ, BROWSER: find_chromium()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text(encoding="utf-8"))["figures"][""]
    assert [row["label"] for row in rows] == list(MEASURED)

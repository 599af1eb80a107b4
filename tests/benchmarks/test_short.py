"""Every benchmark runs: a little of each, in a process of its own. Nothing is said about durations.

Those of load and soak are in `tests/test_load.py`, and that of notebooks is in `tests/jupyter/test_benchmark.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import CONTESTANTS
from benchmarks.growth import AXES
from benchmarks.harness import BROWSER, ROOT, Figures
from benchmarks.notebook import DOORS, MEASURED, WIDGET
from benchmarks.report import DOCUMENT
from tests.browser.chromium import find_chromium


def run(name: str, *arguments: str) -> str:
    """Runs a benchmark, and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--short", *arguments],
        cwd=ROOT,
        env={**os.environ, BROWSER: find_chromium()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(file: Path) -> Any:
    """Reads what it has written."""
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["busy", "records"])
def test_a_benchmark_without_a_browser_runs(name: str, tmp_path: Path) -> None:
    assert "no measurement" in run(name, "--rounds", "1", "--json", str(tmp_path / "it.json"))
    assert read(tmp_path / "it.json")["figures"][""]


@pytest.mark.browser
@pytest.mark.parametrize("name", ["streams", "pieces"])
def test_a_benchmark_in_a_browser_runs(name: str, tmp_path: Path) -> None:
    assert "no measurement" in run(name, "--rounds", "1", "--json", str(tmp_path / "it.json"))
    assert read(tmp_path / "it.json")["figures"][""]


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `benchmarks.compare` writes."""
    file = tmp_path_factory.mktemp("compare") / "compare.json"
    run("compare", "--rounds", "1", "--json", str(file))
    return file


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `benchmarks.growth` writes, with its chart beside it."""
    file = tmp_path_factory.mktemp("growth") / "growth.json"
    run("growth", "--rounds", "1", "--json", str(file), "--chart", str(file.parent))
    return file


@pytest.fixture
def doors(compared: Path, tmp_path: Path) -> Path:
    """What `benchmarks.notebook` would write, under the conditions of another one."""
    groups = {door: Figures() for door in (*DOORS, "")}
    for door in DOORS:
        for label, (unit, _) in MEASURED.items():
            groups[door].add(label, unit, 1)
    groups[""].add(WIDGET, "ms", 2)
    figures = {name: group.as_json() for name, group in groups.items()}
    file = tmp_path / "notebook.json"
    file.write_text(json.dumps(read(compared) | {"figures": figures}), encoding="utf-8")
    return file


@pytest.mark.browser
def test_each_contestant_gives_the_same_figures(compared: Path) -> None:
    figures = read(compared)["figures"]
    assert figures.keys() == CONTESTANTS.keys()
    rows = {name: [(row["label"], row["unit"]) for row in given] for name, given in figures.items()}
    assert all(given == rows["trio"] for given in rows.values())


@pytest.mark.browser
def test_the_growth_of_everything_is_measured_and_drawn(grown: Path) -> None:
    labels = {row["label"].partition(",")[0] for row in read(grown)["figures"]["growth"]}
    assert labels == {axis.name for axis in AXES.values()}
    for theme in ("light", "dark"):
        assert "<svg" in grown.with_name(f"growth-{theme}.svg").read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("face", ["trio", "asyncio"])
def test_the_profile_is_of_calls_batches_and_streams(face: str, tmp_path: Path) -> None:
    run("profile_call", "--face", face, "--json", str(tmp_path / "it.json"))
    passes = read(tmp_path / "it.json")["passes"]
    assert [name.partition(" ")[0] for name in passes["plain"]] == [
        "call",
        "call",
        "batch",
        "batch",
        "stream",
        "stream",
    ]
    assert all(subject["processor, ns"] > 0 for subject in passes["plain"].values())


@pytest.mark.browser
def test_the_report_replaces_the_tables_of_the_document_and_nothing_else(
    compared: Path, grown: Path, doors: Path, tmp_path: Path
) -> None:
    document = tmp_path / "performance.md"
    document.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    run(
        "report",
        *("--compare", str(compared), "--growth", str(grown), "--notebook", str(doors)),
        *("--document", str(document), "--images", str(tmp_path)),
    )
    before, after = (path.read_text(encoding="utf-8").splitlines() for path in (DOCUMENT, document))
    assert "SHORT: NO MEASUREMENT" in "\n".join(after)
    assert [line for line in after if line.startswith(("#", "<!--"))] == [
        line for line in before if line.startswith(("#", "<!--"))
    ]

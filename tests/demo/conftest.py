"""What the demo's tests share: a browser that fails in the way that a test wants, and a small table."""

import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from jchannel.demo.table import Column, Table

MakeBrowser = Callable[[str], Path]
"""Makes an executable that runs the fake browser with a failure."""


@pytest.fixture
def make_browser(tmp_path: Path) -> MakeBrowser:
    """A function that makes an executable in the place of Chromium, which fails as its argument says."""

    def make(failure: str = "") -> Path:
        script = tmp_path / "browser"
        program = Path(__file__).parent / "fake_browser.py"
        script.write_text(f"#!/bin/sh\nexec '{sys.executable}' -S '{program}' '{failure}' \"$@\"\n", encoding="utf-8")
        script.chmod(0o755)
        return script

    return make


@pytest.fixture
def table() -> Table:
    """Three rows, one of them without a value."""
    return Table(
        title="Rain",
        file="rain.csv",
        kind="time",
        axis="day",
        positions=array("d", [0, 86_400_000, 172_800_000]),
        columns=(Column("rain (mm)", array("d", [1.5, float("nan"), 3.5])),),
        left_out=(),
    )

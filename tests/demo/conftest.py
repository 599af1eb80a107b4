"""What the demo's tests share: a small table."""

from array import array

import pytest

from jchannel.demo.table import Table


@pytest.fixture
def table() -> Table:
    """Three rows, one of them without a value."""
    return Table(
        file="much_rain.csv",
        kind="time",
        axis="day",
        positions=array("d", [0, 86_400_000, 172_800_000]),
        columns={"rain (mm)": array("d", [1.5, float("nan"), 3.5])},
    )

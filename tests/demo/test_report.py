"""What the demo prints."""

from array import array

import pytest

from jchannel.demo import report
from jchannel.demo.latency import Figures


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which each step takes 1.5 seconds."""
    times = iter([10.0, 11.5, 20.0, 21.5])
    monkeypatch.setattr(report, "perf_counter", lambda: next(times))


def test_a_step_is_a_line_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with report.report_step("draw the chart") as step:
        step.detail = "30 calls"
    with report.report_step("close"):
        pass
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["draw", "the", "chart", "30", "calls", "1,500", "ms"]
    assert second.split() == ["close", "1,500", "ms"]
    assert len(first) == len(second)


def test_a_step_that_fails_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), report.report_step("draw the chart"):
        raise ValueError("broken")
    assert capsys.readouterr().out == ""


def test_figures_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    to_page: Figures = {
        "name": "Python to page",
        "times": array("d", [1, 2, 3]),
        "median": 2,
        "p95": 2.9,
        "rate": 12_345.6,
    }
    report.print_figures([to_page, {**to_page, "name": "Page to Python", "rate": 999}], 2000)
    assert capsys.readouterr().out == (
        "\n"
        "  calls in turn: 3            median         p95       2,000 at once\n"
        "  Python to page             2.00 ms     2.90 ms      12,346 calls/s\n"
        "  Page to Python             2.00 ms     2.90 ms         999 calls/s\n"
        "\n"
    )

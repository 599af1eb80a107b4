"""What the demo prints."""

from pathlib import Path

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
    report.print_figures(Figures([1, 2, 3], [0.5, 0.25, 1], 2000, 12_345.6, 999))
    assert capsys.readouterr().out == (
        "\n"
        "  3 calls in turn             median         p95\n"
        "  Python to page             2.00 ms     3.00 ms\n"
        "  page to Python             0.50 ms     1.00 ms\n"
        "\n"
        "  2,000 calls at once                       rate\n"
        "  Python to page                  12,346 calls/s\n"
        "  page to Python                     999 calls/s\n"
        "\n"
    )


@pytest.mark.parametrize(("size", "expected"), [(10, "1 KiB"), (2048, "2 KiB"), (5_000_000, "4,883 KiB")])
def test_files_are_told_with_their_size(size: int, expected: str) -> None:
    assert report.describe_file(Path("chart.png"), size) == f"chart.png, {expected}"

"""What measures and soaks in notebooks runs: a little of each, in the run's Jupyter server."""

import pytest

from benchmarks import comm_soak, notebook
from benchmarks.harness import BROWSER
from tests.browser.chromium import find_chromium
from tests.jupyter.server import JupyterServer


@pytest.fixture(autouse=True)
def browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks' browser is that of the tests."""
    monkeypatch.setenv(BROWSER, str(find_chromium()))


def test_the_benchmark_measures_calls_and_streams_through_each_door_and_a_widget(jupyter: JupyterServer) -> None:
    groups = notebook.run_in(jupyter, notebook.make_options().parse_args(["--short", "--rounds", "1"]))

    assert set(groups) == {*notebook.DOORS, ""}
    for door in notebook.DOORS:
        assert [label for label, _ in groups[door].values] == list(notebook.MEASURED)
    assert [label for label, _ in groups[""].values] == [notebook.WIDGET]


async def test_nothing_is_lost_over_the_comm_while_a_second_page_takes_over_and_a_cell_computes(
    jupyter: JupyterServer,
) -> None:
    file = jupyter.write_notebook("soak.ipynb", comm_soak.make_cells(seed=1))
    soak = comm_soak.Soak()

    url = jupyter.page_url(f"lab/tree/{file.name}?reset")
    await comm_soak.run(soak, url, seconds=0, seed=1, acts=("be_busy", "replace"), rest=0)

    assert soak.described == []
    assert not soak.faults
    assert soak.done["be_busy"] == soak.done["replace"] == 1

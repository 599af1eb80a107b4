"""The notebook frontend and its outputs: removed, collapsed, run again, untrusted, of a kernel that is gone."""

import re

import nbformat
import pytest
from playwright.sync_api import expect

from tests.conformance.checks import WORKS
from tests.conformance.outcomes import Outcomes
from tests.jupyter.classic import ClassicNotebook
from tests.jupyter.conformance import name_host
from tests.jupyter.conftest import Notebooks
from tests.jupyter.driver import Notebook
from tests.jupyter.lab import LabNotebook
from tests.jupyter.notebook7 import Notebook7Notebook
from tests.jupyter.test_frontend_connection import CALL, CONNECTED, LINE, OPEN, START

STATES = "() => [...globalThis[Symbol.for('jchannel')].servers.values()].map((connection) => connection.state)"
PAGE_CONNECTED = "server.statistics().page_connected"


def connect(notebooks: Notebooks, *cells: str) -> Notebook:
    notebook = notebooks.open([START, OPEN, *cells])
    ran = notebook.run(0) + notebook.run(1)
    assert "Error" not in ran, ran
    return notebook


def wait_for_states(notebook: Notebook, *states: str) -> None:
    notebook.page.wait_for_function(f"(states) => JSON.stringify(({STATES})()) === states", arg=_to_json(states))


def _to_json(states: tuple[str, ...]) -> str:
    return "[" + ",".join(f'"{state}"' for state in states) + "]"


def test_the_page_lets_go_when_the_output_is_cleared_and_comes_back_with_a_call(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, PAGE_CONNECTED, CALL)
    assert notebook.run(2) == "True"

    notebook.clear_output(0)
    wait_for_states(notebook, "idle")

    assert notebook.run(2) == "False"
    assert notebook.run(3).endswith("5")
    expect(notebook.output(3).locator(LINE)).to_contain_text(CONNECTED)
    assert notebook.complaints == []


@pytest.mark.parametrize("front_end", [LabNotebook, ClassicNotebook], indirect=True)
def test_the_page_and_its_channels_stay_when_the_cell_is_run_again(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "(server.statistics().page_connected, server.statistics().channels)", CALL)

    again = notebook.run(0)
    assert "is given again with its page and its channels" in again
    expect(notebook.output(0).locator(LINE)).to_contain_text(CONNECTED)
    # Longer than the page keeps a connection whose output is gone.
    notebook.page.evaluate("() => new Promise((done) => setTimeout(done, 3500))")

    wait_for_states(notebook, "connected")
    assert notebook.run(2) == "(True, 1)"
    assert notebook.run(3) == "5"
    assert notebook.complaints == []


def test_the_page_lets_go_when_the_cell_is_deleted(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, PAGE_CONNECTED)

    notebook.delete_cell(0)
    wait_for_states(notebook, "idle")

    assert notebook.run(1) == "False"


def test_the_page_stays_connected_as_long_as_one_output_is_there(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, PAGE_CONNECTED, "server._frontend.show()", CALL)
    notebook.run(3)
    expect(notebook.output(3).locator(LINE)).to_contain_text(CONNECTED)

    notebook.clear_output(0)
    notebook.run(3)
    expect(notebook.output(3).locator(LINE)).to_contain_text(CONNECTED)

    assert notebook.run(4) == "5"
    expect(notebook.output(4).locator(LINE)).to_have_count(0)


def test_the_page_lets_go_when_the_tab_is_closed(notebooks: Notebooks) -> None:
    notebook = connect(notebooks)
    notebook.save()
    other = notebooks.open(["pass"])

    notebook.close_tab()

    # The same kernel, from another tab: the page is gone as soon as the browser, or the notebook's panel, has let go.
    again = notebooks.open_file(notebook.file)
    again.set_source(1, "import time\nwhile server.statistics().page_connected: time.sleep(0.05)\n'gone'")
    assert again.run(1) == "'gone'"
    assert other.complaints == []


@pytest.mark.parametrize("front_end", [LabNotebook, Notebook7Notebook], indirect=True)
def test_a_collapsed_output_keeps_the_page_connected_until_its_cell_is_deleted(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, PAGE_CONNECTED, CALL)

    notebook.page.evaluate("() => { jupyterapp.shell.currentWidget.content.widgets[0].outputHidden = true; }")
    expect(notebook.page.locator(LINE)).to_have_count(0)
    notebook.page.evaluate("() => new Promise((done) => setTimeout(done, 3500))")

    assert notebook.run(3) == "5"
    notebook.delete_cell(0)
    wait_for_states(notebook, "idle")
    assert notebook.run(1) == "False"


def test_an_untrusted_output_says_what_to_do(notebooks: Notebooks) -> None:
    source = connect(notebooks)
    html = source.html(0)
    outputs = [[nbformat.v4.new_output("display_data", {"text/html": html})]]

    notebook = notebooks.open(["pass"], outputs=outputs)

    assert not notebook.is_trusted()
    expect(notebook.output(0)).to_contain_text("this page is not connected. Run this cell again")
    assert notebook.page.evaluate("() => globalThis[Symbol.for('jchannel')] === undefined")
    assert notebook.complaints == []


def test_an_output_of_long_ago_asks_nobody(notebooks: Notebooks) -> None:
    source = connect(notebooks)
    html = re.sub(r"&quot;issued&quot;:[\d.]+", "&quot;issued&quot;:1000000000", source.html(0))
    outputs = [[nbformat.v4.new_output("display_data", {"text/html": html})]]

    notebook = notebooks.open(["pass"], outputs=outputs, trusted=True)

    expect(notebook.output(0)).to_contain_text("this page is not connected. Run this cell again")
    assert notebook.page.evaluate("() => globalThis[Symbol.for('jchannel')].scripts.size") == 0
    assert notebook.complaints == []


def test_running_the_cells_again_connects_the_page_to_the_new_server(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "await server.stop()", CALL)
    notebook.run(2)
    expect(notebook.output(0).locator(LINE)).to_contain_text("the server was closed")

    notebook.run(0)
    notebook.run(1)

    assert notebook.run(3) == "5"
    expect(notebook.output(0).locator(LINE)).to_contain_text(CONNECTED)
    assert notebook.complaints == []


def test_after_a_restart_of_the_kernel_the_output_says_so_and_the_cells_connect_anew(
    notebooks: Notebooks, outcomes: Outcomes
) -> None:
    notebook = connect(notebooks, CALL)

    notebook.restart()
    expect(notebook.output(0).locator(LINE)).to_contain_text("its kernel has been restarted. Run the cell again.")
    complaints = len(notebook.complaints)
    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "5"
    outcomes.note(name_host(notebook, "port"), "a restart", WORKS)
    assert complaints <= 2
    assert len(notebook.complaints) == complaints

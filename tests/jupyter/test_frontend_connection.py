"""The notebook frontend: the cell that starts a server connects its page, which comes back after a reload."""

import re

from playwright.sync_api import expect

from tests.conformance import checks
from tests.conformance.checks import WORKS
from tests.conformance.outcomes import Outcomes
from tests.conformance.suite import note_checks
from tests.jupyter.conformance import name_host
from tests.jupyter.conftest import Notebooks

START = "import jchannel\nserver = await jchannel.start()"
OPEN = "channel = await server.open('(channel) => { channel.handler = {add: (a, b) => a + b}; }')"
CALL = "await channel.call('add', 2, 3)"

LINE = "[data-jchannel]"
CONNECTED = re.compile("connected to")


def test_two_cells_and_a_call(notebooks: Notebooks) -> None:
    notebook = notebooks.open([START, OPEN, CALL])

    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "5"
    expect(notebook.output(0).locator(LINE)).to_contain_text("connected to 127.0.0.1:")
    assert notebook.complaints == []


def test_everything_in_one_cell_shows_one_output(notebooks: Notebooks) -> None:
    notebook = notebooks.open([f"{START}\n{OPEN}\n{CALL}"])

    assert notebook.run(0).endswith("5")
    expect(notebook.output(0).locator(LINE)).to_have_count(1)


def test_the_page_comes_back_by_itself_after_a_reload_of_a_saved_notebook(
    notebooks: Notebooks, outcomes: Outcomes
) -> None:
    notebook = notebooks.open([START, OPEN, CALL, checks.OPEN, checks.make_check()])
    host = name_host(notebook, "port")
    notebook.run(0)
    notebook.run(1)
    notebook.run(3)
    note_checks(host, notebook.run(4), outcomes)
    notebook.save()

    notebook.reload()

    expect(notebook.output(0).locator(LINE)).to_contain_text(CONNECTED)
    assert notebook.run(2) == "5"
    outcomes.note(host, "a reload", WORKS)
    expect(notebook.output(2).locator(LINE)).to_have_count(0)
    assert notebook.complaints == []


def test_the_page_comes_back_with_the_next_call_after_a_reload_of_an_unsaved_notebook(notebooks: Notebooks) -> None:
    notebook = notebooks.open([START, OPEN, CALL])
    notebook.save()
    notebook.run(0)
    notebook.run(1)

    notebook.reload()

    assert notebook.run(2).endswith("5")
    expect(notebook.output(2).locator(LINE)).to_contain_text(CONNECTED)


def test_no_secret_is_saved(notebooks: Notebooks) -> None:
    notebook = notebooks.open([START, OPEN, "server.token, server._frontend.claims.issue()"])
    notebook.run(0)
    notebook.run(1)
    token = re.findall("'([^']*)'", notebook.run(2))[0]
    notebook.set_source(2, "")
    notebook.clear_output(2)

    notebook.save()

    text = notebook.file.read_text()
    assert token not in text
    assert "data-jchannel" in text

"""The notebook frontend and several pages: one at a time is connected, and it can be moved. Pages that need a proxy."""

import pytest
from playwright.sync_api import expect

from tests.conformance.checks import WORKS
from tests.conformance.outcomes import Outcomes
from tests.conformance.suite import come_and_go, make_cells
from tests.jupyter.conformance import NotebookHost, name_host
from tests.jupyter.conftest import Notebooks
from tests.jupyter.driver import Notebook
from tests.jupyter.lab import LabNotebook
from tests.jupyter.test_frontend_connection import CALL, CONNECTED, LINE, OPEN, START

MOVE = "await server.move_to_newest_page()"
SYNC_START = "import jchannel.sync\nserver = jchannel.sync.start()"
SYNC_OPEN = "channel = server.open('(channel) => { channel.handler = {add: (a, b) => a + b}; }')"


def connect(notebooks: Notebooks, *cells: str) -> Notebook:
    notebook = notebooks.open([START, OPEN, *cells])
    ran = notebook.run(0) + notebook.run(1)
    assert "Error" not in ran, ran
    return notebook


def test_a_second_tab_says_why_it_is_not_connected_and_can_be_moved_to(
    notebooks: Notebooks, outcomes: Outcomes
) -> None:
    first = connect(notebooks, CALL, MOVE)
    first.save()

    second = first.second_tab()
    expect(second.output(0).locator(LINE)).to_contain_text("run server.move_to_newest_page()")
    assert second.run(2) == "5"
    expect(first.output(0).locator(LINE)).to_contain_text(CONNECTED)
    outcomes.note(name_host(first, "port"), "a second page", WORKS)

    second.run(3)
    expect(second.output(3).locator(LINE)).to_contain_text(CONNECTED)
    expect(second.output(0).locator(LINE)).to_contain_text(CONNECTED)
    expect(first.output(0).locator(LINE)).to_contain_text("another page has taken over")
    assert second.run(2) == "5"
    # Each tab hears of the widgets' comms of the other one, and says that it does not know them.
    assert [complaint for complaint in first.complaints + second.complaints if "Comm" not in complaint] == []


def test_the_page_that_was_left_stays_away_after_a_reload(notebooks: Notebooks) -> None:
    first = connect(notebooks, CALL, MOVE)
    first.save()
    second = first.second_tab()
    second.run(3)
    expect(second.output(3).locator(LINE)).to_contain_text(CONNECTED)

    first.reload()

    expect(first.output(0).locator(LINE)).to_contain_text("another page is connected")
    expect(second.output(3).locator(LINE)).to_contain_text(CONNECTED)


def test_moving_to_the_page_that_is_connected_ends_with_an_error(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "await server.move_to_newest_page(0.5)", CALL)

    assert "TimeoutError: no other page connected within 0.5 s" in notebook.run(2)
    assert notebook.run(3) == "5"


def test_a_duplicated_tab_does_not_push_the_first_one_out(notebooks: Notebooks) -> None:
    first = connect(notebooks, CALL)
    first.save()
    stored = first.page.evaluate("() => JSON.stringify(sessionStorage)")
    # What a browser does when a tab is duplicated: the copy begins with the session storage of the first.
    first.page.context.add_init_script(f"Object.assign(sessionStorage, {stored});")

    second = first.second_tab()

    expect(second.output(0).locator(LINE)).to_contain_text("another page is connected")
    expect(first.output(0).locator(LINE)).to_contain_text(CONNECTED)
    assert first.run(2) == "5"


def test_the_blocking_facade_connects_and_moves_while_its_cell_is_busy(notebooks: Notebooks) -> None:
    code = f"{SYNC_START}\n{SYNC_OPEN}\nchannel.call('add', 2, 3)"
    first = notebooks.open([code, "server.move_to_newest_page()\nchannel.call('add', 3, 4)"])
    assert first.run(0).endswith("5")
    first.save()

    second = first.second_tab()

    assert second.run(1).endswith("7")
    expect(first.output(0).locator(LINE)).to_contain_text("another page has taken over")


def test_a_page_that_does_not_reach_the_port_goes_through_the_proxy_and_so_do_those_after_it(
    notebooks: Notebooks, outcomes: Outcomes
) -> None:
    notebook = notebooks.open(make_cells(START))
    host = NotebookHost(name_host(notebook, "proxy"), notebook)
    # The context's, so that a second page does not reach it, either.
    notebook.page.context.route(lambda url: not url.startswith(notebooks.server.url), lambda route: route.abort())

    notebook.run(0)
    notebook.run(1)

    assert host.call() == WORKS
    expect(notebook.output(0).locator(LINE)).to_contain_text("connected to " + notebooks.server.url.split("/")[2])
    come_and_go(host, outcomes)


@pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)
def test_a_url_that_is_given_is_the_only_one_tried(notebooks: Notebooks) -> None:
    url = f"{notebooks.server.url}proxy/8997"
    notebook = notebooks.open([f"import jchannel\nserver = await jchannel.start(port=8997, url={url!r})", OPEN, CALL])
    requested: list[str] = []
    notebook.page.on("request", lambda request: requested.append(request.url))

    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "5"
    assert not [address for address in requested if not address.startswith(notebooks.server.url)]


@pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)
def test_two_servers_of_a_notebook_share_a_page(notebooks: Notebooks) -> None:
    both = f"{START}\nother = await jchannel.start()"
    notebook = notebooks.open(
        [
            both,
            OPEN,
            "second = await other.open('(channel) => { channel.handler = {twice: (a) => 2 * a}; }')",
            CALL,
            "await second.call('twice', 4)",
        ]
    )
    for n in range(3):
        notebook.run(n)

    assert (notebook.run(3), notebook.run(4)) == ("5", "8")
    assert notebook.complaints == []

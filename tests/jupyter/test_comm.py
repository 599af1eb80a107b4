"""A page that is connected by the kernel's own messages, in a real JupyterLab: it reaches no port and no proxy.

What every host is asked, streams, reloads and restarts among it, is in ``test_conformance.py``.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.jupyter.conftest import Notebooks
from tests.jupyter.driver import Notebook
from tests.jupyter.lab import LabNotebook

pytestmark = pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)

IMPORT = "import sys\nsys.modules.pop('anywidget', None)\nimport jchannel"
START = f"{IMPORT}\nserver = await jchannel.start(door='comm')"
CODE = """(channel) => {
    channel.handler = {
        add: (a, b) => a + b,
        ask: (...args) => channel.call(...args),
        draw: (text) => { channel.element.textContent = text; },
    };
}"""
HANDLER = "class Handler:\n    @jchannel.background\n    def double(self, x): return 2 * x\n"
OPEN = f'{HANDLER}channel = await server.open("""{CODE}""", handler=Handler())'
CONNECTED = re.compile("connected by the kernel.s own messages")
DOOR = "server.statistics().door"


def connect(notebooks: Notebooks, *cells: str) -> Notebook:
    """A notebook that has run the first two cells: one starts the server, and one opens a channel."""
    notebook = notebooks.open([START, OPEN, *cells])
    notebook.run(0)
    assert notebook.run(1) == ""
    expect(notebook.output(0)).to_contain_text(CONNECTED)
    return notebook


def test_calls_go_both_ways_while_a_cell_awaits_and_while_it_computes(notebooks: Notebooks) -> None:
    notebook = connect(
        notebooks,
        "await channel.call('add', 2, 3), await channel.call('ask', 'double', 4)",
        "channel.sync.call('add', 2, 3), channel.sync.call('ask', 'double', 4)",
        "import asyncio\nsum(await asyncio.gather(*[channel.call('add', i, 1, timeout=30) for i in range(2000)]))",
        "(server.statistics().door, server.statistics().door_reason)",
        "server",
    )

    assert notebook.run(2) == "(5, 8)"
    assert notebook.run(3) == "(5, 8)"
    assert notebook.run(4) == "2001000"
    assert notebook.run(5) == "('comm', 'it was asked for')"
    notebook.run(6)
    notebook.output(6).scroll_into_view_if_needed()
    expect(notebook.output(6)).to_contain_text("comm: it was asked for")
    expect(notebook.output(6)).to_contain_text("live")  # The panel is kept up to date over the comm, too.
    assert notebook.complaints == []


def test_an_element_is_drawn_in_and_a_second_tab_can_be_moved_to(notebooks: Notebooks) -> None:
    notebook = connect(
        notebooks,
        "await channel.call('draw', 'drawn over the comm')\nchannel.show()",
        "await channel.call('add', 2, 3)",
        "await server.move_to_newest_page()",
    )
    notebook.run(2)
    expect(notebook.output(2)).to_contain_text("drawn over the comm")
    notebook.save()

    second = notebook.second_tab()
    second.run(4)
    expect(second.output(4)).to_contain_text(CONNECTED)
    expect(notebook.output(0)).to_contain_text("another page has taken over")
    assert second.run(3) == "5"
    assert notebook.complaints == []


def test_the_page_is_heard_when_the_cell_that_has_connected_it_is_run_again(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "await channel.call('add', 2, 3)")

    notebook.run(0)

    expect(notebook.output(0)).to_contain_text(CONNECTED)
    assert notebook.run(2) == "5"
    assert notebook.complaints == []


def test_a_collapsed_output_keeps_the_page_connected(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "await channel.call('add', 2, 3)")

    notebook.page.evaluate("() => { jupyterapp.shell.currentWidget.content.widgets[0].outputHidden = true; }")
    expect(notebook.output(0)).to_have_count(0)
    notebook.page.evaluate("() => new Promise((done) => setTimeout(done, 3500))")

    assert notebook.run(2) == "5"
    assert notebook.complaints == []


def test_with_the_widget_a_page_that_reaches_the_port_takes_that(notebooks: Notebooks) -> None:
    notebook = notebooks.open([f"{IMPORT}\nserver = await jchannel.start()", OPEN, DOOR])
    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "'port'"
    expect(notebook.output(0)).to_contain_text("connected to 127.0.0.1:")
    assert notebook.complaints == []

"""What a channel draws, in JupyterLab: in the output of its own cell, and wherever it is shown after that."""

import pytest
from playwright.sync_api import Locator, expect

from tests.jupyter.conftest import Notebooks
from tests.jupyter.driver import Notebook
from tests.jupyter.lab import LabNotebook
from tests.jupyter.test_frontend_connection import START

DRAW = """channel = await server.open('''
(channel) => {
    channel.element.textContent = 'drawn';
    channel.handler = {width: () => channel.element.clientWidth};
}
''')"""
SHOW = "channel.show()"
CALL = "await channel.call('width') > 100"
PLAIN = "plain = await server.open('(channel) => {}')"


def place(notebook: Notebook, n: int) -> Locator:
    return notebook.output(n).locator(".jchannel-element")


@pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)
def test_a_channel_draws_in_the_output_of_its_cell(notebooks: Notebooks) -> None:
    notebook = notebooks.open([START, DRAW, SHOW, PLAIN, CALL])
    for n in range(2):
        notebook.run(n)
    expect(place(notebook, 1)).to_have_text("drawn")
    assert notebook.run(4) == "True"

    # It is shown elsewhere, and comes back when it is not any more.
    notebook.run(2)
    expect(place(notebook, 2)).to_have_text("drawn")
    expect(place(notebook, 1)).to_have_text("")
    notebook.clear_output(2)
    expect(place(notebook, 1)).to_have_text("drawn")

    # What draws nothing shows nothing.
    notebook.run(3)
    assert notebook.outputs(3) == []

    # It is drawn again after a reload, in the saved output, in which nothing of it was saved.
    notebook.save()
    assert "drawn" not in str(notebook.saved().cells[1].outputs).replace("what was drawn", "")
    notebook.reload()
    expect(place(notebook, 1)).to_have_text("drawn")
    assert notebook.complaints == []

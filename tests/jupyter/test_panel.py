"""The panels of servers and channels in a notebook: live in all three front ends, readable where nothing runs."""

import re

import nbformat
import pytest
from playwright.sync_api import Locator, expect

from tests.jupyter.conftest import Notebooks
from tests.jupyter.driver import Notebook
from tests.jupyter.lab import LabNotebook
from tests.jupyter.notebook7 import Notebook7Notebook
from tests.jupyter.proxied import Traffic
from tests.jupyter.server import OTHER_HOST
from tests.jupyter.test_frontend_connection import OPEN, START

PANEL = ".jchannel-panel"
AS_OF = re.compile(r"as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

CALLS = """
import asyncio

async def make_calls():
    while True:
        await channel.call('add', 2, 3)
        await asyncio.sleep(0.1)

task = asyncio.create_task(make_calls())
"""
"""Calls that no cell waits for."""

BUSY = """
import time
for _ in range(600):
    channel.sync.call('add', 2, 3)
    time.sleep(0.01)
"""
"""A cell that never awaits, and takes longer than the panel takes between two looks."""

CONTRASTS = """
(panel) => {
    const rgba = (color) => {
        const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
        return [r, g, b, a];
    };
    const over = ([r, g, b, a], ground) => [r, g, b].map((c, i) => c * a + ground[i] * (1 - a));
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const grounds = [];
    for (let e = panel; e; e = e.parentElement) grounds.unshift(rgba(getComputedStyle(e).backgroundColor));
    const ground = grounds.reduce((below, color) => over(color, below), [255, 255, 255]);
    return [...panel.querySelectorAll('b, span, dt, dd')].map((element) => {
        const [a, b] = [over(rgba(getComputedStyle(element).color), ground), ground].map(luminance);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
}
"""
"""The contrast of each text of a panel with what is behind it, as WCAG counts it."""


def connect(notebooks: Notebooks, *cells: str, host: str | None = None) -> Notebook:
    """A notebook whose page is connected; its third cell has shown a panel."""
    notebook = notebooks.open([START, OPEN, *cells], host=host)
    for number in range(3):
        ran = notebook.run(number)
        assert "Error" not in ran, ran
    return notebook


def part(notebook: Notebook, number: int, name: str) -> Locator:
    return notebook.output(number).locator(f'[data-jchannel-text="{name}"]')


def test_a_server_shows_as_a_live_panel(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "server")

    expect(part(notebook, 2, "note")).to_have_text("live")
    expect(part(notebook, 2, "state")).to_have_text("page connected")
    expect(part(notebook, 2, "channels")).to_have_text("1")
    expect(part(notebook, 2, "round-trip")).to_have_text(re.compile(r"\d ms$"))
    expect(notebook.output(2).locator("dt")).to_have_count(9)
    assert re.fullmatch(r"<jchannel\.server\.Server at http://localhost:\d+, page connected>", notebook.text(2))
    assert notebook.complaints == []


def test_the_figures_follow_without_a_cell_that_runs_and_while_one_is_busy(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "channel", CALLS, "task.cancel()", BUSY)
    figure = part(notebook, 2, "calls-made")
    expect(figure).to_have_text("0")

    notebook.run(3)
    for _ in range(2):
        expect(figure).not_to_have_text(figure.inner_text())
    notebook.run(4)

    notebook.start(5)
    for _ in range(2):  # The first one may be of the calls before.
        expect(figure).not_to_have_text(figure.inner_text())
    notebook.wait_done(5)


def test_a_saved_panel_is_live_again_after_a_reload(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "server", "for _ in range(7): await channel.call('add', 2, 3)")
    notebook.run(3)
    notebook.save()

    notebook.reload()

    expect(part(notebook, 2, "note")).to_have_text("live")
    expect(part(notebook, 2, "calls-made")).to_have_text("7")
    text = notebook.file.read_text()
    assert "data-jchannel-panel" in text
    assert AS_OF.search(text)
    assert notebook.complaints == []


def test_the_panel_of_a_stopped_server_rests_and_a_new_one_says_so(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "server", "await server.stop()", "server")
    expect(part(notebook, 2, "note")).to_have_text("live")

    notebook.run(3)
    expect(part(notebook, 2, "note")).to_have_text(AS_OF)
    expect(part(notebook, 2, "state")).to_have_text("not connected")

    notebook.run(4)
    expect(part(notebook, 4, "state")).to_have_text("stopped")
    expect(part(notebook, 4, "note")).to_have_text(AS_OF)
    assert notebook.complaints == []


def test_a_panel_out_of_sight_asks_nothing(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "server")
    expect(part(notebook, 2, "note")).to_have_text("live")

    notebook.output(2).locator(PANEL).evaluate("(panel) => { panel.style.display = 'none'; }")
    expect(part(notebook, 2, "note")).to_have_text(AS_OF)

    asked: list[str] = []
    notebook.page.on("request", lambda request: asked.append(request.url))
    notebook.page.evaluate("() => new Promise((done) => setTimeout(done, 2500))")
    assert [url for url in asked if url.endswith("/panels")] == []
    notebook.output(2).locator(PANEL).evaluate("(panel) => { panel.style.display = 'inline-block'; }")
    expect(part(notebook, 2, "note")).to_have_text("live")


def test_every_word_of_a_panel_has_contrast_in_light_and_dark(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "server")
    expect(part(notebook, 2, "note")).to_have_text("live")

    light = notebook.output(2).locator(PANEL).evaluate(CONTRASTS)
    notebook.use_dark_theme()
    dark = notebook.output(2).locator(PANEL).evaluate(CONTRASTS)

    # As WCAG asks for. The dot, which comes first, says nothing that the words beside it do not.
    assert min(light[1:]) >= 4.5
    assert min(dark[1:]) >= 4.5


def test_an_untrusted_panel_keeps_its_words_and_their_order(notebooks: Notebooks) -> None:
    source = connect(notebooks, "server")
    outputs = [[nbformat.v4.new_output("display_data", {"text/html": source.html(2)})]]

    notebook = notebooks.open(["pass"], outputs=outputs)

    assert not notebook.is_trusted()
    expect(notebook.output(0)).to_contain_text(AS_OF)
    expect(notebook.output(0).locator("dt")).to_have_count(9)
    expect(notebook.output(0).locator("dt").first).to_have_css("float", "none")


@pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)
def test_a_panel_holds_no_secret(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "server", "print(server.token)")

    token = notebook.run(3).strip()

    assert len(token) == 43
    assert token not in notebook.html(2)


@pytest.mark.parametrize("front_end", [Notebook7Notebook], indirect=True)
def test_a_panel_is_live_through_the_proxy(notebooks: Notebooks) -> None:
    notebook = connect(notebooks, "server", host=OTHER_HOST)
    traffic = Traffic(notebook)

    expect(part(notebook, 2, "note")).to_have_text("live")
    with notebook.page.expect_response(lambda response: response.url.endswith("/panels")) as response:
        pass

    jupyter = notebooks.server.url.replace("127.0.0.1", OTHER_HOST)
    assert response.value.ok
    assert traffic.find_proxied(jupyter) == {"POST jchannel"}
    assert traffic.find_elsewhere(jupyter) == []
    assert notebook.complaints == []

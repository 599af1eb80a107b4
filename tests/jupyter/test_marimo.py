"""A real marimo, in which the page connects by itself: a notebook that is edited, and one that is run.

Over the port, and over the comm. If one of these tests fails, `jchannel/_notebook/marimo.py` or `hearing.py` knows a
shape that has changed.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.conformance.checks import WORKS
from tests.conformance.outcomes import Outcomes
from tests.conformance.suite import note_checks
from tests.jupyter.process import ServerProcess, private_environment

CHECKOUT = Path(__file__).resolve().parents[2]

HOST = "marimo, port"
COMM_HOST = "marimo, comm"

NOTEBOOK = '''\
import marimo

app = marimo.App()


@app.cell
async def _():
    import jchannel
    server = await jchannel.start()
    return jchannel, server


@app.cell
async def _(jchannel, server):
    class Handler:
        @jchannel.background
        def double(self, x):
            return 2 * x

    CODE = """(channel) => {
        channel.element.textContent = 'drawn by the page';
        channel.handler = {
            add: (a, b) => a + b,
            ask: (...args) => channel.call(...args),
            take: async (stream) => (await stream.join()).length,
            give: (size) => new Blob([new Uint8Array(size).fill(7)]),
        };
    }"""
    channel = await server.open(CODE, timeout=30, handler=Handler())
    return (channel,)


@app.cell
async def _(channel, server):
    got = await channel.call("add", 2, 3), await channel.call("ask", "double", 4), channel.sync.call("ask", "double", 5)
    taken = await channel.call_with_stream("take", b"x" * 1000000)
    given = len(await (await channel.call("give", 100000)).join())
    f"results: {got} {taken} {given} {server.statistics().door}"
    return


@app.cell
async def _(channel, server):
    from tests.conformance import checks
    checked = checks.Handler()
    checking = server.open(checks.CODE, timeout=60, handler=checked)
    f"outcomes: {await checks.run_checks(checking, checked)}"
    return checking, checks


@app.cell
def _(server):
    server
    return


@app.cell
def _():
    import marimo as mo
    again = mo.ui.run_button(label="call again")
    again
    return again, mo


@app.cell
async def _(again, checking, checks, mo):
    mo.stop(not again.value)
    f"called again: {await checks.call_once(checking)}"
    return


if __name__ == "__main__":
    app.run()
'''

# What waits for the page outlives its cell: the page is heard between cells only.
OVER_THE_COMM = '''\
import marimo

app = marimo.App()


@app.cell
async def _():
    import asyncio
    import jchannel
    server = await jchannel.start(door="comm")
    return asyncio, jchannel, server


@app.cell
async def _(asyncio, jchannel, server):
    class Handler:
        def double(self, x):
            return 2 * x

    CODE = """async (channel) => {
        channel.handler = {
            add: (a, b) => a + b,
            ask: (...args) => channel.call(...args),
            take: async (stream) => (await stream.join()).reduce((sum, byte) => (sum + byte) % 65521, 0),
            give: (size) => new Blob([new Uint8Array(size).fill(7)]),
            show: (text) => { channel.element.textContent = text; },
        };
        setTimeout(async () => { channel.element.textContent = `drawn ${await channel.call('double', 21)}`; });
    }"""
    said = []
    for wait in (lambda: server.open(CODE, timeout=None), lambda: asyncio.gather(server.wait_page())):
        try:
            await wait()
        except jchannel.StateError as error:
            said.append(str(error))
    try:
        jchannel.Channel(server, CODE).sync.call("add", 2, 3, timeout=None)
    except jchannel.StateError as error:
        said.append(str(error))

    async def use():
        channel = await opening
        added = await channel.call("add", 2, 3, timeout=None)
        blocked = await asyncio.to_thread(channel.sync.call, "add", 6, 7, timeout=None)
        asked = await channel.call("ask", "double", 4, timeout=None)
        data = bytes(range(256)) * 16384
        taken = await channel.call_with_stream("take", data, timeout=None) == sum(data) % 65521
        stream = await channel.call("give", 4 * 2**20, timeout=None)
        given = await stream.join() == bytes([7]) * 4 * 2**20
        shown = f"results: {added} {blocked} {asked} {taken} {given} {server.statistics().door}"
        await channel.call("show", shown, timeout=None)

    opening = server.open(CODE, timeout=None, handler=Handler())
    task = asyncio.create_task(use())
    return said, task


@app.cell
def _(said):
    " | ".join(said)
    return


@app.cell
def _():
    import marimo as mo
    from tests.conformance import checks
    checked = checks.Handler()
    between, within = mo.ui.run_button(label="check between cells"), mo.ui.run_button(label="check in a cell")
    again = mo.ui.run_button(label="call again")
    mo.hstack([between, within, again])
    return again, between, checked, checks, mo, within


# What a task has to say is shown by a channel of its own, as its cell has ended.
@app.cell
def _(asyncio, server):
    SHOW = """(channel) => {
        channel.handler = {show: (text) => { channel.element.textContent = `outcome: ${text}`; }};
    }"""
    showing = server.open(SHOW, timeout=None)

    def run_between_cells(work):
        async def show():
            channel = await showing
            await channel.call("show", await work, timeout=None)

        return asyncio.create_task(show())
    return (run_between_cells,)


@app.cell
def _(between, checked, checks, mo, run_between_cells, server):
    mo.stop(not between.value)
    checking = server.open(checks.CODE, timeout=None, handler=checked)
    free = run_between_cells(checks.run_checks(checking, checked, names=checks.FREE))
    return checking, free


@app.cell
async def _(checked, checking, checks, mo, within):
    mo.stop(not within.value)
    # It is known to be deaf meanwhile, and has some time to show that it is not.
    mo.plain_text(f"in a cell: {await checks.run_checks(checking, checked, 1.0, checks.BUSY)}")
    return


@app.cell
def _(again, checks, checking, mo, run_between_cells):
    mo.stop(not again.value)
    called = run_between_cells(checks.call_once(checking))
    return (called,)


if __name__ == "__main__":
    app.run()
'''


class Marimo:
    """A marimo server for one notebook."""

    def __init__(self, folder: Path, mode: str, notebook: str) -> None:
        (folder / "notebook.py").write_text(notebook)
        # A notebook that is edited runs its cells when it is opened, too.
        (folder / "pyproject.toml").write_text("[tool.marimo.runtime]\nauto_instantiate = true\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        arguments = ["-y", mode, "notebook.py", "--headless", "--no-token", "--port", str(port)]
        self.url = f"http://127.0.0.1:{port}/"
        self.process = ServerProcess(
            "marimo", arguments, folder=folder, environment=private_environment(folder, CHECKOUT)
        )
        self.process.wait_for("URL:")


@pytest.fixture
def page(request: pytest.FixtureRequest, context: BrowserContext, tmp_path: Path) -> Iterator[Page]:
    """The page of a marimo in the mode and with the notebook that the test asks for."""
    marimo = Marimo(tmp_path, *request.param)
    try:
        page = context.new_page()
        page.goto(marimo.url)
        yield page
    finally:
        marimo.process.stop()


def check(page: Page) -> None:
    """Checks that the page is connected, that all went both ways, and that the channel has drawn."""
    expect(page.get_by_text("results: (5, 8, 10) 1000000 100000 port")).to_be_visible()
    expect(page.get_by_text("jchannel: connected to 127.0.0.1").first).to_be_visible()
    expect(page.locator(".jchannel-element")).to_have_text("drawn by the page")
    panel = page.locator(".jchannel-panel")
    panel.scroll_into_view_if_needed()  # One that nobody sees is not kept up to date.
    expect(panel).to_contain_text("live")


def restart(page: Page) -> None:
    """Restarts the kernel. marimo loads the page again."""
    page.get_by_role("button", name="Restart").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Restart").click()


def press(page: Page, button: str, shown: Locator) -> str:
    """Presses a button that runs a cell, and returns the text of what that shows, when it is there."""
    # By the keyboard: outputs that are still being drawn could move it away under a click.
    page.get_by_role("button", name=button).press("Enter")
    expect(shown).to_be_visible()
    text = shown.text_content()
    assert text is not None
    return text


def json_in(text: str) -> str:
    """Returns the part of a text that is JSON."""
    return text[text.index("{") : text.rindex("}") + 1]


@contextmanager
def second_page(page: Page) -> Iterator[Page]:
    """Opens the notebook in a second page, which marimo takes for a reader's, and waits until its output says why."""
    second = page.context.new_page()
    second.goto(page.url)
    expect(second.get_by_text("You are currently connected as a reader")).to_be_visible()
    expect(second.get_by_text("another page is connected to this server").first).to_be_visible()
    yield second
    second.close()


def check_over_the_comm(page: Page) -> None:
    """Checks that all went both ways when the cells had ended, and that a cell that waits is told so at once."""
    expect(page.locator(".jchannel-element", has_text="results: 5 13 8 True True comm")).to_be_visible()
    connected = re.compile(
        "connected by the kernel.s own messages; marimo hands over what this page sends when no cell runs."
    )
    expect(page.get_by_text(connected).first).to_be_visible()
    for words in (
        "server.open cannot be answered while the cell that runs waits for it",
        "server.wait_page cannot be answered while the cell that runs waits for it",
        "the page could not be heard while this thread waits for it, and nothing was sent",
    ):
        expect(page.get_by_text(words).first).to_be_visible()


@pytest.mark.parametrize("page", [("run", OVER_THE_COMM)], indirect=True)
def test_where_no_port_is_reached_the_page_of_a_notebook_that_is_run_connects_over_the_comm(page: Page) -> None:
    check_over_the_comm(page)


@pytest.mark.parametrize("page", [("edit", OVER_THE_COMM)], indirect=True)
def test_over_the_comm_the_page_connects_again_after_a_reload_and_after_its_kernel_was_restarted(
    page: Page, outcomes: Outcomes
) -> None:
    check_over_the_comm(page)
    drawn = page.locator(".jchannel-element")
    between = press(page, "check between cells", drawn.filter(has_text="outcome: {"))
    note_checks(COMM_HOST, json_in(between), outcomes)
    within = press(page, "check in a cell", page.locator("pre", has_text="in a cell: {"))
    note_checks(COMM_HOST, json_in(within), outcomes)

    with second_page(page):
        press(page, "call again", drawn.filter(has_text=f"outcome: {WORKS}"))
    outcomes.note(COMM_HOST, "a second page", WORKS)

    page.reload()
    expect(drawn.filter(has_text="drawn 42")).to_be_visible()
    outcomes.note(COMM_HOST, "a reload", WORKS)

    restart(page)
    check_over_the_comm(page)
    outcomes.note(COMM_HOST, "a restart", WORKS)


@pytest.mark.parametrize("page", [("run", NOTEBOOK)], indirect=True)
def test_the_page_of_a_notebook_that_is_run_connects_over_the_port(page: Page) -> None:
    check(page)


@pytest.mark.parametrize("page", [("edit", NOTEBOOK)], indirect=True)
def test_the_page_connects_again_after_a_reload_and_after_its_kernel_was_restarted(
    page: Page, outcomes: Outcomes
) -> None:
    check(page)
    printed = page.locator("pre", has_text="outcomes: ").text_content()
    assert printed is not None
    note_checks(HOST, json_in(printed), outcomes)
    with second_page(page):
        press(page, "call again", page.get_by_text(f"called again: {WORKS}"))
    outcomes.note(HOST, "a second page", WORKS)
    former = page.locator(".jchannel-panel").get_attribute("data-jchannel-panel")

    page.reload()
    check(page)
    assert page.locator(".jchannel-panel").get_attribute("data-jchannel-panel") == former
    outcomes.note(HOST, "a reload", WORKS)

    restart(page)
    expect(page.locator(f"[data-jchannel-panel='{former}']")).to_have_count(0)
    check(page)
    assert page.locator(".jchannel-panel").get_attribute("data-jchannel-panel") != former
    outcomes.note(HOST, "a restart", WORKS)

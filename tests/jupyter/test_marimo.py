"""A real marimo, in which the page connects over the port by itself: a notebook that is edited, and one that is run."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.jupyter.process import ServerProcess, private_environment

CHECKOUT = Path(__file__).resolve().parents[2]

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
def _(server):
    server
    return


if __name__ == "__main__":
    app.run()
'''


class Marimo:
    """A marimo server for one notebook."""

    def __init__(self, folder: Path, mode: str) -> None:
        (folder / "notebook.py").write_text(NOTEBOOK)
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
    """The page of a marimo in the mode that the test asks for."""
    marimo = Marimo(tmp_path, request.param)
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


@pytest.mark.parametrize("page", ["edit"], indirect=True)
def test_the_page_of_a_notebook_that_is_edited_connects_over_the_port(page: Page) -> None:
    check(page)


@pytest.mark.parametrize("page", ["run"], indirect=True)
def test_the_page_of_a_notebook_that_is_run_connects_over_the_port(page: Page) -> None:
    check(page)


@pytest.mark.parametrize("page", ["edit"], indirect=True)
def test_the_page_connects_again_after_a_reload_and_after_its_kernel_was_restarted(page: Page) -> None:
    check(page)
    former = page.locator(".jchannel-panel").get_attribute("data-jchannel-panel")

    page.reload()
    check(page)
    assert page.locator(".jchannel-panel").get_attribute("data-jchannel-panel") == former

    page.get_by_role("button", name="Restart").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Restart").click()
    expect(page.locator(f"[data-jchannel-panel='{former}']")).to_have_count(0)  # marimo loads the page again.
    check(page)
    assert page.locator(".jchannel-panel").get_attribute("data-jchannel-panel") != former

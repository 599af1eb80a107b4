"""The main paths of a notebook in Firefox and WebKit. All else in this folder runs in Chromium alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from tests.browser.chromium import BrowserThread
from tests.browser.engine import Engine
from tests.browser.firefox import FirefoxMissingError, run_firefox
from tests.browser.webkit import WebKitMissingError, run_webkit
from tests.jupyter.classic import ClassicNotebook
from tests.jupyter.driver import Notebook
from tests.jupyter.engine import as_context, wait_for_text
from tests.jupyter.lab import LabNotebook
from tests.jupyter.notebook7 import Notebook7Notebook
from tests.jupyter.server import JupyterServer

ENGINES: dict[str, Callable[[], AbstractAsyncContextManager[Engine]]] = {"firefox": run_firefox, "webkit": run_webkit}

START = "import jchannel\nserver = await jchannel.start()"

OPEN = """
class Handler:
    stopped = False

    @jchannel.background
    def double(self, x):
        return 2 * x

    @jchannel.background
    def stop(self):
        self.stopped = True

handler = Handler()
channel = await server.open('''(channel) => {
    const shown = document.createElement('output');
    const stop = document.createElement('button');
    stop.onclick = () => channel.call('stop');
    channel.element.append(shown, stop);
    shown.value = 'drawn';
    channel.handler = {
        add: (a, b) => a + b,
        ask: (...args) => channel.call(...args),
        draw: (step) => { shown.value += ` ${step}`; },
        take: async (stream) => (await stream.join()).reduce((sum, byte) => (sum + byte) % 65521, 0),
        give: (size) => new Blob([new Uint8Array(size).fill(7)]),
    };
}''', handler=handler, timeout=60)
"""

CALLS = "await channel.call('add', 2, 3, timeout=60), await channel.call('ask', 'double', 4, timeout=60)"

STREAMS = """
data = bytes(range(256)) * 4096
taken = await channel.call_with_stream('take', data, timeout=60)
given = await (await channel.call('give', len(data), timeout=60)).join()
taken == sum(data) % 65521, given == bytes([7]) * len(data)
"""

BUSY = """
tasks = [channel.call('draw', step) for step in range(5)]
while not handler.stopped:
    sum(number * number for number in range(1_000))
print(channel.sync.call('add', 2, 3, timeout=60), any(task.done() for task in tasks))
"""

PANEL = "server"

START_OVER_COMM = """
import sys
sys.modules.pop('anywidget', None)
over_port = server
server = await jchannel.start(door='comm')
"""

CELLS = [START, OPEN, CALLS, STREAMS, BUSY, PANEL, START_OVER_COMM]

OVER_PORT = "connected to 127.0.0.1:"
OVER_COMM = "connected by the kernel\u2019s own messages"


@pytest.fixture(scope="module", params=ENGINES)
def browser(request: pytest.FixtureRequest) -> Iterator[BrowserThread]:
    """Firefox, or WebKit."""
    try:
        with BrowserThread(run=ENGINES[request.param]) as thread:
            yield thread
    except (FirefoxMissingError, WebKitMissingError) as error:
        pytest.fail(str(error), pytrace=False)


# Opening a notebook takes most of the time, so the tests of an engine share one.
@pytest.fixture(scope="module")
def notebook(browser: BrowserThread, jupyter: JupyterServer, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """A notebook whose first cell has started a server; its page is connected."""
    file = jupyter.write_notebook("engines.ipynb", CELLS)
    notebook = LabNotebook(jupyter, as_context(browser), file).go()
    notebook.run(0)
    wait_for_text(notebook.output(0), OVER_PORT)
    yield notebook
    notebook.page.close()
    notebook.end_kernel()


def check(notebook: Notebook) -> None:
    """Opens a channel and checks what it does, also while a cell is busy, and the panel of its server."""
    assert "Error" not in notebook.run(1)
    wait_for_text(notebook.output(1), "drawn")
    assert notebook.run(2) == "(5, 8)"
    assert notebook.run(3) == "(True, True)"

    notebook.start(4)
    wait_for_text(notebook.output(1), "drawn 0 1 2 3 4")
    notebook.output(1).locator("button").click()
    notebook.wait_done(4)
    assert notebook.text(4) == "5 False\n"

    notebook.run(5)
    check_panel(notebook)


def check_panel(notebook: Notebook) -> None:
    wait_for_text(notebook.output(5).locator('[data-jchannel-text="note"]'), "live")
    wait_for_text(notebook.output(5).locator('[data-jchannel-text="state"]'), "page connected")


def check_restored(notebook: Notebook) -> None:
    """Checks that a page that has connected by itself shows what it did, and that calls go on."""
    check_panel(notebook)
    wait_for_text(notebook.output(1), "drawn")
    assert notebook.run(2) == "(5, 8)"


def test_all_goes_over_the_port_and_is_there_again_after_a_reload(notebook: Notebook) -> None:
    check(notebook)
    notebook.save()

    notebook.reload()

    wait_for_text(notebook.output(0), OVER_PORT)
    check_restored(notebook)


def test_all_goes_over_the_kernels_messages_and_is_there_again_when_the_saved_notebook_is_opened_again(
    notebook: Notebook, browser: BrowserThread, jupyter: JupyterServer
) -> None:
    notebook.run(6)
    wait_for_text(notebook.output(6), OVER_COMM)
    check(notebook)
    notebook.save()
    notebook.page.close()

    again = LabNotebook(jupyter, as_context(browser), notebook.file).go()

    wait_for_text(again.output(6), OVER_COMM)
    check_restored(again)
    again.page.close()


@pytest.mark.parametrize("front_end", [Notebook7Notebook, ClassicNotebook])
def test_calls_and_streams_go_over_the_port_in_other_front_ends_and_after_a_reload(
    front_end: type[Notebook], browser: BrowserThread, jupyter: JupyterServer
) -> None:
    file = jupyter.write_notebook(f"engines-{front_end.__name__}.ipynb", CELLS)
    notebook = front_end(jupyter, as_context(browser), file).go()
    notebook.run(0)
    wait_for_text(notebook.output(0), OVER_PORT)
    assert "Error" not in notebook.run(1)
    assert notebook.run(2) == "(5, 8)"
    assert notebook.run(3) == "(True, True)"
    notebook.run(5)
    notebook.save()

    notebook.reload()

    wait_for_text(notebook.output(0), OVER_PORT)
    check_restored(notebook)
    notebook.page.close()
    notebook.end_kernel()

"""What the Jupyter tests share: one Jupyter server for the whole run, a browser, and notebooks.

A test that asks for `notebooks` runs in all three front ends. What it can do with a notebook: `driver.py`.

Nothing here sleeps. A kernel is ended by the server after its test, which lets it write what coverage has measured; see
`child.py` for how coverage gets there.
"""

import os
import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.browser.chromium import FLAGS, ChromiumMissingError, find_chromium
from tests.jupyter.classic import ClassicNotebook
from tests.jupyter.driver import TIMEOUT, Notebook
from tests.jupyter.lab import LabNotebook
from tests.jupyter.notebook7 import Notebook7Notebook
from tests.jupyter.server import JupyterServer

FRONT_ENDS: tuple[type[Notebook], ...] = (LabNotebook, Notebook7Notebook, ClassicNotebook)

_TRACE = "JCHANNEL_TEST_TRACE"

_failed = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder with `browser`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lets the fixtures know whether the test has failed."""
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or report.failed
    return report


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """The Jupyter server of the whole run."""
    with JupyterServer(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


# Playwright's blocking API leaves its asyncio loop running in the thread, where `asyncio.run` fails as long as it is
# there: hence one Chromium for each module, and not for the whole run.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Headless Chromium, driven by Playwright's blocking API."""
    try:
        executable = find_chromium()
    except ChromiumMissingError as error:
        pytest.fail(str(error), pytrace=False)
    expect.set_options(timeout=TIMEOUT * 1000)
    # Host names that end so stand for other machines.
    flags = [*FLAGS, "--host-resolver-rules=MAP *.test 127.0.0.1"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=executable, args=flags) as browser:
        yield browser


@pytest.fixture
def context(chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser context of the test's own: what its pages share (cookies, storage), and nobody else.

    When the test fails, `tmp_path` gets a screenshot of each page, and, with JCHANNEL_TEST_TRACE=1 in the environment,
    a trace for `playwright show-trace`.
    """
    context = chromium.new_context(viewport={"width": 1000, "height": 700})
    context.set_default_timeout(TIMEOUT * 1000)
    traced = os.environ.get(_TRACE) == "1"
    if traced:
        context.tracing.start(screenshots=True, snapshots=True)
    yield context
    if request.node.stash.get(_failed, False):
        for number, page in enumerate(context.pages):
            page.screenshot(path=tmp_path / f"page-{number}.png")
        if traced:
            context.tracing.stop(path=tmp_path / "trace.zip")
        request.node.add_report_section("teardown", "what the pages showed", str(tmp_path))
    context.close()


class Notebooks:
    """Makes notebooks for one test, each with a name and a kernel of its own.

    Args:
        server: The server.
        context: Where their pages open.
        front_end: The front end that opens them.
        name: What their files' names begin with.

    Attributes:
        opened: Those opened so far.
        server: The server.
    """

    def __init__(self, server: JupyterServer, context: BrowserContext, front_end: type[Notebook], name: str) -> None:
        self.opened: list[Notebook] = []
        self.server = server
        self._context = context
        self._front_end = front_end
        self._name = name
        self._count = 0

    def write(self, cells: Sequence[str], *, trusted: bool = False, outputs: Sequence[Sequence[Any]] = ()) -> Path:
        """Writes a notebook and does not open it; see `JupyterServer.write_notebook`."""
        self._count += 1
        return self.server.write_notebook(f"{self._name}-{self._count}.ipynb", cells, trusted=trusted, outputs=outputs)

    def open(
        self,
        cells: Sequence[str],
        *,
        trusted: bool = False,
        outputs: Sequence[Sequence[Any]] = (),
        host: str | None = None,
    ) -> Notebook:
        """Writes a notebook and opens it; see `write` and `open_file`."""
        return self.open_file(self.write(cells, trusted=trusted, outputs=outputs), host=host)

    def open_file(self, file: Path, *, host: str | None = None) -> Notebook:
        """Opens a notebook that is there in a new page and waits until its kernel is idle.

        Args:
            file: Its file.
            host: The host name that its page is opened under: `OTHER_HOST` for one as of another machine.
        """
        notebook = self._front_end(self.server, self._context, file)
        self.opened.append(notebook)
        return notebook.go(host=host)

    def end(self) -> None:
        """Ends the notebooks' kernels."""
        for notebook in self.opened:
            notebook.end_kernel()


@pytest.fixture(params=FRONT_ENDS, ids=[front_end.TITLE for front_end in FRONT_ENDS])
def front_end(request: pytest.FixtureRequest) -> type[Notebook]:
    """A front end: the test runs in each.

    For a test of one: `@pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)`.
    """
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def notebooks(
    jupyter: JupyterServer, context: BrowserContext, front_end: type[Notebook], request: pytest.FixtureRequest
) -> Iterator[Notebooks]:
    """Makes and opens notebooks in the test's front end. When the test fails, the report says what pages said."""
    log_start = len(jupyter.log)
    notebooks = Notebooks(jupyter, context, front_end, re.sub(r"\W+", "-", request.node.name).strip("-"))
    yield notebooks
    try:
        if request.node.stash.get(_failed, False):
            for notebook in notebooks.opened:
                request.node.add_report_section("teardown", notebook.file.name, "\n".join(notebook.complaints))
            request.node.add_report_section("teardown", "Jupyter server", jupyter.log[log_start:])
    finally:
        notebooks.end()

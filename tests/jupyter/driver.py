"""A notebook open in a front end, driven as a test needs it: the same methods in JupyterLab, Notebook 7 and NbClassic.

A driver asks the front end's own application, in the page, to run, save or restart, and waits for its answer, so that
nothing depends on a selector's timing. What a user sees is looked at through `output(n)`, a Playwright locator, whose
`expect` waits. Playwright's blocking API belongs to the thread that started it: the test's.
"""

import abc
import re
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import nbformat
from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Locator, Page
from playwright.sync_api import Error as PlaywrightError

TIMEOUT = 60.0
"""Seconds that a page has for whatever is asked of it. A guard, far above what anything takes."""


_POLLING = 50
"""Milliseconds between two looks of a wait. By default it looks at each frame, and Chromium draws frames for that: 7 %
of a core, for each page that is waited for."""


class NotebookServer(Protocol):
    """The server of notebooks, as a page sees it."""

    def page_url(self, path: str, *, host: str = ...) -> str:
        """Returns the address of a page, with what it takes to be let in, under a host name of the server."""
        ...

    def end_kernel(self, name: str) -> None:
        """Ends the kernel of a notebook."""
        ...


class Notebook(abc.ABC):
    """A notebook open in one page. Cells are numbered from 0.

    Args:
        server: The server.
        context: The browser context to open it in.
        file: The notebook's file, in the server's folder.

    Attributes:
        page: The page, for what the driver does not do.
        file: The notebook's file.
        complaints: What the page has complained about so far, `console error: …` and, uncaught exceptions,
            `page error: …`, less what the front end says by itself in every notebook.
    """

    TITLE: ClassVar[str]
    """The front end's name."""

    OWN_COMPLAINTS: ClassVar[tuple[str, ...]] = ()
    """Regular expressions for what the front end complains about by itself."""

    _ADDRESS: ClassVar[str]
    _OPEN: ClassVar[str]
    _IDLE: ClassVar[str]

    def __init__(self, server: NotebookServer, context: BrowserContext, file: Path) -> None:
        self.page: Page = context.new_page()
        self.file = file
        self.complaints: list[str] = []
        self._server = server
        self.page.on("console", self._on_console)
        self.page.on("pageerror", self._on_page_error)
        self.page.on("dialog", self._on_dialog)

    def go(self, *, idle: bool = True, host: str | None = None) -> Self:
        """Opens the notebook in the page and waits until it can be used.

        Args:
            idle: See `wait_open`.
            host: The host name to open it under, where not the server's own.
        """
        path = self._ADDRESS.format(name=self.file.name)
        self.page.goto(self._server.page_url(path) if host is None else self._server.page_url(path, host=host))
        self.wait_open(idle=idle)
        return self

    def wait_open(self, *, idle: bool = True) -> None:
        """Waits until the notebook is shown.

        Args:
            idle: Also wait until its kernel is idle. A kernel that was busy before the page opened says nothing until
                it is idle.
        """
        self.page.wait_for_function(self._OPEN, polling=_POLLING)
        if idle:
            self.wait_idle()

    def wait_idle(self) -> None:
        """Waits until the page is connected to the kernel, and the kernel is idle."""
        self.page.wait_for_function(self._IDLE, polling=_POLLING)

    def run(self, n: int) -> str:
        """Runs a cell, waits until it has run and all of its outputs have arrived, and returns `text(n)`."""
        self.start(n)
        self.wait_done(n)
        return self.text(n)

    @abc.abstractmethod
    def start(self, n: int) -> None:
        """Starts a cell, as Shift+Enter does, and does not wait for it."""

    def wait_done(self, n: int) -> None:
        """Waits until the run that `start` began in this page has ended and all of its outputs have arrived."""
        self.page.wait_for_function("n => window.testRuns.get(n).done", arg=n, polling=_POLLING)

    @abc.abstractmethod
    def outputs(self, n: int) -> list[dict[str, Any]]:
        """Returns a cell's outputs as the front end holds them now, each as in a notebook file."""

    def text(self, n: int) -> str:
        """Returns the plain text of a cell's outputs now: what was printed, results, and errors (`Type: message`)."""
        return "".join(_text_of(output) for output in self.outputs(n))

    def html(self, n: int) -> str:
        """Returns the HTML of a cell's outputs now, as the kernel sent it."""
        return "".join(_joined(output.get("data", {}).get("text/html", "")) for output in self.outputs(n))

    @abc.abstractmethod
    def output(self, n: int) -> Locator:
        """Locates the area that shows a cell's outputs; for `expect(…)`, which waits."""

    @abc.abstractmethod
    def cell(self, n: int) -> Locator:
        """Locates a cell."""

    @abc.abstractmethod
    def clear_output(self, n: int) -> None:
        """Clears a cell's outputs, as the menu does."""

    @abc.abstractmethod
    def delete_cell(self, n: int) -> None:
        """Deletes a cell."""

    @abc.abstractmethod
    def set_source(self, n: int, source: str) -> None:
        """Replaces a cell's source."""

    @abc.abstractmethod
    def interrupt(self) -> None:
        """Interrupts the kernel, as the stop button does, and waits until the server has done it."""

    @abc.abstractmethod
    def restart(self) -> None:
        """Restarts the kernel and waits until the page is connected to it again and it is idle."""

    @abc.abstractmethod
    def save(self) -> None:
        """Saves the notebook, as Ctrl+S does, and waits until it is saved."""

    @abc.abstractmethod
    def is_trusted(self) -> bool:
        """Says whether the front end trusts every code cell: runs scripts in the outputs that it loaded."""

    def saved(self) -> nbformat.NotebookNode:
        """Reads the notebook from its file."""
        notebook: nbformat.NotebookNode = nbformat.read(self.file, as_version=4)
        return notebook

    def reload(self, *, idle: bool = True) -> None:
        """Loads the page again, as F5 does, giving up what was not saved; see `wait_open` for `idle`."""
        self.page.reload()
        self.wait_open(idle=idle)

    def second_tab(self, *, idle: bool = True) -> Self:
        """Opens the same notebook in a second page of the same browser; see `wait_open` for `idle`."""
        return type(self)(self._server, self.page.context, self.file).go(idle=idle)

    def close_tab(self) -> None:
        """Closes the notebook's tab, giving up what was not saved. Its kernel runs on.

        Where the front end has a browser tab for each notebook, that is the page.
        """
        self.page.close()

    def use_dark_theme(self) -> None:
        """Changes to the front end's dark theme; where it has none, the system's preference becomes dark."""
        self.page.emulate_media(color_scheme="dark")

    def screenshot(self, path: Path) -> None:
        """Saves what the page shows as a PNG file."""
        self.page.screenshot(path=path)

    def end_kernel(self) -> None:
        """Ends the notebook's kernel, as the server's list of running kernels does."""
        self._server.end_kernel(self.file.name)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complain(f"console error: {message.text}")

    def _on_page_error(self, error: PlaywrightError) -> None:
        self._complain(f"page error: {error.stack or error.message}")

    def _complain(self, complaint: str) -> None:
        if not any(re.search(pattern, complaint) for pattern in self.OWN_COMPLAINTS):
            self.complaints.append(complaint)

    def _on_dialog(self, dialog: Dialog) -> None:
        # The front end asks whether to leave a notebook that is not saved.
        dialog.accept()


def _text_of(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return _joined(output["text"])
    if output["output_type"] == "error":
        return f"{output['ename']}: {output['evalue']}"
    return _joined(output["data"].get("text/plain", ""))


def _joined(text: str | list[str]) -> str:
    # A notebook file may hold a text as the list of its lines.
    return text if isinstance(text, str) else "".join(text)

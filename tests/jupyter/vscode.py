"""Outputs in the notebook editor of VS Code, in code-server: what connects its page, and what says why it does not.

`scripts/vscode` installs code-server and runs this: `python -m tests.jupyter.vscode NODE PACKAGE`. It prints a line for
each check, and ends with the first that fails. No test of the suite does it: installing takes longer than that.

The cells run in a kernel of nbclient's, which saves their outputs. VS Code needs no extension to show those.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import nbformat
from nbclient import NotebookClient
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.chromium import FLAGS, find_chromium

TIMEOUT = 300.0
"""Seconds that whatever is waited for may take: VS Code loads slowly on a busy machine."""

START = """import sys
import jchannel
sys.modules["anywidget"] = None
limits = jchannel.Limits(claim_seconds=600)
script = await jchannel.start(limits=limits)"""

START_FOUND = "found = await jchannel.start(door='proxy', limits=limits)"

START_TOLD = "told = await jchannel.start(port={port}, url={url!r}, limits=limits)"

START_WIDGET = """del sys.modules["anywidget"]
widget = await jchannel.start(limits=limits)"""

CALL = """
class Handler:
    @jchannel.background
    def double(self, x):
        return 2 * x

CODE = "(channel) => {{ channel.handler = {{add: (a, b) => a + b, ask: (x) => channel.call('double', x)}}; }}"
channel = await {server}.open(CODE, handler=Handler(), timeout=60)
called = await channel.call("add", 2, 3, timeout=60), await channel.call("ask", 4, timeout=60)
await channel.close()
print(called, {server}.statistics().door)
"""

SETTINGS = {
    "workbench.startupEditor": "none",
    "security.workspace.trust.enabled": False,
    "workbench.editorAssociations": {"*.ipynb": "jupyter-notebook"},
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "chat.disableAIFeatures": True,
}


class Notebook:
    """A notebook that is saved after each of its cells, and its kernel."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._notebook = nbformat.v4.new_notebook()
        # A kernel may send what is printed at once in two parts.
        self._client = NotebookClient(
            self._notebook, timeout=int(TIMEOUT), kernel_name="python3", coalesce_streams=True
        )

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Run the kernel."""
        with self._client.setup_kernel():
            yield

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell that stays in the notebook, and return its outputs."""
        self._notebook.cells.append(nbformat.v4.new_code_cell(code))
        return self._execute(self._notebook.cells[-1])

    def run_unsaved(self, code: str) -> list[dict[str, Any]]:
        """Run a cell that the notebook does not keep, and return its outputs."""
        cell = nbformat.v4.new_code_cell(code)
        self._notebook.cells.append(cell)
        try:
            return self._execute(cell)
        finally:
            self._notebook.cells.remove(cell)

    def save(self) -> None:
        """Save it with its outputs."""
        nbformat.write(self._notebook, self._path)

    def _execute(self, cell: Any) -> list[dict[str, Any]]:
        self._client.execute_cell(cell, len(self._notebook.cells) - 1)
        outputs: list[dict[str, Any]] = cell.outputs
        return outputs


def report(text: str) -> None:
    """Print what has been checked."""
    print(f"ok: {text}", flush=True)  # noqa: T201 (its output)


def find_port() -> int:
    """Return a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def write_settings(folder: Path, **settings: object) -> None:
    """Write the user's settings."""
    path = folder / "data" / "User" / "settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**SETTINGS, **settings}))


@contextlib.contextmanager
def run_code_server(node: str, package: Path, folder: Path) -> Iterator[str]:
    """Run code-server with a folder of its own, and yield its address."""
    port = find_port()
    arguments = [
        *(node, str(package / "out/node/entry.js"), "--auth", "none", "--bind-addr", f"127.0.0.1:{port}"),
        *("--user-data-dir", str(folder / "data"), "--extensions-dir", str(folder / "extensions")),
        *("--config", str(folder / "config.yaml"), "--disable-telemetry", "--disable-update-check"),
    ]
    environment = {"HOME": str(folder), "PATH": str(Path(node).parent)}
    with (folder / "log.txt").open("w") as log:
        # A session of its own, so that what it starts can be ended with it.
        process = subprocess.Popen(
            arguments, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + TIMEOUT
        while not is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"code-server does not answer; it wrote:\n{(folder / 'log.txt').read_text()}")
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def is_ready(url: str) -> bool:
    """Return whether code-server answers."""
    try:
        return httpx.get(f"{url}/healthz").is_success
    except httpx.TransportError:
        return False


class Editor:
    """The page of VS Code in which a notebook is open."""

    def __init__(self, page: Page, url: str, notebook: Path, pictures: Path | None) -> None:
        self._page = page
        self._pictures = pictures
        payload = json.dumps([["openFile", f"vscode-remote://{urlsplit(url).netloc}{notebook}"]])
        self._url = f"{url}/?folder={quote(str(notebook.parent))}&payload={quote(payload)}"

    def load(self) -> None:
        """Load the page, as a user does who opens or reloads it."""
        self._page.goto("about:blank")
        self._page.goto(self._url)

    def check(self, what: str, words: Mapping[str, int]) -> None:
        """Wait until as many outputs as expected have certain words in their lines, and print the lines."""
        outputs = self._page.frame_locator("iframe.webview.ready").frame_locator("#active-frame")
        lines = outputs.locator("[data-jchannel]")
        try:
            for text, count in words.items():
                expect(lines.filter(has_text=text)).to_have_count(count)
        finally:
            if self._pictures is not None:
                self._page.screenshot(path=self._pictures / f"{what.replace(' ', '-')}.png")
        report(f"{what}: {lines.all_inner_texts()}")


def check_calls(notebook: Notebook, server: str, door: str) -> None:
    """Check that calls go both ways, by the expected door."""
    outputs = notebook.run_unsaved(CALL.format(server=server))
    assert [output.get("text") for output in outputs] == [f"(5, 8) {door}\n"], outputs
    report(f"calls both ways, {server}: {outputs[0]['text'].strip()}")


def check_all(url: str, folder: Path, pictures: Path | None) -> None:
    """Check everything."""
    work = folder / "work"
    work.mkdir()
    notebook = Notebook(work / "notebook.ipynb")
    doors = {"script": "port", "found": "proxy", "told": "proxy", "widget": "port"}
    port = find_port()
    with (
        notebook.open(),
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS)) as browser,
    ):
        # VS Code shows no output before it is in sight.
        page = browser.new_page(viewport={"width": 1000, "height": 1200})
        page.set_default_timeout(TIMEOUT * 1000)
        editor = Editor(page, url, work / "notebook.ipynb", pictures)
        notebook.run(START)
        notebook.run(START_FOUND)
        notebook.run(START_TOLD.format(port=port, url=f"{url}/proxy/{port}"))
        [output] = notebook.run(START_WIDGET)
        assert "application/vnd.jupyter.widget-view+json" in output["data"]
        notebook.save()
        own = urlsplit(url).netloc
        connected = {"connected to 127.0.0.1:": len(doors), f"connected to {own}.": 2}

        editor.load()
        editor.check("outputs connect", connected)
        for server, door in doors.items():
            check_calls(notebook, server, door)
        editor.load()
        editor.check("after a reload", connected)
        for server, door in doors.items():
            check_calls(notebook, server, door)
        write_settings(folder, **{"notebook.experimental.enableCsp": True})
        editor.load()
        editor.check("with a policy", {"The page's Content Security Policy": len(doors)})


def main() -> None:
    """Run code-server, and check everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("node", help="the Node that code-server is for")
    parser.add_argument("package", type=Path, help="the folder of the npm package code-server")
    parser.add_argument("--pictures", type=Path, help="where to put what the page showed at each check")
    arguments = parser.parse_args()
    expect.set_options(timeout=TIMEOUT * 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_settings(folder)
        with run_code_server(arguments.node, arguments.package.resolve(), folder) as url:
            check_all(url, folder, arguments.pictures)


if __name__ == "__main__":
    main()

"""One real Jupyter server for the test run: JupyterLab, Notebook 7, NbClassic and jupyter-server-proxy on one port.

It knows nothing of the user who runs the tests, and asks nothing of the network.
"""

import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import nbformat
from nbformat.sign import NotebookNotary

from tests.jupyter.process import ServerProcess, private_environment

CHECKOUT = Path(__file__).parent.parent.parent

OTHER_HOST = "jupyter.test"
"""A host name that stands for another machine's, under which the server can be reached as well."""

KERNEL_TIMEOUT = 20.0
"""Seconds that the server has for what is asked of it, such as the end of a kernel."""


class JupyterServer:
    """A Jupyter server in a process of its own.

    A context manager: it serves between entering and leaving, which ends its kernels first, and lets them write what
    coverage has measured.

    Args:
        folder: Where everything goes that it reads and writes.

    Attributes:
        environment: The environment of the process and of its kernels.
        notebooks: The folder that it serves.
        token: Its token.
        url: Its address, with the slash at its end.
    """

    def __init__(self, folder: Path) -> None:
        self.environment = private_environment(folder, CHECKOUT)
        self.notebooks = folder / "notebooks"
        self.token = secrets.token_hex(16)
        self.url = ""
        self._config = folder / "config" / "jupyter_server_config.json"
        self._process: ServerProcess
        self._client: httpx.Client
        self.notebooks.mkdir()
        write_lab_settings(Path(self.environment["JUPYTERLAB_SETTINGS_DIR"]))
        write_kernelspec(Path(self.environment["JUPYTER_DATA_DIR"]))

    def __enter__(self) -> Self:
        """Starts the server.

        Raises:
            RuntimeError: It did not start; the message holds what it wrote.
        """
        self._config.write_text(json.dumps(self._settings()))
        self._process = ServerProcess("jupyter_server", [], folder=self.notebooks, environment=self.environment)
        try:
            self.url = self._process.wait_for(r"(http://127\.0\.0\.1:\d+/)")[1]
        except BaseException:
            self._process.stop()
            raise
        self._client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"token {self.token}"}, timeout=KERNEL_TIMEOUT
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.end_kernels()
        finally:
            self._client.close()
            self._process.stop()

    @property
    def log(self) -> str:
        """What the server and its kernels have written so far."""
        return self._process.log

    def page_url(self, path: str, *, host: str = "127.0.0.1") -> str:
        """Returns the address of a page of a front end, with the token, under a host name."""
        return f"{self.url.replace('127.0.0.1', host)}{path}{'&' if '?' in path else '?'}token={self.token}"

    def write_notebook(
        self, name: str, cells: Sequence[str], *, trusted: bool = False, outputs: Sequence[Sequence[Any]] = ()
    ) -> Path:
        """Writes a notebook into the served folder.

        Args:
            name: The file's name.
            cells: The sources of its code cells.
            trusted: Whether it is signed, so that the front ends show its outputs with their scripts. An unsigned
                notebook without outputs counts as trusted, as every new one does.
            outputs: The outputs of its cells, made with `nbformat.v4.new_output`; none for the cells beyond.

        Returns:
            The file.
        """
        path = write_notebook(self.notebooks / name, cells, outputs=outputs)
        if trusted:
            self._notary().sign(nbformat.read(path, as_version=4))
        return path

    def is_signed(self, path: Path) -> bool:
        """Says whether the signature database knows the notebook as it stands in the file."""
        return bool(self._notary().check_signature(nbformat.read(path, as_version=4)))

    def kernel_of(self, name: str) -> str | None:
        """Returns the id of the kernel of a notebook, or None when it has none."""
        for session in self._get("api/sessions"):
            if session["path"] == name:
                return str(session["kernel"]["id"])
        return None

    def end_kernel(self, name: str) -> None:
        """Ends a notebook's kernel, also when it is busy, and waits until it has ended. None need be there."""
        if (kernel := self.kernel_of(name)) is not None:
            self._end_kernel(kernel)

    def end_kernels(self) -> None:
        """Ends every kernel and waits until they have ended."""
        for kernel in self._get("api/kernels"):
            self._end_kernel(kernel["id"])

    def _end_kernel(self, kernel: str) -> None:
        # The server interrupts the kernel first, so that a busy one reads the request to shut down in time; one that
        # goes on all the same is killed after 5 s, and writes no coverage data.
        self._client.delete(f"api/kernels/{kernel}").raise_for_status()

    def _get(self, path: str) -> Any:
        return self._client.get(path).raise_for_status().json()

    def _notary(self) -> NotebookNotary:
        return NotebookNotary(data_dir=self.environment["JUPYTER_DATA_DIR"])

    def _settings(self) -> dict[str, Any]:
        return {
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": 0,
                "root_dir": str(self.notebooks),
                "open_browser": False,
                "allow_root": True,
                "terminals_enabled": False,
                "local_hostnames": ["localhost", OTHER_HOST],
            },
            "IdentityProvider": {"token": self.token},
            **front_end_settings(),
        }


def write_notebook(path: Path, cells: Sequence[str], *, outputs: Sequence[Sequence[Any]] = ()) -> Path:
    """Writes a notebook for the kernel `python3`; see `JupyterServer.write_notebook`."""
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        cells=[nbformat.v4.new_code_cell(source) for source in cells],
    )
    for cell, shown in zip(notebook.cells, outputs, strict=False):
        cell.outputs = list(shown)
    nbformat.write(notebook, path)
    return path


def front_end_settings() -> dict[str, Any]:
    """Returns what the front ends are told: to let tests reach the application, and to ask nothing of the network."""
    return {
        "LabApp": {
            "expose_app_in_browser": True,
            "extension_manager": "readonly",
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "news_url": None,
        },
        "JupyterNotebookApp": {"expose_app_in_browser": True},
    }


def write_lab_settings(folder: Path) -> None:
    """Writes the user's settings of JupyterLab and Notebook 7, which would ask in a dialog whether to fetch news."""
    file = folder / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))


def write_kernelspec(data: Path) -> None:
    """Writes the kernelspec `python3`: the Python that runs the tests."""
    folder = data / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = {
        # The debugger says on every start that it might miss breakpoints, unless modules are not frozen.
        "argv": [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
    }
    (folder / "kernel.json").write_text(json.dumps(spec))

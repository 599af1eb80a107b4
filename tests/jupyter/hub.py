"""A real JupyterHub behind configurable-http-proxy with TLS, as an institution runs it.

Its pages are reached under a host name that stands for another machine's (`HOST`; Chromium is told where that is), so a
page cannot go straight to a kernel's port, as on any Hub.
"""

import contextlib
import json
import shutil
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from tests.jupyter.child import COVERAGE
from tests.jupyter.process import ServerProcess, private_environment
from tests.jupyter.server import CHECKOUT, front_end_settings, write_kernelspec, write_lab_settings

HOST = "hub.test"
"""The host name of the Hub's pages."""

USER = "ada"
"""The Hub's user."""

PASSWORD = "lovelace"
"""The user's password."""

_PROXY = Path(__file__).parent / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"


class JupyterHub:
    """A JupyterHub, its proxy and its user's server, in processes of their own.

    A context manager: the Hub and its proxy serve between entering and leaving, which ends them, the user's server and
    its kernels.

    Args:
        folder: Where everything goes that they read and write.

    Attributes:
        notebooks: The folder that the user's server serves.
        url: The Hub's address, with the slash at its end.
    """

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "notebooks"
        self.url = ""
        self._folder = folder
        self._environment = private_environment(folder, CHECKOUT)
        self._process: ServerProcess
        self.notebooks.mkdir()
        write_lab_settings(Path(self._environment["JUPYTERLAB_SETTINGS_DIR"]))
        write_kernelspec(Path(self._environment["JUPYTER_DATA_DIR"]))
        # The settings of the user's server; the Hub has a file of its own.
        (folder / "config" / "jupyter_server_config.json").write_text(json.dumps(front_end_settings()))

    def __enter__(self) -> Self:
        """Starts the Hub and its proxy.

        Raises:
            RuntimeError: They did not start; the message holds what they wrote.
        """
        port, proxy_port, hub_port = _find_free_ports(3)
        self.url = f"https://{HOST}:{port}/"
        config = self._write_config(port, proxy_port, hub_port)
        self._process = ServerProcess(
            "jupyterhub", ["--config", str(config)], folder=self._folder, environment=self._environment
        )
        try:
            self._process.wait_for("JupyterHub is now running")
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.stop()

    @property
    def log(self) -> str:
        """What the Hub, the proxy, the user's server and the kernels have written so far."""
        return self._process.log

    def page_url(self, path: str, *, host: str = HOST) -> str:
        """Returns the address of a page of the user's server. A page that has logged in may open it."""
        return f"{self.url.replace(HOST, host)}user/{USER}/{path}"

    def end_kernel(self, name: str) -> None:
        """Does nothing: the kernels end with the Hub."""

    def _write_config(self, port: int, proxy_port: int, hub_port: int) -> Path:
        node = shutil.which("node")
        if node is None or not _PROXY.exists():
            raise RuntimeError("the Hub's proxy is not installed: scripts/setup installs it")
        key, certificate = self._folder / "key.pem", self._folder / "certificate.pem"
        issued = trustme.CA().issue_cert(HOST)
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)
        # Of its environment, a user's server gets what this names; coverage's settings are among it, see `child.py`.
        kept = [*self._environment, COVERAGE]
        config = self._folder / "jupyterhub_config.py"
        config.write_text(f"""
c.JupyterHub.bind_url = "https://127.0.0.1:{port}/"
c.JupyterHub.ssl_key = {str(key)!r}
c.JupyterHub.ssl_cert = {str(certificate)!r}
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.command = {[node, str(_PROXY)]!r}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {PASSWORD!r}
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {str(self._folder / "home")!r}
c.Spawner.cmd = [{sys.executable!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.notebook_dir = {str(self.notebooks)!r}
c.Spawner.env_keep = {kept!r}
c.JupyterHub.db_url = "sqlite:///{self._folder / "hub.sqlite"}"
c.JupyterHub.cookie_secret_file = {str(self._folder / "cookie-secret")!r}
""")
        return config


def _find_free_ports(count: int) -> list[int]:
    # The Hub must be told its ports. All are taken before the first is given back, so no two are the same.
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]

"""A server process of a test run: what it writes, when it is ready, and its end."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.jupyter.child import COVERAGE, COVERAGE_LATER

START_TIMEOUT = 60.0
"""Seconds that a server has to get ready."""

STOP_TIMEOUT = 30.0
"""Seconds that a server has to end, its kernels included."""

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class ServerProcess:
    """A Python module that runs as a server, in a process of its own.

    Args:
        module: The module, as for `python -m`.
        arguments: Its arguments.
        folder: Its working directory.
        environment: Its environment; see `private_environment`.
    """

    def __init__(self, module: str, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("child.py")), module, *arguments],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"output of {module}", daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        """What the process and what it started have written so far."""
        with self._news:
            return "".join(self._lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Waits until the process has written a line in which a regular expression is found.

        Raises:
            RuntimeError: It ended, or had not written it in `START_TIMEOUT` seconds.
        """
        with self._news:
            self._news.wait_for(lambda: self._ended or self._search(pattern) is not None, START_TIMEOUT)
            match = self._search(pattern)
            if match is None:
                state = "ended" if self._ended else f"ran for {START_TIMEOUT} s"
                raise RuntimeError(f"the server {state} and has not written {pattern!r}:\n{''.join(self._lines)}")
            return match

    def stop(self) -> None:
        """Asks the process to stop and waits for its end; kills it when that takes longer than `STOP_TIMEOUT`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"the server had to be killed; it wrote:\n{self.log}") from error
        finally:
            # The pipe ends when the last process that has it ends: a kernel, or a proxy.
            self._reader.join(STOP_TIMEOUT)
            if not self._reader.is_alive():
                assert self._process.stdout is not None
                self._process.stdout.close()

    def _search(self, pattern: str) -> re.Match[str] | None:
        return next((match for line in self._lines if (match := re.search(pattern, line))), None)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def private_environment(folder: Path, checkout: Path) -> dict[str, str]:
    """Makes an environment in which Jupyter sees nothing of the user who runs the tests.

    Args:
        folder: Where home, settings, data and runtime files go.
        checkout: The tree whose package the kernels import.

    Returns:
        The environment. What coverage measures there is said in `child.py`.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {
        "HOME": str(folder / "home"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "lab-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "lab-workspaces"),
        "JUPYTER_PLATFORM_DIRS": "1",
        # What the tests write goes before what is installed beside Python.
        "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": str(checkout),
        "PYTHONUNBUFFERED": "1",
    }
    if COVERAGE in os.environ:
        environment[COVERAGE_LATER] = os.environ[COVERAGE]
    for name in ("home", "ipython", "config", "data", "runtime", "lab-settings", "lab-workspaces"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    # Most tests are of outputs that are scripts. Those of widgets take this back in their first cell.
    (startup / "00-without-widgets.py").write_text("import sys\nsys.modules['anywidget'] = None\n")
    return environment

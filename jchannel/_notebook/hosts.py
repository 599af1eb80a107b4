"""Hosts: who runs the cells of this process, and whether a page shows them.

No host says that it has no page. So this looks at what is not documented, and only here: the id of the message that
runs the cell, which jupyter_client ends with the number of the process that sent it; the command line of that process;
the class of IPython's shell in a terminal; and the variables that voila gives its kernels. Where one of them has
another shape, or the sender is not a process that this one descends from, the host is not known, and whoever waits for
a page waits, as where there is one. ``tests/kernels/test_hosts.py`` runs each host but voila, and shows that it is
recognised.
"""

from __future__ import annotations

import enum
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from jchannel._notebook import marimo
from jchannel._notebook.output import ADVICE
from jchannel.errors import StateError

__all__ = ["Host", "PagelessFrontend", "Patience", "find_host"]


class Patience(enum.Enum):
    """What becomes of a request that finds no page."""

    #: It waits: the page is still to come.
    WAIT = enum.auto()
    #: It waits, and the cell says at once what to do: a person sits there, and may open a browser.
    TELL = enum.auto()
    #: It fails at once: nobody is there to open anything.
    REFUSE = enum.auto()


@dataclass(frozen=True, slots=True)
class Host:
    """What runs the cells.

    Attributes:
        advice: Why no page is connected, and what to do, as the end of a sentence.
        patience: What becomes of a request that finds no page.
    """

    advice: str
    patience: Patience


_HEADLESS: Final = (
    'start the server with jchannel.start(page="headless"), or set JCHANNEL_PAGE=headless in the environment: then it '
    "has a page of its own in a Chromium without a window"
)


def _unattended(name: str) -> Host:
    advice = f"{name} runs this notebook and no browser shows it, so no page will connect; {_HEADLESS}"
    return Host(advice, Patience.REFUSE)


def _attended(name: str) -> Host:
    return Host(
        f"{name} shows no pages; open server.page_url in a browser, or start the server with open_browser=True, or "
        'with page="headless" for a page in a Chromium without a window',
        Patience.TELL,
    )


_IPYTHON: Final = _attended("IPython in a terminal")

_VOILA: Final = Host(
    "voila shows its page only when all cells have run, so a cell that waits for the page waits in vain; await it in a "
    "task that the cell starts, with asyncio.create_task(), or run voila with --progressive_rendering=True",
    Patience.WAIT,
)

_MARIMO: Final = Host(marimo.ADVICE, Patience.WAIT)

_UNSURE: Final = Host(
    f"{ADVICE}; what runs this cell takes no input, so it may be that no browser shows it: then {_HEADLESS}",
    Patience.WAIT,
)

#: A program by its name, as it is the file that Python runs, the module behind ``-m``, or the word behind ``jupyter``.
_PROGRAMS: Final = {
    "jupyter-execute": _unattended("jupyter execute"),
    "jupyter-nbconvert": _unattended("nbconvert"),
    "nbconvert": _unattended("nbconvert"),
    "papermill": _unattended("papermill"),
    "jupyter-console": _attended("jupyter console"),
    "jupyter_console": _attended("jupyter console"),
}

#: What the name of a program ends with on Windows, or as a file of Python's.
_SUFFIXES: Final = frozenset((".exe", ".py"))

#: A message of jupyter_client: its session, the process and a number.
_MESSAGE: Final = re.compile(r".+_(\d+)_\d+", re.ASCII)

_VOILA_VARIABLES: Final = ("VOILA_KERNEL_ID", "VOILA_BASE_URL")


def find_host() -> Host | None:
    """Return what runs the present cell; ``None`` where it may have a page as every notebook has, or is not known."""
    if marimo.is_marimo():
        return _MARIMO
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None:
        return None
    if getattr(shell, "kernel", None) is None:
        return _IPYTHON if type(shell).__name__ == "TerminalInteractiveShell" else None
    if any(variable in os.environ for variable in _VOILA_VARIABLES):
        return _VOILA
    message = _MESSAGE.fullmatch(str(shell.display_pub.parent_header.get("msg_id")))
    host = None if message is None else _PROGRAMS.get(_name_program(_find_command(int(message[1]))))
    return host or (None if _takes_input(shell) else _UNSURE)


def _takes_input(shell: Any) -> bool:
    """Return whether what runs the cell can ask a person for input; true where it does not say."""
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return request.get("content", {}).get("allow_stdin") is not False


def _find_command(pid: int) -> Sequence[str]:
    """Return the command line of a process that this one descends from; nothing where it is none."""
    try:
        psutil: Any = importlib.import_module("psutil")  # Kernels have it: ipykernel needs it.
        for process in psutil.Process().parents():
            if process.pid == pid:
                command: Sequence[str] = process.cmdline()
                return command
    except Exception:  # noqa: BLE001 (it is not there, the process has gone, or may not be looked at)
        return ()
    return ()


def _name_program(command: Sequence[str]) -> str:
    """Return the name of the program that a command line runs with Python; empty where it is none."""
    words = [PurePath(word) for word in command]
    if words and words[0].stem.startswith(("python", "pypy")):
        del words[0]
        while words and str(words[0]).startswith("-"):
            del words[0]
    if not words:
        return ""
    name = words[0].stem if words[0].suffix in _SUFFIXES else words[0].name
    return f"jupyter-{words[1]}" if name == "jupyter" and len(words) > 1 else name


class PagelessFrontend:
    """What a server says where its host has no page.

    Args:
        host: The host.
        url: The server's URL.
        is_alone: Returns whether the server is running and no page is connected to it.
        is_open_to_others: Returns whether somebody has been given what lets another page connect.
    """

    def __init__(
        self, host: Host, url: str, *, is_alone: Callable[[], bool], is_open_to_others: Callable[[], bool]
    ) -> None:
        self._host = host
        self._url = url
        self._is_alone = is_alone
        self._is_open_to_others = is_open_to_others
        self._has_told = False

    def want_page(self) -> None:
        """Say that no page will connect by itself, unless one is connected or may come from elsewhere.

        Raises:
            StateError: Nobody is there who could open one.
        """
        if not self._is_alone() or self._is_open_to_others():
            return
        words = f"no page is connected to {self._url}; {self._host.advice}"
        if self._host.patience is Patience.REFUSE:
            raise StateError(words)
        if not self._has_told:
            self._has_told = True
            _publish(f"jchannel: {words}.")


def _publish(text: str) -> None:
    ipython = sys.modules["IPython"]
    ipython.get_ipython().display_pub.publish({"text/plain": text})

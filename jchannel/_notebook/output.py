"""The notebook frontend: has a cell's output connect the notebook's page to a server.

IPython is found where it runs, and never imported.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import ipaddress
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from jchannel._client import read_static
from jchannel._notebook.desk import Claims

__all__ = ["ADVICE", "Cell", "NotebookFrontend", "find_cell", "is_kernel"]

#: How long a page is given to connect, in seconds, before another cell shows another output for it: the cells of a
#: notebook that is run as a whole follow each other faster than that.
SETTLE_SECONDS: Final = 2

#: What is there until the script replaces it: for a page that may not run it, or whose server has ended.
FALLBACK: Final = (
    "jchannel: this page is not connected. Run this cell again; where that does not help, trust the notebook first."
)

#: What a person is to do when no page is connected, as the end of a sentence.
ADVICE: Final = (
    "in a notebook, the output of the cell that has started the server or made the call connects its page, and says "
    "why it does not"
)

_STYLE: Final = "color: var(--jp-ui-font-color2, #767676); font-size: var(--jp-ui-font-size1, 13px);"


@dataclass(frozen=True, slots=True)
class Cell:
    """The cell that is running.

    Attributes:
        execution: The name of this run of the cell.
        publish: Shows a bundle of MIME types in the cell's output.
    """

    execution: str
    publish: Callable[[dict[str, str]], None]


def is_kernel() -> bool:
    """Whether this process is a kernel of IPython."""
    return _find_shell() is not None


def find_cell() -> Cell | None:
    """The cell that the present thread or task runs for; ``None`` where it runs for none."""
    shell = _find_shell()
    if shell is None:
        return None
    header = shell.display_pub.parent_header
    if header.get("msg_type") != "execute_request":
        return None
    return Cell(header["msg_id"], shell.display_pub.publish)


def _find_shell() -> Any:
    """The shell of a kernel, or ``None``."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return None if getattr(shell, "kernel", None) is None else shell


class NotebookFrontend:
    """Shows the outputs of one server.

    Args:
        claims: The server's desk.
        host: Where the server listens, as the user has said it.
        port: The port that it listens on.
        url: The URL that the user has given, or ``None``.
        is_alone: Whether the server is running and no page is connected to it.
        count_pages: How many times a page has connected.
        clock: The time in seconds.
    """

    def __init__(
        self,
        claims: Claims,
        *,
        host: str,
        port: int,
        url: str | None,
        is_alone: Callable[[], bool],
        count_pages: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.claims = claims
        self._is_alone = is_alone
        self._count_pages = count_pages
        self._clock = clock
        self._reach = {"host": _simplify_host(host), "port": port, "url": url}
        self._shown_in = ""
        # How many pages there had been when an output was last shown, and until when it may bring the next.
        self._expected = -1, 0.0

    def show_if_alone(self) -> None:
        """Shows an output in the cell that runs now, where no page is connected and none is about to be."""
        if self._is_alone():
            pages, end = self._expected
            if pages != self._count_pages() or self._clock() >= end:
                self.show()

    def show(self) -> None:
        """Shows an output in the cell that runs now, unless it has one. Without a cell it does nothing."""
        cell = find_cell()
        if cell is None or cell.execution == self._shown_in:
            return
        self._shown_in = cell.execution
        self._expected = self._count_pages(), self._clock() + SETTLE_SECONDS
        cell.publish({"text/html": self._render(), "text/plain": FALLBACK})

    def _render(self) -> str:
        config = {
            "server": self.claims.server_id,
            "ticket": self.claims.issue(),
            "issued": round(time.time(), 3),
            "integrity": _integrity(),
            **self._reach,
        }
        return (
            f'<div data-jchannel="{html.escape(json.dumps(config, separators=(",", ":")))}" style="{_STYLE}">'
            f"{html.escape(FALLBACK)}</div><script>{read_static('notebook-loader.js').decode()}</script>"
        )


@functools.cache
def _integrity() -> str:
    """The hash of the client's script, as browsers check it."""
    digest = hashlib.sha256(read_static("notebook.js")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _simplify_host(host: str) -> str:
    """``localhost`` for an address of this machine alone, nothing for every address, and otherwise the host itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_loopback:
        return "localhost"
    if address.is_unspecified:
        return ""
    return f"[{host}]" if address.version == 6 else host  # noqa: PLR2004 (the version of IP)

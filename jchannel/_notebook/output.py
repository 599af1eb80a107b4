"""The notebook frontend: shows outputs in cells that connect the notebook's page to a server.

It uses IPython if it is loaded, and never imports it. For marimo see ``marimo``.
"""

from __future__ import annotations

import base64
import contextvars
import functools
import hashlib
import html
import ipaddress
import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from jchannel._client import read_static
from jchannel._guarded import log, without_locals
from jchannel._notebook.desk import Claims
from jchannel._notebook.elements import Cell, Place
from jchannel._notebook.marimo import BETWEEN_CELLS, NO_WIDGET, explain_gone, find_marimo_cell, is_marimo, render_widget
from jchannel._notebook.widget import Widget

__all__ = ["ADVICE", "SETTLE_SECONDS", "NotebookFrontend", "find_cell", "find_kernel", "is_kernel", "is_notebook"]

#: How long a page may take to connect, in seconds, before another cell shows another output for it. If a whole notebook
#: is run, its cells follow each other faster than that.
SETTLE_SECONDS: Final = 2

#: The text of an output until its script replaces it: for a page that may not run it, or whose server has ended.
_FALLBACK: Final = (
    "jchannel: this page is not connected. Run this cell again; where that does not help, trust the notebook first."
)

#: What the user can do if no page is connected, as the end of a sentence.
ADVICE: Final = (
    "in a notebook, the output of the cell that has started the server or made the call connects its page, and says "
    "why it does not"
)

_STYLE: Final = "color: var(--jp-ui-font-color2, #767676); font-size: var(--jp-ui-font-size1, 13px);"


def is_kernel() -> bool:
    """Return whether this process is an IPython kernel."""
    return _find_shell() is not None


def is_notebook() -> bool:
    """Return whether this process is an IPython kernel, or the current thread runs the cells of a marimo notebook."""
    return is_kernel() or is_marimo()


def find_kernel() -> Any:
    """Return the IPython kernel that this process is; ``None`` if it is none."""
    shell = _find_shell()
    return None if shell is None else shell.kernel


def find_cell() -> Cell | None:
    """Return the cell that the current thread or task belongs to; ``None`` if there is none."""
    shell = _find_shell()
    if shell is None:
        return find_marimo_cell()
    header = shell.display_pub.parent_header
    if header.get("msg_type") != "execute_request":
        return None
    return Cell(
        header["msg_id"],
        partial(_publish_in, contextvars.copy_context(), shell.display_pub.publish),
        _find_place(shell),
    )


def _publish_in(
    context: contextvars.Context, publish: Callable[[dict[str, Any]], None], bundle: dict[str, Any]
) -> None:
    """Show a MIME bundle in the output of the cell whose context it is. One context cannot be entered twice at once."""
    context.copy().run(publish, bundle)


def _find_place(shell: Any) -> str:
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    metadata, content = request.get("metadata", {}), request.get("content", {})
    return str(metadata.get("cellId") or content.get("code") or "")


def _find_shell() -> Any:
    """Return the shell of the IPython kernel; ``None`` if this process is not a kernel."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return None if getattr(shell, "kernel", None) is None else shell


class NotebookFrontend:
    """The outputs of one server.

    Args:
        claims: The server's desk.
        host: The host that the server listens on, as the user passed it.
        port: The port that the server listens on.
        url: The URL that the user passed, or ``None``.
        is_alone: Returns whether the server is running and no page is connected to it.
        count_pages: Returns how many times a page has connected.
        door: The only way by which a page is to connect; ``None`` for the best.
        make_widget: Makes the widget that the outputs are, given ``make_config``; ``None`` for outputs that are
            scripts.
        clock: Returns the current time in seconds.
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
        door: str | None = None,
        make_widget: Callable[[Callable[[], dict[str, Any]]], Widget] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.claims = claims
        self._is_alone = is_alone
        self._count_pages = count_pages
        self._clock = clock
        self._address = {"host": _simplify_host(host), "port": port, "url": url, "door": door}
        if is_marimo():
            self._address |= {"gone": explain_gone(door), "betweenCells": BETWEEN_CELLS}
        self._make_widget = make_widget
        self._widget: Widget | None = None
        self._shown_in = ""
        # The number of pages when an output was last shown, and the time until when its own page may connect.
        self._expected = -1, 0.0

    def show_if_alone(self) -> None:
        """Show an output in the current cell, unless a page is connected or expected to connect."""
        if self._is_alone():
            pages, end = self._expected
            if pages != self._count_pages() or self._clock() >= end:
                self.show()

    def show(self) -> None:
        """Show an output in the current cell, unless it has one. Do nothing if there is no cell."""
        cell = find_cell()
        if cell is None or cell.execution == self._shown_in:
            return
        self._shown_in = cell.execution
        self._expected = self._count_pages(), self._clock() + SETTLE_SECONDS
        self.claims.elements.note_connecting(cell)
        view = self._make_view()
        if view is None:
            text = {"text/plain": NO_WIDGET} if is_marimo() else {"text/html": self._render(), "text/plain": _FALLBACK}
            cell.publish(text)
            return
        # A front end that knows no widgets shows the script.
        cell.publish({"text/html": self._render(), **view, "text/plain": _FALLBACK})

    def _make_view(self) -> dict[str, Any] | None:
        """Return what shows the widget, with a new config; ``None`` where the outputs are scripts."""
        if self._make_widget is None:
            return None
        try:
            if self._widget is None or self._widget.closed:
                self._widget = self._make_widget(self.make_config)
            else:  # A page that has tried the older config in vain tries again by a newer one.
                self._widget.update(self.make_config())
            return self._widget.view()
        except Exception as error:  # noqa: BLE001 (a bulkhead: what is installed as anywidget may not work)
            log(
                logging.WARNING,
                "anywidget is installed and cannot be used, so that outputs are scripts, which need the server's port",
                error=without_locals(error),
            )
            self._make_widget = self._widget = None
            return None

    def render_beside(self) -> str:
        """Return HTML that connects the page, for what replaces the output of its cell; empty where nothing does.

        In marimo the value of a cell's last line replaces what the cell has shown before.
        """
        if self._widget is None or self._widget.closed or not is_marimo():
            return ""
        return render_widget(self._widget.view())

    def make_config(self) -> dict[str, Any]:
        """Return what a page must know to connect, with a new ticket. May be called in any thread."""
        return {
            "server": self.claims.server_id,
            # A plain str, as some front ends write what is derived from one as an object.
            "ticket": str(self.claims.issue()),
            "issued": round(time.time(), 3),
            "integrity": _integrity(),
            **self._address,
        }

    def make_place(self) -> Place | None:
        """Return the current cell as a place for the element of a channel; ``None`` if there is no cell."""
        cell = find_cell()
        return None if cell is None else self.claims.elements.make_place(cell)

    def _render(self) -> str:
        config = json.dumps(self.make_config(), separators=(",", ":"))
        return (
            f'<div data-jchannel="{html.escape(config)}" style="{_STYLE}">'
            f"{html.escape(_FALLBACK)}</div><script>{read_static('notebook-loader.js').decode()}</script>"
        )


@functools.cache
def _integrity() -> str:
    """Return the hash of the client's script as a value of the HTML attribute ``integrity``."""
    digest = hashlib.sha256(read_static("notebook.js")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _simplify_host(host: str) -> str:
    """Return ``localhost`` for a loopback address, nothing for all addresses, and otherwise the host itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_loopback:
        return "localhost"
    if address.is_unspecified:
        return ""
    return f"[{host}]" if address.version == 6 else host  # noqa: PLR2004 (the version of IP)

"""The cells of a marimo notebook. It uses marimo if it is loaded, and never imports it.

marimo's documented functions tell neither which cell runs nor let another thread show something in it, so parts are
used that are not documented. This is the only module that uses them, and ``tests/jupyter/test_marimo.py`` fails if they
change.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import sys
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any, Final

from jchannel._notebook.elements import Cell

__all__ = [
    "ADVICE",
    "BETWEEN_CELLS",
    "NO_WIDGET",
    "VIEW",
    "explain_gone",
    "find_cell_runner",
    "find_deafness",
    "find_marimo_cell",
    "is_marimo",
    "render_widget",
]

#: The part of a MIME bundle that shows a widget.
VIEW: Final = "application/vnd.jupyter.widget-view+json"

#: What the user can do if no page is connected, as the end of a sentence.
ADVICE: Final = (
    "in marimo, the output of the cell that has started the server or made the call connects its page, and says why it "
    "does not; it is not shown in a cell whose last line shows something else than the server"
)

#: What an output says where it cannot be a widget.
NO_WIDGET: Final = (
    "jchannel: marimo shows an output that connects its page only where anywidget is installed: run "
    "pip install 'jchannel[widget]', restart the kernel, and run the cells again."
)

#: What an output says whose page does not reach the server, without its end.
_GONE: Final = (
    "the kernel behind this output is not running any more, or this page cannot reach it. Run the cell again. Where "
    "the kernel is on another machine, give the server the URL under which the page reaches it, as in "
    "jchannel.start(url=…)"
)

#: What an output says beside its state where its page is connected, or connects, by the comm.
BETWEEN_CELLS: Final = "marimo hands over what this page sends when no cell runs"


def is_marimo() -> bool:
    """Return whether the current thread runs the cells of a marimo notebook."""
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


def find_marimo_cell() -> Cell | None:
    """Return the cell that the current thread runs; ``None`` if there is none."""
    if not is_marimo():
        return None
    context = _import("_runtime.context").get_context()
    execution = context.execution_context
    tag = _import("_messaging.context").EXECUTION_CTX.get()
    if execution is None or tag is None:
        return None
    # In `marimo run` one process has a session for each page, and all have the same cells.
    place = str(execution.cell_id) if sys.modules["marimo"].app_meta().mode == "edit" else ""
    return Cell(tag.id, partial(_publish, contextvars.copy_context(), context.stream, execution), place)


def find_deafness() -> Callable[[], bool]:
    """Return what tells whether marimo hands over no message of a page now, as a cell runs. Safe in any thread."""
    return partial(_runs_cell, _import("_runtime.context").get_context())


def _runs_cell(context: Any) -> bool:
    return context.execution_context is not None


def find_cell_runner() -> Callable[[asyncio.Task[Any]], bool] | None:
    """Return what tells whether a Task is marimo's own, which runs cells and hands over messages one after the other.

    ``None`` where this marimo has none that is known.
    """
    try:
        code = _import("_runtime.kernel_lifecycle").listen_messages.__code__
    except (ImportError, AttributeError):
        return None
    return partial(_runs, code)


def _runs(code: CodeType, task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "cr_code", None) is code


def render_widget(view: dict[str, Any]) -> str:
    """Return HTML that shows a widget, given the MIME bundle of its view."""
    return str(sys.modules["marimo"].as_html(_Bundle(view)).text)


def explain_gone(door: str | None) -> str:
    """Return what an output says whose page does not reach the server.

    Args:
        door: The only way by which the page may connect; ``None`` where it has tried all.
    """
    return f"{_GONE}." if door is None else f"{_GONE}, or name no door."


class _Bundle:
    """What is shown as a MIME bundle says."""

    def __init__(self, bundle: dict[str, Any]) -> None:
        self._bundle = bundle

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        return dict(self._bundle)


def _publish(context: contextvars.Context, stream: Any, execution: Any, bundle: dict[str, Any]) -> None:
    """Show a MIME bundle below what the cell has shown. marimo drops what comes after the cell has been run again."""
    marimo = sys.modules["marimo"]
    if VIEW in bundle:
        shown = marimo.Html(render_widget(bundle))
    elif "text/html" in bundle:
        shown = marimo.Html(bundle["text/html"])
    else:
        shown = marimo.plain_text(bundle["text/plain"])
    execution.output.append(shown)
    # In the cell's context it has the number of the cell's run. One context cannot be entered twice at once.
    context.copy().run(_send, stream, execution)


def _send(stream: Any, execution: Any) -> None:
    notifications = _import("_messaging.notification_utils").CellNotificationUtils
    channel = _import("_messaging.cell_output").CellChannel.OUTPUT
    html = execution.output.stack().text
    notifications.broadcast_output(channel, "text/html", html, execution.cell_id, None, stream=stream)


def _import(name: str) -> Any:
    return importlib.import_module(f"marimo.{name}")

"""The widget that an output is where anywidget is installed: its module is the client, and its comm a way to the page.

This is the only module that knows anywidget, and it imports it only when a notebook's server is shown.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

from jchannel._client import read_static
from jchannel._core.server import Server
from jchannel._notebook.comm_link import CommDesk
from jchannel._notebook.desk import Claims
from jchannel._notebook.marimo import find_deafness, is_marimo
from jchannel._notebook.tap import Tap, open_tap, route_by_header
from jchannel._protocol.messages import DOORS, Door

__all__ = ["Widget", "check_door", "has_anywidget", "open_widget"]

#: What installs it.
_HOW_TO_INSTALL: Final = "pip install 'jchannel[widget]'"

#: Called with a message of a page: its content and its buffers.
OnMessage = Callable[[object, Sequence[Any]], None]


def has_anywidget() -> bool:
    """Return whether anywidget is installed."""
    return importlib.util.find_spec("anywidget") is not None


def check_door(door: object) -> Door | None:
    """Check the door that a user asks for, and return it.

    Raises:
        ValueError: It is none.
        ImportError: It is the comm, and anywidget is not installed.
    """
    if door is None:
        return None
    if door not in DOORS:
        raise ValueError(f"door must be 'port', 'proxy', 'comm', or None for the best of them, and not {door!r}")
    if door == "comm" and not has_anywidget():
        raise ImportError(f"door='comm' needs anywidget, which is not installed here: {_HOW_TO_INSTALL}")
    return cast("Door", door)


def open_widget(
    server: Server,
    desk: Claims,
    post_to_trio: Callable[[Callable[[], object]], None],
    kernel: Any,
    make_config: Callable[[], dict[str, Any]],
) -> Widget:
    """Make a widget whose pages connect to a server.

    Args:
        server: The server.
        desk: Its desk for notebooks.
        post_to_trio: Calls a function in the server's trio, in the order of the calls.
        kernel: The kernel; ``None`` in marimo, which has none that is known.
        make_config: Returns what its pages must know.
    """
    comm_desk = CommDesk(server, desk, make_config, find_deafness() if is_marimo() else None)

    def take(content: object, buffers: Sequence[Any]) -> None:
        post_to_trio(partial(comm_desk.handle, widget.post, content, buffers))

    def end() -> None:
        post_to_trio(partial(comm_desk.end, "its comm was closed"))

    widget = Widget(make_config(), take, end, None if kernel is None else open_tap(kernel))
    return widget


class Widget:
    """A widget of one server, of which any number of outputs can be views.

    Args:
        config: What its pages must know. It is saved with the notebook, if the front end saves the state of widgets.
        on_message: Called with each message of a page, in the thread that the kernel handles them in.
        on_close: Called when its comm has closed.
        tap: Takes its messages before the kernel lets them wait for the end of a cell; ``None`` where that cannot be.
    """

    def __init__(
        self, config: dict[str, Any], on_message: OnMessage, on_close: Callable[[], None], tap: Tap | None
    ) -> None:
        self._widget = _widget_class()(config=config)
        self._widget.on_msg(lambda _, content, buffers: on_message(content, buffers))
        self._closed = False
        self._on_close = on_close
        self._tap = tap
        self._comm_id: str = self._widget.comm.comm_id
        if tap is None:
            route_by_header(self._widget.comm)
        else:
            tap.add(self._comm_id, on_message)
        self._widget.comm.on_close(self._note_close)
        # Where the program closes all widgets, the comm tells nobody.
        self._widget.observe(self._note_close, "comm")

    @property
    def closed(self) -> bool:
        """Whether its comm has closed, so that it can be shown no more. marimo tells nobody when it closes one."""
        comm = self._widget.comm
        return self._closed or comm is None or getattr(comm, "_closed", False) is True

    def post(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Send a message to every page of the kernel. Safe in any thread.

        Raises:
            RuntimeError: Its comm has closed.
        """
        if self.closed:
            raise RuntimeError("it was closed")
        self._widget.send(content, buffers)

    def update(self, config: dict[str, Any]) -> None:
        """Let outputs that are shown from now on say something else. Called in the thread of a cell."""
        self._widget.config = config

    def _note_close(self, _: object) -> None:
        if self._closed:
            return
        self._closed = True
        if self._tap is not None:
            self._tap.remove(self._comm_id)
        self._on_close()

    def view(self) -> dict[str, Any]:
        """Return what shows it, as a part of a MIME bundle."""
        bundle = self._widget._repr_mimebundle_()
        bundle = bundle[0] if isinstance(bundle, tuple) else bundle
        return {name: data for name, data in bundle.items() if name != "text/plain"}


@functools.cache
def _widget_class() -> Any:
    """Return the class of widgets."""
    anywidget = importlib.import_module("anywidget")
    traitlets = importlib.import_module("traitlets")
    namespace = {"_esm": read_static("notebook-widget.js").decode(), "config": traitlets.Dict().tag(sync=True)}
    return type("JchannelWidget", (anywidget.AnyWidget,), namespace)

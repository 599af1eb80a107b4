"""Outputs that are widgets, with the real anywidget and a comm that leads nowhere; and the tap, with a fake kernel."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

import jchannel
import jchannel.sync
from jchannel._notebook import widget as widgets
from jchannel._notebook.tap import Tap, open_tap, route_by_header
from jchannel._notebook.widget import Widget, check_door
from tests.notebook.kernel import FakeKernel, make_frontend
from tests.peer_thread import TIMEOUT

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def with_widgets(without_widgets: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets anywidget be found."""
    monkeypatch.delitem(sys.modules, "anywidget")


@pytest.mark.parametrize("door", [None, "port", "proxy"])
def test_a_door_that_needs_nothing_is_one(door: object) -> None:
    assert check_door(door) == door


def test_what_is_no_door_is_refused() -> None:
    with pytest.raises(ValueError, match="door must be 'port', 'proxy', 'comm', or None"):
        jchannel.Server(door="window")  # type: ignore[arg-type]


def test_the_comm_needs_anywidget_and_the_error_says_how_to_get_it() -> None:
    with pytest.raises(ImportError, match=r"pip install 'jchannel\[widget\]'"):
        jchannel.sync.Server(door="comm")


@pytest.mark.usefixtures("with_widgets")
def test_a_widget_hands_on_what_pages_send_and_sends_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []
    closed: list[bool] = []
    tapped: list[str] = []
    tap: Any = SimpleNamespace(add=lambda comm_id, _: tapped.append(comm_id), remove=tapped.remove)
    widget = Widget({"server": "s"}, lambda *message: taken.append(message), lambda: closed.append(True), tap)
    inner = widget._widget
    assert tapped == [inner.comm.comm_id]
    sent: list[Any] = []
    monkeypatch.setattr(inner, "send", lambda *message: sent.append(message))

    inner._handle_custom_msg({"type": "ask"}, [b"x"])
    widget.post({"type": "told"}, [b"y"])

    assert taken == [({"type": "ask"}, [b"x"])]
    assert sent == [({"type": "told"}, [b"y"])]
    assert VIEW in widget.view()
    assert "text/plain" not in widget.view()
    assert "export" in inner._esm
    assert inner.config == {"server": "s"}
    widget.update({"server": "t"})
    assert inner.config == {"server": "t"}
    inner.comm.handle_close({})
    assert closed == [True]
    assert widget.closed
    assert tapped == []
    inner.close()


@pytest.mark.usefixtures("with_widgets")
def test_a_widget_that_the_program_closes_is_closed_and_tells_it_once() -> None:
    closed: list[bool] = []
    widget = Widget({}, lambda *_: None, lambda: closed.append(True), None)
    comm = widget._widget.comm

    widget._widget.close()  # As ipywidgets.Widget.close_all() does.
    assert widget.closed
    with pytest.raises(RuntimeError, match="it was closed"):
        widget.post({}, [])
    assert closed == [True]

    comm.handle_close({})
    assert closed == [True]


@pytest.mark.usefixtures("with_widgets")
def test_anywidget_may_give_its_bundle_with_metadata_or_without(monkeypatch: pytest.MonkeyPatch) -> None:
    widget = Widget({}, lambda *_: None, lambda: None, None)
    widget._note_close({})  # It needs no tap.
    bundle = {"text/plain": "text", VIEW: {"model_id": "m"}}
    given: object = bundle
    monkeypatch.setattr(type(widget._widget), "_repr_mimebundle_", lambda _: given)
    assert widget.view() == {VIEW: {"model_id": "m"}}
    given = bundle, {}
    assert widget.view() == {VIEW: {"model_id": "m"}}


class TappableKernel:
    """As much of ipykernel 7 as the tap knows."""

    def __init__(self) -> None:
        self.went_on: list[Any] = []
        self.receive: Any = None
        self.session = self
        self.shell_stream = self
        self.io_loop = self
        self.shell_channel_thread = self
        self.shell_channel_thread_main = self.went_on.append

    def add_callback(self, function: Any, *args: Any, **options: Any) -> None:
        function(*args, **options)

    def on_recv(self, callback: Any, *, copy: bool) -> None:
        assert not copy
        self.receive = callback

    def feed_identities(self, frames: list[Any], *, copy: bool) -> tuple[list[Any], list[Any]]:
        assert not copy
        return frames[:1], frames[1:]

    def unpack(self, data: Any) -> Any:
        return data

    def deserialize(self, parts: list[Any], *, content: bool, copy: bool) -> dict[str, Any]:
        assert content
        assert not copy
        return {"content": parts[4].bytes, "buffers": parts[5:]}

    def send(self, kind: str, content: object, *buffers: object) -> list[Any]:
        parts = [SimpleNamespace(bytes=part) for part in (b"signature", {"msg_type": kind}, {}, {}, content)]
        frames = [b"identity", *parts, *buffers]
        self.receive(frames)
        return frames


class KernelOfVersion6:
    """As much of ipykernel 6 as the tap knows."""

    def __init__(self, kernel: TappableKernel) -> None:
        self.session = self.io_loop = self.shell_stream = kernel
        self.went_on: list[Any] = []
        self.dispatch_shell = object()

    def schedule_dispatch(self, dispatch: object, frames: list[Any]) -> None:
        assert dispatch is self.dispatch_shell
        self.went_on.append(frames)


def test_in_version_6_a_tap_takes_messages_in_the_thread_that_runs_cells() -> None:
    socket = TappableKernel()
    kernel = KernelOfVersion6(socket)
    tap = open_tap(kernel)
    assert tap is not None
    assert tap.thread == threading.main_thread().ident
    taken: list[object] = []
    tap.add("mine", lambda *message: taken.append(message))

    socket.send("comm_msg", custom("mine", "hello"))
    other = socket.send("execute_request", {"code": "1"})

    assert taken == [("hello", [])]
    assert kernel.went_on == [other]


def custom(comm: str, content: object, method: str = "custom") -> dict[str, Any]:
    return {"comm_id": comm, "data": {"method": method, "content": content}}


def test_a_tap_takes_the_custom_messages_of_its_comms_and_lets_the_rest_go_on() -> None:
    kernel = TappableKernel()
    tap = open_tap(kernel)
    assert isinstance(tap, Tap)
    assert open_tap(kernel) is tap
    assert tap.thread is None
    taken: list[object] = []
    tap.add("mine", lambda *message: taken.append(message))

    kernel.send("comm_msg", custom("mine", "hello"), b"buffer")
    others = [
        kernel.send("execute_request", {"code": "1"}),
        kernel.send("comm_msg", custom("theirs", "hello")),
        kernel.send("comm_msg", custom("mine", {}, "update")),
    ]
    tap.remove("mine")
    others.append(kernel.send("comm_msg", custom("mine", "late")))
    tap.remove("mine")

    assert taken == [("hello", [b"buffer"])]
    assert kernel.went_on == others


def test_what_a_tap_cannot_read_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "jchannel")
    kernel = TappableKernel()
    open_tap(kernel)

    kernel.receive([b"identity"])

    assert kernel.went_on == [[b"identity"]]
    assert "could not be looked at" in caplog.text


def test_a_kernel_of_another_shape_has_no_tap(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jchannel")

    assert open_tap(SimpleNamespace(session=None)) is None
    assert "heard between cells only" in caplog.text


def test_the_kernel_that_is_installed_has_the_shape_that_the_tap_knows() -> None:
    kernelbase = importlib.import_module("ipykernel.kernelbase")
    session = importlib.import_module("jupyter_client.session")

    assert inspect.iscoroutinefunction(kernelbase.Kernel.shell_channel_thread_main)
    assert not hasattr(kernelbase.Kernel, "schedule_dispatch")
    assert {"session", "shell_stream", "shell_channel_thread"} <= set(kernelbase.Kernel.class_trait_names())
    assert {"feed_identities", "unpack", "deserialize"} <= set(dir(session.Session()))


def test_without_a_tap_messages_go_to_the_subshell_that_they_ask_for() -> None:
    comm = importlib.import_module("ipykernel.comm.comm").BaseComm
    asked = SimpleNamespace(_reply_subshell_for=comm._reply_subshell_for)

    assert route_by_header(asked)
    assert asked._reply_subshell_for({"method": "custom"}, "subshell") == "subshell"
    assert not route_by_header(SimpleNamespace())


class FakeWidget:
    """Takes the place of a widget."""

    def __init__(self, config: dict[str, Any], on_message: Any, on_close: Any, tap: object) -> None:
        self.config, self.on_message, self.on_close, self.tap = config, on_message, on_close, tap
        self.closed = False
        self.posted: list[Any] = []
        self.answered = threading.Event()

    def update(self, config: dict[str, Any]) -> None:
        self.config = config

    def post(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.posted.append((content, buffers))
        self.answered.set()

    def view(self) -> dict[str, Any]:
        return {VIEW: {"model_id": "m"}}


def test_each_output_of_a_server_is_a_view_of_one_widget(kernel: FakeKernel) -> None:
    made: list[Any] = []

    def make(make_config: Any) -> Any:
        made.append(FakeWidget(make_config(), None, None, None))
        return made[-1]

    frontend = make_frontend(make, door="comm")
    frontend.show()
    kernel.enter("cell 2")
    frontend.show()

    assert [set(bundle) for bundle in kernel.published] == [{VIEW, "text/html", "text/plain"}] * 2
    assert len(made) == 1
    assert made[0].config["door"] == "comm"
    assert made[0].config["ticket"].rpartition(".")[0] == "3"  # Each output has a script with another one, too.

    made[0].closed = True
    kernel.enter("cell 3")
    frontend.show()
    assert len(made) == 2


@pytest.mark.parametrize("part", ["its import", "its view"])
def test_where_anywidget_does_not_work_outputs_are_scripts(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    made: list[Any] = []

    def fail() -> Any:
        raise ImportError(f"{part} fails")

    def make(make_config: Any) -> Any:
        made.append(FakeWidget(make_config(), None, None, None))
        made[-1].view = fail
        return fail() if part == "its import" else made[-1]

    frontend = make_frontend(make)
    frontend.show()
    kernel.enter("cell 2")
    frontend.show()

    assert [set(bundle) for bundle in kernel.published] == [{"text/html", "text/plain"}] * 2
    assert len(made) == 1
    assert "anywidget is installed and cannot be used" in caplog.text
    assert f"{part} fails" in caplog.text


def test_a_server_in_a_kernel_with_anywidget_answers_its_pages_over_the_comm(
    with_widgets: None, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FakeWidget] = []

    def make(*args: Any) -> FakeWidget:
        made.append(FakeWidget(*args))
        return made[-1]

    monkeypatch.setattr(widgets, "Widget", make)
    with jchannel.sync.Server(port=0, door="comm") as server:
        [widget] = made
        assert widget.config["door"] == "comm"
        assert widget.tap is None  # The fake kernel has another shape.
        widget.on_message({"type": "ask", "asked": "a1", "what": "weather"}, [])
        widget.on_close()
        assert server.statistics().door == ""
        assert widget.answered.wait(TIMEOUT)
    assert widget.posted == [({"type": "told", "asked": "a1", "answer": None}, [])]
    assert VIEW in kernel.published[0]

"""The cells of marimo: in which an output is shown, and what it says. A real marimo is in ``tests/jupyter``."""

import sys
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

from jchannel._notebook.marimo import BETWEEN_CELLS, NO_WIDGET, VIEW, find_deafness
from jchannel._notebook.output import find_cell, find_kernel, is_kernel, is_notebook
from jchannel._notebook.widget import Widget
from tests.notebook.kernel import make_frontend


class FakeMarimo:
    """As much of marimo as jchannel looks at, while it runs a cell.

    Attributes:
        sent: What was shown: the cell, the HTML of its whole output, and the number of the cell's run.
    """

    def __init__(self) -> None:
        self.mode = "edit"
        self.running = True
        self.sent: list[tuple[str, str, Any]] = []
        self.tag: ContextVar[Any] = ContextVar("execution", default=None)
        self.context = SimpleNamespace(execution_context=None, stream="the stream")
        self.enter("cell", "run 1")

    def enter(self, cell: str, run: str) -> None:
        """Begins a run of a cell."""
        self.tag.set(SimpleNamespace(id=run))
        self.context.execution_context = SimpleNamespace(cell_id=cell, output=_Output())

    def modules(self) -> dict[str, Any]:
        """Its modules."""
        return {
            "marimo": SimpleNamespace(
                running_in_notebook=lambda: self.running,
                app_meta=lambda: SimpleNamespace(mode=self.mode),
                as_html=lambda shown: _html(f"<widget {shown._repr_mimebundle_(include=None)[VIEW]}>"),
                Html=_html,
                plain_text=_html,
            ),
            "marimo._runtime.context": SimpleNamespace(get_context=lambda: self.context),
            "marimo._messaging.context": SimpleNamespace(EXECUTION_CTX=self.tag),
            "marimo._messaging.notification_utils": SimpleNamespace(
                CellNotificationUtils=SimpleNamespace(broadcast_output=self._send)
            ),
            "marimo._messaging.cell_output": SimpleNamespace(CellChannel=SimpleNamespace(OUTPUT="output")),
        }

    def _send(self, channel: str, mimetype: str, data: str, cell: str, status: None, *, stream: str) -> None:
        assert (channel, mimetype, status, stream) == ("output", "text/html", None, "the stream")
        self.sent.append((cell, data, self.tag.get().id))


def _html(text: str) -> SimpleNamespace:
    return SimpleNamespace(text=text)


class _Output(list[Any]):
    def stack(self) -> Any:
        return SimpleNamespace(text="".join(item.text for item in self))


class FakeWidget:
    """A widget that can be shown."""

    closed = False

    def view(self) -> dict[str, Any]:
        """As ``Widget.view``."""
        return {VIEW: "model"}


@pytest.fixture
def marimo(monkeypatch: pytest.MonkeyPatch) -> FakeMarimo:
    """A marimo that runs a cell."""
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    marimo = FakeMarimo()
    for name, module in marimo.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return marimo


def test_marimo_is_a_notebook_and_no_ipython_kernel(marimo: FakeMarimo) -> None:
    assert is_notebook()
    assert not is_kernel()
    assert find_kernel() is None

    marimo.running = False

    assert not is_notebook()
    assert find_cell() is None


@pytest.mark.parametrize("missing", ["execution", "tag"])
def test_between_cells_there_is_none(marimo: FakeMarimo, missing: str) -> None:
    if missing == "execution":
        marimo.context.execution_context = None
    else:
        marimo.tag.set(None)

    assert find_cell() is None


@pytest.mark.parametrize(("mode", "place"), [("edit", "cell"), ("run", "")])
def test_a_cell_that_is_run_again_is_known_only_where_a_process_has_one_session(
    marimo: FakeMarimo, mode: str, place: str
) -> None:
    marimo.mode = mode

    cell = find_cell()

    assert cell is not None
    assert (cell.execution, cell.place) == ("run 1", place)


def test_what_a_cell_shows_is_added_to_its_output_also_when_another_runs(marimo: FakeMarimo) -> None:
    cell = find_cell()
    assert cell is not None
    cell.publish({"text/html": "<p>", "text/plain": "p"})
    marimo.enter("other", "run 2")

    cell.publish({"text/plain": "words"})

    assert marimo.sent == [("cell", "<p>", "run 1"), ("cell", "<p>words", "run 1")]


def test_the_output_is_a_widget_that_says_when_its_page_is_heard(marimo: FakeMarimo) -> None:
    configs: list[Any] = []

    def make_widget(make_config: Any) -> Any:
        configs.append(make_config())
        return FakeWidget()

    frontend = make_frontend(make_widget)
    beside = [frontend.render_beside()]

    frontend.show()

    assert marimo.sent == [("cell", "<widget model>", "run 1")]
    assert configs[0]["betweenCells"] == BETWEEN_CELLS
    assert type(configs[0]["ticket"]) is str  # marimo writes an object for what is derived from one.
    assert [*beside, frontend.render_beside()] == ["", "<widget model>"]


@pytest.mark.parametrize(("door", "end"), [(None, "start(url=…)."), ("port", "start(url=…), or name no door.")])
@pytest.mark.usefixtures("marimo")
def test_what_the_output_says_of_a_server_that_is_gone_knows_whether_a_door_was_named(
    door: str | None, end: str
) -> None:
    gone = make_frontend(FakeWidget, door).make_config()["gone"]

    assert gone.startswith("the kernel behind this output is not running any more, or this page cannot reach it.")
    assert gone.endswith(end)


def test_without_anywidget_the_output_says_what_to_install(marimo: FakeMarimo) -> None:
    make_frontend(None).show()

    assert marimo.sent == [("cell", NO_WIDGET, "run 1")]


def test_while_a_cell_runs_no_message_is_handed_over(marimo: FakeMarimo) -> None:
    is_deaf = find_deafness()
    deaf = [is_deaf()]

    marimo.context.execution_context = None

    assert [*deaf, is_deaf()] == [True, False]


def test_a_widget_whose_comm_was_closed_silently_is_closed(without_widgets: None, monkeypatch: Any) -> None:
    monkeypatch.delitem(sys.modules, "anywidget")
    widget = Widget({}, lambda *_: None, lambda: None, None)
    assert not widget.closed

    widget._widget.comm._closed = True

    assert widget.closed

"""A stand-in for IPython in a kernel: as much of it as jchannel looks at. And a frontend in a notebook."""

from types import SimpleNamespace
from typing import Any

from jchannel._notebook.desk import Claims
from jchannel._notebook.output import NotebookFrontend


class FakeKernel:
    """A kernel that executes a cell.

    Attributes:
        shell: Its shell.
        published: The bundles that were shown.
    """

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.parent: dict[str, Any] = {}
        publisher = SimpleNamespace(parent_header={}, publish=self.published.append)
        self.shell = SimpleNamespace(kernel=object(), display_pub=publisher, get_parent=lambda: self.parent)
        self.enter("cell 1")

    def get_ipython(self) -> Any:
        """As IPython's."""
        return self.shell

    def enter(self, message: str, kind: str = "execute_request", **request: Any) -> None:
        """Begins to handle a message of the front end, with what else is in it."""
        self.parent = request
        self.shell.display_pub.parent_header = {"msg_id": message, "msg_type": kind}


def make_frontend(make_widget: Any, door: str | None = None) -> NotebookFrontend:
    """A frontend of a server to which no page is connected."""
    return NotebookFrontend(
        Claims("token", 60, lambda *_: None),
        host="localhost",
        port=8889,
        url=None,
        is_alone=lambda: True,
        count_pages=lambda: 0,
        door=door,
        make_widget=make_widget,
    )

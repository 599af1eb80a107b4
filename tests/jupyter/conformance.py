"""The front ends of Jupyter as hosts of the conformance suite."""

import re

from playwright.sync_api import expect

from tests.conformance.suite import Host
from tests.jupyter.driver import Notebook

__all__ = ["NotebookHost", "name_host"]

CONNECTED = re.compile("connected (to|by) ")


def name_host(notebook: Notebook, door: str) -> str:
    """Return the name in the table of a notebook's front end whose page comes by a door."""
    return f"{notebook.TITLE}, {door}"


class NotebookHost(Host):
    """A notebook in a front end.

    Args:
        name: Its name in the table.
        notebook: The notebook, which is open, with the cells of ``make_cells``.
    """

    def __init__(self, name: str, notebook: Notebook) -> None:
        self.name = name
        self._notebook = notebook

    def run(self, n: int) -> str:
        return self._notebook.run(n)

    def expect_connected(self) -> None:
        expect(self._notebook.output(0)).to_contain_text(CONNECTED)

    def reload(self) -> None:
        self._notebook.save()
        self._notebook.reload()

    def open_second_page(self) -> None:
        second = self._notebook.second_tab()
        expect(second.output(0)).to_contain_text("another page is connected")
        second.page.close()

    def restart(self) -> None:
        self._notebook.restart()
        expect(self._notebook.output(0)).not_to_contain_text(CONNECTED)

"""Notebook 7: the parts of JupyterLab, with a browser tab for each notebook."""

from tests.jupyter.driver import Notebook
from tests.jupyter.lab import LabNotebook


class Notebook7Notebook(LabNotebook):
    """A notebook in Notebook 7."""

    TITLE = "Notebook 7"
    OWN_COMPLAINTS = (r"reading 'schema'", r"Command 'filebrowser:open-path' not registered")

    _ADDRESS = "notebooks/{name}"

    def close_tab(self) -> None:
        Notebook.close_tab(self)

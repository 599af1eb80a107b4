"""All checks in the front ends whose pages are connected by the kernel's own messages."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.outcomes import Outcomes
from tests.conformance.suite import conform, make_cells
from tests.jupyter.classic import ClassicNotebook
from tests.jupyter.conformance import NotebookHost, name_host
from tests.jupyter.conftest import Notebooks
from tests.jupyter.lab import LabNotebook
from tests.jupyter.notebook7 import Notebook7Notebook
from tests.jupyter.server import JupyterServer
from tests.jupyter.test_comm import START


@pytest.fixture
def without_subshells(jupyter: JupyterServer) -> Iterator[None]:
    """Turns off JupyterLab's setting by which the messages of comms go to subshells."""
    folder = Path(jupyter.environment["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab" / "apputils-extension"
    file = folder / "kernels-settings.jupyterlab-settings"
    file.write_text(json.dumps({"commsOverSubshells": "disabled"}))
    yield
    file.unlink()


@pytest.mark.parametrize("front_end", [LabNotebook, Notebook7Notebook, ClassicNotebook], indirect=True)
def test_a_session_over_the_comm_does_what_it_does_by_the_port(notebooks: Notebooks, outcomes: Outcomes) -> None:
    notebook = notebooks.open(make_cells(START))
    conform(NotebookHost(name_host(notebook, "comm"), notebook), outcomes)


@pytest.mark.usefixtures("without_subshells")
@pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)
def test_a_session_over_the_comm_needs_no_subshells(notebooks: Notebooks, outcomes: Outcomes) -> None:
    notebook = notebooks.open(make_cells(START))
    conform(NotebookHost("JupyterLab, comm without subshells", notebook), outcomes)

"""The trio kernel in JupyterLab."""

import subprocess
import sys

import nbformat
import pytest

from tests.jupyter.conftest import Notebooks
from tests.jupyter.lab import LabNotebook

START = "import jchannel, threading, trio\nserver = await jchannel.start(port=0)"

CALL = """
channel = await server.open("(channel) => { channel.handler = {add: (a, b) => a + b}; }", timeout=None)
await trio.sleep(0)
print(await channel.call("add", 2, 3))
print("jchannel trio" in {thread.name for thread in threading.enumerate()})"""


@pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)
def test_a_page_is_called_from_a_cell_that_awaits_trio(notebooks: Notebooks) -> None:
    subprocess.run(
        [sys.executable, "-m", "jchannel", "kernel", "install", "--user"],
        env=dict(notebooks.server.environment),
        check=True,
        capture_output=True,
    )
    path = notebooks.write([START, CALL])
    written = nbformat.read(path, as_version=4)
    written.metadata["kernelspec"] = {"name": "jchannel-trio", "display_name": "Python 3 (trio)", "language": "python"}
    nbformat.write(written, path)
    notebook = notebooks.open_file(path)
    notebook.run(0)
    assert notebook.run(1) == "5\nFalse\n"

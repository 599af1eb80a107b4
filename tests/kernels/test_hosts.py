"""Programs that run cells and show them in no browser: each is recognised, and has words of its own at once.

Whatever jchannel knows of them is not documented. If one of these tests fails, `jchannel/_notebook/hosts.py` knows a
shape that has changed.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.jupyter.process import private_environment
from tests.jupyter.server import CHECKOUT, write_kernelspec, write_notebook

TIMEOUT = 120.0
"""Seconds that a program may take: a guard and no assertion."""

START = "import jchannel\nserver = await jchannel.start(port=0)"

# Without a limit: what is refused is refused at once. Whoever has been given what connects a page may open one.
CELL = f"""
{START}
said = []
for wait in (lambda: server.wait_page(), lambda: server.open("() => 1", timeout=None), lambda: server.wait_page(60)):
    try:
        await wait()
    except Exception as error:
        said.append(repr(error))
server.page_url
try:
    await server.wait_page(0.01)
except TimeoutError as error:
    said.append(str(error))
await server.stop()
__import__("pathlib").Path("said.json").write_text(__import__("json").dumps(said))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    environment = private_environment(tmp_path, CHECKOUT)
    write_kernelspec(Path(environment["JUPYTER_DATA_DIR"]))
    return environment


def run(command: Sequence[str], folder: Path, environment: dict[str, str], lines: str = "") -> str:
    """Run a program with Python, and return what it has written."""
    result = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        input=lines,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return result.stdout


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("jupyter execute", ["-m", "jupyter", "execute", "notebook.ipynb"]),
        ("nbconvert", ["-m", "nbconvert", "--to", "notebook", "--execute", "notebook.ipynb"]),
        ("papermill", ["-m", "papermill", "notebook.ipynb", "output.ipynb"]),
    ],
)
def test_what_runs_a_whole_notebook_is_told_at_once_that_no_page_will_connect(
    tmp_path: Path, environment: dict[str, str], name: str, command: Sequence[str]
) -> None:
    write_notebook(tmp_path / "notebook.ipynb", [CELL])

    written = run(command, tmp_path, environment)

    said = json.loads((tmp_path / "said.json").read_text()) if (tmp_path / "said.json").exists() else written
    assert len(said) == 4, said
    for words in said[:3]:
        assert words.startswith("StateError('no page is connected to http://localhost:"), words
        assert (
            f"; {name} runs this notebook and no browser shows it, so no page will connect; start the server" in words
        )
    assert said[3].startswith("waiting for a page took longer than 0.01 s")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("jupyter console", ["-m", "jupyter", "console", "--simple-prompt"]),
        ("IPython in a terminal", ["-m", "IPython", "--simple-prompt"]),
    ],
)
def test_who_sits_at_a_terminal_is_told_at_once_what_to_do_and_waits_for_the_page(
    tmp_path: Path, environment: dict[str, str], name: str, command: Sequence[str]
) -> None:
    lines = [
        "import jchannel",
        "server = await jchannel.start(port=0)",
        "await server.wait_page(0.01)",
        "await server.wait_page(0.01)",
        "exit",
        "",
    ]
    written = run(command, tmp_path, environment, "\n".join(lines))

    words = f"; {name} shows no pages; open server.page_url in a browser"
    assert written.count("jchannel: no page is connected to http://localhost:") == 1, written
    assert words in written
    assert written.count("waiting for a page took longer than 0.01 s") >= 2, written

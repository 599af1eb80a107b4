"""Programs that run cells and show them in no browser: each is recognised, and has words of its own at once.

Whatever jchannel knows of them is not documented. If one of these tests fails, `jchannel/_notebook/hosts.py` knows a
shape that has changed.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
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


LINES = f"{START}\nawait server.wait_page(0.01)\nawait server.wait_page(0.01)\nexit\n"


def check_what_a_terminal_was_told(name: str, written: str) -> None:
    words = f"; {name} shows no pages; open server.page_url in a browser"
    assert written.count("jchannel: no page is connected to http://localhost:") == 1, written
    assert words in written
    assert written.count("waiting for a page took longer than 0.01 s") >= 2, written


def test_who_sits_at_ipython_is_told_at_once_what_to_do_and_waits_for_the_page(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    written = run(["-m", "IPython", "--simple-prompt"], tmp_path, environment, LINES)

    check_what_a_terminal_was_told("IPython in a terminal", written)


def test_who_sits_at_a_console_is_told_at_once_what_to_do_and_waits_for_the_page(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "jupyter", "console", "--simple-prompt"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as console:
        try:
            wait_until_it_hears(console, Path(environment["JUPYTER_RUNTIME_DIR"]))
            written = console.communicate(LINES, timeout=TIMEOUT)[0]
        finally:
            console.kill()

    check_what_a_terminal_was_told("jupyter console", written)


def wait_until_it_hears(console: subprocess.Popen[str], runtime: Path) -> None:
    """Wait until a console has its prompt, and the connection on which its kernel answers.

    It asks on another one, and where that is there first it misses the first answers, and waits for ever. A person does
    not type so fast. Nobody tells when it is there, so the operating system is asked again and again.
    """
    assert console.stdout is not None
    written = ""
    while not written.endswith("In [1]: "):
        more = console.stdout.read(1)
        assert more, written
        written += more
    port = json.loads((runtime / f"kernel-{console.pid}.json").read_text())["iopub_port"]
    process = psutil.Process(console.pid)
    while not any(
        one.status == psutil.CONN_ESTABLISHED and one.raddr.port == port for one in process.net_connections()
    ):
        assert console.poll() is None

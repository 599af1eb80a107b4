"""Who runs the cells: what is known by which sign, and that there is none where it is not sure."""

import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from jupyter_client.session import Session

from jchannel._notebook.hosts import Host, PagelessFrontend, Patience, find_host
from tests.notebook.kernel import FakeKernel

UNATTENDED = Host("nobody is there", Patience.REFUSE)
ATTENDED = Host("open a browser", Patience.TELL)


@pytest.fixture
def sender(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The process that has sent the cell: the parent of this one, with a command line of the test's own."""
    sender = SimpleNamespace(pid=os.getppid(), cmdline=lambda: ["python", "program"])
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(parents=lambda: [sender]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", os.getppid)
        kernel.enter(Session().msg_id)
    return sender


def find_name(command: Sequence[str], sender: SimpleNamespace) -> str | None:
    sender.cmdline = lambda: list(command)
    host = find_host()
    return None if host is None else host.advice.partition(" runs this notebook")[0].partition(" shows no pages")[0]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("jupyter execute", "/usr/bin/python3.12 /usr/bin/jupyter-execute a.ipynb"),
        ("jupyter execute", r"C:\Python\python.exe C:\Python\Scripts\jupyter-execute.exe a.ipynb"),
        ("jupyter execute", "jupyter execute a.ipynb"),
        ("nbconvert", "/opt/venv/bin/python /opt/venv/bin/jupyter-nbconvert --execute a.ipynb"),
        ("nbconvert", "python -m nbconvert --execute a.ipynb"),
        ("papermill", "python3 -u -m papermill a.ipynb b.ipynb"),
        ("papermill", "pypy3 /home/user/papermill a.ipynb b.ipynb"),
        ("jupyter console", "python /usr/bin/jupyter-console"),
        (None, "python /usr/bin/jupyter-lab"),
        (None, "python my_papermill.py"),
        (None, "python"),
        (None, "jupyter"),
        (None, ""),
    ],
)
def test_a_program_is_known_by_its_command_line(sender: SimpleNamespace, name: str | None, command: str) -> None:
    words = command.replace("\\", "/").split()

    assert find_name(words, sender) == name


def test_a_cell_that_another_process_has_sent_is_of_no_known_host(kernel: FakeKernel, sender: SimpleNamespace) -> None:
    sender.pid += 1

    assert find_name(["papermill"], sender) is None


def test_a_cell_of_a_page_is_of_no_known_host(kernel: FakeKernel, sender: SimpleNamespace) -> None:
    kernel.enter("59bd5ab5-5df5-4a0a-a0a1-1d3a60dd2a5c")

    assert find_name(["papermill"], sender) is None


def test_a_process_that_may_not_be_looked_at_is_no_known_host(sender: SimpleNamespace) -> None:
    def refuse() -> list[str]:
        raise psutil.AccessDenied

    sender.cmdline = refuse

    assert find_host() is None


def test_where_psutil_is_not_there_no_program_is_known(
    sender: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)

    assert find_name(["papermill"], sender) is None


def test_what_takes_no_input_gets_a_hint_and_waits(kernel: FakeKernel, sender: SimpleNamespace) -> None:
    kernel.parent = {"content": {"allow_stdin": False}}

    host = find_host()

    assert host is not None
    assert host.patience is Patience.WAIT
    assert "it may be that no browser shows it" in host.advice


def test_a_kernel_that_does_not_tell_its_requests_is_of_no_known_host(kernel: FakeKernel) -> None:
    del kernel.shell.get_parent

    assert find_host() is None


@pytest.mark.parametrize("variable", ["VOILA_KERNEL_ID", "VOILA_BASE_URL"])
def test_voila_is_known_by_its_variables(
    kernel: FakeKernel, sender: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "/")

    host = find_host()

    assert host is not None
    assert host.patience is Patience.WAIT
    assert host.advice.startswith("voila shows its page only when all cells have run")


def test_marimo_is_known_by_its_module_while_it_runs_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "marimo", SimpleNamespace(running_in_notebook=lambda: True))

    host = find_host()

    assert host is not None
    assert host.patience is Patience.WAIT
    assert host.advice.startswith("in marimo, the output of the cell")


def test_ipython_in_a_terminal_is_known_by_its_class(kernel: FakeKernel) -> None:
    class TerminalInteractiveShell:
        kernel = None

    kernel.shell = TerminalInteractiveShell()  # type: ignore[assignment]

    host = find_host()

    assert host is not None
    assert host.advice.startswith("IPython in a terminal shows no pages")


def test_another_shell_without_a_kernel_is_of_no_known_host(kernel: FakeKernel) -> None:
    kernel.shell = SimpleNamespace(kernel=None)

    assert find_host() is None


def test_without_ipython_there_is_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)

    assert find_host() is None


def make_frontend(host: Host, **states: bool) -> PagelessFrontend:
    states = {"is_alone": True, "is_open_to_others": False, **states}
    functions: dict[str, Any] = {name: lambda state=state: state for name, state in states.items()}
    return PagelessFrontend(host, "http://localhost:8889", **functions)


def test_where_nobody_is_there_a_request_is_refused(kernel: FakeKernel) -> None:
    frontend = make_frontend(UNATTENDED)

    with pytest.raises(Exception, match=r"^no page is connected to http://localhost:8889; nobody is there$"):
        frontend.want_page()
    assert kernel.published == []


def test_where_a_person_is_there_he_is_told_once(kernel: FakeKernel) -> None:
    frontend = make_frontend(ATTENDED)

    frontend.want_page()
    frontend.want_page()

    assert kernel.published == [
        {"text/plain": "jchannel: no page is connected to http://localhost:8889; open a browser."}
    ]


@pytest.mark.parametrize("host", [UNATTENDED, ATTENDED])
@pytest.mark.parametrize("states", [{"is_alone": False}, {"is_open_to_others": True}])
def test_nothing_is_said_where_a_page_is_there_or_may_come(
    kernel: FakeKernel, host: Host, states: dict[str, bool]
) -> None:
    make_frontend(host, **states).want_page()

    assert kernel.published == []

"""How a trio kernel begins and ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, FreshPython
from tests.kernel.kernel_process import TIMEOUT, Kernel

BUSY = """
def note(word):
    with open("ended", "a") as file:
        file.write(word + "\\n")
async def in_trio():
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
            note("trio")
async def in_asyncio():
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        note("asyncio")
nursery.start_soon(in_trio)
task = asyncio.create_task(in_asyncio())
await trio.sleep(0)
await asyncio.sleep(0)"""

WAIT = """
print("ready")
try:
    await trio.sleep_forever()
finally:
    note("cell")"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def folder(own_kernel: Kernel) -> Path:
    """The kernel's working directory, in which the cells note what has ended."""
    return Path(own_kernel.run("os.getcwd()").value.strip("'"))


def make_busy(kernel: Kernel) -> None:
    assert kernel.run(BUSY).error == ""
    kernel.wait_printed(kernel.start(WAIT), "ready")


def ended(folder: Path) -> list[str]:
    return sorted((folder / "ended").read_text().split())


def test_a_shutdown_cancels_all_that_cells_have_started_and_waits_for_it(own_kernel: Kernel, folder: Path) -> None:
    make_busy(own_kernel)
    pid = own_kernel.pid
    own_kernel.shut_down()
    assert ended(folder) == ["asyncio", "cell", "trio"]
    assert not is_alive(pid)


def test_a_restart_does_so_too_and_gives_a_new_kernel(own_kernel: Kernel, folder: Path) -> None:
    make_busy(own_kernel)
    pid = own_kernel.pid
    own_kernel.restart()
    assert ended(folder) == ["asyncio", "cell", "trio"]
    assert not is_alive(pid)
    assert own_kernel.run("import trio\nawait trio.sleep(0)\n5").value == "5"
    assert own_kernel.run("task").error == "NameError: name 'task' is not defined"


def test_exit_in_a_cell_ends_it_in_the_same_way(own_kernel: Kernel, folder: Path) -> None:
    assert own_kernel.run(BUSY).error == ""
    own_kernel.run("exit()")
    assert own_kernel.manager.provisioner is not None
    process = own_kernel.manager.provisioner.process  # type: ignore[attr-defined]
    assert process.wait(TIMEOUT) == 0
    assert ended(folder) == ["asyncio", "trio"]


STUCK = """
import trio
async def stuck():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()
nursery.start_soon(stuck)
await trio.sleep(0)"""

STUCK_IN_ASYNCIO = """
import asyncio
async def stuck():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
task = asyncio.create_task(stuck())
await asyncio.sleep(0)"""


@pytest.mark.parametrize("code", [STUCK, STUCK_IN_ASYNCIO])
def test_what_does_not_end_is_left_behind_after_a_bound(code: str, tmp_path: Path) -> None:
    with Kernel(tmp_path, ending_seconds=0.2) as kernel:
        assert kernel.run(code).error == ""
        pid = kernel.pid
        kernel.shut_down()
    assert not is_alive(pid)


def test_without_its_parts_it_says_what_to_install(tmp_path: Path) -> None:
    program = """
import importlib.util, sys
importlib.util.find_spec = lambda _: None
from jchannel.kernel.__main__ import main
print(main())"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert done.stdout == (
        "python -m jchannel.kernel: error: the trio kernel needs ipykernel, which is not installed: "
        "pip install 'jchannel[kernel]'\n"
    )


def test_without_one_who_started_it_it_runs_as_well(tmp_path: Path) -> None:
    # ipykernel watches the process that has started it only where that gives its id.
    program = """
import sys
sys.argv = ["kernel", "-f", "connection.json", "--quiet"]
import os
os.environ["JPY_PARENT_PID"] = "0"
from jchannel.kernel.application import TrioKernel, run
start = TrioKernel.start
TrioKernel.start = lambda self: (start(self), self.ending.stop_loop())
sys.exit(run())"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "IPYTHONDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done


def test_the_bound_says_why_the_process_ends(fresh_python: FreshPython) -> None:
    said = fresh_python("""
import os, sys, threading
ended = threading.Event()
os._exit = lambda status: print(status) or ended.set()
sys.__stderr__ = sys.stdout
from jchannel.kernel.application import end_within
with end_within(0):
    ended.wait(60)
""")
    assert said == "What the cells have started has not ended in 0 s: the kernel ends without it.\n1\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [(["--help"], 0, "Options"), (["--IPKernelApp.nothing"], 2, "expected one argument")],
)
def test_arguments_are_those_of_ipykernel(arguments: list[str], status: int, words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jchannel.kernel", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "IPYTHONDIR": str(tmp_path),
            "JUPYTER_CONFIG_DIR": str(tmp_path),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, words in done.stdout + done.stderr) == (status, True), done

"""The harness itself: what the other tests of this folder rely on. Those show it in the other front ends, too."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.jupyter.child import COVERAGE
from tests.jupyter.classic import ClassicNotebook
from tests.jupyter.conftest import Notebooks
from tests.jupyter.lab import LabNotebook
from tests.jupyter.process import ServerProcess, private_environment

in_lab = pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)


# One notebook for all of it: the tests of this folder fail in every front end when a driver does not work.
@in_lab
def test_a_notebook_is_driven(notebooks: Notebooks) -> None:
    busy = "x = 1\nprint('busy')\nimport time\ntime.sleep(1000)"
    notebook = notebooks.open(["print('printed')\n6 * 7", "1 / 0", busy])

    assert notebook.run(0) == "printed\n42"
    assert notebook.run(1) == "ZeroDivisionError: division by zero"
    expect(notebook.output(0)).to_contain_text("printed")
    expect(notebook.output(1)).to_contain_text("ZeroDivisionError")

    notebook.clear_output(0)
    assert notebook.outputs(0) == []
    expect(notebook.output(0)).not_to_contain_text("printed")

    notebook.start(2)
    expect(notebook.output(2)).to_contain_text("busy")
    notebook.save()
    assert notebooks.server.is_signed(notebook.file)
    notebook.reload(idle=False)
    expect(notebook.output(2)).to_contain_text("busy")
    notebook.interrupt()
    notebook.wait_idle()

    notebook.start(2)
    expect(notebook.output(2)).to_contain_text("busy")
    notebook.restart()
    notebook.wait_done(2)
    notebook.set_source(0, "x")
    assert notebook.run(0) == "NameError: name 'x' is not defined"

    notebook.delete_cell(0)
    expect(notebook.cell(2)).to_have_count(0)
    assert notebook.complaints == []
    with notebook.page.expect_event("pageerror"):
        notebook.page.evaluate("() => { console.error('bad'); setTimeout(() => { throw new Error('worse'); }, 0); }")
    assert notebook.complaints[0] == "console error: bad"
    assert "Error: worse" in notebook.complaints[1]


@in_lab
def test_a_second_tab_shares_the_kernel_which_outlives_a_closed_tab(notebooks: Notebooks) -> None:
    first = notebooks.open(["x = 1", "x"])
    first.run(0)

    second = first.second_tab()
    first.close_tab()

    assert second.run(1) == "1"


@pytest.mark.parametrize("front_end", [ClassicNotebook], indirect=True)
def test_a_kernel_sees_nothing_of_the_user_and_is_measured_when_the_run_is(notebooks: Notebooks) -> None:
    notebook = notebooks.open(
        [
            "import IPython, jupyter_core.paths, pathlib",
            "print(pathlib.Path.home(), IPython.paths.get_ipython_dir(), jupyter_core.paths.jupyter_config_dir())",
            "import coverage; coverage.Coverage.current() is not None",
        ]
    )
    folder = notebooks.server.notebooks.parent

    notebook.run(0)

    assert notebook.run(1) == f"{folder / 'home'} {folder / 'ipython'} {folder / 'config'}\n"
    assert notebook.run(2) == repr(COVERAGE in os.environ)


def test_a_server_process_ends_when_the_run_no_longer_holds_its_input(tmp_path: Path) -> None:
    process = ServerProcess(
        "http.server",
        ["--bind", "127.0.0.1", "0"],
        folder=tmp_path,
        environment=private_environment(tmp_path, tmp_path),
    )
    process.wait_for("Serving HTTP")

    process.stop()

    with pytest.raises(RuntimeError, match="the server ended"):
        process.wait_for("more")

"""The harness itself: what the other tests of this folder rely on. Those show it in the other front ends, too."""

import os
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from tests.jupyter.child import COVERAGE
from tests.jupyter.classic import ClassicNotebook
from tests.jupyter.conftest import Notebooks
from tests.jupyter.lab import LabNotebook
from tests.jupyter.notebook7 import Notebook7Notebook
from tests.jupyter.process import ServerProcess, private_environment

HTML_WITH_SCRIPT = """
from IPython.display import HTML, display
display(HTML("<p class='mine'>empty</p><script>document.querySelector('.mine').textContent = 'written'</script>"))
"""

in_lab = pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)


def test_a_cell_runs_and_its_output_is_seen(notebooks: Notebooks) -> None:
    notebook = notebooks.open(["print('printed')\n6 * 7", "1 / 0"])

    assert notebook.run(0) == "printed\n42"
    assert notebook.run(1) == "ZeroDivisionError: division by zero"
    expect(notebook.output(0)).to_contain_text("printed")
    expect(notebook.output(1)).to_contain_text("ZeroDivisionError")
    assert notebook.complaints == []


def test_a_script_in_displayed_html_runs_again_after_a_reload_when_saved(notebooks: Notebooks) -> None:
    notebook = notebooks.open([HTML_WITH_SCRIPT])

    notebook.run(0)
    expect(notebook.page.locator(".mine")).to_have_text("written")
    assert "<script>" in notebook.html(0)

    notebook.save()
    notebook.reload()
    expect(notebook.page.locator(".mine")).to_have_text("written")
    assert notebook.complaints == []


@in_lab
def test_an_untrusted_notebook_loses_its_scripts_and_a_signed_one_keeps_them(notebooks: Notebooks) -> None:
    html = "<p class='mine'>fallback</p><script>document.querySelector('.mine').textContent = 'written'</script>"
    outputs = [[nbformat.v4.new_output("display_data", {"text/html": html})]]

    untrusted = notebooks.open(["pass"], outputs=outputs)
    trusted = notebooks.open(["pass"], outputs=outputs, trusted=True)

    expect(untrusted.page.locator(".mine")).to_have_text("fallback")
    expect(trusted.page.locator(".mine")).to_have_text("written")
    assert not untrusted.is_trusted()
    assert trusted.is_trusted()


@in_lab
def test_saving_a_notebook_whose_cells_have_run_signs_it(notebooks: Notebooks) -> None:
    notebook = notebooks.open(["1"])

    notebook.run(0)
    notebook.save()

    assert notebook.saved().cells[0].outputs[0].data["text/plain"] == "1"
    assert notebooks.server.is_signed(notebook.file)


@in_lab
def test_interrupting_ends_a_busy_cell(notebooks: Notebooks) -> None:
    notebook = notebooks.open(["print('busy')\nimport time\ntime.sleep(1000)", "1 + 1"])

    notebook.start(0)
    expect(notebook.output(0)).to_contain_text("busy")
    notebook.interrupt()
    notebook.wait_done(0)

    assert "KeyboardInterrupt" in notebook.text(0)
    assert notebook.run(1) == "2"


@in_lab
def test_restarting_ends_a_busy_cell_and_forgets_what_the_kernel_knew(notebooks: Notebooks) -> None:
    notebook = notebooks.open(["x = 1\nprint('busy')\nimport time\ntime.sleep(1000)", "x"])

    notebook.start(0)
    expect(notebook.output(0)).to_contain_text("busy")
    notebook.restart()
    notebook.wait_done(0)

    assert notebook.run(1) == "NameError: name 'x' is not defined"


@in_lab
def test_outputs_can_be_cleared_and_cells_changed_and_deleted(notebooks: Notebooks) -> None:
    notebook = notebooks.open(["'first'", "'second'"])
    notebook.run(0)
    notebook.run(1)

    notebook.clear_output(0)
    assert notebook.outputs(0) == []
    expect(notebook.output(0)).not_to_contain_text("first")

    notebook.set_source(0, "'changed'")
    assert notebook.run(0) == "'changed'"

    notebook.delete_cell(0)
    expect(notebook.cell(1)).to_have_count(0)
    assert notebook.text(0) == "'second'"


@in_lab
def test_a_second_tab_shares_the_kernel_which_outlives_a_closed_tab(notebooks: Notebooks) -> None:
    first = notebooks.open(["x = 1", "x"])
    first.run(0)

    second = first.second_tab()
    first.close_tab()

    assert second.run(1) == "1"


@in_lab
def test_a_notebook_reopens_while_its_kernel_is_busy(notebooks: Notebooks) -> None:
    notebook = notebooks.open(["print('busy')\nimport time\ntime.sleep(1000)"])
    notebook.start(0)
    expect(notebook.output(0)).to_contain_text("busy")
    notebook.save()

    notebook.reload(idle=False)
    expect(notebook.output(0)).to_contain_text("busy")
    notebook.interrupt()
    notebook.wait_idle()

    assert notebook.complaints == []


@in_lab
def test_complaints_are_collected(notebooks: Notebooks) -> None:
    notebook = notebooks.open(["pass"])

    with notebook.page.expect_event("pageerror"):
        notebook.page.evaluate("() => { console.error('bad'); setTimeout(() => { throw new Error('worse'); }, 0); }")

    assert notebook.complaints[0] == "console error: bad"
    assert "Error: worse" in notebook.complaints[1]


@pytest.mark.parametrize("front_end", [LabNotebook, Notebook7Notebook], indirect=True)
def test_the_theme_can_be_dark(notebooks: Notebooks) -> None:
    notebook = notebooks.open(["pass"])

    notebook.use_dark_theme()

    expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")


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

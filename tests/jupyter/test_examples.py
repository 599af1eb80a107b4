"""The example notebooks, run cell by cell as a reader does, and what the reader sees."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

from tests.jupyter.conftest import Notebooks
from tests.jupyter.driver import Notebook
from tests.jupyter.lab import LabNotebook
from tests.jupyter.server import CHECKOUT, JupyterServer

EXAMPLES = sorted((CHECKOUT / "examples").glob("*.ipynb"))

in_lab = pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)


class Example:
    """An example notebook that is open; its cells go by their ids.

    Args:
        notebooks: What opens it.
        name: Its file's name.
    """

    def __init__(self, notebooks: Notebooks, name: str) -> None:
        source = CHECKOUT / "examples" / name
        self._numbers = {cell.id: n for n, cell in enumerate(nbformat.read(source, as_version=4).cells)}
        copy = notebooks.write([])
        shutil.copy(source, copy)
        self.notebook: Notebook = notebooks.open_file(copy)
        self.page = self.notebook.page

    def start(self, cell: str) -> None:
        """Starts a cell."""
        self.notebook.start(self._numbers[cell])

    def finish(self, cell: str) -> str:
        """Waits until a cell has run, and returns the plain text of its outputs, none of which may be an error."""
        self.notebook.wait_done(self._numbers[cell])
        for output in self.notebook.outputs(self._numbers[cell]):
            assert output["output_type"] != "error", self.notebook.text(self._numbers[cell])
        return self.notebook.text(self._numbers[cell])

    def run(self, cell: str) -> str:
        """Runs a cell to its end and returns the plain text of its outputs."""
        self.start(cell)
        return self.finish(cell)

    def output(self, cell: str) -> Locator:
        """Locates the area that shows a cell's outputs."""
        return self.notebook.output(self._numbers[cell])


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_is_a_valid_notebook_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)

    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)


def test_the_readme_names_every_example() -> None:
    readme = (CHECKOUT / "examples" / "README.md").read_text()

    assert [path.name for path in EXAMPLES if f"({path.name})" not in readme] == []


def test_first_steps(notebooks: Notebooks) -> None:
    example = Example(notebooks, "01-first-steps.ipynb")

    example.run("start")
    expect(example.output("start")).to_contain_text("connected to")
    example.run("open")
    assert example.run("call") == "5"
    assert example.run("describe") == repr(example.page.evaluate("({language: navigator.language, width: innerWidth})"))
    assert example.run("bytes") == "127.5"
    assert example.run("many") == "999000"
    assert example.run("error") == "TypeError: bytes.reduce is not a function\n"
    assert "0.5 s" in example.run("timeout")
    example.run("handler")
    plot = example.output("handler")
    expect(plot.locator("output")).to_have_text("4")
    before = plot.locator("polyline").get_attribute("points")
    plot.locator("input").fill("9")
    expect(plot.locator("output")).to_have_text("9")
    assert plot.locator("polyline").get_attribute("points") != before
    example.start("choose")
    plot.get_by_role("button", name="Done").click()
    assert example.finish("choose").endswith("9")

    example.run("stop")
    assert example.notebook.complaints == []


@in_lab
def test_streams(notebooks: Notebooks, tmp_path: Path) -> None:
    example = Example(notebooks, "02-streams.ipynb")
    file = tmp_path / "picked.bin"
    file.write_bytes(bytes(range(256)) * 4_000)

    example.run("start")
    example.run("upload")
    example.start("pick")
    example.output("upload").locator("input").set_input_files(file)
    expected = f"picked.bin: 1,024,000 bytes, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}\n"
    assert example.finish("pick").endswith(expected)
    expect(example.output("upload").locator("output")).to_have_text("Python has received 1,024,000 bytes")

    example.run("picture")
    assert " bytes\n" in example.run("show")
    picture = example.output("show").locator("img")
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [480, 270]

    assert example.run("film").endswith("100 frames\n")
    colours = """canvas => {
        const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [canvas.width, canvas.height, new Set(new Uint32Array(data.buffer)).size > 100];
    }"""
    assert example.output("film").locator("canvas").evaluate(colours) == [160, 90, True]
    example.run("snapshot")
    shown = example.output("snapshot").locator("img")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [160, 90]

    example.run("stop")
    assert example.notebook.complaints == []


@in_lab
def test_a_busy_cell(notebooks: Notebooks) -> None:
    example = Example(notebooks, "03-busy-cell.ipynb")
    for cell in ("start", "open", "network"):
        example.run(cell)

    example.start("loop")
    plot = example.output("loop")
    expect(plot.locator("circle")).to_have_count(61)
    curve = plot.locator("polyline")
    expect(plot.locator("output")).to_contain_text("loss")
    first = curve.get_attribute("points")
    plot.locator("input").fill("0.05")
    expect(curve).not_to_have_attribute("points", first or "")
    plot.get_by_role("button", name="Stop").click()
    assert "Stopped after " in example.finish("loop")

    example.run("stop")
    assert example.notebook.complaints == []


@pytest.fixture
def trio_kernel(jupyter: JupyterServer) -> None:
    """The trio kernel, installed where the server finds it."""
    command = [sys.executable, "-m", "jchannel", "kernel", "install", "--user"]
    subprocess.run(command, env=jupyter.environment, check=True, capture_output=True)


@in_lab
def test_a_trio_notebook(trio_kernel: None, notebooks: Notebooks) -> None:
    example = Example(notebooks, "04-trio.ipynb")

    example.run("start")
    assert example.run("scope") == "cancelled: True\ncalls aborted in the page: 1\n"
    assert " has won\n" in example.run("race")
    lanes = example.output("race").locator("progress").evaluate_all("lanes => lanes.map(lane => lane.value)")
    assert len(lanes) == 5
    assert max(lanes) == 30
    example.run("clock")
    expect(example.output("clock")).to_contain_text(":")
    assert "1 task" in example.run("elsewhere")

    example.run("stop")
    assert example.notebook.complaints == []

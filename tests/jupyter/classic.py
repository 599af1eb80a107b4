"""NbClassic: the notebook of before Notebook 7, kept alive."""

from typing import Any

from playwright.sync_api import Locator

from tests.jupyter.driver import Notebook


class ClassicNotebook(Notebook):
    """A notebook in NbClassic."""

    TITLE = "NbClassic"

    _ADDRESS = "nbclassic/notebooks/{name}"
    _OPEN = "window.Jupyter?.notebook?._fully_loaded"
    # A kernel that has just connected counts as idle before it has answered for the first time.
    _IDLE = """Jupyter.notebook.kernel?.is_connected() && !Jupyter.notebook.kernel_busy
        && Object.keys(Jupyter.notebook.kernel.info_reply).length > 0"""

    def wait_open(self, *, idle: bool = True) -> None:
        super().wait_open(idle=idle)
        # Left alone it saves by itself when it is left, if that takes a second: then nothing unsaved is given up.
        self.page.evaluate("() => { Jupyter.notebook.set_autosave_interval(0); }")

    def start(self, n: int) -> None:
        self.page.evaluate(
            """n => {
                const {notebook} = Jupyter;
                const cell = notebook.get_cell(n);
                const run = {ended: false, get done() { return this.ended && cell.input_prompt_number !== '*'; }};
                (window.testRuns ??= new Map()).set(n, run);
                notebook.events.on('finished_execute.CodeCell kernel_restarting.Kernel', (event, data) => {
                    run.ended ||= !data.cell || data.cell === cell;
                });
                cell.execute();
            }""",
            n,
        )

    def outputs(self, n: int) -> list[dict[str, Any]]:
        outputs: list[dict[str, Any]] = self.page.evaluate("n => Jupyter.notebook.get_cell(n).output_area.toJSON()", n)
        return outputs

    def output(self, n: int) -> Locator:
        return self.cell(n).locator(".output_wrapper")

    def cell(self, n: int) -> Locator:
        return self.page.locator("#notebook-container .cell").nth(n)

    def clear_output(self, n: int) -> None:
        self.page.evaluate("n => { Jupyter.notebook.clear_output(n); }", n)

    def delete_cell(self, n: int) -> None:
        self.page.evaluate("n => { Jupyter.notebook.delete_cell(n); }", n)

    def set_source(self, n: int, source: str) -> None:
        self.page.evaluate("([n, source]) => { Jupyter.notebook.get_cell(n).set_text(source); }", [n, source])

    def interrupt(self) -> None:
        self.page.evaluate("() => new Promise((done, fail) => Jupyter.notebook.kernel.interrupt(done, fail))")

    def restart(self) -> None:
        self.page.evaluate("async () => { await Jupyter.notebook.restart_kernel({confirm: false}); }")
        self.wait_idle()

    def save(self) -> None:
        self.page.evaluate("async () => { await Jupyter.notebook.save_notebook(); }")

    def is_trusted(self) -> bool:
        return bool(self.page.evaluate("() => Jupyter.notebook.trusted"))

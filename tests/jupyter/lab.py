"""JupyterLab, and what Notebook 7, which is built of the same parts, has in common with it."""

from typing import Any

from playwright.sync_api import Locator, expect

from tests.jupyter.driver import Notebook

_PANEL = "window.jupyterapp.shell.currentWidget"


class LabNotebook(Notebook):
    """A notebook in JupyterLab: one page, the notebook is a panel of it."""

    TITLE = "JupyterLab"

    _ADDRESS = "lab/tree/{name}?reset"
    _OPEN = """(panel => panel?.context?.isReady && panel.content?.widgets.length > 0
        && panel.sessionContext.session?.kernel)(window.jupyterapp?.shell?.currentWidget)"""
    # A session context is idle for a moment before it has a kernel.
    _IDLE = f"""{_PANEL}.sessionContext.isReady
        && {_PANEL}.sessionContext.session?.kernel?.connectionStatus === 'connected'
        && {_PANEL}.sessionContext.session.kernel.status === 'idle'"""

    def start(self, n: int) -> None:
        self._select(n)
        self.page.evaluate(
            """n => {
                const run = {done: false};
                (window.testRuns ??= new Map()).set(n, run);
                jupyterapp.commands.execute('notebook:run-cell').finally(() => run.done = true);
            }""",
            n,
        )

    def outputs(self, n: int) -> list[dict[str, Any]]:
        outputs: list[dict[str, Any]] = self.page.evaluate(
            f"n => {_PANEL}.content.widgets[n].model.outputs.toJSON()", n
        )
        return outputs

    def output(self, n: int) -> Locator:
        return self.cell(n).locator(".jp-Cell-outputArea")

    def cell(self, n: int) -> Locator:
        return self.page.locator(".jp-NotebookPanel .jp-Notebook .jp-Cell").nth(n)

    def clear_output(self, n: int) -> None:
        self._select(n)
        self._execute("notebook:clear-cell-output")

    def delete_cell(self, n: int) -> None:
        self._select(n)
        self._execute("notebook:delete-cell")

    def set_source(self, n: int, source: str) -> None:
        self.page.evaluate(
            f"([n, source]) => {{ {_PANEL}.content.widgets[n].model.sharedModel.setSource(source); }}", [n, source]
        )

    def interrupt(self) -> None:
        self.page.evaluate(f"() => {_PANEL}.sessionContext.session.kernel.interrupt()")

    def restart(self) -> None:
        self.page.evaluate(f"() => {_PANEL}.sessionContext.restartKernel()")
        self.wait_idle()

    def shut_down(self) -> None:
        """Shuts the kernel down, as the menu does, and waits until it has ended."""
        self.page.evaluate(f"() => {_PANEL}.sessionContext.shutdown()")

    def save(self) -> None:
        self.page.evaluate(f"() => {_PANEL}.context.save()")

    def is_trusted(self) -> bool:
        return bool(self.page.evaluate(f"() => {_PANEL}.content.widgets.every(cell => cell.model.trusted)"))

    def close_tab(self) -> None:
        panel = self.page.locator(".jp-NotebookPanel")
        dirty = self.page.evaluate(f"() => {_PANEL}.context.model.dirty")
        # It ends when the dialog that may ask has been answered: not awaited.
        self.page.evaluate("() => { jupyterapp.commands.execute('application:close'); }")
        if dirty:
            self.page.locator(".jp-Dialog button.jp-mod-warn").click()
        expect(panel).to_have_count(0)

    def use_dark_theme(self) -> None:
        self._execute("apputils:change-theme", {"theme": "JupyterLab Dark"})
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")

    def _select(self, n: int) -> None:
        self.page.evaluate(
            f"n => {{ const {{content}} = {_PANEL}; content.deselectAll(); content.activeCellIndex = n; }}", n
        )

    def _execute(self, command: str, arguments: dict[str, Any] | None = None) -> None:
        self.page.evaluate(
            "async ([command, args]) => { await jupyterapp.commands.execute(command, args); }",
            [command, arguments or {}],
        )

"""A real JupyterHub behind configurable-http-proxy with TLS: what two cells start works there as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.jupyter.driver import TIMEOUT
from tests.jupyter.hub import PASSWORD, USER, JupyterHub
from tests.jupyter.lab import LabNotebook
from tests.jupyter.proxied import CALL, DOWN, OPEN, START, UP, Traffic
from tests.jupyter.server import write_notebook


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[JupyterHub]:
    """A JupyterHub of the test's own."""
    with JupyterHub(tmp_path) as hub:
        yield hub


@pytest.fixture
def hub_context(hub: JupyterHub, chromium: Browser) -> Iterator[BrowserContext]:
    """A browser context whose user has logged in, and whose server runs."""
    # The certificate is the test's own.
    with chromium.new_context(ignore_https_errors=True) as context:
        context.set_default_timeout(TIMEOUT * 1000)
        page = context.new_page()
        page.goto(hub.url)
        page.get_by_label("Username").fill(USER)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**/user/{USER}/lab*")
        page.close()
        yield context


def test_calls_and_streams_go_through_the_hub(hub: JupyterHub, hub_context: BrowserContext) -> None:
    file = write_notebook(hub.notebooks / "hub.ipynb", [START, OPEN, CALL, UP, DOWN])
    notebook = LabNotebook(hub, hub_context, file).go()
    traffic = Traffic(notebook)

    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "5"
    assert notebook.run(3) == "4000000"
    assert notebook.run(4) == "4000000"
    assert traffic.find_proxied(f"{hub.url}user/{USER}/") >= {"socket", "GET streams", "POST streams"}
    assert traffic.find_elsewhere(hub.url) == []
    assert notebook.complaints == []
    # A Hub that stops kills the kernels, which then write no coverage data.
    notebook.shut_down()

"""Where a page cannot reach the kernel's port: calls and streams go through jupyter-server-proxy."""

import re

import pytest
from playwright.sync_api import Route

from tests.conformance import checks
from tests.conformance.outcomes import Outcomes
from tests.conformance.suite import note_checks
from tests.jupyter.conformance import name_host
from tests.jupyter.conftest import Notebooks
from tests.jupyter.notebook7 import Notebook7Notebook
from tests.jupyter.proxied import CALL, DOWN, OPEN, START, UP, Traffic
from tests.jupyter.server import OTHER_HOST


def test_calls_and_streams_of_a_page_of_another_machine_go_through_the_proxy(
    notebooks: Notebooks, outcomes: Outcomes
) -> None:
    cells = [START, OPEN, CALL, UP, DOWN, checks.OPEN, checks.make_check()]
    notebook = notebooks.open(cells, host=OTHER_HOST)
    traffic = Traffic(notebook)

    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "5"
    assert notebook.run(3) == "4000000"
    assert notebook.run(4) == "4000000"
    notebook.run(5)
    note_checks(name_host(notebook, "proxy"), notebook.run(6), outcomes)
    jupyter = notebooks.server.url.replace("127.0.0.1", OTHER_HOST)
    assert traffic.find_proxied(jupyter) >= {"socket", "GET streams", "POST streams"}
    assert traffic.find_elsewhere(jupyter) == []
    assert notebook.complaints == []


@pytest.mark.parametrize("front_end", [Notebook7Notebook], indirect=True)
def test_a_page_that_is_kept_from_the_port_goes_through_the_proxy(notebooks: Notebooks) -> None:
    notebook = notebooks.open([START, OPEN, CALL, UP])
    jupyter = notebooks.server.url
    traffic = Traffic(notebook)

    def keep_away(route: Route) -> None:
        if route.request.url.startswith(jupyter):
            route.continue_()
        else:
            route.abort("connectionrefused")

    notebook.page.route("**", keep_away)
    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "5"
    assert notebook.run(3) == "4000000"
    assert traffic.find_proxied(jupyter) >= {"socket", "GET streams"}


@pytest.mark.parametrize("front_end", [Notebook7Notebook], indirect=True)
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            "await channel.call('length', bytes(12_000_000))",
            r"ValueError: a message of 12,000,\d+ bytes is larger than",
        ),
        ("len(await channel.call('zeros', 12_000_000))", r"FrontendError: RangeError: .*12000\d+ bytes"),
    ],
    ids=["argument", "result"],
)
def test_a_message_that_is_too_large_for_the_proxy_is_refused_before_it_is_sent_and_nothing_is_lost(
    notebooks: Notebooks, call: str, words: str
) -> None:
    notebook = notebooks.open([START, OPEN, call, CALL], host=OTHER_HOST)
    notebook.run(0)
    notebook.run(1)

    assert re.match(words, notebook.run(2))
    assert notebook.run(3).endswith("5")


@pytest.mark.parametrize("front_end", [Notebook7Notebook], indirect=True)
def test_a_stream_larger_than_the_proxy_takes_at_once_arrives_whole(notebooks: Notebooks) -> None:
    many = "await channel.call_with_stream('total', (bytes(1_000_000) for _ in range(130)), timeout=60)"
    notebook = notebooks.open([START, OPEN, many], host=OTHER_HOST)
    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "130000000"
    assert notebook.complaints == []


INTERACTIVE = """
import asyncio

class Steps:
    def __init__(self):
        self.read = asyncio.Event()
    def note(self):
        self.read.set()
    async def pieces(self):
        for _ in range(5):
            self.read.clear()
            yield bytes(1000)
            await self.read.wait()

channel.handler = steps = Steps()
await channel.call_with_stream('follow', steps.pieces(), timeout=60)
"""


@pytest.mark.parametrize("front_end", [Notebook7Notebook], indirect=True)
def test_a_source_that_waits_for_its_reader_goes_on_through_the_proxy(notebooks: Notebooks) -> None:
    notebook = notebooks.open([START, OPEN, INTERACTIVE], host=OTHER_HOST)
    notebook.run(0)
    notebook.run(1)

    assert notebook.run(2) == "5000"

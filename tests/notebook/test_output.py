"""The notebook frontend in the kernel: in which cells it shows an output, and what the output says."""

import base64
import hashlib
import html
import json
import re
import sys
from typing import Any

import pytest

from jchannel._client import read_static
from jchannel._notebook.desk import Claims
from jchannel._notebook.output import SETTLE_SECONDS, NotebookFrontend, find_cell, is_kernel
from tests.notebook.kernel import FakeKernel


class Fixture:
    """A frontend in a kernel, of a server to which no page is connected."""

    def __init__(self, kernel: FakeKernel, **options: Any) -> None:
        self.kernel = kernel
        self.now = 0.0
        self.alone = True
        self.pages = 0
        self.claims = Claims("token", 60, lambda *_: None)
        self.frontend = NotebookFrontend(
            self.claims,
            **{"host": "localhost", "port": 8889, "url": None, **options},
            is_alone=lambda: self.alone,
            count_pages=lambda: self.pages,
            clock=lambda: self.now,
        )

    def config(self) -> Any:
        self.frontend.show()
        found = re.search('data-jchannel="([^"]*)"', self.kernel.published[-1]["text/html"])
        assert found is not None
        return json.loads(html.unescape(found[1]))


@pytest.fixture
def fixture(kernel: FakeKernel) -> Fixture:
    return Fixture(kernel)


def test_without_ipython_there_is_no_kernel_and_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)

    assert not is_kernel()
    assert find_cell() is None


def test_ipython_in_a_terminal_is_no_kernel(kernel: FakeKernel) -> None:
    kernel.shell.kernel = None

    assert not is_kernel()
    assert find_cell() is None


def test_a_kernel_has_a_cell_while_it_executes_one(kernel: FakeKernel) -> None:
    cell = find_cell()

    assert is_kernel()
    assert cell is not None
    assert cell.execution == "cell 1"


def test_a_message_of_a_widget_is_no_cell(fixture: Fixture) -> None:
    fixture.kernel.enter("comm 1", "comm_msg")

    fixture.frontend.show()

    assert find_cell() is None
    assert fixture.kernel.published == []


def test_an_output_has_words_for_a_page_that_runs_no_script_and_for_those_without_html(fixture: Fixture) -> None:
    fixture.frontend.show()

    [bundle] = fixture.kernel.published
    assert "Run this cell again" in bundle["text/plain"]
    assert f">{bundle['text/plain']}</div>" in bundle["text/html"]


def test_an_output_says_where_the_server_is_and_what_the_script_must_be(fixture: Fixture) -> None:
    config = fixture.config()

    digest = base64.b64encode(hashlib.sha256(read_static("notebook.js")).digest()).decode()
    assert config["server"] == fixture.claims.server_id
    assert config["integrity"] == f"sha256-{digest}"
    assert (config["host"], config["port"], config["url"]) == ("localhost", 8889, None)
    assert config["ticket"].startswith("1.")


def test_no_output_holds_the_token_or_ends_its_script_early(fixture: Fixture) -> None:
    fixture.frontend.show()

    text = fixture.kernel.published[0]["text/html"]
    assert "token" not in text.partition("<script>")[0]
    assert text.count("</script>") == 1
    assert len(text) < 5200


@pytest.mark.parametrize(
    ("host", "simple"),
    [
        ("127.0.0.1", "localhost"),
        ("::1", "localhost"),
        ("0.0.0.0", ""),  # noqa: S104 (nothing listens there)
        ("::", ""),
        ("10.0.0.1", "10.0.0.1"),
        ("fd00::1", "[fd00::1]"),
        ("machine", "machine"),
    ],
)
def test_the_page_learns_what_it_must_know_of_the_host(kernel: FakeKernel, host: str, simple: str) -> None:
    assert Fixture(kernel, host=host).config()["host"] == simple


def test_a_cell_shows_one_output(fixture: Fixture) -> None:
    fixture.frontend.show()
    fixture.now = 1000
    fixture.frontend.show_if_alone()

    assert len(fixture.kernel.published) == 1


def test_the_next_cell_shows_none_while_the_first_output_may_still_connect_its_page(fixture: Fixture) -> None:
    fixture.frontend.show_if_alone()
    fixture.kernel.enter("cell 2")

    fixture.now = SETTLE_SECONDS - 0.1
    fixture.frontend.show_if_alone()
    assert len(fixture.kernel.published) == 1

    fixture.now = SETTLE_SECONDS
    fixture.frontend.show_if_alone()
    assert len(fixture.kernel.published) == 2


def test_the_next_cell_shows_one_at_once_when_the_page_that_had_connected_is_gone(fixture: Fixture) -> None:
    fixture.frontend.show_if_alone()
    fixture.pages = 1
    fixture.kernel.enter("cell 2")

    fixture.frontend.show_if_alone()

    assert len(fixture.kernel.published) == 2


def test_a_call_shows_none_while_a_page_is_connected(fixture: Fixture) -> None:
    fixture.alone = False

    fixture.frontend.show_if_alone()

    assert fixture.kernel.published == []

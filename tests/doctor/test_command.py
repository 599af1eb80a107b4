"""The command ``python -m jchannel doctor``: what it prints, and its status."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from jchannel.__main__ import main
from jchannel._doctor import browser, command
from jchannel._doctor.findings import Cause, Finding, State, Subject, show
from jchannel.testing import JavaScriptError
from jchannel.trio import Server, open_peer, open_server
from tests.conftest import FreshPython

Capture = pytest.CaptureFixture[str]

OK = Finding(Subject.MACHINE, State.OK, "this machine is good")


@pytest.fixture(autouse=True)
def _good_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has been looked at, as another test does."""

    async def examine() -> list[Finding]:
        await trio.lowlevel.checkpoint()
        return [OK]

    monkeypatch.setattr(command, "examine_machine", examine)
    monkeypatch.setattr(os, "environ", {})


def test_a_good_machine_is_well(capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "This machine\n  ok       this machine is good\n\nNothing prevents connecting.\n"


def test_what_prevents_connecting_is_the_status_and_json_for_programs(capsys: Capture) -> None:
    assert main(["doctor", "http://127.0.0.1:1/#jchannel=x", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["prevented"] is True
    assert report["findings"][0] == {"subject": "this machine", "state": "ok", "cause": None, "text": OK.text}
    assert report["findings"][1]["cause"] == "refused-port"


def test_a_notebook_may_be_the_target(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text('{"cells": []}')
    assert main(["doctor", str(path)]) == 0
    assert "no-page: no output of a.ipynb connects its page" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["localhost:8889", "missing.ipynb"])
def test_a_wrong_target_is_bad_input(capsys: Capture, target: str) -> None:
    assert main(["doctor", target]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m jchannel doctor: error: ")


def test_it_prints_the_script_for_a_console(capsys: Capture) -> None:
    assert main(["doctor", "--script"]) == 0
    assert "jchannelDoctor" in capsys.readouterr().out


def test_an_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trio, "run", interrupt)
    assert main(["doctor"]) == 130


async def test_it_runs_in_a_cell_of_the_trio_kernel(capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    assert "this machine is good" in capsys.readouterr().out
    await trio.lowlevel.checkpoint()


def test_long_texts_are_wrapped_under_their_subject() -> None:
    text = show([Finding(Subject.SERVER, State.PROBLEM, "word " * 40, Cause.PROXY), OK])
    assert text.splitlines()[:4] == ["This machine", "  ok       this machine is good", "", "The server"]
    assert text.splitlines()[4].startswith("  problem  proxy: word word ")
    assert text.splitlines()[5].startswith("           word ")
    assert text.endswith("\n\nSomething prevents connecting.")


class Page:
    """Plays the doctor's page in a browser.

    Args:
        answer: What it finds, or the error that it raises.
    """

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.targets: list[str | None] = []

    def examine(self, target: str | None) -> Any:
        self.targets.append(target)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


async def examine_in(page: Page, target: str | None = None) -> list[Finding]:
    found: list[Finding] = []
    async with trio.open_nursery() as nursery:

        async def open_page(server: Server) -> None:
            async with open_peer(server.page_url, page):
                await trio.sleep_forever()

        found += await browser.examine_browser(
            target, seconds=10, opens_browser=False, announce=lambda server: nursery.start_soon(open_page, server)
        )
        nursery.cancel_scope.cancel()
    return found


async def test_a_page_says_what_its_browser_finds() -> None:
    page = Page([{"state": "ok", "cause": None, "text": "a"}, {"state": "problem", "cause": "policy", "text": "b"}])
    assert await examine_in(page, "http://localhost:8889/#jchannel=x") == [
        Finding(Subject.BROWSER, State.OK, "a"),
        Finding(Subject.BROWSER, State.PROBLEM, "b", Cause.POLICY),
    ]
    assert page.targets == ["http://localhost:8889/#jchannel=x"]


async def test_a_page_that_fails_is_a_problem() -> None:
    (found,) = await examine_in(Page(JavaScriptError("TypeError", "no")))
    assert (found.state, found.cause) == (State.PROBLEM, Cause.UNREACHABLE)
    assert "the doctor's page failed: TypeError: no" in found.text


async def test_no_browser_may_come(autojump_clock: object) -> None:
    (found,) = await browser.examine_browser(None, seconds=60, opens_browser=False, announce=lambda _: None)
    assert (found.state, found.cause) == (State.PROBLEM, Cause.NO_PAGE)
    assert "no browser has opened the doctor's page within 60 s: " in found.text


def test_the_command_serves_the_page(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    asked: list[Any] = []

    async def examine(target: str | None, *, announce: Any, **options: Any) -> list[Finding]:
        asked.append((target, options))
        async with open_server(port=0) as server:
            announce(server)
        return [Finding(Subject.BROWSER, State.OK, "it is good")]

    monkeypatch.setattr(command, "examine_browser", examine)
    assert main(["doctor", "--page", "--wait", "5"]) == 0
    out, err = capsys.readouterr()
    assert "The browser\n  ok       it is good" in out
    assert err.startswith("Open http://localhost:")
    assert asked == [(None, {"seconds": 5, "opens_browser": False})]


def test_the_commands_are_imported_by_nobody_else(fresh_python: FreshPython) -> None:
    program = """
import contextlib, io, sys
import jchannel.trio, jchannel.sync, jchannel.server
from jchannel.__main__ import main
with contextlib.redirect_stdout(io.StringIO()):
    main([])
print([name for name in sys.modules if name.startswith(("jchannel._typescript", "jchannel._doctor"))])
"""
    assert fresh_python(program) == "[]\n"

"""What the doctor says of the machine and of the kernel."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import socket
import sys
import types

import pytest

from jchannel._doctor import kernel, machine
from jchannel._doctor.findings import Cause, State
from jchannel._doctor.kernel import examine_kernel


async def test_this_machine_can_run_a_server() -> None:
    found = await machine.examine_machine()
    assert {finding.state for finding in found} <= {State.OK, State.NOTE}
    texts = [finding.text for finding in found]
    assert texts[0].startswith("jchannel ")
    assert "trio-websocket" in texts[1]
    assert any(text.startswith("a server here is reached") for text in texts)


def test_missing_packages_are_named() -> None:
    def version(name: str) -> str:
        if name in ("trio", "numpy", "trio-asyncio"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    found = machine._examine_packages(version)
    assert [(one.state, one.cause) for one in found[2:]] == [(State.PROBLEM, Cause.PACKAGES), (State.NOTE, None)]
    assert found[2].text.startswith("not installed, and needed: trio. ")
    assert found[3].text == "not installed: numpy (for arrays)"


async def test_a_loopback_that_does_not_work_is_named() -> None:
    # An address that is not this machine's, as where loopback is filtered.
    found = await machine._try_server("192.0.2.1")
    assert (found.state, found.cause) == (State.PROBLEM, Cause.LOOPBACK)
    assert "port 0 of 192.0.2.1 cannot be used" in found.text


async def test_a_port_that_is_taken_is_a_note() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = await machine._look_at_port(port)
        assert found.state is State.NOTE
        assert f"port {port} of localhost is taken" in found.text
    assert (await machine._look_at_port(0)).state is State.OK


@pytest.mark.parametrize(
    ("proxies", "bypassed", "state", "words"),
    [
        ({}, (), State.OK, "no proxy is set"),
        ({"http": "http://proxy:3128"}, ("localhost", "127.0.0.1"), State.OK, "not for this machine itself"),
        ({"https": "http://proxy:3128"}, ("localhost",), State.NOTE, "also for 127.0.0.1, and one on another machine"),
    ],
)
def test_a_proxy_may_be_set_for_this_machine_too(
    proxies: dict[str, str], bypassed: tuple[str, ...], state: State, words: str
) -> None:
    (found,) = machine._examine_proxies(proxies, lambda host: host in bypassed)
    assert found.state is state
    assert words in found.text


def test_there_may_be_a_browser_here_or_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ssh" in machine._look_for_browser({"SSH_CONNECTION": "x"}).text
    monkeypatch.setattr(machine, "can_show_window", lambda: True)
    assert "open_browser=True" in machine._look_for_browser({}).text
    monkeypatch.setattr(machine, "can_show_window", lambda: False)
    monkeypatch.setattr(machine, "find_chromium", lambda: "/bin/chromium")
    assert "/bin/chromium runs without" in machine._look_for_browser({}).text
    monkeypatch.setattr(machine, "find_chromium", lambda: None)
    assert "installs one" in machine._look_for_browser({}).text


def test_outside_of_kernels_there_is_nothing_to_say_of_one() -> None:
    assert examine_kernel({}) == []
    (found,) = examine_kernel({"JPY_PARENT_PID": "1"})
    assert "%run -m jchannel doctor" in found.text


def test_a_kernel_is_described_by_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "is_kernel", lambda: True)
    monkeypatch.setitem(sys.modules, "ipykernel", types.SimpleNamespace(__version__="7.4"))
    monkeypatch.delitem(sys.modules, "trio_asyncio", raising=False)
    assert examine_kernel({})[0].text == "an IPython kernel, ipykernel 7.4"
    assert "its loop is not running: " in examine_kernel({})[1].text

    async def look() -> str:
        return examine_kernel({})[1].text

    assert "its loop is asyncio." in asyncio.run(look())
    monkeypatch.setitem(sys.modules, "trio_asyncio", types.ModuleType("trio_asyncio"))
    assert "a trio-asyncio loop" in examine_kernel(os.environ)[1].text

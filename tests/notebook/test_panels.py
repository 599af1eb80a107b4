"""The facades' servers and channels in a notebook, and where there is none."""

import asyncio
import re
import subprocess
import sys

import pytest

import jchannel.channel
import jchannel.server
import jchannel.sync
from jchannel._notebook.desk import Claims
from tests.peer_thread import PeerThread


def desk_of(server: jchannel.sync.Server) -> Claims:
    """Where the server's panels get their figures."""
    assembly = server._handle.assembly
    assert assembly is not None
    return assembly.desk


def state_of(server: jchannel.sync.Server, number: int) -> str:
    """What the page is told of a panel."""
    report = desk_of(server).panels.report([str(number)])
    return f"{report[str(number)]['texts']['state']}"


def number_of(html: str) -> str:
    """What the page asks for a panel's figures by."""
    found = re.search('data-jchannel-panel="[^"]+"', html)
    assert found is not None
    return found[0]


def test_a_server_that_is_not_started_says_so() -> None:
    bundle = jchannel.sync.Server()._repr_mimebundle_()

    assert "not started" in bundle["text/html"]
    assert 'data-jchannel-panel=""' in bundle["text/html"]


@pytest.mark.parametrize("module", [jchannel.sync, jchannel.channel])
def test_a_channel_that_was_never_opened_says_so(module: object) -> None:
    server = (jchannel.sync if module is jchannel.sync else jchannel.server).Server()
    channel = (jchannel.sync.Channel if module is jchannel.sync else jchannel.channel.Channel)(server, "() => {}")

    assert "not opened" in channel._repr_mimebundle_()["text/html"]


def test_servers_and_channels_show_themselves_with_their_repr_and_without_the_token() -> None:
    with jchannel.sync.start(port=0) as server, PeerThread(server.page_url), server.open("() => {}") as channel:
        for thing in (server, channel):
            bundle = thing._repr_mimebundle_(include=None, exclude=None)
            assert bundle["text/plain"] == repr(thing)
            assert server.url in bundle["text/html"]
            assert server.token not in "".join(bundle.values())
            assert f'data-jchannel-panel="{desk_of(server).server_id} ' in bundle["text/html"]
            again = thing._repr_mimebundle_()["text/html"]
            assert number_of(again) == number_of(bundle["text/html"])  # One panel, however often it is shown.


def test_a_channel_s_panel_follows_it_when_it_is_opened_again() -> None:
    with jchannel.sync.start(port=0) as server, PeerThread(server.page_url):
        channel = jchannel.sync.Channel(server, "() => {}")
        channel._repr_mimebundle_()
        states = [state_of(server, 1)]
        for action in (channel.open, channel.close, channel.open):
            action()
            states.append(state_of(server, 1))

        assert states == ["not opened", "open", "closed", "open"]


def test_a_server_that_was_stopped_says_so() -> None:
    async def program() -> str:
        server = await jchannel.server.start(port=0)
        await server.stop()
        return server._repr_mimebundle_()["text/html"]

    assert ">stopped</span>" in asyncio.run(program())


def test_the_asyncio_repl_shows_the_plain_repr() -> None:
    program = "import jchannel\nserver = await jchannel.start(port=0)\nserver\nawait server.stop()\nserver\n"

    ran = subprocess.run([sys.executable, "-m", "asyncio"], input=program, capture_output=True, text=True, check=True)

    assert "<jchannel.server.Server at http://localhost:" in ran.stdout + ran.stderr
    assert ", stopped>" in ran.stdout + ran.stderr
    assert "<div" not in ran.stdout + ran.stderr


def test_ipython_in_a_terminal_shows_the_plain_repr() -> None:
    program = "import jchannel\nserver = jchannel.sync.start(port=0)\nserver\nserver.stop()\n"

    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--HistoryManager.enabled=False"]
    ran = subprocess.run(command, input=program, capture_output=True, text=True, check=True)

    assert "<jchannel.sync.Server at http://localhost:" in ran.stdout
    assert "<div" not in ran.stdout

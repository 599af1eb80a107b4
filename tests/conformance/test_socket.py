"""All checks over a socket: the client in Node, which reaches the server's port."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import jchannel
import jchannel._client
from tests.conformance import checks
from tests.conformance.outcomes import Outcomes
from tests.conformance.suite import note_checks

HOST = "Node, port"

CLIENT = Path(jchannel._client.__file__).parent / "static" / "jchannel.js"

PROGRAM = """
import {{connect}} from {client};
const client = connect({options});
const note = () => {{ console.log(client.stopReason?.reason ?? client.state); }};
client.addEventListener('statechange', note);
"""


@contextmanager
def open_page(server: jchannel.Server, client_id: str) -> Iterator[subprocess.Popen[str]]:
    """Run a page of a name, which is killed at the end. It prints each state."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node is not on this machine: scripts/setup says what to install")
    options = json.dumps({"url": server.url, "token": server.token, "clientId": client_id})
    program = PROGRAM.format(client=json.dumps(CLIENT.as_uri()), options=options)
    command = [node, "--experimental-websocket", "--input-type=module", "--eval", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as page:
        try:
            yield page
        finally:
            page.kill()


def read_until(page: subprocess.Popen[str], word: str) -> None:
    """Read what a page prints until it is a word."""
    assert page.stdout is not None
    assert word in (line.strip() for line in page.stdout)


def test_a_session_runs_over_a_socket(outcomes: Outcomes) -> None:
    async def main() -> None:
        handler = checks.Handler()
        async with await jchannel.start(port=0) as server:
            with open_page(server, "page"):
                opening = server.open(checks.CODE, timeout=60, handler=handler)
                note_checks(HOST, await checks.run_checks(opening, handler), outcomes)

            with open_page(server, "page") as page:
                await asyncio.to_thread(read_until, page, "connected")
                outcomes.note(HOST, "a reload", await checks.call_once(opening))

                with open_page(server, "another") as second:
                    await asyncio.to_thread(read_until, second, "taken")
                    outcomes.note(HOST, "a second page", await checks.call_once(opening))

                await server.stop()
                await asyncio.to_thread(read_until, page, "closed")

        async with await jchannel.start(port=urlsplit(server.url).port or 0) as server:
            opening = server.open(checks.CODE, timeout=60, handler=handler)
            with open_page(server, "page"):
                outcomes.note(HOST, "a restart", await checks.call_once(opening))

    asyncio.run(main())

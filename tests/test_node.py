"""The JavaScript client in Node: the same calls and streams as in a page."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import trio

import jchannel._client
from jchannel._streams.reader import MetaGenerator
from jchannel.trio import open_server

CLIENT = Path(jchannel._client.__file__).parent / "static" / "jchannel.js"

CODE = """
(channel) => {
    channel.handler = {
        add: (a, b) => a + b,
        size: async (stream) => (await stream.join()).length,
        ask: (...args) => channel.call(...args),
        async *count(n) { for (let i = 0; i < n; i += 1) yield new Uint8Array(1000); },
        send: () => channel.callWithStream('digest', new Blob([new Uint8Array(300000)])),
    };
}
"""


class Handler:
    def add(self, a: int, b: int) -> int:
        return a + b

    async def digest(self, stream: MetaGenerator) -> str:
        return hashlib.sha256(await stream.join()).hexdigest()


async def test_calls_and_streams_go_both_ways() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node is not on this machine: scripts/setup says what to install")
    async with open_server(port=0) as server, trio.open_nursery() as nursery:
        options = json.dumps({"url": server.url, "token": server.token})
        program = f"import {{connect}} from {json.dumps(CLIENT.as_uri())}; connect({options});"
        # Node has had a WebSocket since version 22, and since 20.10 with this flag, which later ones take, too.
        command = [node, "--experimental-websocket", "--input-type=module", "--eval", program]
        nursery.start_soon(partial(trio.run_process, command, check=False, capture_stdout=True, capture_stderr=True))
        await server.wait_page(20)
        async with server.open_channel(CODE, handler=Handler()) as channel:
            assert await channel.call("add", 2, 3) == 5
            assert await channel.call("ask", "add", 2, 3) == 5
            data = bytes(range(256)) * 4_000
            async with await channel.pipe(data) as piped:
                assert await piped.join() == data
            assert await channel.call_with_stream("size", data) == len(data)
            async with await channel.call("count", 500) as stream:
                assert len(await stream.join()) == 500_000
            assert await channel.call("send") == hashlib.sha256(bytes(300_000)).hexdigest()
        nursery.cancel_scope.cancel()

"""The cells of a notebook whose page reaches the kernel through a proxy, and which way its requests went."""

import re

from playwright.sync_api import Request, WebSocket

from tests.jupyter.driver import Notebook

START = "import jchannel\nserver = await jchannel.start()"

OPEN = """
channel = await server.open('''(channel) => {
    channel.handler = {
        add: (a, b) => a + b,
        length: (data) => data.byteLength,
        zeros: (length) => new Uint8Array(length),
        async total(stream) {
            let total = 0;
            for await (const chunk of stream) total += chunk.length;
            return total;
        },
        async follow(stream) {
            let total = 0;
            for await (const chunk of stream) {
                total += chunk.length;
                await channel.call('note');
            }
            return total;
        },
        async *numbers() {
            for (let i = 0; i < 40; i++) yield new Uint8Array(100_000).fill(i);
        },
    };
}''', timeout=60)
"""

CALL = "await channel.call('add', 2, 3)"

UP = "await channel.call_with_stream('total', (bytes(100_000) for _ in range(40)))"
"""A stream to the page, which answers with its length: 4000000."""

DOWN = """
async with await channel.call('numbers') as stream:
    data = await stream.join()
len(data) if data == b''.join(bytes([i]) * 100_000 for i in range(40)) else 'other bytes'
"""
"""A stream from the page, and its length: 4000000."""


class Traffic:
    """What a notebook's page requests from now on."""

    def __init__(self, notebook: Notebook) -> None:
        self._urls: list[tuple[str, str]] = []
        notebook.page.on("request", self._on_request)
        notebook.page.on("websocket", self._on_socket)

    def find_proxied(self, jupyter: str) -> set[str]:
        """What has gone through the proxy of the Jupyter server at a URL: `socket`, `GET streams` and the like."""
        pattern = re.compile(rf"{re.escape(jupyter)}proxy/\d+/(\w+)")
        return {f"{method} {match[1]}".strip() for method, url in self._urls if (match := pattern.match(url))}

    def find_elsewhere(self, jupyter: str) -> list[str]:
        """The URLs that do not begin with that of the Jupyter server."""
        return [url for _, url in self._urls if not url.startswith((jupyter, "data:", "blob:"))]

    def _on_request(self, request: Request) -> None:
        self._urls.append((request.method, request.url))

    def _on_socket(self, socket: WebSocket) -> None:
        self._urls.append(("", re.sub("^ws", "http", socket.url)))

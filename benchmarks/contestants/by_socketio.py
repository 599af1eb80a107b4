"""python-socketio on uvicorn, with the client of npm: acknowledged events both ways.

It has no streams: a piece is an event, of which 16 are under way at most until they are acknowledged.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final

import socketio
import uvicorn

from benchmarks.contestants.on_asyncio import NumberedStreams
from benchmarks.contestants.work import FOLDER, MIB, Handler, Teller, Work, generate, parse_plan

CLIENT: Final = FOLDER.parent / "node_modules/socket.io-client/dist/socket.io.min.js"
WINDOW: Final = 16


class SocketIo(NumberedStreams[bytes]):
    """A client of the server."""

    def __init__(self, server: socketio.AsyncServer, handler: Handler) -> None:
        super().__init__(handler, WINDOW)
        self._server = server
        self._client = ""
        server.on("connect", self._connect)
        server.on("call", self._answer)
        server.on("piece", self._take_piece)

    async def _connect(self, client: str, *_: object) -> None:
        self._client = client
        self.connected.set()

    async def _answer(self, _: str, name: str, args: list[Any]) -> Any:
        return getattr(self._handler, name)(*args)

    async def _take_piece(self, _: str, number: int, piece: bytes) -> None:
        await self._stream(number).put(piece)

    async def _request(self, name: str, args: tuple[object, ...], size: int | None = None) -> Any:
        self._last += 1
        number = self._last
        if size is not None:
            self._start(self._pump(number, size))
        answer = await self._server.call(
            "call", (number, name, list(args), size is not None), to=self._client, timeout=60
        )
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return self._read(number) if answer.get("stream") else answer.get("result")

    async def _pump(self, number: int, size: int) -> None:
        free = asyncio.Semaphore(WINDOW)

        async def send(piece: bytes) -> None:
            await free.acquire()
            data = (number, piece)
            await self._server.emit("piece", data, to=self._client, callback=lambda *_: free.release())

        async for piece in generate(size):
            await send(piece)
        await send(b"")


def listen() -> socket.socket:
    """Return a listening socket. asyncio sends small frames at once only where it is told that this is TCP."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def make_app(server: socketio.AsyncServer) -> Any:
    """Return the application, which serves the page, too."""
    files = {
        "/": {"content_type": "text/html", "filename": str(FOLDER / "by_socketio.html")},
        "/client.js": {"content_type": "text/javascript", "filename": str(CLIENT)},
        "/work.js": {"content_type": "text/javascript", "filename": str(FOLDER / "work.js")},
        "/by_socketio.js": {"content_type": "text/javascript", "filename": str(FOLDER / "by_socketio.js")},
    }
    return socketio.ASGIApp(server, static_files=files)


async def main() -> None:
    """Do the work of a round."""
    plan, teller = parse_plan(), Teller()
    if not CLIENT.exists():
        raise SystemExit(f"There is no {CLIENT}: scripts/setup installs it")
    server = socketio.AsyncServer(async_mode="asgi", max_http_buffer_size=64 * MIB)
    contestant = SocketIo(server, Handler())
    # As who measures would set it: no compression on loopback, and room for large messages.
    config = uvicorn.Config(
        make_app(server),
        log_level="warning",
        lifespan="off",
        ws_per_message_deflate=False,
        ws_max_size=64 * MIB,
        timeout_graceful_shutdown=1,
    )
    serving = uvicorn.Server(config)
    with listen() as listener:
        task = asyncio.create_task(serving.serve(sockets=[listener]))
        teller.tell(url=f"http://127.0.0.1:{listener.getsockname()[1]}/")
        await contestant.connected.wait()
        await Work(contestant, plan, teller).do()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(main())

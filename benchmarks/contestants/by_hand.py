"""A channel written by hand on `websockets`: JSON with numbers, bytes and pieces of streams as binary frames.

What it shows is how little work a channel can be: it has no timeouts, no cancellation, no limits, no errors with names
and no reconnecting, and a page that sends streams is held up by nothing but the socket.
"""

from __future__ import annotations

import asyncio
import json
import struct
from http import HTTPStatus
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from benchmarks.contestants.on_asyncio import NumberedStreams
from benchmarks.contestants.work import FOLDER, Handler, Teller, Work, generate, parse_plan

#: The head of a binary frame: 0 and the length of the JSON before the bytes, or 1 and the number of the stream.
HEAD: Final = struct.Struct("<BI")
BYTES: Final = 0
PIECE: Final = 1

#: The pieces of a stream that may wait to be read.
HELD: Final = 16


class ByHand(NumberedStreams[memoryview]):
    """The channel, which is this contestant."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler, HELD)
        self._socket: ServerConnection
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def receive_all(self, socket: ServerConnection) -> None:
        """Receive the messages of the page."""
        self._socket = socket
        self.connected.set()
        async for frame in socket:
            if isinstance(frame, str):
                await self._take_message(json.loads(frame))
                continue
            kind, number = HEAD.unpack_from(frame)
            rest = memoryview(frame)[HEAD.size :]
            if kind == PIECE:
                await self._stream(number).put(rest)
            else:
                message = json.loads(bytes(rest[:number]))
                await self._take_message(message | {"args": [bytes(rest[number:])]})

    async def _take_message(self, message: dict[str, Any]) -> None:
        if "call" in message:
            try:
                answer = {"result": getattr(self._handler, message["call"])(*message["args"])}
            except Exception as error:  # noqa: BLE001 (whatever it is, the page hears of it)
                answer = {"error": str(error)}
            await self._socket.send(json.dumps({"id": message["id"], **answer}))
            return
        future = self._answers.pop(message["id"])
        if "error" in message:
            future.set_exception(RuntimeError(message["error"]))
        elif "stream" in message:
            future.set_result(self._read(message["stream"]))
        else:
            future.set_result(message.get("result"))

    async def _request(self, name: str, args: tuple[object, ...], size: int | None = None) -> Any:
        self._last += 1
        number = self._last
        message: dict[str, object] = {"id": number, "call": name}
        frame: str | bytes
        if args and isinstance(args[0], bytes):
            text = json.dumps(message).encode()
            frame = b"".join([HEAD.pack(BYTES, len(text)), text, args[0]])
        else:
            message["args"] = args
            if size is not None:
                message["stream"] = number
                self._start(self._pump(number, size))
            frame = json.dumps(message)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(frame)
        return await future

    async def _pump(self, number: int, size: int) -> None:
        head = HEAD.pack(PIECE, number)
        async for piece in generate(size):
            await self._socket.send(head + piece)
        await self._socket.send(head)


def answer_http(connection: ServerConnection, request: Request) -> Response | None:
    """Answer the request for the page, and leave the WebSocket's alone."""
    if "Upgrade" in request.headers:
        return None
    scripts = "".join((FOLDER / name).read_text(encoding="utf-8") for name in ("work.js", "by_hand.js"))
    body = f"<!doctype html><meta charset=utf-8><title>by hand</title><script>{scripts}</script>".encode()
    response = connection.respond(HTTPStatus.OK, "")
    response.headers = Headers({"Content-Type": "text/html", "Content-Length": str(len(body)), "Connection": "close"})
    response.body = body
    return response


async def main() -> None:
    """Do the work of a round."""
    plan, teller = parse_plan(), Teller()
    channel = ByHand(Handler())
    # As who measures would set it: no compression on loopback, and no limit of 1 MiB for a message.
    async with serve(
        channel.receive_all, "127.0.0.1", 0, process_request=answer_http, compression=None, max_size=None
    ) as server:
        teller.tell(url=f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/")
        await channel.connected.wait()
        await Work(channel, plan, teller).do()


if __name__ == "__main__":
    asyncio.run(main())

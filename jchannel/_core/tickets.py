"""Streams over HTTP: the tickets that lead to them, and what a GET and a POST with one does.

A stream of this side is sent as one response, or in parts to a page that asks for those: behind a proxy that would hold
the response back, or end one that has broken off as if it were whole.

A ticket is all that is needed to read or write its stream, so it is random, works for one stream of one session, and is
worth nothing when that has ended. Host and Origin say nothing about it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

import trio

from jchannel._core.asgi import Receive, Scope, Send, respond
from jchannel._core.incoming import IncomingStream
from jchannel._core.outgoing import OutgoingStream, SourceFailedError
from jchannel._protocol.parts import Part, PartMark, encode_part
from jchannel.errors import StateError

__all__ = ["STREAMS_PATH", "Tickets"]

#: Where the streams are, below the server's base URL.
STREAMS_PATH: Final = "/streams/"

#: How long a page has to break a post off itself that nobody wants any more, in seconds.
STOP_SECONDS: Final = 1

#: How long the answer with a part waits for the stream's source, in seconds. Proxies give up on an answer after 20 or
#: 60 s; a part without data makes the page ask again.
POLL_SECONDS: Final = 15

# A page of another origin, such as a notebook's, must be able to read the answer.
_HEADERS: Final = {"access-control-allow-origin": "*", "cache-control": "no-store", "x-content-type-options": "nosniff"}
_BYTES: Final = "application/octet-stream"


class Tickets:
    """The tickets of a server. It is an ASGI app for the paths below ``STREAMS_PATH``."""

    def __init__(self) -> None:
        self._outgoing: dict[str, OutgoingStream] = {}
        self._incoming: dict[str, IncomingStream] = {}

    def __len__(self) -> int:
        return len(self._outgoing) + len(self._incoming)

    def issue_outgoing(self, stream: OutgoingStream) -> tuple[str, Callable[[], None]]:
        """A ticket to fetch a stream with, at once or in parts, and what takes it back."""
        ticket = secrets.token_urlsafe(16)
        self._outgoing[ticket] = stream
        return ticket, lambda: self._drop(ticket)

    def issue_incoming(self, stream: IncomingStream) -> tuple[str, Callable[[], None]]:
        """A ticket to post a stream with, and what takes it back."""
        ticket = secrets.token_urlsafe(16)
        self._incoming[ticket] = stream
        return ticket, lambda: self._drop(ticket)

    def _drop(self, ticket: str) -> None:
        self._outgoing.pop(ticket, None)
        self._incoming.pop(ticket, None)

    async def serve(self, ticket: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request. Cancelling it breaks the response off."""
        outgoing = self._outgoing.get(ticket) if scope["method"] == "GET" else None
        incoming = self._incoming.get(ticket) if scope["method"] == "POST" else None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if outgoing is not None:
            if outgoing.fetching or query.get("offset", ["0"]) != [str(outgoing.taken)]:
                outgoing.on_failure(StateError("the stream is broken: a part of it was asked for out of its order"))
                outgoing.stop()
                await _respond(send, HTTPStatus.CONFLICT)
            elif "offset" in query:
                await _send_part(outgoing, receive, send)
            else:
                self._drop(ticket)
                await _send_stream(outgoing, receive, send)
        elif incoming is not None:
            status = await _receive_stream(incoming, query, receive)
            if status == HTTPStatus.GONE:
                await _wait_gone(receive)
            await _respond(send, status)
        else:
            if scope["method"] == "POST":
                await _wait_gone(receive)
            await _respond(send, HTTPStatus.GONE)


async def _respond(send: Send, status: HTTPStatus, body: bytes = b"") -> None:
    await respond(send, status, body, _HEADERS | ({"content-type": _BYTES} if body else {}))


async def _send_stream(stream: OutgoingStream, receive: Receive, send: Send) -> None:
    """Sends a stream as the body of a response. One that fails leaves the response without its end."""
    headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
    headers.append((b"content-type", _BYTES.encode()))
    async with trio.open_nursery() as nursery:
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
        gone = trio.Event()
        nursery.start_soon(_stop_when_gone, stream, receive, gone)
        try:
            while data := await stream.take():
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except SourceFailedError:
            # The application returns in the middle of its response, and hypercorn closes the connection without the
            # last chunk: no reader can take that for a whole stream.
            pass
        else:
            if stream.stopped:
                # As in `_wait_gone`: a response that is cut off is an error in a browser's console, too.
                with trio.move_on_after(STOP_SECONDS):
                    await gone.wait()
            else:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        nursery.cancel_scope.cancel()


async def _send_part(stream: OutgoingStream, receive: Receive, send: Send) -> None:
    """Answers with the next part of a stream, as soon as there is something of it. A client that goes stops it."""
    part = Part(b"", PartMark.MORE)
    stream.fetching = True
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_at_disconnect, stream, receive)
            with trio.move_on_after(POLL_SECONDS):
                part = await stream.take_part()
            nursery.cancel_scope.cancel()
    finally:
        stream.fetching = False
    if stream.stopped:
        await _wait_gone(receive)
        await _respond(send, HTTPStatus.GONE)
    else:
        await _respond(send, HTTPStatus.OK, encode_part(part))


async def _stop_at_disconnect(stream: OutgoingStream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.stop()


async def _stop_when_gone(stream: OutgoingStream, receive: Receive, gone: trio.Event) -> None:
    """Stops a stream whose client has gone. Nothing else is received after a response has begun."""
    await receive()
    gone.set()
    stream.stop()


async def _wait_gone(receive: Receive) -> None:
    """Waits a little until the client has gone.

    Whoever posts to a stream that has ended is being told so beside it, and breaks its post off. Browsers show an
    answer of 410 in their console as an error, and a reader that stops early is none.
    """
    with trio.move_on_after(STOP_SECONDS):
        while (await receive())["type"] != "http.disconnect":
            pass


async def _receive_stream(stream: IncomingStream, query: dict[str, list[str]], receive: Receive) -> HTTPStatus:
    """Takes the next part of a stream from the body of a request. Answers when there is room for more."""
    if query.get("offset") != [str(stream.received)] or stream.feeding:
        stream.fail(StateError("the stream is broken: a part of it came out of its order"))
        return HTTPStatus.CONFLICT
    stream.feeding = True
    try:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                stream.fail(StateError("the stream is broken: the connection was lost in the middle of a part"))
                return HTTPStatus.GONE
            if not await stream.feed(message.get("body", b"")):
                return HTTPStatus.GONE
            more = message.get("more_body", False)
    finally:
        stream.feeding = False
    if query.get("end") == ["1"]:
        stream.finish()
    return HTTPStatus.NO_CONTENT

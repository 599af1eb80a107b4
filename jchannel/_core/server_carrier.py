"""The server's carrier: tickets lead to streams, and GET and POST with a ticket carry their bytes.

A stream of this side is sent as one response, or in parts to a page that requests parts: behind a proxy that would hold
the response back, or end one that has broken off as if it were whole.

Whoever has a ticket can read or write its stream. So it is random, works for one stream of one session, and is
worthless when that has ended. Host and Origin are not checked for it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qs

import trio

from jchannel._core.asgi import Receive, Scope, Send, respond, show_token
from jchannel._core.incoming import IncomingStream
from jchannel._core.nursery import open_flat_nursery
from jchannel._core.outgoing import OutgoingStream, SourceFailedError
from jchannel._core.stream import Stream, Way
from jchannel._core.stream_registry import StreamRegistry
from jchannel._protocol.parts import Part, PartMark, encode_part
from jchannel.errors import StateError

if TYPE_CHECKING:
    from jchannel._core.session import Session

__all__ = ["STREAMS_PATH", "serve_ticket"]

#: Where the streams are, below the server's base URL.
STREAMS_PATH: Final = "/streams/"

#: How long a page has to abort a request that nobody wants any more, in seconds, before it is answered with 410.
STOP_SECONDS: Final = 1

#: How long the answer with a part waits for the stream's source, in seconds. Proxies time out: Tornado after 20 s by
#: default, nginx after 60, jupyter-server-proxy 4.6 after 300. After a part without data the page asks again.
POLL_SECONDS: Final = 15

# A page of another origin, such as a notebook's, must be able to read the answer. Without `no-store` Chromium writes
# each response into its HTTP cache: a bare fetch of 64 MiB ran at 310 MiB/s without it, and at 1,145 with it.
_HEADERS: Final = {"access-control-allow-origin": "*", "cache-control": "no-store", "x-content-type-options": "nosniff"}
_BYTES: Final = "application/octet-stream"
_STREAM_HEADERS: Final = [
    (name.encode(), value.encode()) for name, value in {**_HEADERS, "content-type": _BYTES}.items()
]


async def serve_ticket(streams: StreamRegistry, ticket: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that comes with a ticket, for a path below ``STREAMS_PATH``. Cancelling it breaks it off.

    One whose ticket is a stream's is no stranger's. It may take as long as the session of the stream.

    Args:
        streams: The server's streams.
        ticket: The ticket.
        scope: As that of an ASGI app.
        receive: As above.
        send: As above.
    """
    stream = streams.find_ticket(ticket)
    answer = partial(_answer, streams, stream, scope, receive, send)
    if stream is None and not streams.was_stopped(ticket):
        await answer()
    elif not show_token(scope):
        await _respond(send, HTTPStatus.SERVICE_UNAVAILABLE)
    elif stream is None:
        # It was on its way when the reader stopped, and is answered as it would have been before.
        await _respond(send, HTTPStatus.ACCEPTED)
    else:
        assert stream.place is not None  # As long as it has its ticket.
        async with open_flat_nursery() as nursery:
            nursery.start_soon(_cut_off, cast("Session", stream.place[0]), nursery.cancel_scope)
            try:
                await answer()
            except Exception:
                # Who serves HTTP logs it and breaks the response off. Nobody carries what is left of the stream.
                stream.break_off(StateError("the stream is broken: an error of jchannel has ended it"))
                raise
            nursery.cancel_scope.cancel()


def _answer(
    streams: StreamRegistry, stream: Stream | None, scope: Scope, receive: Receive, send: Send
) -> Awaitable[None]:
    query = parse_qs(scope["query_string"].decode("latin-1"))
    if scope["method"] == "GET" and isinstance(stream, OutgoingStream):
        if stream.part_under_way or query.get("offset", ["0"]) != [str(stream.taken)]:
            stream.break_off(StateError("the stream is broken: a part of it was asked for out of its order"))
            return _respond(send, HTTPStatus.CONFLICT)
        stream.take_way(Way.HTTP)
        if "offset" in query:
            return _send_part(stream, receive, send)
        streams.revoke_ticket(stream)
        assert stream.place is not None
        return _send_stream(stream, cast("Session", stream.place[0]), receive, send)
    if scope["method"] == "POST":
        return _receive_post(stream if isinstance(stream, IncomingStream) else None, query, receive, send)
    return _respond(send, HTTPStatus.GONE)


async def _cut_off(session: Session, request: trio.CancelScope) -> None:
    """Cancel a request some time after its session has ended, as its client may be gone without a word."""
    await session.wait_ended()
    await trio.sleep(2 * STOP_SECONDS)
    request.cancel()


async def _receive_post(
    stream: IncomingStream | None, query: dict[str, list[str]], receive: Receive, send: Send
) -> None:
    """Answer a post, to a stream or to one that has ended."""
    status = HTTPStatus.GONE if stream is None else await _receive_part(stream, query, receive)
    if status == HTTPStatus.GONE:
        await _wait_gone(receive)
    await _respond(send, status)


async def _respond(send: Send, status: HTTPStatus, body: bytes = b"") -> None:
    await respond(send, status, body, _HEADERS | ({"content-type": _BYTES} if body else {}))


async def _send_stream(stream: OutgoingStream, session: Session, receive: Receive, send: Send) -> None:
    """Send a stream as the body of a response. One that fails leaves the response without its end."""
    async with trio.open_nursery() as nursery:
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": _STREAM_HEADERS})
        gone = trio.Event()
        newest = session.newest_request  # Not the one that the stream has come with: it may last as long.
        nursery.start_soon(_stop_when_gone, stream, receive, gone)
        try:
            while data := await stream.take():
                await send({"type": "http.response.body", "body": data, "more_body": True})
                newest = await session.let_newest_pass(newest)
        except SourceFailedError:
            # The application returns in the middle of its response, and the connection is closed without the last
            # chunk: to no reader does that look like a whole stream.
            pass
        except trio.Cancelled:
            stream.stop()  # Nobody takes it any more.
            raise
        else:
            if stream.stopped:
                # For the reason in `_wait_gone`: a response that is cut off is an error in a browser's console, too.
                with trio.move_on_after(STOP_SECONDS):
                    await gone.wait()
            else:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        nursery.cancel_scope.cancel()


async def _send_part(stream: OutgoingStream, receive: Receive, send: Send) -> None:
    """Answer with the next part of a stream, as soon as there is data. A client that disconnects stops the stream."""
    part = Part(b"", PartMark.MORE)
    stream.part_under_way = True
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_when_gone, stream, receive, trio.Event())
            with trio.move_on_after(POLL_SECONDS):
                part = await stream.take_part()
            nursery.cancel_scope.cancel()
    finally:
        stream.part_under_way = False
    if stream.stopped:
        await _wait_gone(receive)
        await _respond(send, HTTPStatus.GONE)
    else:
        await _respond(send, HTTPStatus.OK, encode_part(part))


async def _stop_when_gone(stream: OutgoingStream, receive: Receive, gone: trio.Event) -> None:
    """Stop a stream when its client has disconnected."""
    await _wait_disconnect(receive)
    gone.set()
    stream.stop()


async def _wait_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _wait_gone(receive: Receive) -> None:
    """Wait a short time until the client has disconnected.

    A page whose request is for a stream which has ended meanwhile hears of it on its socket, and aborts the request.
    An answer of 410 would be an error in its console.
    """
    with trio.move_on_after(STOP_SECONDS):
        await _wait_disconnect(receive)


async def _receive_part(stream: IncomingStream, query: dict[str, list[str]], receive: Receive) -> HTTPStatus:
    """Receive the next part of a stream from the body of a request. Return when there is room for more."""
    if query.get("offset") != [str(stream.received)] or stream.part_under_way or stream.way is Way.PIECES:
        stream.fail(StateError("the stream is broken: a part of it came out of its order"))
        return HTTPStatus.CONFLICT
    stream.carry_over_http()
    stream.part_under_way = True
    try:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                stream.fail(StateError("the stream is broken: the connection was lost in the middle of a part"))
                return HTTPStatus.GONE
            if not await stream.feed(message.get("body", b"")):
                # Browsers show a 410 in their console as an error, and a reader that stops early is none.
                return HTTPStatus.ACCEPTED
            more = message.get("more_body", False)
    finally:
        stream.part_under_way = False
    if query.get("end") == ["1"]:
        stream.finish()
    return HTTPStatus.NO_CONTENT

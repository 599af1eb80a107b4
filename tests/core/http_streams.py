"""A peer whose streams travel over HTTP, as most of a browser page's do: for tests of what the server does for pages.

A server's stream is fetched as one response, or in parts, as by a page behind a proxy. Each stream has a connection of
its own.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import h11
import trio

from jchannel._core.incoming import IncomingStream
from jchannel._core.nursery import aclose_now
from jchannel._core.outgoing import OutgoingStream, SourceFailedError
from jchannel._core.peer import Peer as PeerCore
from jchannel._core.pieces import Pieces
from jchannel._core.server_carrier import STREAMS_PATH
from jchannel._guarded import repr_of
from jchannel._protocol.messages import Ticket
from jchannel._protocol.parts import Part, PartMark, decode_part
from jchannel.errors import ProtocolError, RemoteError, StateError
from jchannel.trio import Peer

__all__ = ["Connect", "HttpStreams", "carry_over_http"]

Connect = Callable[[], Awaitable[trio.abc.Stream]]

#: The most that one post carries, in bytes.
_SEGMENT = 4 * 2**20

#: How long a connection is kept for the next part of a stream, in seconds. Servers close those that are idle.
_KEEP_SECONDS = 1

#: How long a stream that broke off waits for the reason, in seconds.
_BROKEN_SECONDS = 1

_BROKEN_OFF = (
    h11.RemoteProtocolError,
    ProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
)


class HttpStreams(Pieces):
    """In the place of a peer's pieces: what carries its streams over HTTP.

    Attributes:
        connect: Opens a stream to the server.
        most: The most streams that travel over HTTP at once. The others travel as pieces.
        under_way: How many do.
    """

    def __init__(self, peer: PeerCore, url: str, connect: Connect, most: float) -> None:
        session = peer.session
        super().__init__(session, session._connection, peer.streams)
        self.connect = connect
        self.most = most
        self.under_way = 0
        parts = urlsplit(url)
        self._host = parts.netloc
        self._path = parts.path.rstrip("/") + STREAMS_PATH
        self._in_parts = parts.path.rstrip("/") != ""
        self._nursery = peer.nursery

    def request(self, stream: IncomingStream, *, near: bool) -> None:
        """Fetches a stream, or lets it come as pieces."""
        if self.under_way < self.most:
            self._start(self._fetch(stream))
        else:
            super().request(stream, near=near)

    def take_ticket(self, stream: OutgoingStream, ticket: Ticket) -> None:
        """Posts a stream, or lets it go as pieces."""
        if self.under_way < self.most:
            self._start(self._post(stream, ticket.ticket))
        else:
            super().take_ticket(stream, ticket)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self.under_way += 1
        self._nursery.start_soon(self._carry, work)

    async def _carry(self, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            self.under_way -= 1

    async def _fetch(self, stream: IncomingStream) -> None:
        assert stream.info.ticket is not None
        if stream.over:
            return  # It has ended since it was requested.
        with trio.CancelScope() as scope:
            stream.exits.callback(scope.cancel)
            target = self._path + stream.info.ticket
            if self._in_parts:
                await self._fetch_parts(stream, target)
            else:
                await self._fetch_whole(stream, target)

    async def _fetch_whole(self, stream: IncomingStream, target: str) -> None:
        try:
            async with _open_exchange(await self.connect(), self._host) as exchange:
                await exchange.get(target, stream)
        except _BROKEN_OFF as error:
            # What the source raised comes in a message, and may arrive a little later than the end of the response.
            await trio.sleep(_BROKEN_SECONDS)
            stream.break_off(StateError(f"the stream broke off: {repr_of(error)}"))

    async def _fetch_parts(self, stream: IncomingStream, target: str) -> None:
        reason = _Reason(stream)
        try:
            # What has arrived must have been read before a new connection is opened: the server would close it.
            while await stream.feed(b""):
                async with _open_exchange(await self.connect(), self._host) as exchange:
                    kept = True
                    while kept and exchange.usable:
                        part = await exchange.get_part(f"{target}?offset={stream.received}")
                        with trio.move_on_after(_KEEP_SECONDS) as timer:
                            await stream.feed(part.data)
                        if part.mark is PartMark.FAIL:
                            raise ProtocolError("its source has failed")
                        if part.mark is PartMark.LAST:
                            stream.finish()
                            return
                        kept = not timer.cancelled_caught
        except _BROKEN_OFF as error:
            await reason.fail(StateError(f"the stream broke off: {repr_of(error)}"))

    async def _post(self, stream: OutgoingStream, ticket: str) -> None:
        if stream.stopped:
            return  # Since the ticket came. Its end would look like the end of its source.
        with trio.CancelScope() as scope:
            stream.exits.callback(_cancel_if_stopped, stream, scope)
            try:
                # When the source has failed, the reader has been notified.
                with suppress(SourceFailedError):
                    await self._post_parts(stream, ticket)
            except _BROKEN_OFF as error:
                stream.break_off(StateError(f"the stream could not be posted: {repr_of(error)}"))
            stream.stop()

    async def _post_parts(self, stream: OutgoingStream, ticket: str) -> None:
        offset = 0
        while True:
            data: bytes | None = await stream.take_within(_SEGMENT)
            async with _open_exchange(await self.connect(), self._host) as exchange:
                while data is not None:
                    target = f"{self._path}{ticket}?offset={offset}" + ("" if data else "&end=1")
                    if not await exchange.post(target, data) or not data:
                        return
                    offset, data = stream.taken, None
                    # A server limits the requests on one connection, and says so in the answer to the last one.
                    if exchange.usable:
                        with trio.move_on_after(_KEEP_SECONDS):
                            data = await stream.take_within(_SEGMENT)


class _Reason:
    """Why the source of a stream has failed, which comes in a message while there are parts to ask for."""

    def __init__(self, stream: IncomingStream) -> None:
        self._fail = stream.fail
        self._error: Exception | None = None
        self._known = trio.Event()
        stream.fail = self._note  # type: ignore[method-assign]
        stream.exits.callback(self._known.set)

    def _note(self, error: Exception) -> None:
        # What ends the channel or the session ends the stream at once.
        if not isinstance(error, RemoteError):
            self._fail(error)
        self._error = error
        self._known.set()

    async def fail(self, error: Exception) -> None:
        """Ends the stream because nothing more comes, with the reason or, if there is none, this error."""
        with trio.move_on_after(_BROKEN_SECONDS):
            await self._known.wait()
        self._fail(self._error or error)


def _cancel_if_stopped(stream: OutgoingStream, scope: trio.CancelScope) -> None:
    # A stream that has ended is still being posted to its end.
    if stream.stopped:
        scope.cancel()


@asynccontextmanager
async def _open_exchange(stream: trio.abc.Stream, host: str) -> AsyncIterator[_Exchange]:
    try:
        yield _Exchange(stream, host)
    finally:
        await aclose_now(stream)


class _Exchange:
    """Requests and responses over one connection, one after the other."""

    def __init__(self, stream: trio.abc.Stream, host: str) -> None:
        self._stream = stream
        self._host = host
        self._http = h11.Connection(h11.CLIENT)
        #: Whether another request can be made on the connection.
        self.usable = True

    async def get(self, target: str, stream: IncomingStream) -> None:
        """Fetches a stream."""
        await self._send(h11.Request(method="GET", target=target, headers=[("host", self._host)]), h11.EndOfMessage())
        status = await self._receive_status()
        if status != HTTPStatus.OK:
            raise ProtocolError(f"the server answers {status} to a stream's ticket")
        while isinstance(event := await self._receive(), h11.Data):
            if not await stream.feed(bytes(event.data)):
                return
        stream.finish()

    async def get_part(self, target: str) -> Part:
        """Fetches a part of a stream."""
        await self._send(h11.Request(method="GET", target=target, headers=[("host", self._host)]), h11.EndOfMessage())
        status, body = await self._receive_response()
        if status != HTTPStatus.OK:
            raise ProtocolError(f"the server answers {status} to the request for a part of a stream")
        return decode_part(body)

    async def post(self, target: str, data: bytes) -> bool:
        """Posts a part of a stream. Returns whether more is wanted."""
        headers = [("host", self._host), ("content-length", str(len(data)))]
        request = h11.Request(method="POST", target=target, headers=headers)
        await self._send(request, h11.Data(data=data), h11.EndOfMessage())
        status, _ = await self._receive_response()
        if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED, HTTPStatus.GONE):
            raise ProtocolError(f"the server answers {status} to a part of a stream")
        return status == HTTPStatus.NO_CONTENT

    async def _send(self, *events: h11.Event) -> None:
        await self._stream.send_all(b"".join(filter(None, map(self._http.send, events))))

    async def _receive_response(self) -> tuple[int, bytes]:
        status = await self._receive_status()
        body = bytearray()
        while isinstance(event := await self._receive(), h11.Data):
            body += event.data
        self.usable = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if self.usable:
            self._http.start_next_cycle()
        return status, bytes(body)

    async def _receive_status(self) -> int:
        response = await self._receive()
        assert isinstance(response, h11.Response)
        return response.status_code

    async def _receive(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(256 * 2**10)))
        assert isinstance(event, h11.Response | h11.Data | h11.EndOfMessage), event
        return event


def carry_over_http(peer: Peer, url: str, connect: Connect, *, most: float = math.inf) -> HttpStreams:
    """Lets the streams of a peer travel over HTTP from now on.

    Args:
        peer: The peer.
        url: The server's URL. Where it has a path, the server's streams are fetched in parts.
        connect: Opens a stream to the server.
        most: The most streams that travel over HTTP at once. The others travel as pieces.
    """
    session = peer._core.session
    streams = HttpStreams(peer._core, url, connect, most)
    session._pieces = streams
    return streams

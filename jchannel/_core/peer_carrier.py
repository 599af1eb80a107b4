"""The Python peer's carrier: it fetches and posts streams over HTTP, as a page does.

A server's stream is fetched as one response over a direct connection, and in parts where the server's URL has a path:
there is a proxy then, which might hold the response back, or end one that has broken off as if it were whole.

h11 implements HTTP. Each stream has a connection of its own, and connections are trio streams.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final

import h11
import trio

from jchannel._core.carrier import Carrier, break_off
from jchannel._core.incoming import IncomingStream
from jchannel._core.nursery import aclose_now
from jchannel._core.outgoing import OutgoingStream, SourceFailedError
from jchannel._core.pieces import CREDIT_BYTES
from jchannel._core.server_carrier import STREAMS_PATH
from jchannel._core.stream import Stream
from jchannel._guarded import log, repr_of
from jchannel._protocol.messages import Credit, Ticket
from jchannel._protocol.parts import PART_LIMIT, Part, PartMark, decode_part
from jchannel.errors import ProtocolError, StateError

__all__ = ["PeerCarrier"]

#: The most that one post carries, in bytes.
SEGMENT: Final = 4 * 2**20

#: How long a connection is kept for the next part of a stream, in seconds. Servers close those that are idle.
KEEP_SECONDS: Final = 1

#: How long a stream that broke off waits for the reason, in seconds.
BROKEN_SECONDS: Final = 1

#: The most bytes of a response that is no stream and no part of one: of a server it is empty, of a proxy an error page.
BODY_BYTES: Final = 64 * 2**10

_RECEIVE: Final = 256 * 2**10
_BROKEN_OFF: Final = (
    h11.RemoteProtocolError,
    ProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
)


class PeerCarrier(Carrier):
    """The peer's side: the client of HTTP.

    Args:
        nursery: The peer's nursery.
        connect: Opens a stream to the server.
        host: The server's name, for the Host header.
        prefix: The path of the server's URL; empty or ``/like/this``.
        most: The most streams that travel over HTTP at once.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        connect: Callable[[], Awaitable[trio.abc.Stream]],
        host: str,
        prefix: str,
        most: float = math.inf,
    ) -> None:
        self._nursery = nursery
        self._connect = connect
        self._host = host
        self._path = prefix + STREAMS_PATH
        self._proxied = prefix != ""
        self._most = most
        self._under_way = 0

    def offer(self, stream: OutgoingStream) -> None:
        """Return no ticket: the server sends one when somebody reads the stream."""

    def request(self, stream: IncomingStream) -> Credit | None:
        """Fetch a stream, or let it come as pieces."""
        if self._under_way >= self._most:
            return Credit(stream.info.id, CREDIT_BYTES)
        self._start(self._fetch, stream)
        return None

    def post(self, stream: OutgoingStream, ticket: Ticket) -> bool:
        """Post a stream, unless it is to go as pieces."""
        if ticket.credit is not None and self._under_way >= self._most:
            return False
        self._start(self._post, stream, ticket.ticket)
        return True

    def _start(self, carry: Callable[..., Awaitable[None]], stream: Stream, *args: object) -> None:
        stream.over_http = True
        self._under_way += 1
        self._nursery.start_soon(self._carry, carry, stream, *args)

    async def _carry(self, carry: Callable[..., Awaitable[None]], stream: Stream, *args: object) -> None:
        try:
            await carry(stream, *args)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            log(logging.ERROR, "an error of jchannel has ended a stream: %s", stream.what, error=error)
            break_off(stream)
        finally:
            self._under_way -= 1

    async def _fetch(self, stream: IncomingStream) -> None:
        assert stream.info.ticket is not None
        if stream.over:
            return  # It has ended since it was requested.
        with trio.CancelScope() as scope:
            stream.exits.callback(scope.cancel)
            try:
                target = self._path + stream.info.ticket
                if self._proxied:
                    await self._fetch_parts(stream, target)
                else:
                    async with _open_exchange(await self._connect(), self._host) as exchange:
                        await exchange.get(target, stream)
            except _BROKEN_OFF as error:
                # What the source raised comes in a message, and may arrive a little later than the end of the response.
                with trio.move_on_after(BROKEN_SECONDS):
                    await stream.wait_broken()
                stream.break_off(StateError(f"the stream broke off: {repr_of(error)}"))

    async def _fetch_parts(self, stream: IncomingStream, target: str) -> None:
        stream.in_parts = True
        # What has arrived must have been read before a new connection is opened: the server would close it meanwhile.
        while await stream.feed(b""):
            async with _open_exchange(await self._connect(), self._host) as exchange:
                kept = True
                while kept and exchange.usable:
                    part = await exchange.get_part(f"{target}?offset={stream.received}")
                    with trio.move_on_after(KEEP_SECONDS) as timer:
                        await stream.feed(part.data)
                    if part.mark is PartMark.FAIL:
                        raise ProtocolError("its source has failed")
                    if part.mark is PartMark.LAST:
                        stream.finish()
                        return
                    kept = not timer.cancelled_caught

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
            data: bytes | None = await stream.take_within(SEGMENT)
            async with _open_exchange(await self._connect(), self._host) as exchange:
                while data is not None:
                    target = f"{self._path}{ticket}?offset={offset}" + ("" if data else "&end=1")
                    if not await exchange.post(target, data) or not data:
                        return
                    offset, data = stream.taken, None
                    # A server limits the requests on one connection, and says so in the answer to the last one.
                    if exchange.usable:
                        with trio.move_on_after(KEEP_SECONDS):
                            data = await stream.take_within(SEGMENT)


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
        """Fetch a stream."""
        await self._send(h11.Request(method="GET", target=target, headers=[("host", self._host)]), h11.EndOfMessage())
        status = await self._receive_status()
        if status != HTTPStatus.OK:
            raise ProtocolError(f"the server answers {status} to a stream's ticket")
        while isinstance(event := await self._receive(), h11.Data):
            if not await stream.feed(bytes(event.data)):
                return
        stream.finish()

    async def get_part(self, target: str) -> Part:
        """Fetch a part of a stream."""
        await self._send(h11.Request(method="GET", target=target, headers=[("host", self._host)]), h11.EndOfMessage())
        status, body = await self._receive_response(PART_LIMIT)
        if status != HTTPStatus.OK:
            raise ProtocolError(f"the server answers {status} to the request for a part of a stream")
        return decode_part(body)

    async def post(self, target: str, data: bytes) -> bool:
        """Post a part of a stream. Return whether more is wanted."""
        headers = [("host", self._host), ("content-length", str(len(data)))]
        request = h11.Request(method="POST", target=target, headers=headers)
        await self._send(request, h11.Data(data=data), h11.EndOfMessage())
        status, _ = await self._receive_response()
        if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.GONE):
            raise ProtocolError(f"the server answers {status} to a part of a stream")
        return status == HTTPStatus.NO_CONTENT

    async def _send(self, *events: h11.Event) -> None:
        await self._stream.send_all(b"".join(filter(None, map(self._http.send, events))))

    async def _receive_response(self, most: int = BODY_BYTES) -> tuple[int, bytes]:
        """Receive a whole response, its status and its body of so many bytes at most. A proxy's error has one, too."""
        status = await self._receive_status()
        body = bytearray()
        while isinstance(event := await self._receive(), h11.Data):
            body += event.data
            if len(body) > most:
                raise ProtocolError(f"the server answers {status} with more than {most:,} bytes")
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
            self._http.receive_data(bytes(await self._stream.receive_some(_RECEIVE)))
        # What breaks off raises; a connection that is closed between two requests is not read from.
        assert isinstance(event, h11.Response | h11.Data | h11.EndOfMessage), event
        return event

"""One accepted connection: its first request's head is read, and decides to whom it belongs.

A WebSocket at the socket's path becomes a link, if the gate lets it in; everything else is hypercorn's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio

from jchannel._core.auth import Gate, select_subprotocol
from jchannel._core.handshake import SOCKET_PATH, receive_hello, refuse
from jchannel._core.http_server import HttpServer
from jchannel._core.limits import Limits
from jchannel._core.nursery import aclose_now
from jchannel._core.replay import ReplayStream
from jchannel._core.transport import Link
from jchannel._core.upgrade import Upgrade
from jchannel._guarded import log, without_locals
from jchannel._protocol.connection import Connection, Role
from jchannel._protocol.messages import Hello
from jchannel.errors import RefusedError

__all__ = ["Acceptor"]


@dataclass(slots=True)
class Acceptor:
    """Serves accepted connections.

    Attributes:
        gate: Decides who may connect.
        http: Serves what is not a WebSocket.
        prefix: The path of the server's URL, for proxies that do not take it away; empty or ``/like/this``.
        limits: The server's limits.
        serve_page: Serves a page's link after its hello. The link is closed after it.
        connections: The number of connections that are being served.
    """

    gate: Gate
    http: HttpServer
    prefix: str
    limits: Limits
    serve_page: Callable[[Link, Connection, Hello], Awaitable[None]]
    connections: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one accepted stream until its end, and close it. The transport's failures are logged and end no more.

        Cancelling it closes the stream.
        """
        if self.connections >= self.limits.connections:
            await aclose_now(stream)
            return
        self.connections += 1
        try:
            with trio.move_on_after(self.limits.handshake_seconds) as timer:
                head, request = await self._read_head(stream)
            if timer.cancelled_caught:
                return
            if request is not None and self._is_socket(request):
                await self._serve_websocket(stream, head, request)
            else:
                await self.http.serve(ReplayStream(stream, head))
        except trio.BrokenResourceError as error:
            log(logging.DEBUG, "a connection broke off: %r", error)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            # A bulkhead: an error of the library ends this connection, and nothing else.
            log(logging.ERROR, "an error of jchannel has ended a connection", error=without_locals(error))
        finally:
            await aclose_now(stream)
            self.connections -= 1

    async def _read_head(self, stream: trio.abc.Stream) -> tuple[bytes, h11.Request | None]:
        """Read the first request's head. Return what was read, and the request, or ``None`` if it is not one."""
        # h11 is hypercorn's own parser, so both agree on what a request is.
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=self.limits.head_bytes)
        head = b""
        while True:
            data = await stream.receive_some(self.limits.head_bytes)
            head += data
            parser.receive_data(bytes(data))
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                return head, None  # hypercorn parses it again, and knows how to answer it.
            if isinstance(event, h11.Request):
                return head, event
            if not data:
                return head, None

    def _is_socket(self, request: h11.Request) -> bool:
        upgrades = dict(request.headers).get(b"upgrade", b"").lower() == b"websocket"
        path = request.target.decode("latin-1").partition("?")[0]
        return upgrades and path in (SOCKET_PATH, self.prefix + SOCKET_PATH)

    async def _serve_websocket(self, stream: trio.abc.Stream, head: bytes, request: h11.Request) -> None:
        link: Link | None = None
        greeting: tuple[Connection, Hello] | None = None
        with trio.move_on_after(self.limits.handshake_seconds):
            link = await self._admit(stream, head, request)
            if link is not None:
                greeting = await receive_hello(link, self.limits.frame_bytes, self.limits.close_seconds)
        if link is not None and greeting is not None:
            try:
                await self.serve_page(link, *greeting)
            except Exception as error:  # noqa: BLE001 (a bulkhead)
                # A bulkhead: an error of the library ends this page's session, and nothing else.
                log(logging.ERROR, "an error of jchannel has ended the session of a page", error=without_locals(error))

    async def _admit(self, stream: trio.abc.Stream, head: bytes, request: h11.Request) -> Link | None:
        """Do the WebSocket's handshake. Return the link, or ``None`` where its page was refused."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        link: Link | None = None
        refusal: RefusedError | None = None
        try:
            async with trio.open_nursery() as nursery:
                upgrade = await Upgrade.receive(nursery, stream, head, self.limits.frame_bytes)
                offered = upgrade.subprotocols
                refusal = self.gate.judge(offered, headers.get("origin"), headers.get("host", ""))
                if refusal is not None:
                    log(logging.WARNING, "a page was refused: %s", refusal)
                if refusal is not None and refusal.reason == "forbidden":
                    await upgrade.reject(HTTPStatus.FORBIDDEN)
                else:
                    link = await upgrade.accept(select_subprotocol(offered))
                nursery.cancel_scope.cancel()
        except* Exception as errors:  # noqa: BLE001 (a bulkhead)
            log(logging.WARNING, "a WebSocket ended with an error", error=without_locals(errors))
        if link is None or refusal is None:
            return link
        await refuse(link, Connection(Role.SERVER), refusal, seconds=self.limits.close_seconds)
        return None

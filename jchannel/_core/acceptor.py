"""One accepted connection: its requests decide to whom it belongs.

A WebSocket at the socket's path becomes a link, if the gate lets it in; everything else is HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote

import h11
import trio

from jchannel._core.asgi import AsgiApp
from jchannel._core.auth import Gate, select_subprotocol
from jchannel._core.greeting import SOCKET_PATH, receive_hello, refuse
from jchannel._core.http_server import HttpConnection
from jchannel._core.limits import Limits
from jchannel._core.nursery import aclose_now
from jchannel._core.routes import find_path
from jchannel._core.transport import Link, LinkClosed
from jchannel._core.upgrade import accept_websocket, asks_for_websocket, check_request, find_headers, make_head
from jchannel._core.visitors import Visitor, Visitors
from jchannel._guarded import log, text_of, without_locals
from jchannel._protocol.connection import Connection, Role
from jchannel._protocol.messages import Hello
from jchannel.errors import RefusedError

__all__ = ["Acceptor"]


@dataclass(slots=True)
class Acceptor:
    """Serves accepted connections.

    Attributes:
        gate: Decides who may connect.
        app: The ASGI app that answers what is not a WebSocket.
        prefix: The path of the server's URL, for proxies that do not take it away; empty or ``/like/this``.
        limits: The server's limits.
        serve_page: Serves a page's link after its hello. The link is closed after it.
    """

    gate: Gate
    app: AsgiApp
    prefix: str
    limits: Limits
    serve_page: Callable[[Link, Connection, Hello], Awaitable[None]]
    _visitors: Visitors = field(init=False)

    def __post_init__(self) -> None:
        self._visitors = Visitors(self.limits)

    @property
    def connections(self) -> int:
        """The number of connections that are being served. Safe in any thread."""
        return self._visitors.count

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one accepted stream until its end, and close it. The transport's failures are logged and end no more.

        Cancelling it closes the stream.
        """
        visitor = self._visitors.enter()
        try:
            with visitor.scope:
                http = HttpConnection(self.app, self.limits, stream, visitor)
                request = await http.serve(self._is_socket)
                if request is None:
                    with trio.move_on_after(self.limits.close_seconds):
                        await stream.aclose()
                else:
                    await self._serve_socket(stream, http, request, visitor)
            if visitor.scope.cancelled_caught:
                log(logging.DEBUG, "a silent connection without the token was closed for a new one")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            log(logging.DEBUG, "a connection broke off: %r", error)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            # A bulkhead: an error of the library ends this connection, and nothing else.
            log(logging.ERROR, "an error of jchannel has ended a connection", error=without_locals(error))
        finally:
            await aclose_now(stream)
            visitor.leave()

    def _is_socket(self, request: h11.Request) -> bool:
        path = unquote(request.target.decode().partition("?")[0])
        return find_path(path, self.prefix) == SOCKET_PATH and asks_for_websocket(request)

    async def _serve_socket(
        self, stream: trio.abc.Stream, http: HttpConnection, request: h11.Request, visitor: Visitor
    ) -> None:
        status = check_request(request)
        if status is not None:
            log(logging.INFO, "what is no request for a WebSocket was answered with %d", status)
            await http.refuse(status, [("sec-websocket-version", "13")])
            return
        link: Link | None = None
        greeting: tuple[Connection, Hello] | None = None
        with trio.move_on_after(self.limits.handshake_seconds):
            link = await self._admit(stream, http, request, visitor)
            if link is not None:
                greeting = await receive_hello(link, self.limits.frame_bytes, self.limits.close_seconds)
        if link is not None and greeting is not None:
            try:
                await self.serve_page(link, *greeting)
            except Exception as error:  # noqa: BLE001 (a bulkhead)
                # A bulkhead: an error of the library ends this page's session, and nothing else.
                log(logging.ERROR, "an error of jchannel has ended the session of a page", error=without_locals(error))

    async def _admit(
        self, stream: trio.abc.Stream, http: HttpConnection, request: h11.Request, visitor: Visitor
    ) -> Link | None:
        """Do the WebSocket's handshake. Return the link, or ``None`` where its page was refused."""
        refusal = self._judge(request)
        if refusal is not None:
            log(logging.WARNING, "a page was refused: %s", refusal)
            if refusal.reason == "forbidden":
                await http.refuse(HTTPStatus.FORBIDDEN)
                return None
        elif not visitor.show_token():
            await http.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return None
        link: Link | None = None
        limits = self.limits
        try:
            # What a page that is refused says is not waited for, and not kept either.
            frame_bytes = limits.frame_bytes if refusal is None else limits.stranger_bytes
            link = await accept_websocket(stream, make_head(request) + http.behind, select_subprotocol, frame_bytes)
        except* LinkClosed as errors:
            log(logging.DEBUG, "a page went during its handshake: %s", text_of(errors.exceptions[0]))
        if link is None or refusal is None:
            return link
        await refuse(link, Connection(Role.SERVER), refusal, seconds=limits.close_seconds)
        return None

    def _judge(self, request: h11.Request) -> RefusedError | None:
        """Decide about a WebSocket's request, as ``Gate.judge`` does."""
        offered = b",".join(find_headers(request, b"sec-websocket-protocol")).decode()
        origins = find_headers(request, b"origin")
        # Several origins are the one of none: joined, they are not like any.
        origin = b", ".join(origins).decode("latin-1") if origins else None
        host = find_headers(request, b"host")[0].decode()
        return self.gate.judge([name.strip() for name in offered.split(",")], origin, host)

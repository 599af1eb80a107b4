"""The reception of one accepted stream: reads the request's head and gives the stream to whom it is for.

A WebSocket at the socket's path becomes a link, if the gate lets it in; everything else is hypercorn's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h11
import trio
import trio_websocket

from jchannel._core.auth import Gate, select_subprotocol
from jchannel._core.http import HttpServer
from jchannel._core.limits import Limits
from jchannel._core.nursery import aclose_now
from jchannel._core.replay import ReplayStream
from jchannel._core.transport import Link, LinkClosed, WebSocketLink
from jchannel._protocol.connection import Connection, Role, State
from jchannel._protocol.messages import Goodbye, Hello
from jchannel.errors import ProtocolError, RefusedError

__all__ = ["RECEIVE_BUFFER", "SOCKET_PATH", "Reception", "refuse"]

logger = logging.getLogger("jchannel")

#: Where the WebSocket is, below the server's base URL.
SOCKET_PATH = "/socket"

#: trio-websocket's own default of 4 KiB costs a factor 3 on large messages (docs/architecture.md).
RECEIVE_BUFFER = 64 * 2**10

_HTTP_FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class Reception:
    """Receives streams.

    Attributes:
        gate: Decides who may connect.
        http: Serves what is not a WebSocket.
        prefix: The path of the server's URL, for proxies that do not take it away; empty or ``/like/this``.
        limits: The server's limits.
        serve: Serves a page's link after its hello. The link is closed after it.
    """

    gate: Gate
    http: HttpServer
    prefix: str
    limits: Limits
    serve: Callable[[Link, Connection, Hello], Awaitable[None]]

    async def receive(self, stream: trio.abc.Stream) -> None:
        """Serves one accepted stream until its end, and closes it. The transport's failures are logged and end no more.

        Cancelling it closes the stream.
        """
        try:
            with trio.move_on_after(self.limits.handshake_seconds) as timer:
                head, request = await self._read_head(stream)
            if timer.cancelled_caught:
                return
            replay = ReplayStream(stream, head)
            if request is not None and self._is_socket(request):
                await self._receive_websocket(replay, request)
            else:
                await self._receive_http(replay)
        except trio.BrokenResourceError as error:
            logger.debug("a connection broke off: %r", error)
        finally:
            await aclose_now(stream)

    async def _read_head(self, stream: trio.abc.Stream) -> tuple[bytes, h11.Request | None]:
        """Reads the first request's head. Gives what was read, and the request, or ``None`` if it is not one."""
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
        upgrades = any(name == b"upgrade" and value.lower() == b"websocket" for name, value in request.headers)
        path = request.target.decode("latin-1").partition("?")[0]
        return upgrades and path in (SOCKET_PATH, self.prefix + SOCKET_PATH)

    async def _receive_http(self, stream: ReplayStream) -> None:
        try:
            await self.http.serve(stream)
        except* Exception:
            # What somebody sends to the port must not end the server, whatever it does to hypercorn.
            logger.warning("a connection ended with an error", exc_info=True)

    async def _receive_websocket(self, stream: ReplayStream, request: h11.Request) -> None:
        link: Link | None = None
        greeting: tuple[Connection, Hello] | None = None
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(self.limits.handshake_seconds):
                    link = await self._shake_hands(nursery, stream, request)
                    greeting = await self._hear_hello(link) if link is not None else None
                if link is not None and greeting is not None:
                    try:
                        await self.serve(link, *greeting)
                    except Exception as error:  # noqa: BLE001 (raised again below, outside the transport's nursery)
                        failure = error
                nursery.cancel_scope.cancel()
        except* Exception:
            logger.warning("a WebSocket ended with an error", exc_info=True)
        if failure is not None:
            raise failure  # An error of the library itself, and no error of this connection.

    async def _shake_hands(self, nursery: trio.Nursery, stream: ReplayStream, request: h11.Request) -> Link | None:
        """Does the WebSocket's handshake. Gives the link, or ``None`` where its page was refused."""
        proposal = await trio_websocket.wrap_server_stream(
            nursery, stream, max_message_size=self.limits.frame_bytes, receive_buffer_size=RECEIVE_BUFFER
        )
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        offered = proposal.proposed_subprotocols
        refusal = self.gate.judge(offered, headers.get("origin"), headers.get("host", ""))
        if refusal is not None:
            logger.warning("a page was refused: %s", refusal)
        if refusal is not None and refusal.reason == "forbidden":
            await proposal.reject(_HTTP_FORBIDDEN)
            return None
        link = WebSocketLink(await proposal.accept(subprotocol=select_subprotocol(offered)), stream)
        if refusal is not None:
            await refuse(link, Connection(Role.SERVER), refusal, seconds=self.limits.close_seconds)
            return None
        return link

    async def _hear_hello(self, link: Link) -> tuple[Connection, Hello] | None:
        """Waits for a page's hello. ``None`` where it said anything else; its link is closed then."""
        connection = Connection(Role.SERVER, frame_limit=self.limits.frame_bytes)
        try:
            message = connection.receive(await link.receive())[0]
        except LinkClosed as closed:
            logger.debug("a page went before its hello: %s", closed)
            return None
        except ProtocolError as error:
            logger.warning("a page broke the protocol: %s", error)
            refusal = RefusedError("protocol", f"the page broke the protocol: {error}")
            await refuse(link, connection, refusal, seconds=self.limits.close_seconds)
            return None
        # A goodbye may stand in the same frame.
        return (connection, message) if isinstance(message, Hello) and connection.state is State.HELLO else None


async def refuse(link: Link, connection: Connection, refusal: RefusedError, *, seconds: float) -> None:
    """Says goodbye on a link that no session has, and closes it: at once, where that takes longer than ``seconds``.

    Cancelling it closes the link without a word.
    """
    with trio.move_on_after(seconds):
        try:
            if connection.state is not State.ENDED:
                connection.send(Goodbye(refusal.reason, str(refusal)))
                frame = connection.next_frame()
                assert frame is not None
                await link.send(frame)
        except LinkClosed as closed:
            logger.debug("a refused page went before it could hear why: %s", closed)
        finally:
            await link.aclose()

"""The Python peer: connects to a server as a page would, with a Python object as its handler.

Tests, benchmarks and programs without a browser use it.
"""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit

import trio
import trio_websocket
import wsproto.utilities

from jchannel._core.addresses import check_url
from jchannel._core.auth import subprotocols
from jchannel._core.channel_streams import give
from jchannel._core.endpoint import Endpoint
from jchannel._core.fetching import PeerCarrier
from jchannel._core.handlers import invoke
from jchannel._core.incoming import IncomingStream
from jchannel._core.limits import Limits
from jchannel._core.listen import RECEIVE_BUFFER, SOCKET_PATH
from jchannel._core.nursery import aclose_now, open_flat_nursery
from jchannel._core.session import Session
from jchannel._core.transport import Link, LinkClosed, WebSocketLink
from jchannel._protocol.connection import Connection, Role
from jchannel._protocol.messages import Close, Goodbye, Hello, Message, Open, Request
from jchannel.errors import ClosedError, KernelError, PageLostError, RefusedError

__all__ = ["OnOpen", "Peer", "PeerChannel", "PeerHooks", "open_peer"]

logger = logging.getLogger("jchannel")

_HTTP_PORT: Final = 80
_HTTPS_PORT: Final = 443


class PeerChannel(Endpoint):
    """The peer's side of a channel that a server has opened.

    Attributes:
        code: The initialization function's code, which a page would run and the peer does not.
        number: The channel's number, which no other channel of the server has.
        handler: The object that handles calls from the server, or ``None``.
    """

    def __init__(
        self, session: Session, request: Open, handler: object, nursery: trio.Nursery, hooks: PeerHooks
    ) -> None:
        super().__init__(
            nursery,
            handler,
            tracebacks=False,
            run_method=partial(hooks.run_method, self),
            give_stream=hooks.give_stream,
        )
        self.code = request.code
        self.number = request.channel
        self._session = session
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.number}, {state}>"

    def end(self) -> None:
        """Ends the channel because the server has closed it. Does not wait."""
        self._closed = True
        self._end_all("the channel is closed: the server has closed it")

    _far_side = "the server"

    def _describe(self) -> tuple[int | None, str]:
        try:
            return self.find_session()[1], "open"
        except (ClosedError, PageLostError) as error:
            return None, f"closed: {error}"

    async def wait_session(self) -> tuple[Session, int]:
        """As ``requests.Way.wait_session``."""
        return self.find_session()

    def find_session(self) -> tuple[Session, int]:
        """As ``requests.Way.find_session``."""
        if self._closed:
            raise ClosedError("the channel is closed: the server has closed it")
        if not self._session.alive:
            raise PageLostError(f"the request cannot be sent: {self._session.why_ended}")
        return self._session, self.number

    def explain_wait(self) -> str:
        """As ``requests.Way.explain_wait``."""
        return "the server does not take what waits to be sent"


#: Called with each channel that is opened, and its code; gives what a page's initialization function would return.
OnOpen: TypeAlias = Callable[[PeerChannel, str], Any | Awaitable[Any]]


class PeerHooks:
    """What ``jchannel.testing`` does in its own way. These are the peer's ways."""

    #: The session of the connection.
    session_type: type[Session] = Session

    def wrap_link(self, link: Link) -> Link:
        """Gives the link over which the peer speaks, from its hello on."""
        return link

    async def run_method(self, channel: PeerChannel, handler: object, name: str, args: Sequence[Any]) -> Any:  # noqa: ARG002 (the kit's)
        """Runs a method of a channel's handler, as ``handlers.invoke``."""
        return await invoke(handler, name, args)

    def give_stream(self, stream: IncomingStream, limit: float) -> Any:
        """Makes what the user gets of an incoming stream, as ``channel_streams.give``."""
        return give(stream, limit)


class Peer:
    """A connection to a server. ``open_peer`` makes them.

    Attributes:
        channels: The channels that the server has opened, by their numbers.
    """

    def __init__(self, handler: object, on_open: OnOpen | None, nursery: trio.Nursery, hooks: PeerHooks) -> None:
        self.channels: dict[int, PeerChannel] = {}
        self._hooks = hooks
        self._handler = handler
        self._on_open = on_open
        self._nursery = nursery
        self._session: Session
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def connected(self) -> bool:
        """Whether the connection is there."""
        return self._session.alive

    @property
    def why_ended(self) -> str:
        """Why the connection has ended; empty while it is there."""
        return self._session.why_ended

    async def wait_channel(self) -> PeerChannel:
        """Waits until the server has opened a channel, and gives the first that is open.

        Raises:
            PageLostError: The connection has ended.

        Cancelling it does nothing else.
        """
        await trio.lowlevel.checkpoint()
        while not self.channels:
            if not self.connected:
                raise PageLostError(f"no channel will be opened: {self.why_ended}")
            await self._changed.park()
        return next(iter(self.channels.values()))

    async def wait_ended(self) -> None:
        """Waits until the connection has ended. Cancelling it does nothing else."""
        await self._session.wait_ended()

    def adopt(self, link: Link, connection: Connection, limits: Limits, carrier: PeerCarrier) -> Session:
        """Makes the session of a link that has been welcomed. ``open_peer`` calls it, and runs it."""
        self._session = self._hooks.session_type(
            link,
            connection,
            serve=self._serve,
            limits=limits,
            far_side="the server",
            remote_error=KernelError,
            carrier=carrier,
            heartbeat=None,
        )
        return self._session

    async def run(self, early: Sequence[Message]) -> None:
        """Runs the session until it ends. ``open_peer`` calls it."""
        try:
            await self._session.run(early)
        finally:
            self._changed.unpark_all()

    def _serve(self, session: Session, request: Request) -> None:
        if isinstance(request, Open):
            self._nursery.start_soon(self._open_channel, session, request)
            return
        channel = self.channels.get(request.channel)
        if channel is None:
            session.answer_error(request, "channel", "", "the peer has no such channel")
        elif isinstance(request, Close):
            del self.channels[request.channel]
            channel.end()
            session.answer_value(request, None)
        else:
            channel.serve(session, request)

    async def _open_channel(self, session: Session, request: Open) -> None:
        channel = PeerChannel(session, request, self._handler, self._nursery, self._hooks)
        with session.running_request(request):
            value = None
            try:
                if self._on_open is not None:
                    value = self._on_open(channel, request.code)
                    value = await value if inspect.isawaitable(value) else value
                # Its `close` may have come already, behind the `cancel`, and found no channel to close.
                await trio.lowlevel.checkpoint_if_cancelled()
            except Exception as error:
                logger.exception("on_open raised")
                session.answer_error(request, "exception", type(error).__name__, str(error))
                return
            self.channels[request.channel] = channel
            self._changed.unpark_all()
            session.answer_value(request, value)


@asynccontextmanager
async def open_peer(
    url: str,
    handler: object = None,
    *,
    token: str | None = None,
    on_open: OnOpen | None = None,
    client: str | None = None,
    connect: Callable[[], Awaitable[trio.abc.Stream]] | None = None,
    limits: Limits | None = None,
    hooks: PeerHooks | None = None,
) -> AsyncIterator[Peer]:
    """Connects to a server for the time of an ``async with`` block.

    Args:
        url: ``Server.page_url``; or ``Server.url`` when the token is given beside it. Where it has a path, as a proxy's
            has, the server's streams are fetched in parts, which no proxy holds back or cuts short unnoticed.
        handler: The object that handles calls from the server, on every channel.
        token: The server's token, where the URL does not carry it.
        on_open: Called with each channel that is opened, and its code; sync or async. It may set the channel's handler,
            and gives what ``Channel.open`` returns to the server. Without it a channel is opened with ``None``.
        client: A name for this peer, of at most 64 characters. The server takes a second connection of the same name
            for the first one come again. ``None`` for a random name.
        connect: Opens a connection to the server, instead of TCP to the URL's host: for tests. It is called once for
            the messages, and once for each stream that does not travel inside them.
        limits: The limits of what the server controls; ``None`` for the defaults.
        hooks: For ``jchannel.testing``.

    Raises:
        OSError: The server cannot be reached.
        trio.TooSlowError: The server did not answer within ``Limits.handshake_seconds``.
        RefusedError: The server refused the connection. The message is the server's.
        TypeError, ValueError: An argument is not of its kind.

    Leaving the block closes the connection. When it ends before, what is under way raises ``PageLostError``; the peer
    does not connect again by itself.
    """
    address, found = _split_url(url)
    token = found if token is None else token
    limits = Limits() if limits is None else limits
    connect = partial(_open_stream, address) if connect is None else connect
    hooks = PeerHooks() if hooks is None else hooks
    connected = False
    stream = None
    try:
        async with open_flat_nursery() as nursery:
            peer = Peer(handler, on_open, nursery, hooks)
            transport = await nursery.start(_hold_transport)
            with trio.move_on_after(limits.handshake_seconds) as timer:
                stream = await connect()
                link = hooks.wrap_link(await _open_link(transport, stream, address, token, limits))
                connection, early = await _greet(link, client or secrets.token_urlsafe(12))
            if timer.cancelled_caught:
                raise trio.TooSlowError(f"{address} did not answer within {limits.handshake_seconds:g} s")
            parts = urlsplit(address)
            carrier = PeerCarrier(nursery, connect, parts.netloc, parts.path)
            session = peer.adopt(link, connection, limits, carrier)
            nursery.start_soon(peer.run, early)
            connected = True
            try:
                yield peer
            finally:
                session.end("closed", "the peer has closed the connection")
                with trio.move_on_after(limits.close_seconds, shield=True):
                    await session.wait_ended()
                nursery.cancel_scope.cancel()
    except trio_websocket.ConnectionRejected as error:
        if connected:
            raise  # It is another connection's, of the block.
        raise RefusedError("forbidden", f"{address} refused the connection with HTTP {error.status_code}") from error
    finally:
        if stream is not None:
            await aclose_now(stream)


def _split_url(url: str) -> tuple[str, str]:
    """The server's base URL, and the token from the fragment of a page URL."""
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, and not {url!r}")
    base, _, fragment = url.partition("#")
    values = parse_qs(fragment).get("jchannel", [""])
    return check_url(base), values[0]


async def _open_stream(address: str) -> trio.abc.Stream:
    parts = urlsplit(address)
    assert parts.hostname is not None
    if parts.scheme == "https":
        return await trio.open_ssl_over_tcp_stream(parts.hostname, parts.port or _HTTPS_PORT, https_compatible=True)
    return await trio.open_tcp_stream(parts.hostname, parts.port or _HTTP_PORT)


async def _hold_transport(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Holds the nursery of the WebSocket's own task."""
    try:
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()
    except* wsproto.utilities.LocalProtocolError:
        # trio-websocket cannot answer a ping that comes in while it is closing, and raises. Nothing is lost by that.
        logger.debug("a ping came in while the WebSocket was closing", exc_info=True)


async def _open_link(nursery: trio.Nursery, stream: trio.abc.Stream, address: str, token: str, limits: Limits) -> Link:
    parts = urlsplit(address)
    websocket = await trio_websocket.wrap_client_stream(
        nursery,
        cast("trio.SocketStream", stream),
        parts.netloc,
        parts.path + SOCKET_PATH,
        subprotocols=subprotocols(token),
        max_message_size=limits.frame_bytes,
        receive_buffer_size=RECEIVE_BUFFER,
    )
    return WebSocketLink(websocket, stream)


async def _greet(link: Link, client: str) -> tuple[Connection, list[Message]]:
    """Says hello and waits for the welcome. Gives the messages that came behind it in the same frame."""
    connection = Connection(Role.PAGE)
    connection.send(Hello(client))
    hello = connection.next_frame()
    assert hello is not None
    try:
        with suppress(LinkClosed):  # A server that refuses may close before it has heard anything; it said why.
            await link.send(hello)
        welcome, *others = connection.receive(await link.receive())
    except LinkClosed as closed:
        raise PageLostError(f"the server went during the handshake: {closed}") from closed
    if isinstance(welcome, Goodbye):
        raise RefusedError(welcome.reason, welcome.message)
    return connection, others

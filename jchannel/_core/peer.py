"""The Python peer: connects to a server as a page would, with a Python object as its handler.

Tests, benchmarks and programs without a browser use it.
"""

from __future__ import annotations

import inspect
import logging
import re
import secrets
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit

import trio

from jchannel._core.addresses import check_url
from jchannel._core.auth import subprotocols
from jchannel._core.deadlines import Deadlines
from jchannel._core.endpoint import Endpoint
from jchannel._core.exits import contain
from jchannel._core.forked import close_when_forked
from jchannel._core.greeting import SOCKET_PATH, greet
from jchannel._core.handlers import Methods
from jchannel._core.incoming import read_in_trio
from jchannel._core.invocation import Invocation
from jchannel._core.limits import Limits
from jchannel._core.nursery import aclose_now, open_flat_nursery
from jchannel._core.outbox import ConvertStream
from jchannel._core.session import Session
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.transport import Link, LinkClosed
from jchannel._core.upgrade import ForeignError, RejectedError, open_websocket
from jchannel._guarded import log, name_of, text_of, without_locals
from jchannel._protocol.connection import Connection
from jchannel._protocol.messages import MAX_CLIENT_LENGTH, Close, Error, Message, Open, Result
from jchannel._protocol.values import PLAIN, Conversion, Nan, pack, shorten
from jchannel._secret import Secret
from jchannel.errors import ClosedError, KernelError, PageLostError, ProtocolError, RefusedError, UnreachableError

__all__ = ["OnOpen", "Peer", "PeerChannel", "PeerOptions", "open_peer"]

_HTTP_PORT: Final = 80
_HTTPS_PORT: Final = 443

#: What a token is made of.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]*")

_NO_CHANNEL: Final = "the peer has no such channel"


class PeerChannel(Endpoint):
    """The peer's side of a channel that a server has opened.

    Args:
        peer: The peer.
        session: Its session.
        request: The server's request to open it.

    Attributes:
        code: The initialization function's code, which a page would run and the peer does not; empty where it is a
            module.
        module: The module whose default export it is; empty where it is code.
        number: The channel's number, which no other channel of the server has.
        limits: The limits of what the server controls.
    """

    _far_side = "the server"
    _reconnects = False

    def __init__(self, peer: Peer, session: Session, request: Open) -> None:
        options = peer.options
        super().__init__(
            options.handler,
            nursery=peer.nursery,
            streams=peer.streams,
            deadlines=peer.deadlines,
            methods=options.methods,
            convert_stream=options.convert_stream,
            tracebacks=options.tracebacks,
            conversion=PLAIN if request.nan is None else Conversion(nan=cast("Nan", request.nan)),
        )
        self.code: str = request.code or ""
        self.module: str = request.module or ""
        self.number: int = request.channel
        self.limits: Limits = options.limits
        self._session = session
        self._closed = False
        self.outbox.connect(session, self.number)

    @property
    def closed(self) -> bool:
        """Whether the server has closed it."""
        return self._closed

    def end(self) -> None:
        """End the channel because the server has closed it. Does not wait."""
        self._closed = True
        self._end_all(ClosedError("the channel is closed: the server has closed it"))

    def explain_wait(self) -> str:
        """Return what requests that have not been sent wait for, as a sentence."""
        return "the server does not take what waits to be sent"

    def annotate(self, error: Exception) -> None:
        """Leave an error of Python's as it is."""

    def _describe(self) -> tuple[int | None, str]:
        if self._closed:
            return None, "closed: the channel is closed: the server has closed it"
        if not self._session.alive:
            return None, f"closed: the request cannot be sent: {self._session.why_ended}"
        return self.number, "open"


#: Called with each channel that is opened, and its code, empty where it is a module; returns what a page's
#: initialization function would return.
OnOpen: TypeAlias = Callable[[PeerChannel, str], Any | Awaitable[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerOptions:
    """How a peer behaves.

    Attributes:
        handler: The object that handles calls from the server, on every channel.
        on_open: Called with each channel that is opened, or ``None``.
        client: A name for the peer; ``None`` for a random one.
        limits: The limits of what the server controls.
        methods: Runs the handler's methods.
        convert_stream: Makes what the user gets of an incoming stream.
        tracebacks: Whether the server gets the stack of an exception that the handler raised.
        wrap_link: Returns the link over which it speaks, from its hello on; ``None`` for the link itself.
    """

    handler: object = None
    on_open: OnOpen | None = None
    client: str | None = None
    limits: Limits = field(default_factory=Limits)
    methods: Methods = field(default_factory=Methods)
    convert_stream: ConvertStream = read_in_trio
    tracebacks: bool = False
    wrap_link: Callable[[Link], Link] | None = None


class Peer:
    """A connection to a server. ``open_peer`` makes them.

    Args:
        options: How it behaves.
        nursery: Owns everything that runs in it.

    Attributes:
        options: As above.
        nursery: As above.
        channels: The channels that the server has opened, by their numbers.
        deadlines: Expires the requests of all channels.
        streams: The streams of all channels.
        session: Its session, once it is connected.
    """

    session: Session

    def __init__(self, options: PeerOptions, nursery: trio.Nursery) -> None:
        self.options = options
        self.channels: dict[int, PeerChannel] = {}
        self.deadlines: Deadlines = Deadlines()
        self.streams: StreamRegistry = StreamRegistry(options.limits)
        self.nursery = nursery
        self._changed = trio.lowlevel.ParkingLot()
        #: Channels that a task is on its way for.
        self._arrived: deque[tuple[Invocation, PeerChannel]] = deque()
        self._opening = 0

    async def wait_channel(self) -> PeerChannel:
        """Wait until the server has opened a channel, and return the first that is open.

        Raises:
            PageLostError: The connection has ended.

        Cancelling it does nothing else.
        """
        await trio.lowlevel.checkpoint()
        while not self.channels:
            if not self.session.alive:
                raise PageLostError(f"no channel will be opened: {self.session.why_ended}")
            await self._changed.park()
        return next(iter(self.channels.values()))

    def connect(self, link: Link, connection: Connection) -> None:
        """Make the session of a link that has been welcomed."""
        self.session = Session(
            link,
            connection,
            channels=self.channels,
            serve=self._serve,
            limits=self.options.limits,
            no_channel=_NO_CHANNEL,
            far_side="the server",
            remote_error=KernelError,
            streams=self.streams,
            heartbeat=None,
            far_beat=connection.far_beat,
        )

    async def run(self, early: Sequence[Message]) -> None:
        """Run the session until it ends."""
        try:
            await self.session.run(early)
        finally:
            self._changed.unpark_all()
            log(logging.INFO, "not connected to a server any more: %s", self.session.why_ended)

    def _serve(self, session: Session, request: Open | Close) -> None:
        if isinstance(request, Open):
            full = session.find_full(request)
            most = self.options.limits.channels
            if len(self.channels) + self._opening >= most:
                full = f"too many channels at once: {most:,} are open already (Limits.channels)"
            if full is not None:
                session.tell(Error(request.id, "busy", "", full))
                return
            invocation = session.invoke(request, self.options.methods.invocation_type)
            channel = PeerChannel(self, session, request)
            # trio runs new tasks in any order. Each opens the oldest, so that they open in the order of a page.
            self.nursery.start_soon(self._open_next)
            self._arrived.append((invocation, channel))
            self._opening += 1
            return
        closed = self.channels.pop(request.channel, None)
        if closed is None:
            session.tell(Error(request.id, "channel", "", _NO_CHANNEL))
        else:
            closed.end()
            session.tell(Result(request.id, pack(None, field_name="value", shown_as="result")))

    async def _open_next(self) -> None:
        try:
            await self._run_opening(*self._arrived.popleft())
        finally:
            self._opening -= 1

    async def _run_opening(self, invocation: Invocation, channel: PeerChannel) -> None:
        on_open = self.options.on_open
        with invocation:
            value = None
            try:
                if on_open is not None:
                    value = on_open(channel, channel.code)
                    value = await value if inspect.isawaitable(value) else value
                # Its `close` may have come already, behind the `cancel`, and found no channel to close.
                await trio.lowlevel.checkpoint_if_cancelled()
                await invocation.session.room.wait()
            except BaseException as raised:
                error = contain(raised, "on_open", contains=self.options.methods.contains_exits)
                if not isinstance(error, Exception):
                    raise
                log(logging.ERROR, "on_open raised", error=error)
                stack = self.options.methods.format_stack(error) if self.options.tracebacks else None
                invocation.fail_with(error, stack=stack)
                return
            self.channels[channel.number] = channel
            self._changed.unpark_all()
            invocation.succeed(value)


@asynccontextmanager
async def open_peer(
    url: str,
    options: PeerOptions,
    *,
    token: str | None = None,
    connect: Callable[[], Awaitable[trio.abc.Stream]] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Peer]:
    """Connect to a server for the time of an ``async with`` block.

    Args:
        url: The URL of the server's page; or of the server when the token is given beside it.
        options: How the peer behaves.
        token: The server's token, where the URL does not carry it.
        connect: Opens a connection to the server, instead of TCP to the URL's host.
        ssl_context: Decides which certificates are trusted, where the URL is one of https; ``None`` for the system's.

    Raises:
        UnreachableError: The server cannot be reached, or its certificate is not trusted.
        trio.TooSlowError: The server did not answer within ``Limits.handshake_seconds``.
        RefusedError: The server refused the connection. The message is the server's.
        PageLostError: The connection was lost during the handshake.
        ProtocolError: What answers there is no jchannel server.
        TypeError, ValueError: An argument is not of its kind.

    Leaving the block closes the connection. Cancelling it does the same.
    """
    url, token = _split_url(url, token)  # A traceback that shows local variables must not show the token.
    _check_client(options.client)
    _check_ssl(ssl_context, url, connect)
    limits = options.limits
    connect = partial(_open_stream, url, ssl_context) if connect is None else connect
    opened: list[trio.abc.Stream] = []
    try:
        async with open_flat_nursery() as nursery:
            peer = Peer(options, nursery)
            nursery.start_soon(peer.deadlines.run)
            early = await _open_session(url, token, peer, connect, opened)
            nursery.start_soon(peer.run, early)
            try:
                yield peer
            finally:
                peer.session.end("closed", "the peer has closed the connection")
                with trio.move_on_after(limits.close_seconds, shield=True):
                    await peer.session.wait_ended()
                nursery.cancel_scope.cancel()
    finally:
        for stream in opened:
            await aclose_now(stream)


async def _open_session(
    url: str, token: str, peer: Peer, connect: Callable[[], Awaitable[trio.abc.Stream]], opened: list[trio.abc.Stream]
) -> list[Message]:
    """Open a connection, and make the peer's session of it. Return the messages that came behind the welcome.

    Whatever can go wrong becomes an error that names the server, and who is to blame.
    """
    options, limits = peer.options, peer.options.limits
    parts = urlsplit(url)
    waits_for = "could not be connected to"
    try:
        with trio.move_on_after(limits.handshake_seconds) as timer:
            stream = await connect()
            opened.append(stream)
            waits_for = "did not answer the WebSocket's request"
            link = await open_websocket(
                stream,
                host=parts.netloc,
                path=parts.path + SOCKET_PATH,
                subprotocols=subprotocols(token),
                frame_bytes=limits.frame_bytes,
            )
            link = link if options.wrap_link is None else options.wrap_link(link)
            name = secrets.token_urlsafe(12) if options.client is None else options.client
            waits_for = "opened a WebSocket, and did not answer the hello"
            connection, early = await greet(link, name)
    except (UnreachableError, RefusedError) as error:
        without_locals(error)  # The frames below have sent the token.
        raise
    except OSError as error:
        raise UnreachableError(f"{url} cannot be reached: {_explain(error)}") from without_locals(error)
    except RejectedError as error:
        raise _translate_status(url, error) from without_locals(error)
    except (LinkClosed, PageLostError) as error:
        text = f"the connection to {url} was lost: {error}"
        raise PageLostError(text) from without_locals(error)
    except ForeignError as error:
        raise ProtocolError(f"what listens at {url} is no jchannel server: {error}") from without_locals(error)
    except ProtocolError as error:
        text = f"what listens at {url} is no jchannel server, or a broken one: {error}"
        raise ProtocolError(text) from without_locals(error)
    if timer.cancelled_caught:
        raise trio.TooSlowError(f"{url} {waits_for} within {limits.handshake_seconds:g} s")
    log(logging.INFO, "connected to %s", url)
    peer.connect(link, connection)
    return early


def _translate_status(url: str, rejected: RejectedError) -> Exception:
    """Return the error for an HTTP status in the place of a WebSocket."""
    status, answered = rejected.status, f"HTTP {rejected.status}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        text = f"{url} refused the connection with {answered}: it, or a proxy before it, knows no such token"
        return RefusedError("forbidden", text)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnreachableError(f"{url} cannot be reached: the proxy before it answers {answered}")
    if rejected.location:
        # The far side wrote it. A peer that followed it would show the token to whomever it names.
        text = f"{url} redirects with {answered} to {shorten(rejected.location)}, and a peer follows no redirects"
        return ProtocolError(f"{text}: give it the server's own URL")
    return ProtocolError(f"what listens at {url} is no jchannel server: it answers {answered} to a WebSocket's request")


def _explain(error: OSError) -> str:
    """Return what the operating system says, of each address that was tried."""
    tried = error.__cause__
    reasons = [one for one in tried.exceptions if isinstance(one, OSError)] if isinstance(tried, ExceptionGroup) else []
    texts = dict.fromkeys(one.strerror or text_of(one) for one in reasons or [error])
    if any(isinstance(one, ConnectionRefusedError) for one in reasons):
        return f"{'; '.join(texts)}: nothing listens there; the URL of a server changes with each start"
    if isinstance(error, socket.gaierror):
        return f"the name of its host is not known ({'; '.join(texts)})"
    return "; ".join(texts)


def _split_url(url: str, token: str | None) -> tuple[str, Secret]:
    """Return the server's base URL, and the token: as it is given, or from the fragment of a page URL.

    Raises:
        TypeError, ValueError: The URL or the token is not one.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, and not {url!r}")
    base, _, fragment = str(url).partition("#")  # Without its fragment a URL is no secret, and errors show it.
    base = check_url(base)
    try:
        str(urlsplit(base).hostname).encode("idna")
    except UnicodeError as error:
        raise ValueError(f"url names a host that cannot be one: {text_of(error)}") from None
    return base, _check_token(parse_qs(fragment).get("jchannel", [""])[0] if token is None else token)


def _check_token(token: object) -> Secret:
    """Return a token that can be sent. The error does not show it, and what sends it would show it in its own."""
    if not isinstance(token, str):
        raise TypeError(f"token must be a str, and not {name_of(token)}")
    if not _TOKEN.fullmatch(token):
        raise ValueError("token has characters that no token has, such as a line break at its end: take server.token")
    return Secret(token)


def _check_ssl(ssl_context: object, url: str, connect: object) -> None:
    if ssl_context is None:
        return
    if not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, or None for the system's, and not {ssl_context!r}")
    if connect is not None:
        raise ValueError("ssl_context is for connections of jchannel's own: let connect open its own TLS")
    if not url.startswith("https:"):
        raise ValueError(f"ssl_context is for a URL of https, and this is {url}")


def _check_client(client: str | None) -> None:
    if client is not None and not isinstance(client, str):
        raise TypeError(f"client must be a str, or None for a random name, and not {client!r}")
    if client is not None and not 1 <= len(client) <= MAX_CLIENT_LENGTH:
        raise ValueError(f"client must have 1 to {MAX_CLIENT_LENGTH} characters, and it has {len(client)}")


async def _open_stream(url: str, ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
    """Open a connection to the host of a URL, with TLS where it is one of https.

    Raises:
        OSError: The host cannot be reached.
        UnreachableError: It can, and there is no TLS with it.

    Cancelling it leaves no connection open.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    secure = parts.scheme == "https"
    stream = await trio.open_tcp_stream(parts.hostname, parts.port or (_HTTPS_PORT if secure else _HTTP_PORT))
    close_when_forked(stream)
    if not secure:
        return stream
    context = ssl.create_default_context() if ssl_context is None else ssl_context
    secured = trio.SSLStream(stream, context, server_hostname=parts.hostname, https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        await aclose_now(secured)
        raise UnreachableError(f"{url} cannot be reached: {_explain_tls(error.__cause__)}") from error
    except BaseException:
        await aclose_now(secured)
        raise
    return secured


def _explain_tls(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message}; for one of your own pass an ssl_context that "
            "trusts it"
        )
    if isinstance(error, ssl.SSLError):
        return f"there is no TLS with it: {error.reason or text_of(error)}; a server without TLS has a URL of http"
    return "it broke off during the handshake of TLS"

"""The server: listens, admits one page at a time, and owns the channels."""

from __future__ import annotations

import enum
import logging
import math
import ssl
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from jchannel._core.acceptor import Acceptor
from jchannel._core.addresses import DEFAULT_PORT, base_url, check_url, open_listeners
from jchannel._core.arguments import check_timeout
from jchannel._core.auth import Gate, check_origins, make_token
from jchannel._core.channel import ServerChannel
from jchannel._core.deadlines import Deadlines
from jchannel._core.forked import FORKED, close_when_forked, disown_when_forked
from jchannel._core.greeting import receive_hello, refuse
from jchannel._core.limits import Limits
from jchannel._core.nursery import aclose_now, open_flat_nursery
from jchannel._core.routes import Routes
from jchannel._core.server_carrier import STREAMS_PATH, serve_ticket
from jchannel._core.session import Session
from jchannel._core.statistics import ChannelTally, ServerStatistics, SocketTally
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.transport import Link
from jchannel._core.tree import PageNode, ServerTree
from jchannel._core.watch import Board, ChannelStatus, PageStatus
from jchannel._guarded import log, repr_of, text_of
from jchannel._protocol.connection import Connection
from jchannel._protocol.messages import Hello, Welcome
from jchannel._protocol.values import PLAIN, Conversion
from jchannel._secret import Secret
from jchannel.errors import ClosedError, FrontendError, RefusedError

__all__ = ["TAKEN", "Server", "ServerState"]


#: Why a second page is refused.
TAKEN: Final = "another page is connected to this server, which takes one at a time"

#: The logger of pages that come and go.
_SESSION: Final = "jchannel.session"


class ServerState(enum.Enum):
    """How far a server is."""

    STARTING = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


#: The states that may follow a state. Closing it again changes nothing.
_FOLLOWING: Final = {
    ServerState.STARTING: {ServerState.OPEN, ServerState.CLOSED},
    ServerState.OPEN: {ServerState.CLOSED},
    ServerState.CLOSED: {ServerState.CLOSED},
}


class Server:
    """A server that one page at a time can connect to. ``run`` lives as long as it does.

    Channels can be opened in it from the beginning: they wait for a page.

    Args:
        host: The name or address to listen on. ``localhost`` means the loopback addresses of IPv4 and of IPv6.
        port: The port; 0 for any free one; ``None`` for 8889 or, where that is taken, a free one.
        url: The URL under which pages reach the server, where a proxy is between; ``None`` for its own.
        heartbeat: Seconds between two beats of the page, and the most that its answer may take.
        origins: Origins of pages that may connect, beside those of this machine and of the server itself.
        tracebacks: Whether the page gets the traceback of an exception that a Python handler raised.
        limits: The limits of what a peer controls; ``None`` for the defaults.
        listeners: Listeners to accept connections from, instead of sockets on ``host`` and ``port``.
        ssl_context: Lets the server speak TLS, with the certificate of this context; ``None`` for plain HTTP.
        conversion: What becomes of values that JSON has no form for, in channels that have no conversion of their own.

    Attributes:
        token: The secret that lets a page connect.
        gate: Decides who may connect.
        routes: What answers HTTP requests.
        limits: As above.
        tracebacks: As above.
        conversion: As above.
        heartbeat: As above.
        deadlines: Expires the requests of all channels.
        streams: The streams of all channels.
        tally: Counts what the requests and streams of all channels come to.
        pages: How many times a page has connected.
        board: Shows whether one is connected.
        channel_boards: Those of all its channels.
        advice: What a person is to do when no page is connected, as the end of a sentence.
        forked: Whether this is the copy of a forked process, in which it cannot be used.

    Raises:
        TypeError, ValueError: An argument is not of its kind.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        *,
        url: str | None = None,
        heartbeat: float = 15,
        origins: Iterable[str] = (),
        tracebacks: bool = False,
        limits: Limits | None = None,
        listeners: Sequence[trio.abc.Listener[Any]] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        conversion: Conversion = PLAIN,
    ) -> None:
        self.limits: Limits = _check_limits(limits)
        self.tracebacks = tracebacks
        self.conversion = conversion
        self.token: Secret = make_token()
        self.pages: int = 0
        self.advice = "open server.page_url in a browser"
        self.deadlines: Deadlines = Deadlines()
        self.streams: StreamRegistry = StreamRegistry(self.limits)
        self.tally: ChannelTally = ChannelTally()
        self.heartbeat: float = _check_heartbeat(heartbeat)
        self._host = host
        self._port = port
        self._listeners = None if listeners is None else _check_listeners(listeners)
        self._ssl_context = _check_ssl_context(ssl_context)
        self._url = None if url is None else check_url(url)
        self.prefix: str = "" if self._url is None else urlsplit(self._url).path
        self.gate: Gate = Gate(self.token, frozenset(), check_origins(origins))
        self.routes: Routes = Routes(self.prefix)
        self.routes.add(STREAMS_PATH, partial(serve_ticket, self.streams))
        self._acceptor = Acceptor(self.gate, self.routes, self.prefix, self.limits, self._serve_page)
        self._state = ServerState.STARTING
        self._clock = trio.lowlevel.current_clock()
        self._socket_tally = SocketTally()
        self._session: Session | None = None
        # Those for whom the next page takes over.
        self._movers: set[object] = set()
        self._page_changed = trio.lowlevel.ParkingLot()
        self.board: Board[PageStatus] = Board(PageStatus(connected=False, page="", pages=0, why=""))
        self.channel_boards: weakref.WeakSet[Board[ChannelStatus]] = weakref.WeakSet[Board[ChannelStatus]]()
        self._nursery: trio.Nursery | None = None
        self._waiting_tasks: list[tuple[Callable[..., Any], tuple[object, ...]]] = []
        # The channels that are open or opening by their numbers, and those that have tasks.
        self._channels: dict[int, ServerChannel] = {}
        self._held: Counter[ServerChannel] = Counter()
        self._last_channel = 0
        self._failure: Exception | None = None
        self.forked: bool = False
        disown_when_forked(self)

    @property
    def url(self) -> str:
        """The URL under which the server is reached, without a slash at its end.

        Raises:
            ClosedError: The server does not listen yet.
        """
        if self._url is None:
            raise ClosedError("the server is not started: start it first")
        return self._url

    @property
    def page_url(self) -> str:
        """The URL that a browser opens to connect. It carries the token, so it is as secret as the token is."""
        return f"{self.url}/#jchannel={self.token}"

    @property
    def state(self) -> ServerState:
        """How far it is. Safe in any thread."""
        return self._state

    @property
    def session(self) -> Session | None:
        """The session of the page that is connected, or ``None``. Safe in any thread."""
        session = self._session  # Once: other threads ask, too.
        return session if session is not None and session.alive else None

    def describe(self) -> str:
        """Return its address and state, for a ``repr``. Nothing secret is in it. Safe in any thread."""
        state = "closed" if self._state is ServerState.CLOSED else ""
        return f"at {self._url}, {state or ('page connected' if self.session else 'no page connected')}"

    def statistics(self) -> ServerStatistics:
        """Return what the server has under way, and what it had so far. Safe in any thread; it never waits."""
        session = self.session
        channels = [channel.statistics() for channel in list(self._held)]
        return ServerStatistics(
            page_connected=session is not None,
            page="" if session is None else session.client,
            door="" if session is None else session.door,
            door_reason="" if session is None else session.door_reason,
            connected_seconds=None if session is None else self._clock.current_time() - session.since,
            round_trip=None if session is None else session.heartbeat.round_trip,
            connections=self._acceptor.connections,
            channels=len(self._channels),
            waiting_requests=sum(channel.waiting_requests for channel in channels),
            # Those that open and close channels are not of a channel.
            pending_requests=0 if session is None else session.pending,
            running_requests=sum(channel.running_requests for channel in channels),
            outgoing_streams=sum(channel.outgoing_streams for channel in channels),
            incoming_streams=sum(channel.incoming_streams for channel in channels),
            calls_made=self.tally.made.totals(),
            calls_served=self.tally.served.totals(),
            stream_bytes_sent=self.tally.stream_bytes_sent,
            stream_bytes_received=self.tally.stream_bytes_received,
            socket=self._socket_tally.totals(),
        )

    def tree(self) -> ServerTree:
        """Return what the server has under way, as data. Safe in any thread; it never waits."""
        return ServerTree(
            url=self.url,
            connections=self._acceptor.connections,
            page=self._describe_page(),
            channels=tuple(channel.tree() for channel in list(self._held)),
        )

    def _describe_page(self) -> PageNode | None:
        session = self._session
        if session is None or session.finished:
            return None
        return PageNode(
            name=session.client,
            state=f"its connection is ending: {session.why_ended}" if session.why_ended else "connected",
            seconds=self._clock.current_time() - session.since,
            round_trip=session.heartbeat.round_trip,
            waiting_bytes=session.waiting_bytes,
        )

    # Its life

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen for the time of an ``async with`` block.

        Raises:
            OSError: The port is taken, or the host is not this machine's. The message names it.
            TypeError, ValueError: The host or the port is not one.

        Leaving the block closes the channels, says goodbye to the page and waits until all has ended. Cancelling it
        does the same within ``Limits.close_seconds``.
        """
        listeners: Sequence[trio.abc.Listener[Any]] = ()
        async with open_flat_nursery() as nursery:
            try:
                self._nursery = nursery
                self.start_soon(self.deadlines.run)
                waiting, self._waiting_tasks = self._waiting_tasks, []
                for function, args in waiting:
                    self.start_soon(function, *args)
                try:
                    listeners = await self._open_listeners()
                except Exception as error:
                    self._failure = error
                    raise
                serve = partial(trio.serve_listeners, self._serve_stream, list(listeners), handler_nursery=nursery)
                nursery.start_soon(self._run_task, serve, name=f"listening at {self.url}")
                self._move(ServerState.OPEN)
                log(logging.INFO, "the server has started at %s", self.url)
                yield
            finally:
                with trio.move_on_after(2 * self.limits.close_seconds, shield=True):
                    await self._close()
                self._nursery = None
                nursery.cancel_scope.cancel()
                for listener in listeners:
                    await aclose_now(listener)
                if listeners:
                    log(logging.INFO, "the server at %s has stopped", self.url)

    def _serve_stream(self, stream: trio.abc.Stream) -> Awaitable[None]:
        close_when_forked(stream)
        return self._acceptor.serve(stream)

    async def _open_listeners(self) -> Sequence[trio.abc.Listener[Any]]:
        listeners: Sequence[trio.abc.Listener[Any]]
        port = self._port
        if self._listeners is None:
            sockets = await open_listeners(self._host, port)
            port = sockets[0].socket.getsockname()[1]
            listeners = list[trio.abc.Listener[Any]](sockets)
        else:
            listeners = self._listeners
        if self._url is None:
            scheme = "http" if self._ssl_context is None else "https"
            self._url = base_url(self._host, port or DEFAULT_PORT, scheme)
        for listener in listeners:
            close_when_forked(listener)
        self.gate.hosts |= {urlsplit(self._url).hostname or ""}
        return listeners if self._ssl_context is None else _secure(listeners, self._ssl_context)

    async def _close(self) -> None:
        """End the page's session with a goodbye, and the channels. Cancelling it leaves out the goodbye."""
        if self._state is ServerState.OPEN:
            failed = "" if self._failure is None else f", because of an error: {repr_of(self._failure)}"
            log(logging.INFO, "the server at %s is stopping%s", self.url, failed)
        self._move(ServerState.CLOSED)
        for channel in list(self._channels.values()):
            channel.shut(self._explain_end(), tell=False, cause=self._failure)
        self._page_changed.unpark_all()
        session = self._session
        if session is not None and not session.finished:
            session.end("closed", "the server was closed")
            await session.wait_ended()
        else:
            await trio.lowlevel.checkpoint()
        self.board.end()
        for board in list(self.channel_boards):
            board.end()

    def _move(self, state: ServerState) -> None:
        assert state in _FOLLOWING[self._state], (self._state, state)
        self._state = state

    def start_soon(self, function: Callable[..., Any], *args: object) -> None:
        """Start a task that lives no longer than the server: at once, or as soon as it is opened."""
        if self._nursery is None:
            self._waiting_tasks.append((function, args))
        else:
            self._nursery.start_soon(self._run_task, function, *args)

    async def _run_task(self, function: Callable[..., Any], *args: object) -> None:
        """Run a task of the server, and remember its error: those who wait for the server get it as the cause."""
        try:
            await function(*args)
        except Exception as error:
            self._failure = error
            raise

    def disown(self) -> None:
        """Refuse to be used in a forked process: server, page and channels are its parent's.

        Called in whatever thread has forked; it must not wait.
        """
        self.forked = True
        self._state = ServerState.CLOSED
        self._session = None
        for channel in list(self._held):
            channel.disown()
        self._channels.clear()

    def _explain_end(self) -> str:
        """Return why it has ended, as the end of a sentence about a channel."""
        if self._failure is None:
            return "its server was closed"
        return f"the server has ended with an error: {repr_of(self._failure)}"

    def check_open(self) -> None:
        """Refuse to go on with a server that is closed.

        Raises:
            ClosedError: It is.
        """
        if self.forked:
            raise ClosedError(FORKED)
        if self._state is ServerState.CLOSED:
            if self._failure is None:
                raise ClosedError("the server is closed")
            raise ClosedError(f"the server has ended with an error: {repr_of(self._failure)}") from self._failure

    # Its page

    async def wait_page(self, timeout: float | None = None) -> None:
        """Wait until a page is connected.

        Args:
            timeout: Seconds; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out.
            ClosedError: The server is closed.
            TypeError, ValueError: The timeout is not one.

        Cancelling it does nothing else.
        """
        limit = check_timeout(timeout)
        with trio.move_on_after(limit):
            await trio.lowlevel.checkpoint()
            while self.session is None:
                self.check_open()
                await self._page_changed.park()
            return
        raise trio.TooSlowError(f"waiting for a page took longer than {limit:g} s: {self.explain_wait()}")

    def begin_move_to_newest_page(self) -> tuple[object, str]:
        """Let the next page that connects take over from the one that is connected, from now on.

        Returns:
            What ``wait_newest_page`` takes.

        Raises:
            ClosedError: The server is closed.
        """
        self.check_open()
        old = "" if self.session is None else self.session.client
        mover = object()
        if old:
            self._movers.add(mover)
        return mover, old

    async def wait_newest_page(self, mover: object, old: str, limit: float) -> None:
        """Wait until another page has taken over, as ``begin_move_to_newest_page`` has allowed.

        Args:
            mover: As that has returned it.
            old: As that has returned it.
            limit: Seconds; infinity for no limit.

        Raises:
            trio.TooSlowError: The time ran out. The page that was connected still is.
            ClosedError: The server is closed.

        Cancelling it leaves everything as it is.
        """
        try:
            with trio.move_on_after(limit):
                await trio.lowlevel.checkpoint()
                while self.session is None or self.session.client == old:
                    self.check_open()
                    await self._page_changed.park()
                return
        finally:
            self._movers.discard(mover)
        raise trio.TooSlowError(f"no other page connected within {limit:g} s")

    def explain_wait(self) -> str:
        """Return what a channel waits for, when it waits for a page; empty when one is connected."""
        if self.session:
            return ""
        return f"no page is connected to {self._url or 'the server, which is being started'}; {self.advice}"

    async def serve_link(self, link: Link) -> None:
        """Serve a page over a link that something else has accepted, as over a WebSocket that has shown the token.

        Args:
            link: The link. It is closed in the end.

        Raises:
            ClosedError: The server is closed.

        It returns when the page's connection has ended. Cancelling it ends the connection without a goodbye.
        """
        try:
            self.check_open()
            await trio.lowlevel.checkpoint()
            limits = self.limits
            greeting: tuple[Connection, Hello] | None = None
            with trio.move_on_after(limits.handshake_seconds):
                greeting = await receive_hello(link, limits.frame_bytes, limits.close_seconds)
            if greeting is not None:
                await self._serve_page(link, *greeting)
        finally:
            await aclose_now(link)

    async def _serve_page(self, link: Link, connection: Connection, hello: Hello) -> None:
        """Serve a page that has said hello, until its connection ends."""
        refusal = await self._make_way(hello)
        if refusal is not None:
            log(logging.INFO, "a page with the token was refused: %s", refusal, name=_SESSION)
            await refuse(link, connection, refusal, seconds=self.limits.close_seconds)
            return
        limits = self.limits
        welcome = Welcome(
            self.heartbeat,
            limits.frame_bytes,
            limits.cancel_seconds,
            tuple(self._channels),
            limits.http_streams,
        )
        try:
            connection.send(welcome)
        except ValueError as error:  # It names the channels.
            words = (
                f"the page cannot be told which channels are open, {len(self._channels):,} of them: {text_of(error)}"
            )
            log(logging.WARNING, "a page was refused: %s", words)
            await refuse(link, connection, RefusedError("closed", words), seconds=limits.close_seconds)
            return
        session = Session(
            link,
            connection,
            channels=self._channels,
            serve=None,
            limits=self.limits,
            no_channel="the channel is closed in Python",
            far_side="the page",
            remote_error=FrontendError,
            streams=self.streams,
            heartbeat=self.heartbeat,
            tally=self._socket_tally,
        )
        session.client = hello.client
        session.door, session.door_reason = hello.door or "", hello.why or ""
        self._session = session
        session.on_end = partial(self._note_end, session)
        self.pages += 1
        log(
            logging.INFO,
            "the page %r has connected, and gets %d channels",
            hello.client,
            len(self._channels),
            name=_SESSION,
        )
        try:
            await session.run(begin=partial(self._open_channels, session))
        finally:
            seconds = trio.current_time() - session.since
            text = "the page %r is not connected any more, after %.1f s: %s"
            log(logging.INFO, text, hello.client, seconds, session.why_ended, name=_SESSION)

    def _open_channels(self, session: Session) -> None:
        """Open the channels in a page that has connected, before anything else is sent."""
        for channel in list(self._channels.values()):
            if session.alive:  # An error of the library may have ended it.
                channel.attach(session)
        if session.alive:
            self.board.show(PageStatus(connected=True, page=session.client, pages=self.pages, why=""))
        self._page_changed.unpark_all()

    def _note_end(self, session: Session) -> None:
        """Show those who watch that the page is not connected any more."""
        self.board.show(PageStatus(connected=False, page=session.client, pages=self.pages, why=session.why_ended))
        for channel in list(self._channels.values()):
            channel.note_state()

    async def _make_way(self, hello: Hello) -> RefusedError | None:
        """Make room for a page that connects; return why not, where there is none."""
        while self._state is not ServerState.CLOSED:
            session = self._session
            if session is None or session.finished:
                return None
            words = "the page has connected anew"
            if session.alive and session.client != hello.client:
                if not self._movers:
                    return RefusedError("taken", TAKEN)
                self._movers.clear()
                words = "another page has taken over, as server.move_to_newest_page() has asked for"
            session.end("replaced", words)
            await session.wait_ended()
        return RefusedError("closed", "the server is closing")

    # Its channels

    def register(self, channel: ServerChannel) -> int:
        """Return the number of a channel that is being opened.

        Raises:
            ClosedError: The server is closed.
        """
        self.check_open()
        self._last_channel += 1
        self._channels[self._last_channel] = channel
        return self._last_channel

    def unregister(self, number: int) -> None:
        """Forget a channel that is being closed."""
        del self._channels[number]

    def add(self, channel: ServerChannel) -> None:
        """Show a channel in the tree, from now on until it is removed as often."""
        self._held[channel] += 1

    def remove(self, channel: ServerChannel) -> None:
        """Show a channel in the tree no more: what it had under way has ended."""
        self._held[channel] -= 1
        if not self._held[channel]:
            del self._held[channel]


def _check_limits(limits: Limits | None) -> Limits:
    if limits is None:
        return Limits()
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits, and not {limits!r}")
    return limits


def _check_listeners(listeners: Sequence[trio.abc.Listener[Any]]) -> list[trio.abc.Listener[Any]]:
    checked = list(listeners)
    if not checked:
        raise ValueError("listeners must not be empty: leave it out to listen on host and port")
    return checked


def _check_ssl_context(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, or None for plain HTTP, and not {context!r}")
    if context is not None and context.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError(
            "ssl_context is one for clients: make it with ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), and "
            "load the certificate into it with load_cert_chain()"
        )
    return context


def _secure(
    listeners: Sequence[trio.abc.Listener[Any]], context: ssl.SSLContext
) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
    """Return listeners whose streams speak TLS. The handshake is part of reading the first head, and of its time."""
    # As over HTTPS, the end of a connection is not negotiated: all that counts says itself where it ends.
    return [trio.SSLListener(listener, context, https_compatible=True) for listener in listeners]


def _check_heartbeat(heartbeat: float) -> float:
    if isinstance(heartbeat, bool) or not isinstance(heartbeat, int | float):
        raise TypeError(f"heartbeat must be seconds as int or float, and not {heartbeat!r}")
    seconds = check_timeout(heartbeat) if heartbeat > 0 else 0.0
    if not 0 < seconds < math.inf:
        raise ValueError(f"heartbeat must be a positive, finite number of seconds, and it is {heartbeat!r}")
    return seconds

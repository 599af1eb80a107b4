"""The server: listens, admits one page at a time, and owns the channels."""

from __future__ import annotations

import webbrowser
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from jchannel._core.addresses import DEFAULT_PORT, base_url, check_url, open_listeners
from jchannel._core.arguments import check_timeout
from jchannel._core.asgi import Receive, Scope, Send
from jchannel._core.auth import Gate, check_origins, make_token
from jchannel._core.channel import Channel
from jchannel._core.channel_streams import Give, give
from jchannel._core.handlers import Invoke, invoke
from jchannel._core.http import HttpServer
from jchannel._core.limits import Limits
from jchannel._core.listen import Reception, refuse
from jchannel._core.nursery import aclose_now, open_flat_nursery
from jchannel._core.registry import ServerCarrier
from jchannel._core.session import Session
from jchannel._core.statistics import ChannelTally, ServerStatistics, SocketTally
from jchannel._core.tickets import STREAMS_PATH, Tickets
from jchannel._core.transport import Link
from jchannel._core.tree import PageNode, ServerTree
from jchannel._notebook.desk import Claims
from jchannel._notebook.figures import describe_server
from jchannel._notebook.panel import Panel
from jchannel._page.app import PageApp
from jchannel._protocol.connection import Connection
from jchannel._protocol.messages import Call, Echo, Hello, Pipe, Request, Welcome
from jchannel.errors import ClosedError, FrontendError, RefusedError

__all__ = ["Server", "open_server"]


class Server:
    """A server that one page at a time can connect to. ``open_server`` makes them.

    Attributes:
        url: The URL under which the server is reached, without a slash at its end.
        tracebacks: Whether the page gets the traceback of an exception that a Python handler raised.
        claims: Where a notebook's page gets the token.
        pages: How many times a page has connected.
        page_advice: What a person is to do when no page is connected, as the end of a sentence.
        tally: Counts what the requests and streams of all channels come to.
    """

    def __init__(
        self,
        url: str,
        *,
        static: str | Path | None,
        origins: frozenset[str],
        limits: Limits,
        heartbeat: float,
        tracebacks: bool,
    ) -> None:
        parts = urlsplit(url)
        self.url = url
        self.tracebacks = tracebacks
        self.pages = 0
        self.page_advice = "open server.page_url in a browser"
        self._prefix = parts.path
        self.tally = ChannelTally()
        self._socket_tally = SocketTally()
        self._clock = trio.lowlevel.current_clock()
        self._token = make_token()
        self._limits = limits
        self._heartbeat = heartbeat
        gate = Gate(self._token, frozenset({parts.hostname or ""}), origins)
        self.claims = Claims(self._token, limits.claim_seconds, gate.admit)
        self._page_app = PageApp(static, parts.path, gate.allows_host)
        self._tickets = Tickets()
        http = HttpServer(self._serve_http, limits)
        self._reception = Reception(gate, http, parts.path, limits, self._serve_page)
        self._connections = 0
        self._session: Session | None = None
        # Those for whom the next page takes over.
        self._movers: set[object] = set()
        self._page_changed = trio.lowlevel.ParkingLot()
        self._channels: dict[int, Channel] = {}
        self._held: dict[Channel, None] = {}
        self._last_channel = 0
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "page connected" if self.session else "no page connected"
        return f"<{type(self).__module__}.{type(self).__qualname__} at {self.url}, {state}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """As IPython asks for: in notebooks, a panel."""
        return {"text/plain": repr(self), "text/html": self.claims.panels.render(self)}

    def panel(self) -> Panel:
        """What its panel in a notebook says now. It can be asked in any thread, and never waits."""
        return describe_server(self.url, self.statistics(), closed=self._closed)

    @property
    def token(self) -> str:
        """The secret that lets a page connect. Whoever has it can call the handlers."""
        return self._token

    @property
    def page_url(self) -> str:
        """The URL that a browser opens to connect. It carries the token, so it is as secret as the token is."""
        return f"{self.url}/#jchannel={self._token}"

    def issue_browser_url(self) -> str:
        """A URL that leads the first who opens it to ``page_url``, and nobody after.

        It is for the command that starts a browser: other users of the machine can read commands, and tokens in them.
        """
        return self.url + self._page_app.issue_ticket(self.page_url)

    @property
    def session(self) -> Session | None:
        """The session of the page that is connected, or ``None``."""
        session = self._session  # Once: other threads ask, too.
        return session if session is not None and session.alive else None

    def statistics(self) -> ServerStatistics:
        """What the server has under way, and what it had so far. It can be asked in any thread, and never waits."""
        session = self.session
        channels = [channel.statistics() for channel in list(self._held)]
        return ServerStatistics(
            page_connected=session is not None,
            page="" if session is None else session.client,
            connected_seconds=None if session is None else self._clock.current_time() - session.since,
            round_trip=None if session is None else session.round_trip,
            connections=self._connections,
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
        """What the server has under way: its page, its channels, and each of their calls and streams.

        ``print(server.tree())`` shows a person what hangs, and what it waits for. It can be asked in any thread, and
        never waits. Nothing secret is in it.
        """
        return ServerTree(
            url=self.url,
            connections=self._connections,
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
            round_trip=session.round_trip,
            waiting_bytes=session.waiting_bytes,
        )

    async def wait_page(self, timeout: float | None = None) -> None:
        """Waits until a page is connected.

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
                self._check_open()
                await self._page_changed.park()
            return
        raise trio.TooSlowError(f"waiting for a page took longer than {limit:g} s: {self.explain_wait()}")

    async def move_to_newest_page(self, timeout: float | None = 10) -> None:
        """Lets the next page that connects take over from the one that is connected, and waits for that.

        The open channels are opened in the new page, as after a reload. The old page hears why it was left. Where no
        page is connected, this is ``wait_page``.

        Args:
            timeout: Seconds; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out. The page that was connected still is.
            ClosedError: The server is closed.
            TypeError, ValueError: The timeout is not one.

        Cancelling it leaves everything as it is.
        """
        await self.begin_move_to_newest_page(timeout)

    def begin_move_to_newest_page(self, timeout: float | None) -> Awaitable[None]:
        """As ``move_to_newest_page``, for those who ask in another thread. The next page may take over from now on.

        What is given must be awaited at once; it does the waiting.
        """
        limit = check_timeout(timeout)
        self._check_open()
        old = "" if self.session is None else self.session.client
        mover = object()
        if old:
            self._movers.add(mover)
        return self._wait_other_page(mover, old, limit)

    async def _wait_other_page(self, mover: object, old: str, limit: float) -> None:
        try:
            with trio.move_on_after(limit):
                await trio.lowlevel.checkpoint()
                while self.session is None or self.session.client == old:
                    self._check_open()
                    await self._page_changed.park()
                return
        finally:
            self._movers.discard(mover)
        raise trio.TooSlowError(f"no other page connected within {limit:g} s")

    @asynccontextmanager
    async def open_channel(
        self, code: str, *, handler: object = None, timeout: float | None = 3
    ) -> AsyncIterator[Channel]:
        """Opens a channel for the time of an ``async with`` block, and closes it afterwards.

        Args:
            code: JavaScript that evaluates to the initialization function, such as
                ``"(channel) => { channel.handler = {add: (a, b) => a + b}; }"``.
            handler: The object that handles calls from the page; it can be set later, too.
            timeout: Seconds for opening and for closing, each; ``None`` for no limit.

        Raises:
            What ``Channel.open`` and ``Channel.close`` raise, and what the block raises. When the block raises, it is
            that, and closing is given ``Limits.close_seconds``.

        Cancelling it closes the channel, and tells the page.
        """
        async with self.hold_channel(code, handler=handler) as channel:
            channel.context_timeout = timeout
            await channel.open(timeout)
            try:
                yield channel
            except BaseException:
                with trio.move_on_after(self._limits.close_seconds, shield=True):
                    await channel.close(None)
                raise
            await channel.close(channel.context_timeout)

    @asynccontextmanager
    async def hold_channel(
        self, code: str, *, handler: object = None, run_method: Invoke = invoke, give_stream: Give = give
    ) -> AsyncIterator[Channel]:
        """Gives a channel that is not open, for those who open and close it themselves.

        Args:
            code: As in ``open_channel``.
            handler: As in ``open_channel``.
            run_method: Runs the handler's methods: for those who run them elsewhere than in the channel's nursery.
            give_stream: Makes what the user gets of an incoming stream: for those who read it elsewhere than in trio.

        Raises:
            TypeError: The code is not a str.

        Entering it is no checkpoint. Leaving it waits for what runs in the channel, and cannot be cancelled at that:
        all of it has been.
        """
        if not isinstance(code, str):
            raise TypeError(f"the code of a channel must be a str of JavaScript, and not {code!r}")
        with ExitStack() as stack:
            async with open_flat_nursery() as nursery:
                channel = Channel(self, code, nursery, handler=handler, run_method=run_method, give_stream=give_stream)
                self._held[channel] = None
                stack.callback(self._held.pop, channel)  # It stays in the tree until what is in its nursery has ended.
                try:
                    yield channel
                finally:
                    channel.end("its context was left", tell=True)
                    nursery.cancel_scope.cancel()

    # For the channels

    def register(self, channel: Channel) -> int:
        """Gives a channel that is being opened its number.

        Raises:
            ClosedError: The server is closed.
        """
        self._check_open()
        self._last_channel += 1
        self._channels[self._last_channel] = channel
        return self._last_channel

    def unregister(self, number: int) -> None:
        """Forgets a channel that is being closed."""
        del self._channels[number]

    def explain_wait(self) -> str:
        """What a channel waits for, when it waits for a page; empty when one is connected."""
        return "" if self.session else f"no page is connected to {self.url}; {self.page_advice}"

    # For open_server

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serves one connection, over any stream, until its end, and closes it.

        Cancelling it closes the stream.
        """
        if self._connections >= self._limits.connections:
            await aclose_now(stream)
            return
        self._connections += 1
        try:
            await self._reception.receive(stream)
        finally:
            self._connections -= 1

    async def _serve_page(self, link: Link, connection: Connection, hello: Hello) -> None:
        """Serves a page that has said hello, until its connection ends."""
        refusal = await self._make_way(hello)
        if refusal is not None:
            await refuse(link, connection, refusal, seconds=self._limits.close_seconds)
            return
        session = Session(
            link,
            connection,
            serve=self._serve_request,
            limits=self._limits,
            far_side="the page",
            remote_error=FrontendError,
            carrier=ServerCarrier(self._tickets),
            heartbeat=self._heartbeat,
            tally=self._socket_tally,
        )
        session.client = hello.client
        limits = self._limits
        connection.send(Welcome(self._heartbeat, limits.frame_bytes, limits.cancel_seconds, tuple(self._channels)))
        self._session = session
        self.pages += 1
        for channel in list(self._channels.values()):
            channel.attach(session)
        self._page_changed.unpark_all()
        await session.run()

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(self._prefix)
        if scope["type"] == "http" and path.startswith(STREAMS_PATH):
            await self._tickets.serve(path.removeprefix(STREAMS_PATH), scope, receive, send)
        elif scope["type"] == "http" and path.startswith(self.claims.path):
            await self.claims.serve(path.removeprefix(self.claims.path), scope, receive, send)
        else:
            await self._page_app(scope, receive, send)

    async def _make_way(self, hello: Hello) -> RefusedError | None:
        """Makes room for a page that connects; gives why not, where there is none."""
        while not self._closed:
            session = self._session
            if session is None or session.finished:
                return None
            words = "the page has connected anew"
            if session.alive and session.client != hello.client:
                if not self._movers:
                    return RefusedError("taken", "another page is connected to this server, which takes one at a time")
                self._movers.clear()
                words = "another page has taken over, as server.move_to_newest_page() has asked for"
            session.end("replaced", words)
            await session.wait_ended()
        return RefusedError("closed", "the server is closing")

    def _serve_request(self, session: Session, request: Request) -> None:
        assert isinstance(request, Call | Echo | Pipe)
        channel = self._channels.get(request.channel)
        if channel is None:
            session.answer_error(request, "channel", "", "the channel is closed in Python")
        else:
            channel.serve(session, request)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the server is closed")

    async def aclose(self) -> None:
        """Ends the page's session with a goodbye, and the channels. ``open_server`` calls it at the end of its block.

        Cancelling it leaves out the goodbye.
        """
        self._closed = True
        for channel in list(self._channels.values()):
            channel.end("its server was closed", tell=False)
        self._page_changed.unpark_all()
        session = self._session
        if session is not None and not session.finished:
            session.end("closed", "the server was closed")
            await session.wait_ended()
        else:
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_server(
    host: str = "localhost",
    port: int | None = None,
    *,
    url: str | None = None,
    static: str | Path | None = None,
    open_browser: bool = False,
    heartbeat: float = 15,
    origins: Iterable[str] = (),
    tracebacks: bool = False,
    limits: Limits | None = None,
    listeners: Sequence[trio.abc.Listener[Any]] | None = None,
) -> AsyncIterator[Server]:
    """Opens a server for the time of an ``async with`` block.

    Args:
        host: The name or address to listen on. ``localhost`` means the loopback addresses of IPv4 and of IPv6.
        port: The port; 0 for any free one; ``None`` for 8889 or, where that is taken, a free one.
        url: The URL under which pages reach the server, where a proxy is between, such as
            ``https://example.com/proxy/8889``.
        static: A folder of static files to serve, with the client's script inserted into its pages; ``None`` for a
            plain page.
        open_browser: Whether to open the page in the user's browser.
        heartbeat: Seconds between two pings of the page, and the most that its answer may take.
        origins: Origins of pages that may connect, such as ``https://hub.example.com``, beside those of this machine
            and of the server itself.
        tracebacks: Whether the page gets the traceback of an exception that a Python handler raised, or only its type
            and message.
        limits: The limits of what a peer controls; ``None`` for the defaults.
        listeners: Listeners to accept connections from, instead of sockets on ``host`` and ``port``: for tests, which
            need no sockets. They are closed at the end.

    Raises:
        OSError: The port is taken, or the host is not this machine's. The message names it.
        TypeError, ValueError: An argument is not of its kind.

    Leaving the block closes the channels, says goodbye to the page and waits until all has ended. Cancelling it does
    the same within ``Limits.close_seconds``.
    """
    limits = _check_limits(limits)
    beat = check_timeout(heartbeat)
    if not 0 < beat < float("inf"):
        raise ValueError(f"heartbeat must be a positive, finite number of seconds, and it is {heartbeat!r}")
    allowed = check_origins(origins)
    public_url = None if url is None else check_url(url)
    async with open_flat_nursery() as nursery:
        if listeners is None:
            sockets = await open_listeners(host, port)
            port = sockets[0].socket.getsockname()[1]
            listeners = list[trio.abc.Listener[Any]](sockets)
        own_url = public_url or base_url(host, port or DEFAULT_PORT)
        try:
            server = Server(
                own_url, static=static, origins=allowed, limits=limits, heartbeat=beat, tracebacks=tracebacks
            )
            serve = partial(trio.serve_listeners, server.serve_stream, list(listeners), handler_nursery=nursery)
            nursery.start_soon(serve, name=f"listening at {own_url}")
            if open_browser:
                target = server.issue_browser_url()
                opening = partial(trio.to_thread.run_sync, webbrowser.open, target, abandon_on_cancel=True)
                nursery.start_soon(opening, name="opening a browser")
            try:
                yield server
            finally:
                with trio.move_on_after(2 * limits.close_seconds, shield=True):
                    await server.aclose()
        finally:
            nursery.cancel_scope.cancel()
            for listener in listeners:
                await aclose_now(listener)


def _check_limits(limits: Limits | None) -> Limits:
    if limits is None:
        return Limits()
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits, and not {limits!r}")
    return limits

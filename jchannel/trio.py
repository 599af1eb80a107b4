"""The trio face of jchannel.

Its async functions keep trio's own rule: one that returns has executed a checkpoint, one that raises may have. An async
context manager executes one when it is entered or when it is left. Where it is otherwise, the docstring says so:
``MetaGenerator``'s.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, final

import trio

from jchannel._assembly import Assembly, PageKind, ServerOptions
from jchannel._core import peer as core_peer
from jchannel._core.arguments import PIPE, check_name, check_timeout, pack_call, pack_echo
from jchannel._core.channel import BLOCK_LEFT, CLOSED, ChannelState, ServerChannel
from jchannel._core.endpoint import Endpoint
from jchannel._core.failures import Listener, OnFailure, TaskListener, check_on_failure
from jchannel._core.invocation import CURRENT, time_left
from jchannel._core.latest import Latest, LatestStatistics, LatestValue
from jchannel._core.limits import Limits
from jchannel._core.posts import Post, PostRoom
from jchannel._core.request import Request
from jchannel._core.statistics import CallTotals, ChannelStatistics, ServerStatistics, SocketTotals
from jchannel._core.transport import Link, LinkClosed
from jchannel._core.tree import CallNode, ChannelTree, PageNode, ServerTree, StreamNode
from jchannel._core.watch import ChannelStatus, PageStatus, Watch
from jchannel._notebook.figures import ChannelPanel, ServerPanel
from jchannel._protocol import messages
from jchannel._protocol.values import Conversion, Default, Nan
from jchannel._sealed import NoPublicConstructor
from jchannel._secret import hide
from jchannel._streams.progress import Progress, check_progress
from jchannel._streams.reader import MetaGenerator
from jchannel._streams.sources import check_source
from jchannel._tracebacks import trimmed, trimmed_context

__all__ = [
    "CallNode",
    "CallTotals",
    "Channel",
    "ChannelStatistics",
    "ChannelStatus",
    "ChannelTree",
    "Latest",
    "LatestStatistics",
    "Limits",
    "Link",
    "LinkClosed",
    "OnFailure",
    "OnOpen",
    "PageNode",
    "PageStatus",
    "Peer",
    "PeerChannel",
    "Server",
    "ServerStatistics",
    "ServerTree",
    "SocketTotals",
    "StreamNode",
    "open_peer",
    "open_server",
    "time_left",
]


def __dir__() -> list[str]:
    return __all__


class _Calls:
    """What both sides of a channel have: calls of the far side, and what is under way.

    Args:
        core: The side of the channel in the core.
    """

    def __init__(self, core: Endpoint) -> None:
        self._core = core
        self._post_room = PostRoom()

    @property
    def handler(self) -> object:
        """The object that handles calls from the far side, or ``None``.

        Its public methods can be called, sync and async ones; of a dict, the functions in it. It may be set at any
        time, and counts from the next call on. An exception that a method raises is the answer to its call, and ends
        nothing else. What is no ``Exception``, such as ``KeyboardInterrupt`` and ``SystemExit``, is meant for the
        program: it comes out of the block that owns the channel.
        """
        return self._core.handler

    @handler.setter
    def handler(self, handler: object) -> None:
        self._core.handler = handler

    @trimmed
    async def call(self, name: str, *args: object, timeout: float | None = 3) -> Any:
        """Call a method of the far side's handler.

        Args:
            name: The method's name.
            *args: The arguments: JSON values, with bytes and arrays anywhere inside.
            timeout: Seconds for the whole request, waiting for the far side included; ``None`` for no limit.

        Returns:
            What the method returned; a ``MetaGenerator`` if that is a stream.

        Raises:
            trio.TooSlowError: The time ran out. The message says what was waited for.
            TypeError, ValueError: An argument cannot be sent as it is, or the timeout is not one. Nothing was sent.
            RemoteError: The method raised, or there is no such method: ``FrontendError`` where the far side is a page.
            ClosedError: The channel is closed, or was closed meanwhile, on either side.
            PageLostError: The connection was lost after the request had been sent. It may have run.
            RemoteCancelledError: The far side's own program cancelled what was to answer.

        The far side knows the time left: that of ``timeout``, or of a cancel scope round the call where that is less. A
        call that a handler method makes is part of the call that the method answers, and has no later deadline.

        Cancelling it, and a time that runs out, cancel the call on the far side, and wait until it has ended there, at
        most ``Limits.cancel_seconds``.
        """
        limit = check_timeout(timeout)
        return await self._start(pack_call(name, args, self._core.conversion), limit).wait()

    @trimmed
    async def call_with_stream(
        self, name: str, stream: object, *args: object, timeout: float | None = 3, progress: Progress | None = None
    ) -> Any:
        """Call a method of the far side's handler with a byte stream as its first argument.

        Args:
            name: The method's name. The method receives the stream as a ``MetaGenerator``.
            stream: The source of the stream: an async iterable of bytes-like objects, such as an async generator or a
                trio receive stream; bytes; a sync iterable of bytes-like objects, a binary file or a ``pathlib.Path``,
                which are read in a worker thread. It is closed in the end, but for a file that was open already.
            *args: The other arguments, as those of ``call``.
            timeout: Seconds without progress: in which no part of the stream is taken and no answer comes; ``None`` for
                no limit.
            progress: Called with the number of bytes read of the source, and the total or ``None``: about ten times a
                second, at the beginning and at the end. The source is read up to 1 MiB ahead of the far side.

        Returns:
            What the method returned; a ``MetaGenerator`` if that is a stream.

        Raises:
            TypeError: The stream is none of these. Nothing was sent.
            OSError: It is a path that cannot be opened. Nothing was sent.

        The rest is as with ``call``. A source that raises gives its reader the error, and fails no call by itself.
        """
        source, limit = check_source(stream), check_timeout(timeout)
        message = pack_call(name, args, self._core.conversion)
        check_progress(progress)
        return await self._start(message, limit, source, progress).wait()

    @trimmed
    def post(self, name: str, *args: object, timeout: float | None = 3, on_failure: OnFailure | None = None) -> None:
        """Call a method of the far side's handler without waiting for the answer.

        Posts and calls leave in the order in which they are made. What the method returns is dropped.

        Args:
            name: The method's name.
            *args: The arguments, as those of ``call``. They may be changed afterwards.
            timeout: As that of ``call``: while no page is there, a post waits for one that long.
            on_failure: Called once with the error if the post fails later: those of ``call``. It runs in a task of the
                channel's, and an exception that it raises is logged. ``None`` for the log: the first failure of its
                kind with the line that has posted it, and those that follow within seconds in one record.

        Raises:
            BufferFullError: Posts of ``Limits.send_buffer_bytes`` together have no answer yet. Nothing was sent.
            ClosedError: The channel is closed. Nothing was sent.
            PageLostError: The connection of the Python peer has ended. Nothing was sent.
            RuntimeError: This is not trio's thread. Nothing was sent.
            TypeError, ValueError: As with ``call``. Nothing was sent.

        What has no answer when the channel is closed, or its block is left, is cancelled: ``await channel.echo()``
        before lets all posts arrive. It never waits, and is no checkpoint. It is no part of a call that the present
        code answers: that one's time and its cancellation are not those of the post.
        """
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "channel.post of jchannel.trio was called in another thread than trio's, and nothing was sent: call "
                "trio.from_thread.run_sync(channel.post, …) there"
            )
        limit = check_timeout(timeout)
        listener = self._listen(f"channel.post({name!r})", on_failure)
        Post(self._core, pack_call(name, args, self._core.conversion), limit, self._post_room, listener).send()

    @trimmed_context
    @asynccontextmanager
    async def open_latest(
        self, name: str, *, timeout: float | None = 3, on_failure: OnFailure | None = None
    ) -> AsyncIterator[Latest]:
        """Keep a method of the far side up to date with the newest of many values, for the time of a block.

        For what changes faster than the far side takes it, such as a sensor or a training loop: ``latest.set(value)``
        never waits, one call is under way at a time, and the next one has the value that is the newest then.
        ::

            async with channel.open_latest("draw") as latest:
                async for value in sensor:
                    latest.set(value)

        Args:
            name: The method's name. It is called with the newest value.
            timeout: Seconds for each call, from when it is sent; and at the end of the block for the last value;
                ``None`` for no limit.
            on_failure: As that of ``post``: called with the error of each call that fails, because the method has
                raised or its time is over. A failed call ends nothing: the next value is sent. A call that is lost with
                its page is none.

        Raises:
            ClosedError: The channel is closed.
            PageLostError: The connection of the Python peer has ended.
            TypeError, ValueError: An argument is not of its kind.

        While no page is there the newest value waits for one, without a limit. Each page that comes gets the newest
        value, also one that another page has had already. Values have no order with calls and posts.

        Leaving the block waits until the last value has arrived. What keeps it from arriving in time is told as the
        failure of a call is, and not raised. A block that is cancelled or raises does not wait for that: it cancels the
        call that is under way, and waits until it has ended, at most ``Limits.cancel_seconds``.
        """
        check_name(name)
        limit = check_timeout(timeout)
        listener = self._listen(f"channel.open_latest({name!r})", on_failure)
        latest = LatestValue(self._core.outbox, name, limit, listener)
        latest.begin()
        try:
            yield Latest.create(latest, self._core.conversion)
            await latest.finish()
        finally:
            await latest.abandon()

    def _listen(self, what: str, on_failure: OnFailure | None) -> Listener:
        """Return what hears of failures that nobody waits for."""
        check_on_failure(on_failure)
        return Listener(what) if on_failure is None else TaskListener(what, self._core, on_failure)

    @trimmed
    async def echo(self, *args: object, timeout: float | None = 3) -> list[Any]:
        """Send arguments to the far side and receive them back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call``.

        Returns:
            The arguments, as a list.
        """
        limit = check_timeout(timeout)
        echoed: list[Any] = await self._start(pack_echo(args, self._core.conversion), limit).wait()
        return echoed

    @trimmed
    async def pipe(
        self, stream: object, timeout: float | None = 3, *, progress: Progress | None = None
    ) -> MetaGenerator:
        """Send a byte stream to the far side and receive it back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call_with_stream``.

        Returns:
            The same bytes, as a ``MetaGenerator``. ``async with`` closes it where it is not read to its end.
        """
        source, limit = check_source(stream), check_timeout(timeout)
        check_progress(progress)
        piped: MetaGenerator = await self._start(PIPE, limit, source, progress).wait()
        return piped

    @trio.lowlevel.enable_ki_protection  # Half a request would break the session.
    def _start(
        self, message: messages.Request, limit: float, source: object = None, progress: Progress | None = None
    ) -> Request:
        """Make a request now, as a part of what the present code answers, and within its cancel scopes."""
        return self._core.outbox.start(
            message,
            limit,
            source=source,
            progress=progress,
            parent=CURRENT.get(),
            outer_deadline=trio.current_effective_deadline(),
        )

    def statistics(self) -> ChannelStatistics:
        """Return what the channel has under way, and what it had so far. Safe in any thread; it never waits."""
        return self._core.statistics()

    def tree(self) -> ChannelTree:
        """Return what the channel has under way, each call and stream. Its ``str`` is text for people.

        Safe in any thread; it never waits.
        """
        return self._core.tree()


@final
class Channel(_Calls, metaclass=NoPublicConstructor):
    """A channel between Python and whichever page is connected. ``Server.open_channel`` makes it.

    A channel outlives a page: when a page comes back after a reload, a crash or a lost network, the channel is opened
    in it again before anything else is sent, and calls made meanwhile wait for that, within their timeouts.
    """

    _core: ServerChannel

    def __init__(self, core: ServerChannel, assembly: Assembly) -> None:
        super().__init__(core)
        self._panels = assembly.desk.panels
        self._panel = ChannelPanel(assembly.server, core)
        self._context_timeout: float | None = 3

    def __repr__(self) -> str:
        return f"<jchannel.trio.Channel {self._core.state.value}, {self._core.server.url}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return a panel, for IPython to show in notebooks."""
        return {"text/plain": repr(self), "text/html": self._panels.render(self._panel)}

    @property
    def code(self) -> str:
        """JavaScript that evaluates to the initialization function; empty where that is of a module."""
        return self._core.code

    @property
    def module(self) -> str:
        """The module of the page whose default export is the initialization function; empty where there is code."""
        return self._core.module

    @property
    def context_timeout(self) -> float | None:
        """The timeout in seconds for closing at the end of ``Server.open_channel``. Default is 3.

        Raises:
            TypeError, ValueError: When it is set to what is not a timeout.
        """
        return self._context_timeout

    @context_timeout.setter
    def context_timeout(self, timeout: float | None) -> None:
        check_timeout(timeout)
        self._context_timeout = timeout

    def watch(self) -> AsyncIterator[ChannelStatus]:
        """Iterate over the states of the channel, the present one first: it is opened, waits for a page, is open again.

        It is the state, and no list of events: who is slow gets the newest one, and ``openings`` tells how many he has
        missed. It holds nothing, and need not be closed. It ends with the channel's block.

        A page that comes back has none of what the one before was told, unless the same page has only lost its
        connection. So a program that keeps a page up to date begins anew with each opening::

            async with trio.open_nursery() as nursery:
                sending = trio.CancelScope()
                async for status in channel.watch():
                    sending.cancel()
                    if status.is_open:
                        sending = await nursery.start(send_all, channel)

        Cancelling it does nothing else.
        """
        return Watch(self._core.board)

    @property
    def is_open(self) -> bool:
        """Whether the channel is open or being opened, with or without a page."""
        return self._core.state is not ChannelState.CLOSED

    @trimmed
    async def open(self, timeout: float | None = 3) -> Any:
        """Open the channel: run its code's initialization function in the page.

        Args:
            timeout: Seconds for the whole, waiting for a page included; ``None`` for no limit.

        Returns:
            What the initialization function returned.

        Raises:
            trio.TooSlowError: The time ran out. The channel is closed then.
            StateError: It is open already.
            FrontendError: The code is not that of a function, the module cannot be imported or its default export is
                none, or the function raised. The channel is closed then.
            ClosedError: The server is closed, or the channel was closed meanwhile.
            ValueError: The code is larger than the connection takes at once, or the timeout is not one.

        Cancelling it closes the channel.
        """
        limit = check_timeout(timeout)
        return await self._core.wait_open(self._core.begin_open(), limit)

    @trimmed
    async def close(self, timeout: float | None = 3) -> None:
        """Close the channel, on both sides. Calls under way in either direction end.

        The channel is closed from the moment of the call, whatever follows. Closing a closed channel does nothing.

        Args:
            timeout: Seconds for the page to take note and for running handler methods to end; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out.

        Cancelling it stops the waiting; the channel is closed all the same.
        """
        await self._close(timeout, CLOSED)

    async def _close(self, timeout: float | None, why: str) -> None:
        limit = check_timeout(timeout)
        await self._core.wait_closed(self._core.shut(why), limit)


@final
class Server(metaclass=NoPublicConstructor):
    """A server that one page at a time can connect to. ``open_server`` makes it."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._core = assembly.server
        self._panel = ServerPanel(assembly.server)

    def __repr__(self) -> str:
        return f"<jchannel.trio.Server {self._core.describe()}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return a panel, for IPython to show in notebooks."""
        return {"text/plain": repr(self), "text/html": self._assembly.desk.panels.render(self._panel)}

    @property
    def url(self) -> str:
        """The URL under which the server is reached, without a slash at its end."""
        return self._core.url

    @property
    def token(self) -> str:
        """The secret that lets a page connect. Whoever has it can call the handlers."""
        return str(self._core.token)  # For whoever asks for it, it is shown.

    @property
    def page_url(self) -> str:
        """The URL that a browser opens to connect. It carries the token, so it is as secret as the token is."""
        return self._core.page_url

    def issue_browser_url(self) -> str:
        """Return a URL that connects the page of the first who opens it, and nobody's after.

        It is for the command that starts a browser: other users of the machine can read commands, and tokens in them.
        The token is not in it, and so neither in the browser's history nor in its cache.
        """
        return str(self._assembly.issue_browser_url())

    def statistics(self) -> ServerStatistics:
        """Return what the server has under way, and what it had so far. Safe in any thread; it never waits."""
        return self._core.statistics()

    def tree(self) -> ServerTree:
        """Return what the server has under way: its page, its channels, and each of their calls and streams.

        ``print(server.tree())`` shows a person what hangs, and what it waits for. Safe in any thread; it never waits.
        Nothing secret is in it.
        """
        return self._core.tree()

    def watch(self) -> AsyncIterator[PageStatus]:
        """Iterate over the states of the page, the present one first: one has come, is lost, is back.

        It is the state, and no list of events: who is slow gets the newest one, and ``pages`` tells how many he has
        missed. It holds nothing, and need not be closed. It ends when the server is closed.

        Cancelling it does nothing else.
        """
        return Watch(self._core.board)

    @trimmed
    async def serve_link(self, link: Link) -> None:
        """Serve a page over a link that something else has accepted: the messages of a widget, a pipe, a serial line.

        It does what the server does with a WebSocket: the handshake, within ``Limits.handshake_seconds``, and the
        session, under the server's limits. One page is connected at a time, however it has come. No token is asked for:
        whoever calls this vouches for the page. All that the page needs travels over the link, streams included, if
        the page has no HTTP (``connect({transport})``).

        Args:
            link: The link. It is closed in the end.

        Raises:
            ClosedError: The server is closed.
            TypeError: It is not a ``Link``.

        It returns when the connection has ended, whatever has ended it. Cancelling it ends the connection without a
        goodbye. It may run in any task; when the server is closed, it returns.
        """
        if not isinstance(link, Link):
            raise TypeError(f"link must be a jchannel.trio.Link, and not {link!r}")
        await self._core.serve_link(link)

    @trimmed
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
        await self._core.wait_page(timeout)

    @trimmed
    async def move_to_newest_page(self, timeout: float | None = 10) -> None:
        """Let the next page that connects take over from the one that is connected, and wait for that.

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
        limit = check_timeout(timeout)
        await self._core.wait_newest_page(*self._core.begin_move_to_newest_page(), limit)

    @trimmed_context
    @asynccontextmanager
    async def open_channel(
        self,
        code: str | None = None,
        *,
        module: str | None = None,
        handler: object = None,
        timeout: float | None = 3,
        default: Default | None = None,
        nan: Nan | None = None,
    ) -> AsyncIterator[Channel]:
        """Open a channel for the time of an ``async with`` block, and close it afterwards.

        Args:
            code: JavaScript that evaluates to the initialization function, such as
                ``"(channel) => { channel.handler = {add: (a, b) => a + b}; }"``.
            module: In the place of code, a module whose default export is the initialization function, such as
                ``"./channel.js"``: the page imports it as a script of its own would, relative to its address. A strict
                Content Security Policy allows that, and code only with ``unsafe-eval``.
            handler: The object that handles calls from the page; it can be set later, too.
            timeout: Seconds for opening and for closing, each; ``None`` for no limit.
            default: As that of the server, for this channel; ``None`` for the server's.
            nan: As that of the server, for this channel; ``None`` for the server's.

        Raises:
            What ``Channel.open`` and ``Channel.close`` raise, and what the block raises. When the block raises, it is
            that, and closing is given ``Limits.close_seconds``.

        Cancelling it closes the channel, and tells the page.
        """
        async with self.hold_channel(code, module=module, handler=handler, default=default, nan=nan) as channel:
            channel.context_timeout = timeout
            await channel.open(timeout)
            try:
                yield channel
            except BaseException:
                with trio.move_on_after(self._core.limits.close_seconds, shield=True):
                    await channel._close(None, BLOCK_LEFT)  # noqa: SLF001 (this module's own)
                raise
            await channel._close(channel.context_timeout, BLOCK_LEFT)  # noqa: SLF001 (the same)

    @trimmed_context
    @asynccontextmanager
    async def hold_channel(
        self,
        code: str | None = None,
        *,
        module: str | None = None,
        handler: object = None,
        default: Default | None = None,
        nan: Nan | None = None,
    ) -> AsyncIterator[Channel]:
        """Make a channel that is not open, for the time of an ``async with`` block: for who opens and closes it.

        Args:
            code: As in ``open_channel``.
            module: As in ``open_channel``.
            handler: As in ``open_channel``.
            default: As in ``open_channel``.
            nan: As in ``open_channel``.

        Raises:
            TypeError: The code or the module is not a str, or there are both or neither; or ``default`` cannot be
                called.
            ValueError: The module is empty, or ``nan`` is not one of its words.

        Entering it is no checkpoint. Leaving it waits for what runs in the channel, and cannot be cancelled at that:
        all of it has been.
        """
        conversion = self._core.conversion.override(default, nan)
        core = ServerChannel(self._core, code, module=module, handler=handler, conversion=conversion)
        async with core.own_tasks() as nursery:
            try:
                yield Channel.create(core, self._assembly)
            finally:
                core.leave()
                nursery.cancel_scope.cancel()


@final
class PeerChannel(_Calls, metaclass=NoPublicConstructor):
    """The peer's side of a channel that a server has opened. ``Peer.channels`` has them."""

    _core: core_peer.PeerChannel

    def __repr__(self) -> str:
        return f"<jchannel.trio.PeerChannel {self.number}, {'closed' if self._core.closed else 'open'}>"

    @property
    def code(self) -> str:
        """The initialization function's code, which a page would run and the peer does not; empty for a module."""
        return self._core.code

    @property
    def module(self) -> str:
        """The module whose default export would be the initialization function in a page; empty for code.

        The peer does not run it either: ``on_open`` or the handler plays it.
        """
        return self._core.module

    @property
    def number(self) -> int:
        """The channel's number, which no other channel of the server has."""
        return self._core.number


#: Called with each channel that is opened, and its code, empty where it is a module; returns what a page's
#: initialization function would return.
OnOpen: TypeAlias = Callable[[PeerChannel, str], Any | Awaitable[Any]]


@final
class Peer(metaclass=NoPublicConstructor):
    """A connection to a server. ``open_peer`` makes it."""

    def __init__(self, core: core_peer.Peer) -> None:
        self._core = core

    @property
    def channels(self) -> dict[int, PeerChannel]:
        """The channels that the server has opened, by their numbers."""
        return {number: PeerChannel.of(channel) for number, channel in self._core.channels.items()}

    @property
    def connected(self) -> bool:
        """Whether the connection is there."""
        return self._core.session.alive

    @property
    def why_ended(self) -> str:
        """Why the connection has ended; empty while it is there."""
        return self._core.session.why_ended

    @trimmed
    async def wait_channel(self) -> PeerChannel:
        """Wait until the server has opened a channel, and return the first that is open.

        Raises:
            PageLostError: The connection has ended.

        Cancelling it does nothing else.
        """
        return PeerChannel.of(await self._core.wait_channel())

    async def wait_ended(self) -> None:
        """Wait until the connection has ended. Cancelling it does nothing else."""
        await self._core.session.wait_ended()


@trimmed_context
@asynccontextmanager
async def open_server(
    host: str = "localhost",
    port: int | None = None,
    *,
    url: str | None = None,
    static: str | Path | None = None,
    open_browser: bool = False,
    page: PageKind | None = None,
    heartbeat: float = 15,
    origins: Iterable[str] = (),
    tracebacks: bool = False,
    limits: Limits | None = None,
    listeners: Sequence[trio.abc.Listener[Any]] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    default: Default | None = None,
    nan: Nan = "refuse",
) -> AsyncIterator[Server]:
    """Open a server for the time of an ``async with`` block.

    Args:
        host: The name or address to listen on. ``localhost`` means the loopback addresses of IPv4 and of IPv6.
        port: The port; 0 for any free one; ``None`` for 8889 or, where that is taken, a free one.
        url: The URL under which pages reach the server, where a proxy is between, such as
            ``https://example.com/proxy/8889``.
        static: A folder of static files to serve, with the client's script inserted into its pages; ``None`` for a
            plain page.
        open_browser: Whether to open the page in the user's browser.
        page: ``"headless"`` for a page that the server gives itself, in a Chromium without a window: a notebook that no
            browser shows needs one (``docs/hosts.md``). Starting the server waits until it is connected, at most a
            minute.
            ``None`` for none.
        heartbeat: Seconds between two beats of the page, and the most that its answer may take.
        origins: Origins of pages that may connect, such as ``https://hub.example.com``, beside those of this machine
            and of the server itself. ``null`` is that of pages of files, and of every site's sandboxed frames. They all
            need the token. These pages, and no others, may also show the server's pages in frames; those of ``null``
            may not, as no browser can tell whose they are.
        tracebacks: Whether the page gets the traceback of an exception that a Python handler raised, or only its type
            and message.
        limits: The limits of what a peer controls; ``None`` for the defaults.
        listeners: Listeners to accept connections from, instead of sockets on ``host`` and ``port``: for tests, which
            need no sockets. They are closed at the end.
        ssl_context: Lets the server speak TLS, with the certificate of this context (``docs/security.md``). Its URLs
            are of ``https`` then. ``None`` for plain HTTP.
        default: Called with a value that cannot be sent as it is, such as a date or a data frame; returns what is sent
            in its place, as that of ``json.dumps`` does, or raises. It is called where the value is passed or returned,
            and must not call the page. ``None`` refuses such values, with the line that makes each travel.
        nan: What becomes of NaN and the infinities outside of arrays, which JSON has no form for, in what either side
            sends: ``"refuse"``, ``"null"`` for a ``null`` in the place of each, or ``"keep"``, to let them travel.

    Raises:
        OSError: The port is taken, or the host is not this machine's: the message names it. Or no Chromium is found for
            the page.
        StateError: Chromium has ended before the page was connected. The message ends with what it said.
        TypeError, ValueError: An argument is not of its kind.
        RuntimeError: trio does not run here. The message says what to use instead.

    Leaving the block closes the channels, says goodbye to the page and waits until all has ended. Cancelling it does
    the same within ``Limits.close_seconds``.
    """
    _check_trio("open_server")
    assembly = Assembly(
        ServerOptions(
            host=host,
            port=port,
            url=url,
            static=static,
            open_browser=open_browser,
            page=page,
            heartbeat=heartbeat,
            origins=origins,
            tracebacks=tracebacks,
            limits=limits,
            listeners=listeners,
            ssl_context=ssl_context,
            conversion=Conversion(default, nan),
        )
    )
    async with assembly.open():
        yield Server.create(assembly)


@trimmed_context
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
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Peer]:
    """Connect to a server for the time of an ``async with`` block.

    Args:
        url: ``Server.page_url``; or ``Server.url`` when the token is given beside it.
        handler: The object that handles calls from the server, on every channel.
        token: The server's token, where the URL does not carry it.
        on_open: Called with each channel that is opened, and its code, which is empty where the channel has a
            ``module``; sync or async. It may set the channel's handler, and returns what ``Channel.open`` returns to
            the server. Without it a channel is opened with ``None``.
        client: A name for this peer, of at most 64 characters. The server takes a second connection of the same name
            for the first one come again. ``None`` for a random name.
        connect: Opens the connection to the server, instead of TCP to the URL's host: for tests. It is called once: the
            messages and all streams travel on it.
        limits: The limits of what the server controls; ``None`` for the defaults.
        ssl_context: Decides which certificates are trusted, where the URL is one of ``https``; ``None`` for those that
            the system trusts. A server with a certificate of the user's own needs one:
            ``ssl.create_default_context(cafile="certificate.pem")``.

    Raises:
        UnreachableError: The server cannot be reached: its name is not known, nothing listens there, a proxy before it
            cannot reach it, or its certificate is not trusted. It is an ``OSError``, too.
        trio.TooSlowError: The server did not answer within ``Limits.handshake_seconds``.
        RefusedError: The server refused the connection. The message is the server's; without one, as from a proxy, the
            reason is ``forbidden``.
        PageLostError: The connection was lost during the handshake.
        ProtocolError: What answers there is no jchannel server, or redirects to another URL, which no peer follows.
        TypeError, ValueError: An argument is not of its kind.
        RuntimeError: trio does not run here. The message says what to use instead.

    Each of their messages names the server's URL, and never the token. What ``connect`` raises besides an ``OSError``
    is raised as it is.

    Leaving the block closes the connection. When it ends before, what is under way raises ``PageLostError``; the peer
    does not connect again by itself.
    """
    _check_trio("open_peer")
    # A traceback that shows local variables must not show the token. What is no str is refused below.
    url, token = hide(url), hide(token)

    def open_channel(core: core_peer.PeerChannel, code: str) -> Any:
        return None if on_open is None else on_open(PeerChannel.of(core), code)

    options = core_peer.PeerOptions(
        handler=handler, on_open=open_channel, client=client, limits=Limits() if limits is None else limits
    )
    async with core_peer.open_peer(url, options, token=token, connect=connect, ssl_context=ssl_context) as core:
        yield Peer.create(core)


def _check_trio(name: str) -> None:
    """Refuse to go on where trio does not run.

    Raises:
        RuntimeError: It does not.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(
            f"jchannel.trio.{name} is for programs of trio's, which trio.run() starts, and no trio runs here: use "
            "jchannel.start() from asyncio and in notebooks, jchannel.sync.start() in a script, and "
            "jchannel.testing.AsyncioKit or SyncKit in their tests"
        )

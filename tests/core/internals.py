"""The ways from what users hold into the core, for tests of states that can only be seen from inside."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio

from jchannel._core import peer as core_peer
from jchannel._core.arguments import PIPE, check_timeout, pack_call, pack_echo
from jchannel._core.asgi import Receive, Scope, Send, with_headers
from jchannel._core.channel import Opening, ServerChannel
from jchannel._core.endpoint import Endpoint
from jchannel._core.incoming import IncomingStream
from jchannel._core.invocation import CURRENT
from jchannel._core.limits import Limits
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.request import Request
from jchannel._core.server import Server as CoreServer
from jchannel._core.session import Session
from jchannel._core.statistics import ChannelTally
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.transport import Link, WebSocketLink
from jchannel._protocol import messages
from jchannel._protocol.connection import Connection
from jchannel._protocol.messages import Hello, StreamInfo
from jchannel._streams.sources import Source, check_source
from jchannel.errors import ClosedError
from jchannel.trio import Channel, Peer, PeerChannel, Server


def server_core(server: Server) -> CoreServer:
    """The core of a server."""
    return server._core


def channel_core(channel: Channel) -> ServerChannel:
    """The core of a server's channel."""
    return channel._core


def endpoint(side: Channel | PeerChannel) -> Endpoint:
    """The core of either side of a channel."""
    return side._core


def peer_core(peer: Peer) -> core_peer.Peer:
    """The core of a peer."""
    return peer._core


def session_of(server: Server) -> Session | None:
    """The session of the page that is connected."""
    return server._core.session


def peer_session(peer: Peer) -> Session:
    """The session of a peer."""
    return peer._core.session


def lose_peer(peer: Peer) -> None:
    """A peer's connection ends without a word."""
    peer._core.session._scope.cancel()


def end_page_silently(server: Server) -> None:
    """A server ends the connection to its page without a word."""
    session = server._core.session
    assert session is not None
    session._scope.cancel()


async def cut(session: Session) -> None:
    """Breaks the connection of a session off, as a network would."""
    link = session._link
    assert isinstance(link, WebSocketLink)
    await trio.aclose_forcefully(link._stream)


def lose_page(server: Server, how: str = "it was lost") -> None:
    """The server notices that the connection to its page is lost."""
    session = server._core.session
    assert session is not None
    session.lose(how)


def block_writing(session: Session | None) -> None:
    """From now on nothing that the session sends leaves."""

    def send_nowait(frame: str | bytes) -> bool:
        return False

    assert session is not None
    session._link.send_nowait = send_nowait  # type: ignore[method-assign]
    session._link.flush = trio.sleep_forever  # type: ignore[method-assign]


async def close_server(server: Server) -> None:
    """Closes a server, as leaving its block does, while its block goes on."""
    await server._core._close()


def after_opening(channel: Channel, function: Callable[[], None]) -> None:
    """Calls a function in each moment in which the page has answered that it has opened a channel, or has not."""
    handle = channel._core.note_done

    def handle_opened(request: Request) -> None:
        handle(request)
        function()

    channel._core.note_done = handle_opened  # type: ignore[method-assign]


def count_in_server(server: Server) -> tuple[int, int, int]:
    """The timers, the streams with a number, and the tickets that a server has."""
    core = server._core
    return len(core.deadlines), len(core.streams._by_place), core.streams.tickets


def count_in_peer(peer: Peer) -> tuple[int, int, int]:
    """The requests of both directions, and the streams with a number, in a peer's session."""
    core = peer._core
    return core.session.pending, core.session.running, len(core.streams.of_session(core.session))


def handle_frame(server: Server, frame: str | bytes) -> None:
    """A frame of the page arrives at a server in this step."""
    session = server._core.session
    assert session is not None
    for message in session._connection.receive(frame):
        session._handle(message)


def count_entries_of(core: Endpoint) -> tuple[int, int, int, int]:
    """As `count_entries`, of a core."""
    line = core.outbox._line
    return len(line), core.outbox.pending, len(core._streams.of_channel(core)), core.dispatcher.running


def count_entries(side: Channel | PeerChannel) -> tuple[int, int, int, int]:
    """The requests in line, sent and running, and the streams, that one side of a channel has."""
    core = side._core
    line = core.outbox._line
    return len(line), core.outbox.pending, len(core._streams.of_channel(core)), core.dispatcher.running


def tickets(server: Server) -> int:
    """The number of tickets that work at a server."""
    return server._core.streams.tickets


def revoke_tickets(server: Server) -> None:
    """Takes all tickets of a server back."""
    streams = server._core.streams
    for stream in list(streams._by_ticket.values()):
        streams.revoke_ticket(stream)


def close_behind_each_response(server: Server) -> None:
    """Lets a server take one HTTP request on a connection, and no more."""
    routes = server._core.routes

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await routes(scope, receive, with_headers(send, {"connection": "close"}))

    object.__setattr__(server._core._acceptor, "app", answer)


def serve_pages_by(server: Server, serve: Callable[[Link, Connection, Hello], Awaitable[None]]) -> None:
    """Lets a function serve the pages that have said hello, instead of the server."""
    object.__setattr__(server._core._acceptor, "serve_page", serve)


def child_tasks(channel: Channel) -> frozenset[trio.lowlevel.Task]:
    """The tasks of a channel."""
    nursery = channel._core.nursery
    assert nursery is not None
    return nursery.child_tasks


def start_soon(side: Channel | PeerChannel, function: Callable[..., Awaitable[object]], *args: object) -> None:
    """Starts a task of one side of a channel."""
    side._core.start_soon(function, *args)


def flush(side: Channel | PeerChannel) -> None:
    """Sends what stands in line, as far as there is room."""
    side._core.outbox.flush()


def end_side(side: Channel | PeerChannel) -> None:
    """Ends what one side of a channel has under way, as the first step of closing it does."""
    endpoint(side)._end_all(ClosedError("the channel is closed"))


class _NoSource:
    """The way to the source of a stream that has none."""

    def begin_stream(self, stream: IncomingStream) -> None:
        pass

    def stop_stream(self, number: int) -> None:
        pass


def make_incoming(info: StreamInfo) -> IncomingStream:
    """A stream that this side receives, of no channel and no session."""
    return IncomingStream(info, cast("Session", _NoSource()), "result", [ChannelTally()], StreamRegistry(Limits()))


def make_outgoing(source: Source) -> OutgoingStream:
    """A stream that this side sends, of no channel and no session."""
    return OutgoingStream(source, "argument", [ChannelTally()], StreamRegistry(Limits()), close_seconds=5)


def hold_in_server(channel: Channel, code: str) -> tuple[ServerChannel, Opening]:
    """Begins to open another channel of the same server, which no block owns, as the facades do."""
    server = channel._core.server
    other = ServerChannel(server, code)
    opening = other.begin_open()
    server.start_soon(other.hold, opening)
    return other, opening


def _start(side: Channel | PeerChannel, message: messages.Request, timeout: float | None) -> Request:
    return side._start(message, check_timeout(timeout))


def _start_with_stream(side: Channel | PeerChannel, message: messages.Request, stream: object, limit: float) -> Request:
    return side._start(message, limit, check_source(stream))


def start_call(side: Channel | PeerChannel, name: str, *args: object) -> Request:
    """Makes a call now, which can be waited for."""
    return side._core.outbox.start(pack_call(name, args), math.inf, parent=CURRENT.get())


def begin_call(side: Channel | PeerChannel, name: str, *args: object, timeout: float | None = 3) -> Awaitable[Any]:
    """Makes a call now; what is returned waits for its outcome."""
    return _start(side, pack_call(name, args), timeout).wait()


def begin_echo(side: Channel | PeerChannel, *args: object, timeout: float | None = 3) -> Awaitable[Any]:
    """Makes an echo now; what is returned waits for its outcome."""
    return _start(side, pack_echo(args), timeout).wait()


def begin_call_with_stream(
    side: Channel | PeerChannel, name: str, stream: object, *args: object, timeout: float | None = 3
) -> Awaitable[Any]:
    """Makes a call with a stream now; what is returned waits for its outcome."""
    limit = check_timeout(timeout)
    return _start_with_stream(side, pack_call(name, args), stream, limit).wait()


def begin_pipe(side: Channel | PeerChannel, stream: object, *, timeout: float | None = 3) -> Awaitable[Any]:
    """Makes a pipe now; what is returned waits for its outcome."""
    return _start_with_stream(side, PIPE, stream, check_timeout(timeout)).wait()


def start_pipe(side: Channel | PeerChannel, stream: object) -> Request:
    """Makes a pipe now, which can be cancelled."""
    return _start_with_stream(side, PIPE, stream, math.inf)


def begin_open(channel: Channel, timeout: float | None) -> Awaitable[Any]:
    """Begins to open a channel now; what is returned waits until it is open."""
    return channel._core.wait_open(channel._core.begin_open(), check_timeout(timeout))


def begin_close(channel: Channel, timeout: float | None) -> Awaitable[None]:
    """Closes a channel now; what is returned waits for the page."""
    return channel._core.wait_closed(channel._core.shut("it was closed"), check_timeout(timeout))


def drop_stream(channel: Channel, session: Session, number: int) -> None:
    """Lets a stream of the far side come in a session, and drops it."""
    core = channel._core
    core._streams.accept(StreamInfo(number), "result", core, session).drop()


def lose(session: Session, how: str = "it was lost") -> None:
    """A session notices that its connection is lost."""
    session.lose(how)


def receive_frames(session: Session, *frames: str | bytes) -> None:
    """Frames of the far side arrive at a session in this step."""
    for frame in frames:
        session._receive_frame(frame)


def hold_writing(session: Session) -> trio.Event:
    """From now on nothing that a session sends leaves, until the event is set."""
    send_nowait, flush, let_go = session._link.send_nowait, session._link.flush, trio.Event()
    held: list[str | bytes] = []

    def hold(frame: str | bytes) -> bool:
        if let_go.is_set():
            return send_nowait(frame)
        held.append(frame)
        return False

    async def wait() -> None:
        await let_go.wait()
        for frame in held:
            send_nowait(frame)
        held.clear()
        await flush()

    session._link.send_nowait = hold  # type: ignore[method-assign]
    session._link.flush = wait  # type: ignore[method-assign]
    return let_go


def waiting_unasked(session: Session) -> int:
    """The bytes that wait in a session and have not waited for room."""
    return session._connection.waiting_unasked


def tell(session: Session, *told: messages.Message) -> None:
    """A session says something in this step."""
    for message in told:
        session.tell(message)


def receive_nothing_new(session: Session) -> bool:
    """Whether a session does not read, as too much waits to be said."""
    return session.room.holds_reader

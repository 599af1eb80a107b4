"""Cancels scripted sessions at each step of theirs, one after the other, and looks at what is left: nothing."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

import h11
import pytest
import trio
import trio.testing

from jchannel._core import stream as buffer
from jchannel._core.session import Session
from jchannel._core.transport import LinkClosed
from jchannel.errors import ClosedError, PageLostError, RefusedError, RemoteError, StateError
from jchannel.trio import Channel, Limits, open_peer
from tests.core.helpers import HttpClient
from tests.core.internals import (
    begin_call,
    begin_open,
    count_entries,
    count_in_server,
    hold_in_server,
    lose,
    peer_session,
    session_of,
    start_call,
)
from tests.core.memory import MemoryServer, open_memory_server
from tests.core.nth_checkpoint import AWAITS, Interruption, When, all_tasks, run_seeded
from tests.core.world import DATA, Handler, Side, World, digest, endless, open_world, pieces, slow_pieces

_WITHIN = "it is where a nursery's block is left, and the code waits inside the block, or is left by cancelling it"
_IN_TASKS = "it waits at the end of a nursery's block, where trio leaves the cancellation to the nursery's tasks"
_SHIELDED = "it is shielded: it cleans up. test_stopped_page shows that its time is bounded"
_ROOM = "there is always room here: test_far_side_limits has more than that"
_SOCKETS = "it needs real sockets, which no clock may jump over: test_addresses and test_server use them"
_SOCKET_READER = "it reads a socket, and here all is in memory: test_transport cancels there"
_LINE = "it waits only where thousands of methods run in threads: test_threads cancels there"
_THREADS = "it waits only for what worker threads do: test_sources cancels there"
_PINGS = "it is for WebSockets that are pinged, and nobody does that here: test_transport"
_STRANGERS = "no page and no peer comes to it, and its time is bounded: test_http_server and test_strangers"
_LINKS = "it is for links that something else has accepted: test_serve_link"
_BROWSER = "it starts a browser, which no script here does: test_headless and test_server cancel there"
_STOPPED = "it is reached only where it has been cancelled already: test_stream_registry"
_REFUSED = "it is for what goes wrong, and has an end of its own: tests of test_acceptor and test_streams"
_LATE = "a beat that is not answered at once: in test_server, with a clock that jumps"

#: The awaits that wait only where a call is made while a response leaves, which differs from run to run. test_pieces
#: cancels there.
SOMETIMES_CANCELLED = {
    ("server_carrier.py", "_send_stream", "session.let_newest_pass(newest)"),
    ("session.py", "Session.let_newest_pass", "self._answered.park()"),
}

#: The awaits of the core that no script here cancels, and why not. The last test fails when this is not exact.
NOT_CANCELLED = {
    ("_assembly.py", "Assembly.open", "self._headless.open(self.server, self.issue_browser_url())"): _BROWSER,
    (
        "_assembly.py",
        "Assembly._show_in_browser",
        "threads.run_waiting(webbrowser.open, self.issue_browser_url(), abandon_on_cancel=True)",
    ): _BROWSER,
    ("outgoing.py", "OutgoingStream._put", "trio.lowlevel.checkpoint()"): _STOPPED,
    ("heartbeat.py", "Heartbeat._wait_answer", "trio.lowlevel.checkpoint()"): _LATE,
    ("room.py", "Room.wait", "self._answers.park()"): _ROOM,
    ("room.py", "Room.wait_to_receive", "self._reader.park()"): _ROOM,
    ("session.py", "Session._read", "self.room.wait_to_receive()"): _ROOM,
    ("stream.py", "StreamQuota.wait", "self._changed.park()"): _ROOM,
    ("outgoing.py", "OutgoingStream._read_source", "self._buffer.wait_changed()"): _ROOM,
    ("dispatcher.py", "Dispatcher._run", "invocation.session.room.wait()"): _ROOM,
    ("session.py", "Session._write_frames", "trio.lowlevel.checkpoint()"): _ROOM,
    ("dispatcher.py", "Dispatcher._answer_with_stream", "quota.wait()"): _ROOM,
    ("dispatcher.py", "Dispatcher._answer_with_stream", "invocation.session.room.wait()"): _ROOM,
    ("dispatcher.py", "Dispatcher._answer_with_stream", "self._streams.open(source, what, self._endpoint)"): _ROOM,
    ("peer.py", "Peer._run_opening", "invocation.session.room.wait()"): _ROOM,
    ("transport.py", "Link.flush", "self.send(frame)"): _LINKS,
    ("server.py", "Server.serve_link", "trio.lowlevel.checkpoint()"): _LINKS,
    (
        "server.py",
        "Server.serve_link",
        "receive_hello(link, limits.frame_bytes, limits.close_seconds)",
    ): _LINKS,
    ("server.py", "Server.serve_link", "self._serve_page(link, *greeting)"): _LINKS,
    ("server.py", "Server.serve_link", "aclose_now(link)"): _LINKS,
    ("trio.py", "Server.serve_link", "self._core.serve_link(link)"): _LINKS,
    ("addresses.py", "_open_on", "_resolve(host)"): _SOCKETS,
    ("addresses.py", "_open_on", "trio.open_tcp_listeners(port, host=address)"): _SOCKETS,
    (
        "addresses.py",
        "_resolve",
        "trio.socket.getaddrinfo(host, None, type=trio.socket.SOCK_STREAM, flags=trio.socket.AI_PASSIVE)",
    ): _SOCKETS,
    ("addresses.py", "open_listeners", "_open_on(host, 0)"): _SOCKETS,
    ("addresses.py", "open_listeners", "_open_on(host, DEFAULT_PORT)"): _SOCKETS,
    ("addresses.py", "open_listeners", "_open_on(host, port)"): _SOCKETS,
    (
        "peer.py",
        "_open_stream",
        "trio.open_tcp_stream(parts.hostname, parts.port or (_HTTPS_PORT if secure else _HTTP_PORT))",
    ): _SOCKETS,
    ("peer.py", "_open_stream", "secured.do_handshake()"): _SOCKETS,
    ("peer.py", "_open_stream", "aclose_now(secured)"): _SOCKETS,
    ("server.py", "Server._open_listeners", "open_listeners(self._host, port)"): _SOCKETS,
    ("server.py", "Server.open", "self._open_listeners()"): _SOCKETS,
    ("server_carrier.py", "_send_part", "_respond(send, HTTPStatus.GONE)"): _REFUSED,
    ("server_carrier.py", "_receive_post", "_wait_gone(receive)"): _REFUSED,
    ("server_carrier.py", "_wait_gone", "_wait_disconnect(receive)"): _REFUSED,
    ("server_carrier.py", "_send_part", "_wait_gone(receive)"): _REFUSED,
    ("server_carrier.py", "_send_stream", "gone.wait()"): _REFUSED,
    ("server_carrier.py", "serve_ticket", "_respond(send, HTTPStatus.SERVICE_UNAVAILABLE)"): _STRANGERS,
    ("acceptor.py", "Acceptor._admit", "http.refuse(HTTPStatus.FORBIDDEN)"): _STRANGERS,
    ("acceptor.py", "Acceptor._admit", "http.refuse(HTTPStatus.SERVICE_UNAVAILABLE)"): _STRANGERS,
    ("acceptor.py", "Acceptor._serve_socket", 'http.refuse(status, [("sec-websocket-version", "13")])'): _STRANGERS,
    ("http_server.py", "HttpConnection._receive_request", "self.refuse(status)"): _STRANGERS,
    (
        "http_server.py",
        "HttpConnection.refuse",
        "self._stream.send_all(data + self._http.send(h11.EndOfMessage()))",
    ): _STRANGERS,
    ("http_server.py", "_Exchange.answer", "self._drop_body()"): _STRANGERS,
    ("http_server.py", "_Exchange._drop_body", "self.receive()"): _STRANGERS,
    ("http_server.py", "_Exchange.answer", "self._fail()"): _STRANGERS,
    ("http_server.py", "_Exchange._fail", "self._write(self._http.send(h11.EndOfMessage()))"): _STRANGERS,
    (
        "http_server.py",
        "_Exchange._receive_body",
        "self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))",
    ): _STRANGERS,
    (
        "routes.py",
        "_answer_not_found",
        'respond(send, HTTPStatus.NOT_FOUND, b"", {})',
    ): "a page frontend takes its place in every server: test_routes asks without one",
    ("asgi.py", "read_body", "receive()"): "the questions of notebooks and of the doctor, which no script here asks",
    ("server.py", "Server._close", "trio.lowlevel.checkpoint()"): _SHIELDED,
    ("server.py", "Server._close", "session.wait_ended()"): _SHIELDED,
    ("server.py", "Server.open", "self._close()"): _SHIELDED,
    ("trio.py", "Server.open_channel", "channel._close(None, BLOCK_LEFT)"): _SHIELDED,
    ("latest.py", "LatestValue.abandon", "self._changed.park()"): _SHIELDED,
    ("trio.py", "_Calls.open_latest", "latest.abandon()"): _SHIELDED,
    ("outgoing.py", "OutgoingStream._run", "self._close_source()"): _SHIELDED,
    ("outgoing.py", "OutgoingStream._close_source", "self._source.aclose()"): _SHIELDED,
    ("nursery.py", "open_flat_nursery", "trio.open_nursery()"): _WITHIN,
    ("upgrade.py", "open_websocket", "open_flat_nursery()"): _WITHIN,
    ("peer.py", "open_peer", "open_flat_nursery()"): _WITHIN,
    ("upgrade.py", "accept_websocket", "trio.open_nursery()"): _WITHIN,
    ("channel.py", "ServerChannel.hold", "self.own_tasks()"): _WITHIN,
    ("channel.py", "ServerChannel.own_tasks", "open_flat_nursery()"): _WITHIN,
    ("server.py", "Server.open", "open_flat_nursery()"): _WITHIN,
    ("trio.py", "Server.hold_channel", "core.own_tasks()"): _WITHIN,
    (
        "trio.py",
        "Server.open_channel",
        "self.hold_channel(code, module=module, handler=handler, default=default, nan=nan)",
    ): _WITHIN,
    ("session.py", "Session.run", "open_flat_nursery()"): _WITHIN,
    ("server_carrier.py", "serve_ticket", "open_flat_nursery()"): _WITHIN,
    ("server_carrier.py", "_send_part", "trio.open_nursery()"): _WITHIN,
    ("server_carrier.py", "_send_stream", "trio.open_nursery()"): _WITHIN,
    ("stream_registry.py", "StreamRegistry.open", "open_source(source, self.threads)"): _THREADS,
    ("threads.py", "TrioThreads.run_short", "trio.to_thread.run_sync(function, *args, limiter=self._short)"): _THREADS,
    ("threads.py", "TrioThreads.run_short", "trio.lowlevel.checkpoint()"): _THREADS,
    (
        "threads.py",
        "TrioThreads.run_waiting",
        "self._run_waiting(function, *args, abandon_on_cancel=abandon_on_cancel)",
    ): _THREADS,
    (
        "threads.py",
        "TrioThreads.run_users",
        "self._run_waiting(function, *args, abandon_on_cancel=abandon_on_cancel)",
    ): _THREADS,
    (
        "threads.py",
        "TrioThreads._run_waiting",
        "trio.to_thread.run_sync(function, *args, abandon_on_cancel=abandon_on_cancel, limiter=limiter)",
    ): _THREADS,
    ("threads.py", "WaitingLimiter.acquire_on_behalf_of", "self._wait_turn(turn)"): _LINE,
    ("threads.py", "WaitingLimiter._wait_turn", "turn.come.wait()"): _LINE,
    ("threads.py", "_Signal.wait", "self._event.wait()"): _THREADS,
    (
        "outbox.py",
        "Outbox._open_stream",
        'self._streams.open(source, f"argument of {request.what}", self._sender, progress)',
    ): _THREADS,
    (
        "dispatcher.py",
        "Dispatcher._answer_with_stream",
        "self._streams.open(check_source(source), what, self._endpoint, quota=quota)",
    ): _THREADS,
    ("upgrade.py", "_HeadStream.aclose", "self._stream.aclose()"): _REFUSED,
    ("transport.py", "WebSocketLink.receive", "self._send_answers(answers)"): _PINGS,
    ("transport.py", "WebSocketLink._wait_close", "self._send_answers(answers)"): _PINGS,
    ("transport.py", "WebSocketLink._send_answers", "self._flushed.park()"): _PINGS,
    ("transport.py", "WebSocketLink._send_answers", "self._flush(len(self._unsent))"): _PINGS,
    ("transport.py", "WebSocketLink._flush", "self._flushed.park()"): _PINGS,
    ("transport.py", "WebSocketLink.aclose", "trio.open_nursery()"): _WITHIN,
    ("transport.py", "_SocketReader.receive_some", "trio.lowlevel.checkpoint()"): _SOCKET_READER,
    ("transport.py", "_SocketReader.receive_some", "trio.lowlevel.wait_readable(self._socket)"): _SOCKET_READER,
    (
        "transport.py",
        "WebSocketLink.aclose",
        "self._wait_close()",
    ): "it is for a stream that takes something at once, and no stream of memory here does: test_transport",
    ("peer.py", "open_peer", "peer.session.wait_ended()"): _SHIELDED,
    (
        "server.py",
        "Server._serve_page",
        'refuse(link, connection, RefusedError("closed", words), seconds=limits.close_seconds)',
    ): _REFUSED,
}

Script = Callable[[World], Awaitable[None]]
Work = Callable[[Side], Awaitable[None]]
CALLERS = ("server", "peer")
#: Streams behind a proxy travel in parts. There is none here; the URL decides.
BEHIND_A_PROXY = "http://localhost/proxy/8889"
#: More than all times of a session together: what hangs fails.
PATIENCE = 1_000
#: So that a call of 100 kB fills the buffer.
LIMITS = Limits(send_buffer_bytes=50_000)


async def call(world: World) -> None:
    assert await world.near.call("add", 1, 2) == 3


async def call_that_takes_time(world: World) -> None:
    assert await world.near.call("add_slowly", 1, 2) == 3


async def call_that_calls_back(world: World) -> None:
    assert await world.near.call("call_back", 1, 2) == 3


async def call_that_fails(world: World) -> None:
    with pytest.raises(RemoteError, match="it was asked to"):
        await world.near.call("fail")


async def call_that_is_too_slow(world: World) -> None:
    with pytest.raises(trio.TooSlowError):
        await world.near.call("hang", timeout=1)


async def call_within_a_deadline(world: World) -> None:
    with trio.move_on_after(1) as scope:
        await world.near.call("hang", timeout=None)
    assert scope.cancelled_caught


async def call_in_line(world: World) -> None:
    """The buffer is full: the call waits until others have left."""
    for _ in range(2):
        others = begin_call(world.near, "length", bytes(100_000))
        world.background.start_soon(wait_for, others)
    assert await world.near.call("length", bytes(100_000)) == 100_000


async def call_that_is_answered_before_it_is_waited_for(world: World) -> None:
    request = start_call(world.near, "add", 1, 2)
    await trio.sleep(0.1)
    assert await request.wait() == 3


async def wait_for(awaitable: Awaitable[object]) -> None:
    await awaitable


async def echo(world: World) -> None:
    assert await world.near.echo(1, b"two") == [1, b"two"]


async def pipe(world: World) -> None:
    async with await world.near.pipe(pieces()) as stream:
        assert await stream.join() == DATA


async def pipe_of_few_bytes(world: World) -> None:
    async with await world.near.pipe(b"few") as stream:
        assert await stream.join() == b"few"


async def pipe_that_is_left(world: World) -> None:
    async with await world.near.pipe(endless()) as stream:
        assert await anext(stream)


async def short_stream(world: World) -> None:
    assert await world.near.call_with_stream("digest", b"short") == digest(b"short")


async def long_stream(world: World) -> None:
    assert await world.near.call_with_stream("digest", pieces()) == digest(DATA)


async def stream_that_is_stopped(world: World) -> None:
    assert await world.near.call_with_stream("begin", endless()) > 0


async def result_read_to_its_end(world: World) -> None:
    async with await world.near.call("give") as stream:
        assert b"".join([chunk async for chunk in stream]) == DATA


async def result_closed_half_way(world: World) -> None:
    stream = await world.near.call("give")
    assert await anext(stream)
    await stream.aclose()


async def result_dropped_half_way(world: World) -> None:
    assert await anext(await world.near.call("give_endless"))


async def result_of_a_slow_source(world: World) -> None:
    async with await world.near.call("give_slowly") as stream:
        assert await stream.join() == DATA


async def stream_of_a_slow_source(world: World) -> None:
    assert await world.near.call_with_stream("digest", slow_pieces()) == digest(DATA)


async def result_that_is_not_read(world: World) -> None:
    """All that may be read ahead has been, on both sides, and each waits for the next."""
    async with await world.near.call("give_endless") as stream:
        assert await anext(stream)
        await trio.sleep(1)


async def call_whose_time_no_message_can_say(world: World) -> None:
    """The far side's time is over a little before the near one's: messages know milliseconds only."""
    with pytest.raises(trio.TooSlowError):
        await world.near.call("hang", timeout=0.0125)


async def newest_value(world: World) -> None:
    """The first value is under way when the block ends, and the last one waits for it."""
    async with world.near.open_latest("add_slowly") as latest:
        for number in range(3):
            latest.set(number, 1)
    assert latest.statistics().sent == 2


async def state_watched(world: World) -> None:
    states = world.server.watch()
    assert (await anext(states)).connected
    with trio.move_on_after(1):
        await anext(states)


async def end_of_the_page_waited_for(world: World) -> None:
    with trio.move_on_after(1):
        await world.peer.wait_ended()


async def records(world: World) -> None:
    async with await world.near.call("give") as stream:
        assert b"".join([record async for record in stream.by_limit(30_000)]) == DATA


async def lines(world: World) -> None:
    async with await world.near.call("give_short") as stream:
        assert [line async for line in stream.lines()] == ["one", "two", "three"]


async def channel_opened_and_closed(world: World) -> None:
    async with world.server.hold_channel("another", handler=Handler()) as channel:
        await channel.open()
        assert await channel.call("add_slowly", 1, 2) == 3
        await channel.close()


async def channel_in_a_block(world: World) -> None:
    async with world.server.open_channel("another", handler=Handler()) as channel:
        assert await channel.call("add", 1, 2) == 3


async def channel_closed_while_a_method_cleans_up(world: World) -> None:
    async with world.server.hold_channel("another", handler=world.handlers[0]) as channel:
        await channel.open()
        world.background.start_soon(call_until_closed, world.peer.channels[max(world.peer.channels)])
        await trio.sleep(0.5)
        await channel.close()


async def call_until_closed(side: Side) -> None:
    with pytest.raises(ClosedError):
        await side.call("add_slowly", 1, 2)


async def channel_closed_while_a_call_is_in_line(world: World) -> None:
    async with world.server.hold_channel("another") as channel:

        async def close() -> None:
            await trio.sleep(0.05)
            await channel.close()

        world.background.start_soon(wait_for_closed, begin_open(channel, None))
        world.background.start_soon(close)
        with pytest.raises(ClosedError):
            await channel.call("add", 1, 2)


async def channel_left_by_an_error(world: World) -> None:
    with pytest.raises(ZeroDivisionError):
        async with world.server.open_channel("at once"):
            raise ZeroDivisionError


#: Scripts of a connected pair, each run by the server's side and by the peer's.
CALLS: list[Script] = [
    call,
    call_that_takes_time,
    call_that_calls_back,
    call_that_fails,
    call_that_is_too_slow,
    call_within_a_deadline,
    call_in_line,
    call_that_is_answered_before_it_is_waited_for,
    echo,
    pipe,
    pipe_of_few_bytes,
    pipe_that_is_left,
    short_stream,
    long_stream,
    stream_that_is_stopped,
    result_read_to_its_end,
    result_closed_half_way,
    result_dropped_half_way,
    result_of_a_slow_source,
    stream_of_a_slow_source,
    result_that_is_not_read,
    call_whose_time_no_message_can_say,
    newest_value,
    state_watched,
    end_of_the_page_waited_for,
    records,
    lines,
]

#: Those of them whose streams do not travel inside their messages: they may travel over HTTP, too.
STREAMS: list[Script] = [
    pipe,
    pipe_that_is_left,
    long_stream,
    stream_that_is_stopped,
    result_read_to_its_end,
    result_closed_half_way,
    result_dropped_half_way,
    result_of_a_slow_source,
    stream_of_a_slow_source,
    result_that_is_not_read,
    records,
]

#: Scripts of a connected pair that only the server has.
CHANNELS: list[Script] = [
    channel_opened_and_closed,
    channel_in_a_block,
    channel_closed_while_a_method_cleans_up,
    channel_closed_while_a_call_is_in_line,
    channel_left_by_an_error,
]


async def play(world: World, script: Script, at: int, when: When) -> Interruption:
    """Plays a script once, cancelled at a step of its task, beside calls that must not notice."""
    tasks = all_tasks()
    held: list[int] = []

    async def hold(side: Side) -> None:
        held.append(await side.call("hold", at, timeout=None))

    victim = trio.lowlevel.current_task()
    scope = trio.CancelScope()
    interruption = Interruption(scope, at, when, lambda task: task is victim)
    with interruption.watching():
        async with trio.open_nursery() as world.background:
            world.background.start_soon(hold, world.near)
            world.background.start_soon(hold, world.far)
            await trio.testing.wait_all_tasks_blocked()
            with scope, interruption.armed():
                await script(world)
            assert scope.cancelled_caught or not interruption.delivered, "a cancellation was swallowed"
            for handler in world.handlers:
                handler.go.set()
        assert held == [at, at]
        for handler in world.handlers:
            handler.go = trio.Event()
        await world.check_wire()
        await world.check_nothing_pending()
    assert all_tasks() == tasks
    return interruption


@dataclass
class Exploration:
    """What was cancelled: how many points, and at which lines of the core it was felt."""

    points: int = 0
    felt: set[tuple[str, int]] = field(default_factory=set)

    async def repeat(
        self, play: Callable[[int, When], Awaitable[Interruption]], whens: tuple[When, ...] = ("before", "after")
    ) -> None:
        """Plays something once for each of its steps."""
        await trio.testing.wait_all_tasks_blocked()  # What is there to stay is there.
        for when in whens:
            for at in itertools.count(1):
                with trio.fail_after(PATIENCE):
                    interruption = await play(at, when)
                if not interruption.fired:
                    break
                self.points += 1
                self.felt |= interruption.felt

    @classmethod
    def run(cls, main: Callable[[Exploration], Awaitable[None]], seed: int) -> Exploration:
        """Explores with an order of tasks."""
        exploration = cls()
        with pytest.MonkeyPatch.context() as patch:
            # So that little has to be sent before everybody waits.
            patch.setattr(buffer, "READ_AHEAD", 50_000)
            run_seeded(partial(main, exploration), seed)
        return exploration


@functools.cache
def explore(script: Script, caller: str, over_http: float, *, lockstep: bool, seed: int) -> Exploration:
    """Plays a script once for each of its steps."""

    async def main(exploration: Exploration) -> None:
        async with open_world(caller, lockstep=lockstep, limits=LIMITS, over_http=over_http) as world:
            await exploration.repeat(partial(play, world, script))

    return Exploration.run(main, seed)


# Without a page


async def page_waited_for(world: World) -> None:
    await world.server.wait_page()


async def newest_page_waited_for(world: World) -> None:
    await world.server.move_to_newest_page(None)


async def channel_waits_for_a_page(world: World) -> None:
    async with world.server.hold_channel("another") as channel:
        assert await channel.open(None) is None


async def call_waits_for_a_page(world: World) -> None:
    async with world.server.hold_channel("another") as channel:
        world.background.start_soon(wait_for_closed, begin_open(channel, None))
        assert await channel.call("add", 1, 2, timeout=None) == 3


async def wait_for_closed(opening: Awaitable[object]) -> None:
    with suppress(ClosedError):
        await opening


#: Scripts of a server to which a page comes a second later.
ALONE: list[Script] = [page_waited_for, newest_page_waited_for, channel_waits_for_a_page, call_waits_for_a_page]


async def play_alone(world: World, script: Script, at: int, when: When) -> Interruption:
    """Plays a script once, cancelled at a step of its task; a page comes in the end."""
    tasks = all_tasks()
    came, leave = trio.Event(), trio.Event()

    async def come() -> None:
        await trio.sleep(1)
        async with world.open_peer() as world.peer:
            came.set()
            await leave.wait()

    victim = trio.lowlevel.current_task()
    scope = trio.CancelScope()
    interruption = Interruption(scope, at, when, lambda task: task is victim)
    with interruption.watching():
        async with trio.open_nursery() as world.background:
            world.background.start_soon(come)
            with scope, interruption.armed():
                await script(world)
            assert scope.cancelled_caught or not interruption.delivered, "a cancellation was swallowed"
            await came.wait()
            async with world.server.open_channel("code", handler=world.handlers[0]) as channel:
                await world.meet(channel, world.peer)
                await world.check_wire()
                await world.check_nothing_pending()
            leave.set()
    await trio.sleep(10)
    statistics = world.server.statistics()
    assert statistics.idle
    assert (statistics.page_connected, statistics.connections, statistics.channels) == (False, 0, 0)
    assert all_tasks() == tasks
    return interruption


@functools.cache
def explore_alone(script: Script, *, lockstep: bool, seed: int) -> Exploration:
    """Plays a script without a page once for each of its steps."""

    async def main(exploration: Exploration) -> None:
        async with open_memory_server(heartbeat=1e6) as memory:
            await exploration.repeat(partial(play_alone, World(memory, lockstep=lockstep), script))

    return Exploration.run(main, seed)


# A whole session, of which a part is cancelled at a step of any task


async def work(side: Side) -> None:
    """Does a little of everything."""
    assert await side.call("call_back", 1, 2) == 3
    async with await side.pipe(pieces(DATA[:40_000])) as stream:
        assert await stream.join() == DATA[:40_000]
    assert await side.call_with_stream("begin", endless()) > 0


async def call_back(side: Side) -> None:
    """Makes both sides call."""
    assert await side.call("call_back", 1, 2) == 3


async def call_and_stream(side: Side) -> None:
    """Does what leaves something to run."""
    assert await side.call("call_back", 1, 2) == 3
    assert await side.call_with_stream("begin", endless()) > 0


async def send_a_little(side: Side) -> None:
    """Sends a stream whose reader makes everybody wait, and one whose source does."""
    for source in (endless(), slow_pieces()):
        assert await side.call_with_stream("begin_slowly", source) > 0


async def work_slowly(side: Side) -> None:
    """Has streams whose readers, and streams whose sources make everybody wait."""
    async with await side.call("give_endless") as stream:
        await anext(stream)
        await trio.sleep(0.5)
    await send_a_little(side)


async def work_in_a_channel_that_no_block_owns(side: Side) -> None:
    """Has another channel, as the facades' users have it."""
    assert isinstance(side, Channel)
    other, opening = hold_in_server(side, "at once")
    assert await other.wait_open(opening, math.inf) is None
    await trio.sleep(1)
    await other.wait_closed(other.shut("it was closed"), math.inf, opening)


async def work_until_it_ends(side: Side) -> None:
    """Calls somebody who may go at any moment."""
    with suppress(PageLostError, ClosedError, StateError, RemoteError, trio.TooSlowError):
        assert await side.call("call_back", 1, 2) == 3
        await side.call("hang", timeout=30)


async def play_server_ends(
    do_work: Work, *, url: str | None, over_http: float, lockstep: bool, at: int, when: When
) -> Interruption:
    """A session whose server is cancelled."""
    tasks = all_tasks()
    scope = trio.CancelScope()
    interruption = Interruption(scope, at, when, lambda _: True)
    with interruption.watching():
        async with trio.open_nursery() as others:

            async def play_page(world: World) -> None:
                with suppress(PageLostError, RefusedError, trio.TooSlowError, trio.BrokenResourceError):
                    async with world.open_peer() as peer:
                        world.handlers[1].channel = await peer.wait_channel()
                        await work_until_it_ends(world.handlers[1].channel)
                        await peer.wait_ended()

            with scope, interruption.armed():
                async with open_memory_server(heartbeat=0.5, url=url) as memory:
                    world = World(memory, lockstep=lockstep, over_http=over_http)
                    others.start_soon(play_page, world)
                    async with world.server.open_channel("code", handler=world.handlers[0]) as channel:
                        world.handlers[0].channel = channel
                        await do_work(channel)
    for handler in world.handlers:
        assert handler.begun == handler.ended
    assert all_tasks() == tasks
    return interruption


@functools.cache
def explore_server_ends(
    do_work: Work, *, url: str | None = None, over_http: float = 0, lockstep: bool, seed: int
) -> Exploration:
    """Cancels a server at each step of a session."""

    async def main(exploration: Exploration) -> None:
        play = partial(play_server_ends, do_work, url=url, over_http=over_http, lockstep=lockstep)
        await exploration.repeat(lambda at, when: play(at=at, when=when), ("before",))

    return Exploration.run(main, seed)


async def play_page_ends(world: World, do_work: Work, *, at: int, when: When) -> Interruption:
    """A session whose page is cancelled, and then another page's, in the same channel."""
    tasks = all_tasks()
    scope = trio.CancelScope()
    interruption = Interruption(scope, at, when, lambda _: True)
    with interruption.watching():
        async with trio.open_nursery() as others:
            with scope, interruption.armed():
                async with world.open_peer() as peer:
                    await world.meet(world.channel, peer, "peer")
                    others.start_soon(work_until_it_ends, world.channel)
                    await do_work(world.near)
    async with world.open_peer() as peer:
        await world.meet(world.channel, peer)
        await world.check_wire()
        await world.check_nothing_pending()
    await trio.sleep(10)
    statistics = world.server.statistics()
    assert statistics.idle
    assert (statistics.page_connected, statistics.connections, statistics.channels) == (False, 0, 1)
    assert all_tasks() == tasks
    return interruption


@functools.cache
def explore_page_ends(do_work: Work, *, over_http: float = 0, lockstep: bool, seed: int) -> Exploration:
    """Cancels a page at each step of a session."""

    async def main(exploration: Exploration) -> None:
        async with open_memory_server(heartbeat=1e6) as memory, trio.open_nursery() as nursery:
            world = World(memory, lockstep=lockstep, over_http=over_http)
            async with world.server.hold_channel("code", handler=world.handlers[0]) as world.channel:
                nursery.start_soon(world.channel.open, None)
                await trio.testing.wait_all_tasks_blocked()
                async with world.open_peer():
                    await trio.sleep(1)
                await trio.sleep(10)
                await exploration.repeat(lambda at, when: play_page_ends(world, do_work, at=at, when=when), ("before",))

    return Exploration.run(main, seed)


class Loss:
    """The loss of a connection, as one of its sides notices it."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def cancel(self) -> None:
        lose(self.session)


async def play_connection_is_lost(world: World, do_work: Work, *, caller: str, at: int, when: When) -> Interruption:
    """A session whose connection is lost, as one side notices it, while frames of the other are on their way."""
    tasks = all_tasks()
    async with trio.open_nursery() as others:
        async with world.open_peer() as peer:
            await world.meet(world.channel, peer, caller)
            ours, theirs = session_of(world.server), peer_session(peer)
            assert ours is not None
            loss = Loss(ours if caller == "server" else theirs)
            interruption = Interruption(loss, at, when, lambda _: True)
            with interruption.watching():
                others.start_soon(work_until_it_ends, world.far)
                with interruption.armed(), suppress(StateError, RemoteError, trio.TooSlowError):
                    await do_work(world.near)
                lose(ours)
                await trio.sleep(10)
                # Nothing of a lost page runs on either side: no method, no stream, no ticket, no task.
                assert (ours.running, ours.pending, theirs.running, theirs.pending) == (0, 0, 0, 0)
                for handler in world.handlers:
                    assert handler.begun == handler.ended
                assert count_in_server(world.server)[1:] == (0, 0)
                assert world.server.statistics().streams == 0
                assert count_entries(world.far if caller == "server" else world.near) == (0, 0, 0, 0)
        others.cancel_scope.cancel()
    await trio.sleep(10)
    assert all_tasks() == tasks
    return interruption


@functools.cache
def explore_connection_is_lost(
    do_work: Work, *, caller: str, over_http: float = 0, lockstep: bool, seed: int
) -> Exploration:
    """Loses a connection at each step of a session."""

    async def main(exploration: Exploration) -> None:
        async with open_memory_server(heartbeat=1e6) as memory, trio.open_nursery() as nursery:
            world = World(memory, lockstep=lockstep, over_http=over_http)
            async with world.server.hold_channel("code", handler=world.handlers[0]) as world.channel:
                nursery.start_soon(world.channel.open, None)
                await trio.testing.wait_all_tasks_blocked()
                async with world.open_peer():
                    await trio.sleep(1)
                await trio.sleep(10)
                await exploration.repeat(
                    lambda at, when: play_connection_is_lost(world, do_work, caller=caller, at=at, when=when),
                    ("before",),
                )

    return Exploration.run(main, seed)


async def play_channel_ends(world: World, do_work: Work, *, at: int, when: When) -> Interruption:
    """A session in which a channel is cancelled, and another one is not."""
    tasks = all_tasks()
    scope = trio.CancelScope()
    interruption = Interruption(scope, at, when, lambda _: True)
    with interruption.watching():
        async with trio.open_nursery() as others:
            with scope, interruption.armed():
                async with world.server.open_channel("another", handler=world.handlers[0]) as channel:
                    others.start_soon(work_until_it_ends, world.peer.channels[max(world.peer.channels)])
                    await do_work(channel)
            await trio.testing.wait_all_tasks_blocked()  # The page has heard of it.
    await world.check_wire()
    await world.check_nothing_pending()
    assert all_tasks() == tasks
    return interruption


@functools.cache
def explore_channel_ends(do_work: Work, *, over_http: float = 0, lockstep: bool, seed: int) -> Exploration:
    """Cancels a channel at each step of a session."""

    async def main(exploration: Exploration) -> None:
        async with open_world(lockstep=lockstep, over_http=over_http) as world:
            await exploration.repeat(lambda at, when: play_channel_ends(world, do_work, at=at, when=when), ("before",))

    return Exploration.run(main, seed)


async def play_handshakes(*, lockstep: bool, at: int, when: When) -> Interruption:
    """A server that is cancelled while it admits, refuses and replaces pages, and serves its own one."""
    tasks = all_tasks()
    scope = trio.CancelScope()
    interruption = Interruption(scope, at, when, lambda _: True)
    with interruption.watching():
        async with trio.open_nursery() as others:
            with scope, interruption.armed():
                async with open_memory_server(heartbeat=1e6) as memory:
                    world = World(memory, lockstep=lockstep)
                    token = memory.server.token
                    for client, offered in (("page", token), ("page", token), ("other", token), ("third", "wrong")):
                        others.start_soon(visit, world, client, offered)
                        await memory.server.wait_page()
                    others.start_soon(visit_without_hello, memory)
                    others.start_soon(read_the_page, world)
                    await trio.sleep(3)
    assert all_tasks() == tasks
    return interruption


async def visit(world: World, client: str, token: str) -> None:
    """A page that connects, and stays until it is sent away."""
    with suppress(PageLostError, RefusedError, trio.TooSlowError, trio.BrokenResourceError):
        async with open_peer(world.server.url, token=token, client=client, connect=world.connect) as peer:
            await peer.wait_ended()


async def visit_without_hello(memory: MemoryServer) -> None:
    """A page that says something else."""
    with suppress(LinkClosed, trio.BrokenResourceError, trio.ClosedResourceError):
        with trio.move_on_after(5):  # A listener of memory forgets what it has not accepted, and closes nothing.
            async with memory.open_page(hello=False) as page:
                await page.link.send("[]")
                await page.expect_lost()


async def read_the_page(world: World) -> None:
    """A browser that asks for the page."""
    with suppress(h11.RemoteProtocolError, trio.BrokenResourceError):
        with trio.move_on_after(5):  # As above.
            stream = await world.connect()
            assert (await HttpClient(stream).ask("/")).status == HTTPStatus.OK
            await stream.aclose()


@functools.cache
def explore_handshakes(*, lockstep: bool, seed: int) -> Exploration:
    """Cancels a server at each step of what leads to a session."""

    async def main(exploration: Exploration) -> None:
        await exploration.repeat(lambda at, when: play_handshakes(lockstep=lockstep, at=at, when=when), ("before",))

    return Exploration.run(main, seed)


# The tests. The results are kept, so that the last one can ask for all of them, in whichever order the tests run.

#: The kind of connection and the order of tasks. Streams of memory take all at once, those in lockstep nothing ahead.
Variant = tuple[bool, int]
VARIANTS: tuple[Variant, ...] = ((False, 1), (True, 2))
PAIRED = [
    (script, caller, over_http, lockstep, seed)
    for script in (*CALLS, *CHANNELS)
    for caller in (CALLERS if script in CALLS else ("server",))
    for over_http in ((0, math.inf) if script in STREAMS else (0,))
    for lockstep, seed in VARIANTS
    # Without backpressure a source without an end would be read for ever.
    if lockstep or script is not result_that_is_not_read
]
PARTS: list[Callable[[], Exploration]] = [
    partial(explore_server_ends, send_a_little, url=BEHIND_A_PROXY, over_http=math.inf, lockstep=True, seed=1),
    partial(explore_server_ends, work_slowly, over_http=math.inf, lockstep=True, seed=5),
    partial(explore_server_ends, work_slowly, lockstep=True, seed=9),
    partial(explore_server_ends, work_in_a_channel_that_no_block_owns, lockstep=False, seed=6),
    partial(explore_server_ends, work_in_a_channel_that_no_block_owns, lockstep=True, seed=13),
    partial(explore_page_ends, work_slowly, over_http=math.inf, lockstep=True, seed=2),
    partial(explore_page_ends, work_slowly, lockstep=True, seed=10),
    partial(explore_channel_ends, work, over_http=math.inf, lockstep=False, seed=3),
    partial(explore_channel_ends, work, lockstep=False, seed=11),
    partial(explore_connection_is_lost, call_and_stream, caller="server", over_http=math.inf, lockstep=False, seed=7),
    partial(explore_connection_is_lost, call_and_stream, caller="server", lockstep=False, seed=12),
    partial(explore_connection_is_lost, call_back, caller="peer", lockstep=True, seed=8),
    partial(explore_handshakes, lockstep=True, seed=4),
]


@pytest.mark.parametrize(("script", "caller", "over_http", "lockstep", "seed"), PAIRED)
def test_a_script_can_be_cancelled_at_each_step(
    *, script: Script, caller: str, over_http: float, lockstep: bool, seed: int
) -> None:
    assert explore(script, caller, over_http, lockstep=lockstep, seed=seed).points >= 2


@pytest.mark.parametrize(("lockstep", "seed"), VARIANTS)
@pytest.mark.parametrize("script", ALONE)
def test_a_script_that_waits_for_a_page_can_be_cancelled_at_each_step(
    *, script: Script, lockstep: bool, seed: int
) -> None:
    assert explore_alone(script, lockstep=lockstep, seed=seed).points >= 2


@pytest.mark.parametrize("explore_part", PARTS, ids=lambda part: f"{part.func.__name__}-{part.keywords['seed']}")
def test_a_part_of_a_session_can_be_cancelled_at_each_step_of_any_task(
    explore_part: Callable[[], Exploration],
) -> None:
    assert explore_part().points > 50


def test_each_await_of_the_core_was_cancelled_or_is_known_not_to_be() -> None:
    explorations = [
        *(explore(*pair, lockstep=lockstep, seed=seed) for *pair, lockstep, seed in PAIRED),
        *(explore_alone(script, lockstep=lockstep, seed=seed) for script in ALONE for lockstep, seed in VARIANTS),
        *(explore_part() for explore_part in PARTS),
    ]
    felt = set[tuple[str, int]]().union(*(exploration.felt for exploration in explorations))
    left = set(AWAITS.values()) - {AWAITS[line] for line in felt if line in AWAITS}
    assert {(site.file, site.function, site.code) for site in left} - SOMETIMES_CANCELLED == set(NOT_CANCELLED)

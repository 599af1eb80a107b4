"""Streams that travel as pieces on the session's link: a peer's, and those of a page that has enough over HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

from jchannel._core.heartbeat import FIRST_BEAT_SECONDS, NEAR_SECONDS
from jchannel._core.session import PASSING_SECONDS
from jchannel._core.stream import READ_AHEAD
from jchannel._protocol.connection import PIECE_LIMIT, PIECES_BESIDE_MESSAGES, PIECES_UNDER_WAY
from jchannel._protocol.messages import (
    Ack,
    Broken,
    Call,
    Credit,
    Echo,
    End,
    Error,
    Goodbye,
    Message,
    Open,
    Piece,
    Result,
    Stop,
    StreamInfo,
    Ticket,
)
from jchannel._protocol.values import pack
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import KernelError, PageLostError
from jchannel.trio import Channel, Limits, Peer, PeerChannel
from tests.core.helpers import HttpClient
from tests.core.http_streams import carry_over_http
from tests.core.internals import peer_session, session_of, tickets
from tests.core.memory import MemoryServer, Page, open_memory_server

NO_ARGS = pack([], field_name="args", shown_as="args")
NOTHING = pack(None, field_name="value", shown_as="result")
PLENTY = 2**40

#: What a server lets a page send of one stream before any of it has been read.
CREDIT_BYTES = PIECES_UNDER_WAY


class Gate:
    """A source that gives its beginning, and the rest when it may; it may also fail instead."""

    def __init__(self, *, fails: bool = False) -> None:
        self.opened = trio.Event()
        self.ended = trio.Event()
        self._fails = fails

    async def pieces(self, size: int = 50_000) -> AsyncIterator[bytes]:
        """The source."""
        try:
            yield bytes(size)
            await self.opened.wait()
            if self._fails:
                raise ValueError("the source has failed")
            yield bytes(size)
        finally:
            self.ended.set()


class Handler:
    """What reads streams, and says how."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = trio.Event()
        self.chunks: list[int] = []

    async def digest(self, stream: MetaGenerator) -> list[object]:
        data = await stream.join()
        return [len(data), hashlib.sha256(data).hexdigest()]

    async def read_slowly(self, stream: MetaGenerator) -> int:
        self.chunks.append(len(await anext(stream)))
        self.begun += 1
        await self.go_on.wait()
        async for chunk in stream:
            self.chunks.append(len(chunk))
        return sum(self.chunks)

    async def break_off(self, stream: MetaGenerator) -> int:
        async with stream:
            return len(await anext(stream))

    async def keep(self, stream: MetaGenerator) -> None:
        await self.go_on.wait()


class World:
    """A server, and a page that a test plays, message by message."""

    def __init__(self, memory: MemoryServer, page: Page, channel: Channel, number: int, nursery: trio.Nursery) -> None:
        self.memory = memory
        self.page = page
        self.channel = channel
        self.number = number
        self._nursery = nursery

    async def send_stream(self, source: object) -> str:
        """Lets the server send a stream. Returns its ticket."""
        self._nursery.start_soon(ignore_loss, partial(self.channel.call_with_stream, "f", source, timeout=None))
        call = await self.page.expect(Call)
        assert call.stream is not None
        assert call.stream.ticket is not None
        return call.stream.ticket

    async def receive_stream(self, method: str, id_: int = 1, total: int | None = None) -> Ticket:
        """Lets a method of the server read a stream of the page, whose number is that of the call."""
        await self.page.send(Call(id_, self.number, method, NO_ARGS, StreamInfo(id_, total)))
        return await self.page.expect(Ticket)

    async def receive_pieces(self, until: type[Message] = End) -> list[int | Message]:
        """The sizes of the pieces that come, up to another message, and that."""
        received: list[int | Message] = []
        while not received or not isinstance(received[-1], until):
            message = await self.page.receive()
            received.append(len(message.data) if isinstance(message, Piece) else message)
        return received

    async def check_quiet(self) -> None:
        """Nothing more comes by itself, and the session lives."""
        await trio.testing.wait_all_tasks_blocked()
        await self.page.send(Echo(self.page.connection.next_id(), self.number, NO_ARGS))
        await self.page.expect(Result)

    async def ask(self, method: str, target: str) -> int:
        """An HTTP request; gives the status."""
        return (await HttpClient(self.memory.listener.connect()).ask(target, method)).status


@asynccontextmanager
async def open_world(handler: object = None, limits: Limits | None = None) -> AsyncIterator[World]:
    async with open_memory_server(limits=limits) as memory, memory.open_page() as page:
        async with memory.server.hold_channel("code", handler=handler) as channel, trio.open_nursery() as nursery:
            nursery.start_soon(channel.open)
            request = await page.expect(Open)
            await page.send(Result(request.id, NOTHING))
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(10):
                yield World(memory, page, channel, request.channel, nursery)
            nursery.cancel_scope.cancel()


class TestAStreamOfTheServer:
    async def test_comes_as_far_as_there_is_credit(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_world() as world:
            await world.send_stream(bytes(100_000))
            await world.page.send(Credit(1, 70_000))
            assert await world.page.receive() == Piece(1, bytes(PIECE_LIMIT))
            assert await world.page.receive() == Piece(1, bytes(70_000 - PIECE_LIMIT))
            await world.check_quiet()
            await world.page.send(Credit(1, PLENTY))
            assert await world.receive_pieces() == [30_000, End(1)]
            assert world.memory.server.statistics().stream_bytes_sent == 100_000
            assert not tickets(world.memory.server)

    async def test_ends_behind_what_its_credit_has_just_sufficed_for(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world() as world:
            await world.send_stream(bytes(40_000))
            await world.page.send(Credit(1, 40_000))
            assert await world.receive_pieces() == [40_000, End(1)]

    async def test_cannot_be_fetched_any_more_when_it_comes_as_pieces(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world() as world:
            ticket = await world.send_stream(bytes(100_000))
            await world.page.send(Credit(1, 1))
            assert await world.page.receive() == Piece(1, b"\0")
            assert await world.ask("GET", f"/streams/{ticket}") == 410

    @pytest.mark.parametrize("query", ["", "?offset=0"])
    async def test_takes_no_credit_when_it_is_fetched(self, autojump_clock: trio.testing.MockClock, query: str) -> None:
        async with open_world() as world:
            ticket = await world.send_stream(Gate().pieces())
            stream = world.memory.listener.connect()
            await stream.send_all(f"GET /streams/{ticket}{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await trio.testing.wait_all_tasks_blocked()
            await world.page.send(Credit(1, 1))
            assert "a stream that does not travel as pieces" in (await world.page.expect(Goodbye)).message

    async def test_waits_for_the_arrival_of_what_is_under_way_and_no_message_waits_behind_more(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world() as world:
            await world.send_stream(bytes(2 * PIECES_BESIDE_MESSAGES - PIECE_LIMIT))
            await world.page.send(Credit(1, PLENTY))
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(world.channel.call, "g", timeout=None))
                *sizes, call = await world.receive_pieces(until=Call)
                assert sizes == [PIECE_LIMIT] * (PIECES_BESIDE_MESSAGES // PIECE_LIMIT)
                assert isinstance(call, Call)
                await world.page.send(Result(call.id, NOTHING))
            await world.check_quiet()
            await world.page.send(Ack(PIECES_BESIDE_MESSAGES))
            assert await world.receive_pieces() == [*sizes[1:], End(1)]

    async def test_shares_the_way_with_others_in_turns(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_world() as world:
            for _ in range(3):
                await world.send_stream(bytes(10 * PIECE_LIMIT))
            await world.page.send(Credit(1, PLENTY), Credit(2, PLENTY), Credit(3, PLENTY))
            turns = [await world.page.expect(Piece) for _ in range(4)]
            await world.page.send(Ack(PIECES_BESIDE_MESSAGES))
            turns += [await world.page.expect(Piece) for _ in range(4)]
            assert [piece.stream for piece in turns] == [1, 2, 3, 1, 2, 3, 1, 2]

    async def test_leaves_in_one_frame_with_others_that_are_short(self, autojump_clock: trio.testing.MockClock) -> None:
        gates = [Gate() for _ in range(3)]
        async with open_world() as world:
            for gate in gates:
                await world.send_stream(gate.pieces(10))
            await world.page.send(*(Credit(number, PLENTY) for number in (1, 2, 3)))
            assert await world.page.receive() == Piece(1, bytes(10))
            assert world.page.connection.unanswered == 0
            before = world.memory.server.statistics().socket.frames_sent
            assert [await world.page.receive() for _ in range(2)] == [Piece(2, bytes(10)), Piece(3, bytes(10))]
            assert world.memory.server.statistics().socket.frames_sent == before

    async def test_whose_source_fails_is_broken_behind_its_last_piece(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        gate = Gate(fails=True)
        async with open_world() as world:
            await world.send_stream(gate.pieces())
            await world.page.send(Credit(1, 10_000))
            assert await world.page.receive() == Piece(1, bytes(10_000))
            gate.opened.set()
            await gate.ended.wait()
            await world.check_quiet()
            await world.page.send(Credit(1, PLENTY))
            broken = Broken(1, "ValueError", "the source has failed")
            assert await world.receive_pieces(until=Broken) == [40_000, broken]

    async def test_whose_source_fails_before_it_has_begun_is_broken_at_once(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        gate = Gate(fails=True)
        async with open_world() as world:
            await world.send_stream(gate.pieces())
            gate.opened.set()
            await world.page.expect(Broken)
            await world.page.send(Credit(1, PLENTY))
            await world.check_quiet()

    async def test_that_is_stopped_closes_its_source_and_sends_nothing_more(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        gate = Gate()
        async with open_world() as world:
            await world.send_stream(gate.pieces(PIECES_BESIDE_MESSAGES))
            await world.page.send(Credit(1, PLENTY))
            await world.page.expect(Piece)
            await trio.testing.wait_all_tasks_blocked()
            await world.page.send(Stop(1))
            await gate.ended.wait()
            await world.page.send(Ack(PIECE_LIMIT), Credit(1, PLENTY))
            for _ in range(PIECES_BESIDE_MESSAGES // PIECE_LIMIT - 1):
                await world.page.expect(Piece)
            await world.check_quiet()

    async def test_that_waits_for_its_turn_when_it_is_stopped_loses_it(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world() as world:
            for _ in range(2):
                await world.send_stream(bytes(2 * PIECES_BESIDE_MESSAGES))
            await world.page.send(Credit(1, PIECES_BESIDE_MESSAGES))
            for _ in range(PIECES_BESIDE_MESSAGES // PIECE_LIMIT):
                await world.page.expect(Piece)
            await world.page.send(Credit(1, PLENTY), Credit(2, PLENTY), Stop(1), Ack(PIECES_BESIDE_MESSAGES))
            pieces = [await world.page.expect(Piece) for _ in range(PIECES_BESIDE_MESSAGES // PIECE_LIMIT)]
            assert {piece.stream for piece in pieces} == {2}

    async def test_comes_in_pieces_that_fit_into_the_smallest_frame(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world(limits=Limits(frame_bytes=4_096)) as world:
            await world.send_stream(bytes(40_000))
            await world.page.send(Credit(1, PLENTY))
            *sizes, _ = await world.receive_pieces()
            assert sum(size for size in sizes if isinstance(size, int)) == 40_000


class TestAStreamOfThePage:
    async def test_may_come_as_pieces_instead_of_posts(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_world(Handler()) as world:
            ticket = await world.receive_stream("digest")
            assert ticket.credit == CREDIT_BYTES
            await world.page.send(Piece(1, b"abc"), Piece(1, b"def"))
            await world.page.send(End(1))
            answer = await world.page.expect(Result)
            assert answer.value == [6, hashlib.sha256(b"abcdef").hexdigest()]
            assert world.memory.server.statistics().stream_bytes_received == 6
            assert not tickets(world.memory.server)

    async def test_may_end_without_a_piece(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_world(Handler()) as world:
            await world.receive_stream("digest")
            await world.page.send(End(1))
            assert (await world.page.expect(Result)).value[0] == 0

    async def test_is_whole_at_its_end_whatever_length_was_measured_before(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world(Handler()) as world:
            await world.receive_stream("digest", total=10)
            await world.page.send(Piece(1, b"abc"), End(1))
            assert (await world.page.expect(Result)).value[0] == 3

    async def test_that_breaks_is_an_error_behind_what_has_come(self, autojump_clock: trio.testing.MockClock) -> None:
        handler = Handler()
        async with open_world(handler) as world:
            await world.receive_stream("read_slowly")
            await world.page.send(Piece(1, bytes(10)), Piece(1, bytes(5_000)), Broken(1, "TypeError", "no"))
            await trio.testing.wait_all_tasks_blocked()
            handler.go_on.set()
            assert "TypeError: no" in (await world.page.expect(Error)).message
            assert handler.chunks == [10, 5_000]

    async def test_gets_new_credit_when_half_of_it_has_been_read_and_no_sooner(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Handler()
        async with open_world(handler) as world:
            await world.receive_stream("read_slowly")
            await world.page.send(Piece(1, bytes(1_000)))
            await trio.testing.wait_all_tasks_blocked()
            rest = CREDIT_BYTES - 1_000
            while rest > 0:
                await world.page.send(Piece(1, bytes(min(rest, PIECE_LIMIT))))
                rest -= min(rest, PIECE_LIMIT)
                if not world.page.connection.piece_room:
                    await world.page.expect(Ack)
            while world.page.connection.piece_room == 0:
                await world.page.expect(Ack)
            await world.check_quiet()
            handler.go_on.set()
            given = 0
            while given < CREDIT_BYTES // 2:
                given += (await world.page.expect(Credit)).bytes
            await world.page.send(End(1))
            assert (await world.page.expect(Result)).value == CREDIT_BYTES

    async def test_gets_new_credit_with_an_acknowledgement_when_a_quarter_of_it_has_been_read(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world(Handler()) as world:
            await world.receive_stream("digest")
            for _ in range(6):
                await world.page.send(Piece(1, bytes(PIECE_LIMIT)))
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                assert await world.page.receive() == Ack(2 * PIECE_LIMIT)
            assert await world.page.receive() == Credit(1, 5 * PIECE_LIMIT)
            await world.check_quiet()

    async def test_of_a_page_that_has_answered_a_beat_at_once_is_said_to_be_near(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world(Handler()) as world:
            assert (await world.receive_stream("digest")).near is None
            await trio.sleep(FIRST_BEAT_SECONDS)
            await world.check_quiet()
            assert world.page.beats == 1
            assert (await world.receive_stream("digest", world.page.connection.next_id())).near is True

    async def test_of_a_page_that_is_far_away_is_not(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_world(Handler()) as world:
            await trio.sleep(FIRST_BEAT_SECONDS + 2 * NEAR_SECONDS)
            await world.check_quiet()
            assert world.page.beats == 1
            assert (await world.receive_stream("digest", world.page.connection.next_id())).near is None

    async def test_whose_reader_stands_still_takes_no_more_than_its_credit(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Handler()
        async with open_world(handler) as world:
            await world.receive_stream("read_slowly")
            for _ in range(CREDIT_BYTES // PIECE_LIMIT // 2):
                await world.page.send(Piece(1, bytes(PIECE_LIMIT)))
                await world.page.send(Piece(1, bytes(PIECE_LIMIT)))
                await world.page.expect(Ack)
            await world.page.send(Piece(1, bytes(PIECE_LIMIT)))
            goodbye = await world.page.expect(Goodbye)
            assert goodbye.reason == "protocol"
            assert "bytes of the stream 1 came, with credit for" in goodbye.message

    async def test_that_nobody_reads_may_not_come(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_world(Handler()) as world:
            await world.page.send(Call(1, world.number, "keep", NO_ARGS, StreamInfo(1)), Piece(1, b"abc"))
            assert "nobody has asked for the stream 1" in (await world.page.expect(Goodbye)).message

    async def test_that_is_posted_may_not_come_as_pieces_too(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_world(Handler()) as world:
            ticket = await world.receive_stream("digest")
            assert await world.ask("POST", f"/streams/{ticket.ticket}?offset=0") == 204
            await world.page.send(End(1))
            assert "nobody has asked for the stream 1" in (await world.page.expect(Goodbye)).message

    async def test_that_comes_as_pieces_may_not_be_posted_too(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_world(Handler()) as world:
            ticket = await world.receive_stream("read_slowly")
            await world.page.send(Piece(1, b"abc"))
            await trio.testing.wait_all_tasks_blocked()
            assert await world.ask("POST", f"/streams/{ticket.ticket}?offset=3") == 409

    async def test_that_its_reader_has_stopped_is_dropped_and_acknowledged(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_world(Handler()) as world:
            await world.receive_stream("break_off")
            await world.page.send(Piece(1, b"abc"))
            assert {type(await world.page.receive()) for _ in range(2)} == {Stop, Result}
            await world.page.send(Piece(1, bytes(PIECE_LIMIT)), Piece(1, bytes(PIECE_LIMIT)), End(1))
            assert await world.page.receive() == Ack(2 * PIECE_LIMIT + 3)
            await world.check_quiet()


class CallsBeside:
    """A session that makes calls while a stream runs."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        session = session_of(world.memory.server)
        assert session is not None
        self.session = session
        self.page = world.page
        self.before = session.newest_request
        self._call = world.channel.call
        self._nursery = nursery

    async def call(self, *names: str) -> list[Call]:
        """Begins calls, which the page receives and does not answer."""
        for name in names:
            self._nursery.start_soon(partial(self._call, name))
        return [await self.page.expect(Call) for _ in names]

    async def answer(self, call: Call) -> None:
        """Lets the page answer one of them."""
        await self.page.send(Result(call.id, NOTHING))


@asynccontextmanager
async def open_calls() -> AsyncIterator[CallsBeside]:
    """A session that makes calls."""
    async with open_world() as world, trio.open_nursery() as nursery:
        yield CallsBeside(world, nursery)


class TestACallBesideAStream:
    async def test_is_waited_for_a_short_time(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_calls() as calls:
            (call,) = await calls.call("f")
            began = trio.current_time()
            assert await calls.session.let_newest_pass(calls.before) == call.id
            assert trio.current_time() - began == pytest.approx(PASSING_SECONDS)
            assert await calls.session.let_newest_pass(call.id) == call.id
            assert trio.current_time() - began == pytest.approx(PASSING_SECONDS)
            await calls.answer(call)

    async def test_is_waited_for_no_more_when_that_is_cancelled(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_calls() as calls:
            (call,) = await calls.call("f")
            with trio.CancelScope() as scope:
                scope.cancel()
                await calls.session.let_newest_pass(calls.before)
            assert scope.cancelled_caught
            await calls.answer(call)

    async def test_is_waited_for_until_its_answer(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_calls() as calls:
            first, second = await calls.call("f", "g")
            began = trio.current_time()
            with trio.CancelScope(deadline=began + PASSING_SECONDS / 2) as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(calls.session.let_newest_pass, calls.before)
                    await trio.testing.wait_all_tasks_blocked()
                    await calls.answer(first)
                    await trio.testing.wait_all_tasks_blocked()
                    await calls.answer(second)
            assert not scope.cancelled_caught
            assert trio.current_time() == began


@pytest.fixture(params=["to the page", "to Python"])
def direction(request: pytest.FixtureRequest) -> str:
    """Which way the streams go."""
    return str(request.param)


@asynccontextmanager
async def open_ends(
    direction: str, handler: object, limits: Limits | None = None
) -> AsyncIterator[tuple[MemoryServer, Peer, Channel | PeerChannel]]:
    """A server, a peer, and the side of their channel that streams come from; the other one has a handler."""
    to_page = direction == "to the page"
    async with (
        open_memory_server(limits=limits) as memory,
        memory.open_peer(handler if to_page else None) as peer,
        memory.server.open_channel("code", handler=None if to_page else handler) as channel,
    ):
        far = await peer.wait_channel()
        yield memory, peer, channel if to_page else far


class TestBetweenAServerAndAPeer:
    @pytest.mark.parametrize("over_http", [0, 3])
    async def test_fifty_slow_streams_flow_and_calls_beside_them(
        self, autojump_clock: trio.testing.MockClock, direction: str, over_http: int
    ) -> None:
        handler = Handler()
        gates = [Gate() for _ in range(50)]
        sizes: list[object] = []

        async def send(gate: Gate) -> None:
            size, _ = await near.call_with_stream("digest", gate.pieces(), timeout=None)
            sizes.append(size)

        async with open_ends(direction, handler) as (memory, peer, near):
            carry_over_http(peer, memory.server.url, memory.connect, most=over_http)
            async with trio.open_nursery() as nursery:
                for gate in gates:
                    nursery.start_soon(send, gate)
                await trio.testing.wait_all_tasks_blocked(0.1)
                statistics = memory.server.statistics()
                assert statistics.streams == 50
                assert statistics.stream_bytes_sent + statistics.stream_bytes_received == 50 * 50_000
                assert statistics.connections == 1 + over_http
                assert await near.echo(1) == [1]
                for gate in gates:
                    gate.opened.set()
            assert sizes == [100_000] * 50

    @pytest.mark.parametrize("over_http", [0, 3])
    async def test_fifty_slow_pipes_flow(
        self, autojump_clock: trio.testing.MockClock, direction: str, over_http: int
    ) -> None:
        gates = [Gate() for _ in range(50)]
        come: list[int] = []

        async def pipe(gate: Gate) -> None:
            async with await near.pipe(gate.pieces(), timeout=None) as stream:
                come.append(len(await anext(stream)))
                come.append(len(await stream.join()))

        async with open_ends(direction, None) as (memory, peer, near):
            carry_over_http(peer, memory.server.url, memory.connect, most=over_http)
            async with trio.open_nursery() as nursery:
                for gate in gates:
                    nursery.start_soon(pipe, gate)
                await trio.testing.wait_all_tasks_blocked(0.1)
                assert len(come) == 50
                assert memory.server.statistics().connections == 1 + over_http
                for gate in gates:
                    gate.opened.set()
            assert sum(come) == 50 * 100_000

    async def test_a_reader_that_stands_still_holds_up_no_other_stream(
        self, autojump_clock: trio.testing.MockClock, direction: str
    ) -> None:
        handler = Handler()
        sizes: list[int] = []

        async def send() -> None:
            sizes.append(await near.call_with_stream("read_slowly", bytes(10 * READ_AHEAD), timeout=None))

        async with open_ends(direction, handler) as (_, _, near):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked(0.1)
                assert handler.begun == 1
                size, _ = await near.call_with_stream("digest", bytes(2 * READ_AHEAD), timeout=None)
                assert size == 2 * READ_AHEAD
                handler.go_on.set()
            assert sizes == [10 * READ_AHEAD]

    async def test_a_stream_that_the_server_takes_over_http_only_is_broken_and_its_source_closed(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        gate = Gate()
        async with open_ends("to Python", Handler()) as (memory, peer, near):
            session = session_of(memory.server)
            assert session is not None
            tell = session.tell

            def tell_without_credit(message: Message, *, more: bool = True) -> None:
                tell(Ticket(message.stream, message.ticket) if isinstance(message, Ticket) else message, more=more)

            session.tell = tell_without_credit  # type: ignore[method-assign]
            with pytest.raises(KernelError, match="cannot be sent: the server takes it over HTTP only"):
                await near.call_with_stream("digest", gate.pieces())
            await gate.ended.wait()
            assert memory.server.statistics().streams == 0
            assert await near.echo(1) == [1]
            assert peer.connected


async def test_a_peer_takes_no_credit_for_a_stream_before_its_ticket(autojump_clock: trio.testing.MockClock) -> None:
    async with open_ends("to Python", Handler()) as (memory, peer, near), trio.open_nursery() as nursery:
        nursery.start_soon(ignore_loss, partial(near.call_with_stream, "keep", bytes(100_000), timeout=None))
        await trio.testing.wait_all_tasks_blocked(0.1)
        session = session_of(memory.server)
        assert session is not None
        session.tell(Credit(1, 1))
        await peer_session(peer).wait_ended()
        assert "does not travel as pieces" in session.why_ended


async def ignore_loss(work: Callable[[], Awaitable[object]]) -> None:
    """Does something in a session that is lost meanwhile."""
    with suppress(PageLostError):
        await work()


@pytest.mark.parametrize("most", [1, 7])
async def test_the_welcome_says_how_many_streams_travel_over_http(
    autojump_clock: trio.testing.MockClock, most: int
) -> None:
    async with open_world(limits=Limits(http_streams=most)) as world:
        assert world.page.welcome.http_streams == most

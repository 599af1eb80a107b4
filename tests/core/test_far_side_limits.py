"""What the far side can make this side hold: how much waits to be sent to it, runs for it, and stands in its streams.

Each test runs twice: with the server and with the Python peer as the side that is limited.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._core.session import Session
from jchannel._core.threads import TrioThreads
from jchannel._protocol.connection import PIECE_LIMIT, Connection
from jchannel._protocol.parts import PartMark
from jchannel._streams.reader import MetaGenerator
from jchannel._streams.sources import open_source
from jchannel.errors import ClosedError, FrontendError, KernelError, PageLostError, RemoteError
from jchannel.trio import Limits
from tests.core import internals
from tests.core.memory import open_memory_server
from tests.core.world import World, digest, open_world

BUFFER = 100_000
LARGE = 40_000


class Source:
    """A stream that notes what is done with it."""

    def __init__(self) -> None:
        self.read = self.closed = 0

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        self.read += 1
        return await trio.sleep_forever()

    async def aclose(self) -> None:
        """Closes it."""
        self.closed += 1


class Handler:
    """What the limited side does."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = trio.Event()
        self.give_now = trio.Event()
        self.source = Source()
        self.file = io.BytesIO(bytes(100_000))
        self.kept: list[MetaGenerator] = []

    def large(self) -> str:
        """Returns much, at once."""
        self.begun += 1
        return "x" * LARGE

    async def large_later(self) -> str:
        """Returns much, when it is told to."""
        self.begun += 1
        await self.go.wait()
        return "x" * LARGE

    async def fail_later(self) -> None:
        """Raises with much to say, when it is told to."""
        await self.go.wait()
        raise ValueError("x" * LARGE)

    async def hold(self, *_: object) -> None:
        """Answers when it is told to."""
        self.begun += 1
        await self.go.wait()

    async def keep(self, stream: MetaGenerator) -> None:
        """Keeps a stream, and has begun to read it."""
        await anext(stream)
        self.kept.append(stream)

    async def give_later(self) -> Source:
        """Gives a stream, when it is told to."""
        await self.give_now.wait()
        return self.source

    def give_kept(self) -> Source:
        """Gives that stream at once."""
        return self.source

    def give_file(self) -> io.BytesIO:
        """Gives a file."""
        return self.file

    def give(self) -> AsyncIterator[bytes]:
        """Gives a stream without an end."""
        return endless()

    def give_nothing(self) -> AsyncIterator[bytes]:
        """Gives a stream of which nothing comes."""
        return silent()

    def give_some(self) -> AsyncIterator[bytes]:
        """Gives a stream of 40,000 bytes, which is too long to travel inside its message."""
        return pieces(40)

    def give_medium(self) -> AsyncIterator[bytes]:
        """Gives 10,000 bytes, which travel inside a message where there is room."""
        return one_piece(bytes(10_000))

    def give_short(self) -> AsyncIterator[bytes]:
        """Gives a stream that travels inside its message."""
        return one_piece()


async def one_piece(data: bytes = b"short") -> AsyncIterator[bytes]:
    """A source with one piece."""
    await trio.lowlevel.checkpoint()
    yield data


async def endless() -> AsyncIterator[bytes]:
    """A source without an end."""
    while True:
        await trio.lowlevel.checkpoint()
        yield bytes(1_000)


async def silent() -> AsyncIterator[bytes]:
    """A source of which nothing comes."""
    await trio.Event().wait()
    yield b""


async def pieces(count: int = 400) -> AsyncIterator[bytes]:
    """A source of pieces of 1,000 bytes."""
    for number in range(count):
        await trio.lowlevel.checkpoint()
        yield bytes([number % 256]) * 1_000


class Limited:
    """A world whose far side has limits."""

    def __init__(self, world: World, session: Session) -> None:
        self.world = world
        self.session = session
        self.handler = Handler()
        self.outcomes: list[Any] = []
        self.nursery: trio.Nursery
        internals.endpoint(world.far).handler = self.handler

    async def call(self, name: str, *args: object) -> Any:
        """Calls a method of the limited side."""
        return await self.world.near.call(name, *args, timeout=None)

    def begin(self, name: str, *args: object) -> None:
        """Begins a call of the limited side, whose outcome is entered when it is there."""
        self.nursery.start_soon(self._note, name, args)

    async def begin_all(self, name: str, count: int) -> None:
        """Begins so many calls in one step, and waits until all has come to rest."""
        for _ in range(count):
            self.begin(name)
        await trio.testing.wait_all_tasks_blocked()

    async def _note(self, name: str, args: tuple[object, ...]) -> None:
        near = self.world.near
        try:
            call = near.echo(*args, timeout=None) if name == "echo" else near.call(name, *args, timeout=None)
            self.outcomes.append(await call)
        except (RemoteError, ClosedError, PageLostError) as error:
            self.outcomes.append(error)


@asynccontextmanager
async def limited(side: str, **limits: Any) -> AsyncIterator[Limited]:
    """Opens a world in which one side, the server or the peer, has limits."""
    caller = "peer" if side == "server" else "server"
    async with open_world(caller, lockstep=True, limits=Limits(**limits)) as world:
        session = internals.session_of(world.server) if side == "server" else internals.peer_session(world.peer)
        assert session is not None
        here = Limited(world, session)
        async with trio.open_nursery() as here.nursery:
            yield here
            here.nursery.cancel_scope.cancel()


both_sides = pytest.mark.parametrize("side", ["server", "peer"])


# What waits to be sent


@both_sides
@pytest.mark.parametrize("name", ["large", "large_later", "echo"])
async def test_answers_wait_as_long_as_the_far_side_takes_none(
    side: str, name: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        let_go = internals.hold_writing(here.session)
        for _ in range(50):
            here.begin(name, *(["x" * LARGE] if name == "echo" else []))
        await trio.testing.wait_all_tasks_blocked()
        here.handler.go.set()
        await trio.testing.wait_all_tasks_blocked()
        # Those that are on their way in one frame, those that fill the buffer, and one more.
        assert 40 <= here.session.running < 50
        assert here.session.waiting_bytes < BUFFER + LARGE + 100
        let_go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(here.outcomes) == 50
        assert all(outcome in ("x" * LARGE, ["x" * LARGE]) for outcome in here.outcomes)
        assert (here.session.running, here.session.running_bytes) == (0, 0)


@both_sides
async def test_no_call_begins_while_there_is_no_room_for_its_answer(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        let_go = internals.hold_writing(here.session)
        await here.begin_all("large", 50)
        begun = here.handler.begun
        assert begun <= 5
        await here.begin_all("hold", 10)
        assert here.handler.begun == begun
        assert here.session.running >= 55
        here.handler.go.set()
        let_go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert here.handler.begun == 60


@both_sides
async def test_calls_that_wait_for_room_are_answered_when_their_channel_is_closed(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        let_go = internals.hold_writing(here.session)
        await here.begin_all("large", 20)
        with trio.move_on_after(5):
            await here.world.channel.close(timeout=None)
        let_go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(here.outcomes) == 20
        assert here.session.running == 0


@both_sides
async def test_calls_that_wait_for_room_never_begin_when_their_channel_is_closed(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        let_go = internals.hold_writing(here.session)
        await here.begin_all("large", 20)
        begun = here.handler.begun
        for _ in range(10):  # They find others that wait.
            here.begin("large")
        await trio.testing.wait_all_tasks_blocked()
        internals.end_side(here.world.far)
        let_go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert here.handler.begun == begun
        assert len(here.outcomes) == 30
        assert here.session.running == 0


@both_sides
async def test_calls_that_wait_for_room_end_with_their_session(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        internals.hold_writing(here.session)
        for name in ["large_later"] * 5 + ["large"] * 20 + ["echo"] * 5:
            here.begin(name, *(["x" * LARGE] if name == "echo" else []))
        await trio.testing.wait_all_tasks_blocked()
        here.handler.go.set()
        await trio.testing.wait_all_tasks_blocked()
        await internals.cut(here.session)
        here.session.lose("it was cut")
        await trio.testing.wait_all_tasks_blocked()
        assert here.session.running == 0
        assert internals.endpoint(here.world.far).dispatcher.running == 0
        assert all(isinstance(outcome, PageLostError) for outcome in here.outcomes)


class Taking:
    """What the other side does."""

    def take(self, _: str) -> None:
        """Takes something."""


@both_sides
@pytest.mark.parametrize("name", ["large", "large_later", "hold", "echo"])
async def test_the_far_side_has_its_turns_beside_a_program_that_always_has_more_to_request(
    side: str, name: str, autojump_clock: trio.testing.MockClock
) -> None:
    made, most = 0, 2_000
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        internals.endpoint(here.world.near).handler = Taking()
        here.handler.go.set()

        async def request_on() -> None:
            nonlocal made
            while len(here.outcomes) < 30 and made < most:
                made += 1
                await here.world.far.call("take", "x" * LARGE, timeout=None)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(request_on)
            for _ in range(30):
                here.begin(name)
        assert (len(here.outcomes), refusals(here)) == (30, [])
    assert made < most


@both_sides
async def test_errors_are_short_while_there_is_no_room(side: str, autojump_clock: trio.testing.MockClock) -> None:
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        await here.begin_all("fail_later", 100)
        let_go = internals.hold_writing(here.session)
        here.handler.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert here.session.waiting_bytes < BUFFER + 20_000 + 100 * 400
        let_go.set()
        await trio.testing.wait_all_tasks_blocked()
        lengths = sorted({len(str(outcome)) for outcome in here.outcomes})
        assert lengths[0] < 300
        assert lengths[-1] >= 20_000
        assert len(here.outcomes) == 100


@both_sides
async def test_nothing_is_received_while_too_much_has_to_be_said(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    limit = 4 * 10_000
    async with limited(side, send_buffer_bytes=10_000, running_requests=1) as here:
        here.begin("hold")
        await trio.testing.wait_all_tasks_blocked()
        let_go = internals.hold_writing(here.session)
        most = 0
        for _ in range(300):
            here.begin("hold")
            await trio.testing.wait_all_tasks_blocked()
            most = max(most, internals.waiting_unasked(here.session))
        assert limit < most < limit + 600  # One more than fit: it is known only behind it.
        assert internals.receive_nothing_new(here.session)
        let_go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(here.outcomes) == 300
        assert not internals.receive_nothing_new(here.session)
        here.handler.go.set()


# What runs


def refusals(here: Limited) -> list[str]:
    """What the calls that were refused have heard."""
    return [str(outcome) for outcome in here.outcomes if isinstance(outcome, RemoteError)]


@both_sides
@pytest.mark.parametrize("extra", [0, 1])
async def test_as_many_calls_run_as_may_and_one_more_is_refused(
    side: str, extra: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, running_requests=5) as here:
        for _ in range(5 + extra):
            here.begin("hold")
        await trio.testing.wait_all_tasks_blocked()
        assert here.handler.begun == 5
        said = "too many calls at once: 5 are running already (Limits.running_requests)"
        assert [text.endswith(said) for text in refusals(here)] == [True] * extra
        here.handler.go.set()


@both_sides
@pytest.mark.parametrize("extra", [0, 1])
async def test_calls_with_as_many_bytes_run_as_may_and_one_more_byte_is_refused(
    side: str, extra: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side) as here:
        here.begin("hold", "x" * 10_000)
        await trio.testing.wait_all_tasks_blocked()
        size = here.session.running_bytes
        here.handler.go.set()
    assert 10_000 < size < 10_200
    async with limited(side, running_bytes=2 * size) as here:
        here.begin("hold", "x" * 10_000)
        await trio.testing.wait_all_tasks_blocked()
        here.begin("hold", "x" * (10_000 + extra))
        await trio.testing.wait_all_tasks_blocked()
        assert here.handler.begun == 2 - extra
        assert len(refusals(here)) == extra
        assert all(f"more than {2 * size:,} (Limits.running_bytes)" in text for text in refusals(here))
        here.handler.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (here.session.running, here.session.running_bytes) == (0, 0)


@both_sides
async def test_a_call_that_is_larger_than_may_run_together_runs_alone(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, running_bytes=1_000) as here:
        here.handler.go.set()
        for _ in range(3):
            await here.call("hold", "x" * 10_000)
        assert here.handler.begun == 3


@both_sides
async def test_the_bytes_of_a_batch_are_held_until_its_last_call_is_answered(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side) as here:
        here.begin("hold", "x" * 5_000)
        here.begin("hold", "x" * 5_000)
        here.begin("large")
        await trio.testing.wait_all_tasks_blocked()
        assert here.session.running == 2
        held = here.session.running_bytes
        assert held > 10_000
        here.handler.go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert here.session.running_bytes == 0


# Streams


@both_sides
@pytest.mark.parametrize("extra", [0, 1])
async def test_as_many_streams_answer_as_may_be_open_and_one_more_is_refused(
    side: str, extra: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, streams=3) as here:
        streams = [await here.call("give") for _ in range(3)]
        if extra:
            with pytest.raises(RemoteError, match=r"too many streams at once: 3 are open already \(Limits.streams\)$"):
                await here.call("give")
            await streams.pop().aclose()
            await trio.testing.wait_all_tasks_blocked()
            streams.append(await here.call("give"))
        for stream in streams:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (here.session.stream_quota.open, here.session.stream_quota.held) == (0, 0)


@both_sides
@pytest.mark.parametrize("extra", [0, 1])
async def test_as_many_streams_come_with_calls_as_may_be_open_and_one_more_is_refused(
    side: str, extra: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, streams=3) as here:
        near = here.world.near
        for _ in range(3):
            await near.call_with_stream("keep", endless(), timeout=None)
        if extra:
            with pytest.raises(RemoteError, match=r"too many streams at once: 3 are open already \(Limits.streams\)$"):
                await near.call_with_stream("keep", endless(), timeout=None)
            await trio.testing.wait_all_tasks_blocked()
            assert len(internals.endpoint(near)._streams.of_channel(internals.endpoint(near))) == 3
            await here.handler.kept.pop().aclose()
            await trio.testing.wait_all_tasks_blocked()
            await near.call_with_stream("keep", endless(), timeout=None)
        for stream in here.handler.kept:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (here.session.stream_quota.open, here.session.stream_quota.held) == (0, 0)


@both_sides
async def test_streams_that_travel_inside_their_messages_do_not_count(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, streams=2) as here:
        kept = await here.call("give")
        for _ in range(20):
            here.begin("give_short")
        await trio.sleep(1)
        assert refusals(here) == []
        assert [await stream.join() for stream in here.outcomes] == [b"short"] * 20
        for _ in range(5):
            await here.world.near.call_with_stream("keep", b"short", timeout=None)
        await kept.aclose()


@both_sides
async def test_of_streams_at_once_no_more_are_open_than_may_be(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, streams=2) as here:
        for _ in range(10):
            here.begin("give")
        await trio.sleep(1)
        assert len(refusals(here)) == 8
        assert here.session.stream_quota.open == 2


@both_sides
async def test_a_stream_counts_once_while_it_may_still_be_short(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, streams=3) as here:
        await here.begin_all("give_nothing", 2)
        assert (here.outcomes, here.session.stream_quota.open) == ([], 2)
        await here.world.near.call_with_stream("keep", endless(), timeout=None)
        assert refusals(here) == []


@both_sides
async def test_a_stream_for_which_there_is_no_place_is_closed(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, streams=1) as here:
        stream = await here.call("give")
        for name in ("give_kept", "give_file"):
            with pytest.raises(RemoteError, match="too many streams at once"):
                await here.call(name)
        await trio.testing.wait_all_tasks_blocked()
        assert (here.handler.source.read, here.handler.source.closed) == (0, 1)
        assert not here.handler.file.closed  # It is the program's.
        assert here.session.stream_quota.open == 1
        await stream.aclose()


@both_sides
async def test_a_stream_whose_call_is_cancelled_while_it_waits_for_room_is_closed(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        scope = trio.CancelScope()

        async def ask() -> None:
            with scope:
                await here.call("give_later")

        here.nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        let_go = internals.hold_writing(here.session)
        for _ in range(8):  # Some leave the buffer for a frame, and the next fill it.
            here.begin("large")
            await trio.testing.wait_all_tasks_blocked()
        assert not here.session.room.free
        here.handler.give_now.set()
        await trio.testing.wait_all_tasks_blocked()
        assert here.handler.source.closed == 0
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (here.handler.source.read, here.handler.source.closed) == (0, 1)
        let_go.set()


@both_sides
async def test_a_call_that_is_cancelled_while_it_waits_for_a_stream_s_place_takes_none(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, streams=1) as here:
        here.begin("give_short")
        with trio.move_on_after(0.001):
            await here.call("give_short")
        await trio.sleep(1)
        assert here.session.stream_quota.open == 0
        assert await (await here.call("give_short")).join() == b"short"


@both_sides
async def test_streams_that_nobody_reads_hold_no_more_bytes_than_may_wait(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    limit = 100_000
    async with limited(side, stream_bytes=limit) as here:
        streams = [await here.call("give") for _ in range(10)]
        await trio.testing.wait_all_tasks_blocked()
        assert limit <= here.session.stream_quota.held <= limit + 10 * 1_000  # A piece that each had asked for.
        for stream in streams:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert here.session.stream_quota.held == 0


@both_sides
async def test_a_stream_is_whole_also_while_others_hold_what_may_wait(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, stream_bytes=50_000) as here:
        others = [await here.call("give") for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()
        read = await (await here.call("give_some")).join()
        assert read == b"".join([piece async for piece in pieces(40)])
        for stream in others:
            await stream.aclose()


@both_sides
async def test_until_it_is_read_a_stream_is_read_ahead_only_so_far_that_it_shows_whether_it_is_short(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side) as here:
        async with await here.call("give") as stream:
            await trio.testing.wait_all_tasks_blocked()
            assert 2**15 < here.session.stream_quota.held <= 2**15 + 1_000
            await anext(stream)
            await trio.testing.wait_all_tasks_blocked()
            assert here.session.stream_quota.held > 2**18


@both_sides
async def test_streams_that_are_sent_to_slow_readers_hold_no_more_bytes_than_may_wait(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, stream_bytes=100_000) as here:
        for _ in range(2):
            await here.world.near.call_with_stream("keep", endless(), timeout=None)
        await trio.testing.wait_all_tasks_blocked()
        # A piece of each that is read may come on top.
        assert here.session.stream_quota.held <= 100_000 + 2 * PIECE_LIMIT
        for stream in here.handler.kept:
            await stream.aclose()


async def test_a_peer_opens_no_more_channels_at_once_than_calls_may_run(autojump_clock: trio.testing.MockClock) -> None:
    async with limited("peer", running_requests=1) as here:
        here.begin("hold")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises((KernelError, RemoteError), match="too many calls at once: 1 are running already"):
            async with here.world.server.open_channel("code"):
                pass
        here.handler.go.set()


# Short streams under a small frame limit


@pytest.mark.parametrize("way", ["argument", "result", "pipe"])
@pytest.mark.parametrize("caller", ["server", "peer"])
async def test_a_short_stream_that_its_message_has_no_room_for_travels_beside_it(
    caller: str, way: str, autojump_clock: trio.testing.MockClock
) -> None:
    data = bytes(range(250)) * 40
    async with open_world(caller, lockstep=True, limits=Limits(frame_bytes=4_096)) as world:
        if way == "argument":
            assert await world.near.call_with_stream("digest", data) == digest(data)
        elif way == "pipe":
            assert await (await world.near.pipe(data)).join() == data
        else:
            handler = Handler()
            internals.endpoint(world.far).handler = handler
            assert await (await world.near.call("give_medium")).join() == bytes(10_000)


@pytest.mark.parametrize("caller", ["server", "peer"])
async def test_a_call_whose_arguments_are_too_large_fails_also_with_a_short_stream(
    caller: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_world(caller, lockstep=True, limits=Limits(frame_bytes=4_096)) as world:
        with pytest.raises(ValueError, match="is larger than the connection takes at once, 4,096 bytes"):
            await world.near.call_with_stream("digest", b"short", "x" * 5_000)
        await world.check_nothing_pending()


# The peer


@pytest.mark.parametrize("beats", [2.9, 4.1])
async def test_a_peer_notices_that_nothing_comes_from_its_server_for_three_beats(
    beats: float, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    # The server beats once, and then is silent for much longer than it says.
    monkeypatch.setattr(Connection, "far_beat", property(lambda _: 1_000.0, lambda *_: None), raising=False)
    async with open_memory_server(heartbeat=1e6) as memory:
        async with memory.open_peer() as peer:
            await trio.sleep(beats * 1_000)
            session = internals.peer_session(peer)
            assert session.alive == (beats < 3)
            assert ("lost: nothing has come from it for 3000 s" in session.why_ended) == (beats > 3)


async def test_a_peer_opens_no_connection_for_its_streams(autojump_clock: trio.testing.MockClock) -> None:
    async with limited("server") as here:
        connections = 0

        async def read() -> None:
            nonlocal connections
            stream = await here.call("give_some")
            assert len(await stream.join()) == 40_000
            connections = max(connections, here.world.server.statistics().connections)

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(read)
        assert connections == 1


async def test_a_part_has_no_more_than_may_be_however_large_the_pieces_of_its_source_are() -> None:
    stream = internals.make_outgoing(await open_source(one_piece(bytes(10 * 2**20)), TrioThreads(Limits())))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.run)
        parts = [await stream.take_part() for _ in range(3)]
    assert [len(part.data) for part in parts] == [4 * 2**20, 4 * 2**20, 2 * 2**20]
    assert parts[-1].mark is PartMark.LAST


async def test_a_peer_has_as_many_channels_as_may_be_open_and_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, memory.open_peer(limits=Limits(channels=2)):
        async with memory.server.open_channel("first"):
            async with memory.server.open_channel("second"):
                with pytest.raises(FrontendError, match="too many channels at once: 2 are open already"):
                    async with memory.server.open_channel("third"):
                        pass
            async with memory.server.open_channel("third") as channel:
                assert await channel.echo(1) == [1]


@both_sides
async def test_calls_that_are_let_go_on_without_room_wait_again(
    side: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with limited(side, send_buffer_bytes=BUFFER) as here:
        let_go = internals.hold_writing(here.session)
        for _ in range(20):
            here.begin("large")
            await trio.testing.wait_all_tasks_blocked()
        begun = here.handler.begun
        assert not internals.endpoint(here.world.far).dispatcher.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert here.handler.begun == begun < 20
        let_go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert here.outcomes == ["x" * LARGE] * 20
        assert here.session.running == 0

"""An unexpected error of the library in any step of a session: it is logged, ends that session and nothing else.

The errors are planted: the real thing cannot be made to fail. Those in the steps of one stream, one call or one
connection of HTTP end that alone.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import pytest
import trio
import trio.testing

from jchannel._core import server_carrier
from jchannel._core.channel import ServerChannel
from jchannel._core.invocation import Invocation
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.request import Request
from jchannel._core.session import Session
from jchannel.errors import RefusedError, RemoteError, StateError
from jchannel.trio import Channel
from tests.core.internals import channel_core, count_entries, count_in_server, peer_session, server_core, session_of
from tests.core.memory import open_memory_server
from tests.core.nth_checkpoint import run_seeded
from tests.core.world import DATA, Side, World, endless, pieces

#: More than all times of a session together: what hangs fails.
PATIENCE = 1_000


class Ends(enum.Enum):
    """What a planted error ends."""

    SESSION = "the session, with a goodbye"
    LINK = "the session, and no goodbye can be sent"
    PART = "less than the session"
    EITHER = "less than the session, or the session, with a goodbye: it is a step of both"


class PlantedError(Exception):
    """The error."""


@dataclass
class Planted:
    """Where errors are planted. Each raises whenever it is come to, until the session has ended.

    Attributes:
        world: The world.
        patch: What is planted by.
        count: How often one was raised.
    """

    world: World
    patch: pytest.MonkeyPatch
    count: int = field(default=0)

    @property
    def session(self) -> Session:
        """The session of the server."""
        session = session_of(self.world.server)
        assert session is not None
        return session

    @property
    def core(self) -> ServerChannel:
        """The channel."""
        assert isinstance(self.world.channel, Channel)
        return channel_core(self.world.channel)

    def fail(self, *_: object, **__: object) -> NoReturn:
        """Raise."""
        self.count += 1
        raise PlantedError

    def plant(self, owner: object, name: str) -> None:
        """Plant the error in a method of an object."""
        self.patch.setattr(owner, name, self.fail)

    def plant_behind(self, owner: object, name: str) -> None:
        """Plant the error behind a method of an object: it does its work."""
        method = getattr(owner, name)

        def do_and_fail(*args: object) -> NoReturn:
            method(*args)
            self.fail()

        self.patch.setattr(owner, name, do_and_fail)

    def plant_for(self, kind: type[Any], name: str, mine: Callable[[Any], bool], *, behind: bool = False) -> None:
        """Plant the error in a method of some objects of a class, or behind it."""
        method = getattr(kind, name)

        def fail_some(this: Any, *args: object, **options: object) -> Any:
            if mine(this) and not behind:
                self.fail()
            result = method(this, *args, **options)
            return self.fail() if mine(this) else result

        self.patch.setattr(kind, name, fail_some)

    def plant_tallies(self, owner: object, name: str) -> None:
        """Plant the error in counting."""
        self.patch.setattr(owner, name, [Uncountable(self.fail)])


class Uncountable:
    """Cannot be counted by."""

    def __init__(self, fail: Callable[[], NoReturn]) -> None:
        object.__setattr__(self, "_fail", fail)

    def __getattr__(self, name: str) -> Any:
        return 0

    def __setattr__(self, name: str, value: object) -> None:
        object.__getattribute__(self, "_fail")()


Plant = Callable[[Planted], None]


def of_session(name: str) -> Plant:
    return lambda planted: planted.plant(planted.session, name)


def of_part(part: str, name: str) -> Plant:
    return lambda planted: planted.plant(getattr(planted.session, part), name)


def of_dispatcher(name: str) -> Plant:
    return lambda planted: planted.plant(planted.core.dispatcher, name)


def of_outbox(name: str) -> Plant:
    return lambda planted: planted.plant(planted.core.outbox, name)


def of_streams(name: str) -> Plant:
    return lambda planted: planted.plant(server_core(planted.world.server).streams, name)


def of_invocations(name: str) -> Plant:
    return lambda planted: planted.plant_for(Invocation, name, lambda this: this.session is planted.session)


def of_requests(name: str) -> Plant:
    return lambda planted: planted.plant_for(Request, name, lambda this: this._owner is planted.core.outbox)


#: Every step of a session, and what an error in it ends.
STEPS: dict[str, tuple[Plant, Ends]] = {
    "reading": (of_part("_link", "receive"), Ends.SESSION),
    "decoding": (of_part("_connection", "receive"), Ends.SESSION),
    "handling": (of_session("_handle"), Ends.SESSION),
    "handling an answer": (of_session("_handle_answer"), Ends.SESSION),
    "handling a request": (of_session("_handle_request"), Ends.SESSION),
    "handling a stream": (of_session("_handle_stream"), Ends.SESSION),
    "handling a beat": (of_part("heartbeat", "receive"), Ends.SESSION),
    "making an invocation": (of_session("invoke"), Ends.SESSION),
    "dispatching": (of_dispatcher("dispatch"), Ends.SESSION),
    "dispatching, at its end": (lambda planted: planted.plant(planted.core, "start_soon"), Ends.SESSION),
    "beginning without a task": (of_dispatcher("_begin"), Ends.SESSION),
    "taking a stream that comes with a call": (of_streams("accept"), Ends.SESSION),
    "echoing": (of_dispatcher("answer_echo"), Ends.SESSION),
    "answering": (of_session("answer"), Ends.SESSION),
    "answering with a value": (of_invocations("succeed"), Ends.PART),
    "answering with an error": (of_invocations("answer_error"), Ends.SESSION),
    "failing": (of_dispatcher("_fail"), Ends.SESSION),
    "releasing an invocation": (
        lambda planted: planted.plant_behind(planted.core.dispatcher, "release"),
        Ends.SESSION,
    ),
    "answering with a stream": (of_dispatcher("_answer_with_stream"), Ends.PART),
    "closing the stream of a call": (of_invocations("close_stream"), Ends.SESSION),
    "counting a call that was answered": (
        lambda planted: planted.plant_tallies(planted.core.dispatcher, "_tallies"),
        Ends.SESSION,
    ),
    "counting a call that was made": (
        lambda planted: planted.plant_tallies(planted.core.outbox, "_tallies"),
        Ends.SESSION,
    ),
    "making a request": (of_session("request"), Ends.SESSION),
    "announcing a stream": (of_session("send_stream"), Ends.SESSION),
    "sending a request": (of_session("send_queued"), Ends.SESSION),
    "being answered": (of_requests("answer"), Ends.SESSION),
    "settling": (lambda planted: planted.plant_behind(planted.core.outbox, "release"), Ends.SESSION),
    "converting a stream": (of_outbox("convert_stream"), Ends.SESSION),
    "telling": (of_session("tell"), Ends.SESSION),
    "encoding": (of_part("_connection", "send"), Ends.LINK),
    "queueing": (of_session("_send"), Ends.LINK),
    "making a frame": (of_part("_connection", "next_frame"), Ends.LINK),
    "sending a frame": (of_session("_send_frame"), Ends.LINK),
    "writing": (of_part("_link", "send_nowait"), Ends.LINK),
    "beating": (of_part("heartbeat", "_exchange_beats"), Ends.SESSION),
    "closing the link": (of_part("_link", "aclose"), Ends.PART),
    "expiring": (of_requests("expire"), Ends.PART),
    "giving up": (of_requests("_give_up"), Ends.PART),
    "opening a stream": (of_streams("open"), Ends.PART),
    "running a stream": (
        lambda planted: planted.plant_for(OutgoingStream, "_read_source", lambda this: is_mine(planted, this)),
        Ends.PART,
    ),
    "ending a stream's source": (
        lambda planted: planted.plant_for(
            OutgoingStream, "_forget_if_over", lambda this: is_mine(planted, this), behind=True
        ),
        Ends.EITHER,
    ),
    "waiting for a short stream": (
        lambda planted: planted.plant_for(OutgoingStream, "wait_short", lambda this: is_mine(planted, this)),
        Ends.PART,
    ),
    "numbering a stream": (of_streams("number"), Ends.SESSION),
    "issuing a ticket": (of_streams("issue_ticket"), Ends.SESSION),
    "beginning a stream": (of_session("begin_stream"), Ends.PART),
    "asking for a stream": (of_part("_pieces", "request"), Ends.SESSION),
    "carrying over HTTP": (lambda planted: planted.patch.setattr(server_carrier, "_answer", planted.fail), Ends.PART),
    "receiving pieces": (of_part("_pieces", "receive"), Ends.SESSION),
    "allowing pieces": (of_part("_pieces", "allow"), Ends.SESSION),
    "sending pieces": (of_part("_pieces", "queue_next"), Ends.SESSION),
    "acknowledging pieces": (of_part("_pieces", "go_on"), Ends.SESSION),
    "opening a channel": (lambda planted: planted.patch.setattr(ServerChannel, "attach", planted.fail), Ends.SESSION),
    "handling an opened channel": (
        lambda planted: planted.patch.setattr(ServerChannel, "note_done", planted.fail),
        Ends.SESSION,
    ),
}


def is_mine(planted: Planted, stream: OutgoingStream) -> bool:
    return stream.channel is planted.core


async def attempt(function: Callable[[], Awaitable[object]]) -> None:
    """Do something that may fail, and never hangs."""
    with suppress(StateError, RemoteError, RefusedError, PlantedError, trio.TooSlowError):
        await function()


async def pipe(side: Side) -> None:
    async with await side.pipe(pieces()) as stream:
        assert await stream.join() == DATA


async def read(side: Side) -> None:
    async with await side.call("give", timeout=20) as stream:
        assert await stream.join() == DATA


async def cancel(side: Side) -> None:
    with trio.move_on_after(1):
        await side.call("hang", timeout=None)


async def open_another(world: World) -> None:
    async with world.server.hold_channel("another", handler=world.handlers[0]) as channel:
        await channel.open(timeout=20)
        await channel.close(timeout=20)


def everything(world: World) -> Iterator[Callable[[], Awaitable[object]]]:
    """What a session does."""
    for side in (world.near, world.far):
        yield partial(side.call, "add", 1, 2)
        yield partial(side.call, "add_slowly", 1, 2)
        yield partial(side.call, "call_back", 1, 2)
        yield partial(side.call, "fail")
        yield partial(side.call, "hang", timeout=1)
        yield partial(side.echo, 1)
        yield partial(side.call_with_stream, "digest", pieces())
        yield partial(side.call_with_stream, "digest", b"few")
        yield partial(side.call_with_stream, "begin", endless())
        yield partial(pipe, side)
        yield partial(read, side)
        yield partial(cancel, side)
    yield partial(open_another, world)


async def play(plant: Plant, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_memory_server(heartbeat=10) as memory:
        world = World(memory, lockstep=True, over_http=1)
        async with world.server.hold_channel("code", handler=world.handlers[0]) as channel:
            with trio.fail_after(PATIENCE):
                with monkeypatch.context() as patch:
                    async with world.open_peer() as peer:
                        await channel.open()
                        await world.meet(channel, peer)
                        planted = Planted(world, patch)
                        session = planted.session
                        plant(planted)
                        async with trio.open_nursery() as nursery:
                            for function in everything(world):
                                nursery.start_soon(attempt, function)
                            world.server.statistics()
                            str(world.server.tree())
                        await trio.sleep(20)
                        said = "an error of jchannel has ended the session" in peer_session(peer).why_ended
                        if ends is not Ends.EITHER:
                            assert session.alive is (ends is Ends.PART)
                            assert said is (ends is Ends.SESSION)
                    await trio.sleep(20)
                    assert planted.count
            assert session.finished
            assert count_entries(channel) == (0, 0, 0, 0)
            assert count_in_server(world.server) == (0, 0, 0)
            assert world.server.statistics().idle
            assert [handler.begun for handler in world.handlers] == [handler.ended for handler in world.handlers]
            with trio.fail_after(PATIENCE):
                async with world.open_peer() as peer:
                    await world.meet(channel, peer)
                    await world.check_wire()
                    await world.check_nothing_pending()


@pytest.mark.parametrize("step", STEPS)
def test_an_error_in_a_step_ends_what_it_belongs_to_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    # The order of tasks decides who comes to the step first.
    run_seeded(partial(play, *STEPS[step], monkeypatch), 1)
    assert "PlantedError" in caplog.text

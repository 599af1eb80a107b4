"""Every pair of messages in one frame, and every pair with what happens on this side: nothing hangs, nothing is left.

After a pair the session is alive and works, or it has ended and the next one works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._core.session import Session
from jchannel._core.transport import Link, LinkClosed
from jchannel._core.upgrade import accept_websocket
from jchannel._protocol import messages
from jchannel._protocol.frames import decode_frame, encode_frame
from jchannel._protocol.messages import (
    Ack,
    Beat,
    Broken,
    Call,
    Cancel,
    Close,
    Credit,
    Echo,
    End,
    Error,
    Goodbye,
    Hello,
    Message,
    Open,
    Piece,
    Pipe,
    Result,
    Stop,
    StreamInfo,
    Ticket,
    Welcome,
)
from jchannel._protocol.values import Packed
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import ClosedError, PageLostError, RemoteError
from jchannel.trio import Channel, Peer, PeerChannel, open_peer
from tests.core.internals import (
    count_entries,
    count_in_peer,
    count_in_server,
    lose,
    peer_session,
    receive_frames,
    session_of,
    start_call,
)
from tests.core.memory import MemoryServer, Page, open_memory_server
from tests.core.nth_checkpoint import all_tasks

NOTHING = Packed("null", ())
NO_ARGS = Packed("[]", ())
TICKET = "A" * 22
#: Longer than what travels inside a message.
LONG = bytes(40_000)


class Handler:
    """What either side does for the other. It counts what has begun and has ended."""

    def __init__(self) -> None:
        self.running = 0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def hang(self) -> None:
        with self._counted():
            await trio.sleep_forever()

    async def give(self) -> AsyncIterator[bytes]:
        with self._counted():
            yield LONG
            await trio.sleep_forever()

    async def read(self, stream: MetaGenerator) -> None:
        with self._counted():
            await stream.join()


@dataclass
class Stage:
    """What a pair comes to: a session that has something of each kind under way.

    Attributes:
        session: The session to which the pair comes.
        side: Its side of the channel.
        number: The channel's number.
        next_id: An id that the far side has not used yet.
        hanging: The id of a request of the far side's that runs.
        asked: The id of a request of this side's that waits.
        close: Closes this side's channel, where it may.
    """

    session: Session
    side: Channel | PeerChannel
    number: int
    next_id: int
    hanging: int
    asked: int
    close: Callable[[], object] = field(default=lambda: None)


#: The messages of either side, valid ones and such that may not come. The number says which of the pair it is.
Make = Callable[[Stage, int], Message]
MESSAGES: dict[str, Make] = {
    "hello": lambda _, __: Hello("page"),
    "welcome": lambda _, __: Welcome(1, 4096, 1, ()),
    "goodbye": lambda _, __: Goodbye("away", "it goes"),
    "beat": lambda _, __: Beat(),
    "open": lambda stage, n: Open(stage.next_id + n, 100 + n, "another"),
    "open of the same channel": lambda stage, n: Open(stage.next_id + n, stage.number, "code"),
    "close": lambda stage, n: Close(stage.next_id + n, stage.number),
    "echo": lambda stage, n: Echo(stage.next_id + n, stage.number, NO_ARGS),
    "call": lambda stage, n: Call(stage.next_id + n, stage.number, "hang", NO_ARGS),
    "call of no channel": lambda stage, n: Call(stage.next_id + n, 999, "hang", NO_ARGS),
    "call with a stream": lambda stage, n: Call(stage.next_id + n, stage.number, "read", NO_ARGS, StreamInfo(2 + n)),
    "call for a stream": lambda stage, n: Call(stage.next_id + n, stage.number, "give", NO_ARGS),
    "call with a used id": lambda stage, _: Call(stage.hanging, stage.number, "hang", NO_ARGS),
    "pipe": lambda stage, n: Pipe(stage.next_id + n, stage.number, StreamInfo(2 + n, None, b"few")),
    "result": lambda stage, _: Result(stage.asked, NOTHING),
    "result with a stream": lambda stage, n: Result(stage.asked, NOTHING, StreamInfo(2 + n)),
    "result of nothing": lambda _, __: Result(1000, NOTHING),
    "error": lambda stage, _: Error(stage.asked, "exception", "Name", "message"),
    "cancel": lambda stage, _: Cancel(stage.hanging),
    "ticket": lambda _, __: Ticket(1, TICKET, 10),
    "stop": lambda _, __: Stop(1),
    "broken": lambda _, __: Broken(1, "Name", "message"),
    "credit": lambda _, __: Credit(1, 1000),
    "piece": lambda _, __: Piece(1, b"piece"),
    "end": lambda _, __: End(1),
    "ack": lambda _, __: Ack(1),
}

#: What happens on this side in the step in which a message is handled.
EVENTS: dict[str, Callable[[Stage], object]] = {
    "the session is lost": lambda stage: lose(stage.session),
    "the session is ended": lambda stage: stage.session.end("closed", "on purpose"),
    "an error of the library": lambda stage: stage.session.break_off(ZeroDivisionError("planted")),
    "the channel is closed": lambda stage: stage.close(),
    "a call is made": lambda stage: start_call(stage.side, "another").cancel(),
}

#: What a page and a server may be sent. Of the messages that only the other may send, some are enough.
TO_SERVER = [name for name in (*MESSAGES, *EVENTS) if name not in ("welcome", "open of the same channel", "close")]
TO_PEER = [*MESSAGES, *EVENTS]


async def play(stage: Stage, link: Link, first: str, second: str) -> None:
    """Let a pair come: two messages in one frame, and what happens on this side in the same step."""
    made = [MESSAGES[name](stage, n) if name in MESSAGES else EVENTS[name] for n, name in enumerate((first, second))]
    encoded = [messages.encode(message) for message in made if not callable(message)]
    if len(encoded) == len(made):
        await link.send(encode_frame(encoded))
        return
    for step in made:
        if callable(step):
            step(stage)
        else:
            receive_frames(stage.session, encode_frame([messages.encode(step)]))


async def find_answer(next_frame: Callable[[], Any], id_: int) -> None:
    """Wait for the answer to an echo."""
    while True:
        for message in decode_frame(await next_frame()):
            if isinstance(message, Result | Error) and message.id == id_:
                assert isinstance(message, Result)
                return


async def check_session(stage: Stage, link: Link, next_frame: Callable[[], Any], *, echoes: bool) -> None:
    """The session works, or has ended."""
    await trio.testing.wait_all_tasks_blocked()
    if stage.session.alive:
        assert stage.session.why_ended == ""
        if echoes:
            echo = Echo(2000, stage.number, NO_ARGS)
            await link.send(encode_frame([messages.encode(echo)]))
            await find_answer(next_frame, 2000)
    else:
        await stage.session.wait_ended()
        assert stage.session.why_ended


async def wait_for_outcome(wait: Callable[[], Any]) -> None:
    with suppress(PageLostError, ClosedError, RemoteError):
        await wait()


# A server to which a page sends


async def open_channel(page: Page) -> int:
    opening = await page.expect(Open)
    await page.send(Result(opening.id, NOTHING))
    return opening.channel


@asynccontextmanager
async def page_stage(
    memory: MemoryServer, channel: Channel, nursery: trio.Nursery
) -> AsyncIterator[tuple[Stage, Page]]:
    """A page with something of each kind under way."""
    async with memory.open_page() as page:
        number = await open_channel(page)
        await page.send(Call(1, number, "hang", NO_ARGS))
        await page.send(Call(2, number, "give", NO_ARGS))
        result = await page.expect(Result)
        assert result.stream is not None
        await page.send(Call(3, number, "read", NO_ARGS, StreamInfo(1)))
        await page.expect(Ticket)
        nursery.start_soon(wait_for_outcome, start_call(channel, "ask").wait)
        asked = await page.expect(Call)
        session = session_of(memory.server)
        assert session is not None
        yield Stage(session, channel, number, 10, 1, asked.id, lambda: channel._core.shut("it is closed")), page


@pytest.mark.parametrize("first", TO_SERVER)
async def test_a_server_lives_through_each_pair_of_a_page(autojump_clock: trio.testing.MockClock, first: str) -> None:
    handler = Handler()
    async with open_memory_server(heartbeat=1e6) as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("code", handler=handler) as channel:
            nursery.start_soon(wait_for_outcome, partial(channel.open, None))
            await trio.testing.wait_all_tasks_blocked()
            # The last one waits until the channel is open.
            most = len(all_tasks())
            # Each pair comes to the page that is next to the one before it: there everything works again.
            for second in (*TO_SERVER, "beat"):
                with trio.fail_after(100):
                    async with page_stage(memory, channel, nursery) as (stage, page):
                        await play(stage, page.link, first, second)
                        # A channel that is closed answers an echo with an error.
                        closed = "the channel is closed" in (first, second)
                        with suppress(LinkClosed):
                            await check_session(stage, page.link, page.receive_frame, echoes=not closed)
                    await stage.session.wait_ended()
                    await trio.testing.wait_all_tasks_blocked()
                assert count_entries(channel) == (0, 0, 0, 0), (first, second)
                assert count_in_server(memory.server) == (0, 0, 0), (first, second)
                assert handler.running == 0, (first, second)
                assert memory.server.statistics().idle, (first, second)
                if closed:
                    nursery.start_soon(wait_for_outcome, partial(channel.open, None))
                    await trio.testing.wait_all_tasks_blocked()
                assert len(all_tasks()) <= most, (first, second)


# A peer to which a server sends


class PlayedServer:
    """A server that does nothing by itself."""

    link: Link

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery

    async def connect(self) -> trio.abc.Stream:
        """Connect a stream, to which nobody listens unless it is the socket's."""
        await trio.lowlevel.checkpoint()
        mine, self.stream = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.serve, self.stream)
        return mine

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.link = await accept_websocket(stream, b"", lambda _: "jchannel.v1", 2**20)
        await self.link.receive()
        await self.send(Welcome(1e6, 2**20, 1, (), 0))

    async def send(self, *sent: Message) -> None:
        """Send messages in one frame."""
        await self.link.send(encode_frame([messages.encode(message) for message in sent]))

    async def expect(self, kind: type[Message]) -> Any:
        """Wait for a message of this type."""
        while True:
            for message in decode_frame(await self.link.receive()):
                if isinstance(message, kind):
                    return message


@asynccontextmanager
async def peer_stage(handler: Handler, nursery: trio.Nursery) -> AsyncIterator[tuple[Stage, Peer, PlayedServer]]:
    """A peer with something of each kind under way."""
    server = PlayedServer(nursery)
    async with open_peer("http://localhost/#jchannel=x", handler, connect=server.connect) as peer:
        await server.send(Open(1, 1, "code"))
        await server.expect(Result)
        side = await peer.wait_channel()
        await server.send(Call(2, 1, "hang", NO_ARGS))
        await server.send(Call(3, 1, "give", NO_ARGS))
        await server.expect(Result)
        await server.send(Call(4, 1, "read", NO_ARGS, StreamInfo(1, None, None, TICKET)))
        await server.expect(Credit)
        nursery.start_soon(wait_for_outcome, start_call(side, "ask").wait)
        asked = await server.expect(Call)
        yield Stage(peer_session(peer), side, 1, 10, 2, asked.id), peer, server


def make_of_server(make: Make, stage: Stage, n: int) -> Message:
    """A message, whose stream is announced as a server announces it."""
    message = make(stage, n)
    stream = getattr(message, "stream", None)
    if isinstance(stream, StreamInfo) and stream.data is None:
        object.__setattr__(message, "stream", StreamInfo(stream.id, None, None, TICKET))
    return message


@pytest.mark.parametrize("first", TO_PEER)
async def test_a_peer_lives_through_each_pair_of_a_server(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    for name, make in list(MESSAGES.items()):
        monkeypatch.setitem(MESSAGES, name, partial(make_of_server, make))
    tasks = all_tasks()
    for second in TO_PEER:
        handler = Handler()
        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                async with peer_stage(handler, nursery) as (stage, peer, server):
                    await play(stage, server.link, first, second)
                    closed = "close" in (first, second)
                    with suppress(LinkClosed):
                        await check_session(stage, server.link, server.link.receive, echoes=not closed)
                    await trio.testing.wait_all_tasks_blocked()
                    if not stage.session.alive:
                        assert count_in_peer(peer) == (0, 0, 0)
                        assert count_entries(stage.side) == (0, 0, 0, 0)
                        assert handler.running == 0
                    await trio.aclose_forcefully(server.stream)
                assert stage.session.finished
                assert handler.running == 0
                nursery.cancel_scope.cancel()
    assert all_tasks() == tasks

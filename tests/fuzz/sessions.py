"""Fuzzing of sessions over streams in memory: a server and a page that is honest, or nearly, or hostile.

Each case is made by its number. The page and the program behind the server say and do random things; then
- the session is alive and answers an echo, or has ended, and says why,
- what the program has asked for has come to an end that has a name,
- a next page works, and
- nothing is left of the first one: no entry, no task, no method that runs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import trio
import trio.testing

from jchannel._core.transport import LinkClosed
from jchannel._protocol.connection import State
from jchannel._protocol.frames import decode_frame, encode_frame
from jchannel._protocol.messages import (
    Ack,
    Beat,
    Broken,
    Call,
    Cancel,
    Credit,
    Echo,
    End,
    Error,
    Goodbye,
    Message,
    Open,
    Piece,
    Pipe,
    Request,
    Result,
    Stop,
    StreamInfo,
    Ticket,
    encode,
)
from jchannel._protocol.values import pack
from jchannel.errors import RemoteError, StateError
from jchannel.trio import Channel, Limits
from tests.core.internals import count_entries, count_in_server, session_of
from tests.core.memory import MemoryServer, Page, open_memory_server
from tests.core.world import DATA, Handler, pieces
from tests.fuzz.journal import Journal
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import WORDS

__all__ = ["run_case"]

#: Long enough for everything that has a limit: the clock jumps.
LONG: Final = 1_000.0

#: What a request may end with beside its value.
NAMED: Final = (StateError, RemoteError, trio.TooSlowError, ValueError)

_METHODS: Final = (
    *("add", "add", "add_slowly", "hold", "hang", "call_back", "give", "give_short", "give_slowly", "give_endless"),
    *("digest", "begin", "begin_slowly", "fail", "_hidden", "no such", "__init__"),
)


def run_case(number: int) -> None:
    """Runs one case, and raises where a promise is broken."""
    trio.run(_run, number, clock=trio.testing.MockClock(autojump_threshold=0))


async def _run(number: int) -> None:
    dice = random.Random(number)  # noqa: S311 (no secret: it can be repeated)
    limits = Limits(
        running_requests=dice.choice((3, 16_384)),
        http_streams=dice.choice((1, 3)),
        frame_bytes=dice.choice((4_096, 2**26)),
    )
    handler, far_handler = Handler(), Handler()
    with Journal() as journal:
        async with open_memory_server(limits=limits, heartbeat=dice.choice((1e6, 15))) as memory:
            async with memory.server.hold_channel("code", handler=handler) as channel:
                handler.channel = channel
                with trio.fail_after(10 * LONG):
                    living = await _count_tasks()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_open, channel)
                        await _Case(dice, memory, channel, nursery).play()
                        await trio.sleep(LONG)
                        _check_page_left(memory, handler)
                        if not channel.is_open:
                            nursery.start_soon(_open, channel)
                        await _check_next_page(memory, channel, far_handler)
                        handler.go.set()
                    # All requests of the program have come to their end now.
                    await trio.sleep(LONG)
                    _check_nothing_left(memory, channel, handler)
                    left = await _count_tasks()
                    assert left == living, f"{left} tasks instead of {living}"
    journal.check()


async def _open(channel: Channel) -> None:
    with suppress(*NAMED):  # A page may refuse, or never answer and be gone.
        await channel.open(timeout=None)


async def _count_tasks() -> int:
    await trio.testing.wait_all_tasks_blocked()
    return trio.lowlevel.current_statistics().tasks_living


def _check_page_left(memory: MemoryServer, handler: Handler) -> None:
    """The page has been gone for long. What has not been sent to it waits for the next one, and nothing else."""
    statistics = memory.server.statistics()
    assert statistics.connections == 0, "a connection is still there"
    assert statistics.running_requests == 0, statistics
    assert count_in_server(memory.server)[1:] == (0, 0), count_in_server(memory.server)
    assert handler.begun == handler.ended, "methods run on"


def _check_nothing_left(memory: MemoryServer, channel: Channel, handler: Handler) -> None:
    """Nothing is under way any more."""
    statistics = memory.server.statistics()
    assert statistics.connections == 0, "a connection is still there"
    assert (statistics.pending_requests, statistics.running_requests, statistics.streams) == (0, 0, 0), statistics
    assert count_in_server(memory.server) == (0, 0, 0), count_in_server(memory.server)
    assert count_entries(channel) == (0, 0, 0, 0), count_entries(channel)
    assert handler.begun == handler.ended, "methods run on"


async def _check_next_page(memory: MemoryServer, channel: Channel, handler: Handler) -> None:
    async with memory.open_peer(handler, client="page") as peer:
        with trio.fail_after(LONG):
            far = await peer.wait_channel()
            handler.channel = far
            assert await channel.call("add", 1, 2) == 3
            assert await far.call("add", 3, 4) == 7
            assert await channel.echo("x") == ["x"]
            async with await far.pipe(DATA) as stream:
                assert await stream.join() == DATA


class _Case:
    """One page's life.

    Args:
        dice: What decides.
        memory: The server.
        channel: Its channel.
        calls: Where the program's requests wait for their outcomes.
    """

    def __init__(self, dice: random.Random, memory: MemoryServer, channel: Channel, calls: trio.Nursery) -> None:
        self._dice = dice
        self._memory = memory
        self._channel = channel
        self._hostile = dice.random() < 0.5
        #: Whether the page has said something that only a hostile page says: its own table of states is not right then.
        self._lied = False
        self._number = 0
        self._asked: dict[int, Request] = {}
        self._streams: list[int] = []
        self._last_id = 0
        self._last_stream = 0
        self._page: Page
        self._calls = calls
        self._scopes: list[trio.CancelScope] = []

    async def play(self) -> None:
        """Plays it, and checks how it has ended."""
        async with self._open_page() as page:
            self._page = page
            for _ in range(self._dice.choice((3, 10, 30))):
                await self._dice.choice(self._steps())()
                await trio.testing.wait_all_tasks_blocked()
                if not await self._receive():
                    break
            await self._check_alive()
            await trio.aclose_forcefully(page.stream)

    @asynccontextmanager
    async def _open_page(self) -> Any:
        async with self._memory.open_page("page") as page:
            message = await page.expect(Open)
            self._number = message.channel
            self._last_id = 0
            if self._dice.random() < 0.9:
                await page.send(Result(message.id, pack("opened", field_name="value", shown_as="result")))
            else:
                self._asked[message.id] = message
            yield page

    def _steps(self) -> list[Callable[[], Any]]:
        own = [self._call, self._call, self._call, self._cancel_call, self._wait]
        page = [self._say, self._say, self._say, self._say, self._answer, self._answer, self._speak_of_streams]
        return [*own, *page, *([self._lie, self._mutate] if self._hostile else []), self._leave]

    # The program

    async def _call(self) -> None:
        scope = trio.CancelScope()
        self._scopes.append(scope)
        timeout = self._dice.choice((None, 3, 0.5, 0))
        self._calls.start_soon(self._ask, scope, self._dice.randrange(5), timeout)
        await trio.lowlevel.checkpoint()

    async def _ask(self, scope: trio.CancelScope, kind: int, timeout: float | None) -> None:
        channel = self._channel
        with scope, suppress(*NAMED):
            if kind == 0:
                await channel.echo("x" * self._dice.choice((3, 5_000)), timeout=timeout)
            elif kind == 1:
                await channel.call("name", 1, b"two", timeout=timeout)
            elif kind == 2:
                await channel.call_with_stream("name", pieces(DATA[: self._dice.choice((10, 99_000))]), timeout=timeout)
            else:
                source = DATA if kind == 3 else pieces()
                async with await channel.pipe(source, timeout=timeout) as stream:
                    await stream.join()

    async def _cancel_call(self) -> None:
        if self._scopes:
            self._dice.choice(self._scopes).cancel()
        await trio.lowlevel.checkpoint()

    async def _wait(self) -> None:
        await trio.sleep(self._dice.choice((0, 0.1, 0.6, 3)))

    # The page

    async def _send(self, *messages: Message) -> None:
        await self._send_raw(encode_frame([encode(message) for message in messages]))

    async def _send_raw(self, frame: str | bytes) -> None:
        with suppress(LinkClosed):
            await self._page.link.send(frame)

    async def _say(self) -> None:
        """Sends one frame with some requests, cancels and beats, and now and then a goodbye behind them."""
        batch = [self._make_request() for _ in range(self._dice.choice((1, 1, 2, 5)))]
        if self._dice.random() < 0.3:
            batch.append(Cancel(self._dice.randint(1, self._last_id)))
        if self._dice.random() < 0.1:
            batch.append(Beat())
        if self._dice.random() < 0.05:
            batch.append(Goodbye(self._dice.choice(("closed", "away")), ""))
        await self._send(*batch)

    def _make_request(self) -> Message:
        self._last_id += 1
        args = pack(self._dice.choice(([], [1, 2], [b"abc", 2])), field_name="args", shown_as="args")
        timeout = self._dice.choice((None, None, 0, 0.2, 1e9))
        parent = self._dice.choice((None, None, *self._asked))
        kind = self._dice.randrange(6)
        if kind == 0:
            return Echo(self._last_id, self._number, args)
        if kind == 1:
            return Pipe(self._last_id, self._number, self._announce(), timeout, parent)
        name = self._dice.choice(_METHODS)
        stream = self._announce() if self._dice.random() < 0.3 else None
        return Call(self._last_id, self._number, name, args, stream, timeout, parent)

    def _announce(self) -> StreamInfo:
        self._last_stream += 1
        data = self._dice.choice((None, None, b"", b"abc"))
        if data is None:
            self._streams.append(self._last_stream)
        return StreamInfo(self._last_stream, None, data)

    async def _answer(self) -> None:
        """Answers one or all requests of the program, in one frame."""
        count = self._dice.choice((1, 1, len(self._asked)))
        chosen = self._dice.sample(sorted(self._asked), min(count, len(self._asked)))
        if chosen:
            await self._send(*[self._make_answer(self._asked.pop(number)) for number in chosen])

    def _make_answer(self, asked: Request) -> Message:
        id_ = asked.id
        if self._dice.random() < 0.2:
            kinds = ["exception", "busy", "cancelled", "ended"]
            if isinstance(asked, Call | Pipe) and asked.timeout is not None and asked.timeout <= 3:
                kinds.append("timeout")  # Before its time it would leave the request to its own.
            return Error(id_, self._dice.choice(kinds), "E", "text")
        stream = None
        if isinstance(asked, Pipe) or (isinstance(asked, Call) and self._dice.random() < 0.2):
            stream = self._announce()
        value = None if stream else self._dice.choice((None, 5, [1, b"bytes"], "text"))
        return Result(id_, pack(value, field_name="value", shown_as="result"), stream)

    async def _speak_of_streams(self) -> None:
        """Says what may be said of the streams of both sides."""
        own = self._dice.choice((None, *self._streams))
        far = self._dice.randint(0, self._page.connection._last_far_stream)
        said: list[Message] = []
        if own is not None:
            said.append(self._dice.choice((Broken(own, "E", "text"), Broken(own, "E", "text"), Stop(far or 1))))
        if far:
            said.append(self._dice.choice((Stop(far), Credit(far, 100), Credit(far, 300_000))))
        if said and (far or not isinstance(said[0], Stop)):
            await self._send(*said)

    async def _lie(self) -> None:
        """Sends what may never be sent, or not now, before or behind what may."""
        self._lied = True
        number = self._dice.choice((0, 1, 2, self._last_id, self._last_id + 1, 2**53 - 1)) or 1
        args = pack([], field_name="args", shown_as="args")
        lies: tuple[Message, ...] = (
            Call(number, self._number + 1, "add", args),
            Echo(number, number, args),
            Error(number, "busy", "", ""),
            Result(number, pack(None, field_name="value", shown_as=""), StreamInfo(number)),
            Call(self._last_id + 1, self._number, "digest", args, StreamInfo(number, 3, b"abcd")),
            Call(self._last_id + 1, self._number, "add", args, None, None, number),
            Piece(number, b"x" * self._dice.choice((1, 70_000, 300_000))),
            End(number),
            Ack(number),
            Stop(number),
            Credit(number, 2**53 - 1),
            Ticket(number, "x" * 22),
            Open(number, 1, ""),
            Goodbye("protocol", "x"),
        )
        batch = [self._dice.choice(lies)]
        for _ in range(self._dice.randrange(3)):
            batch.insert(self._dice.randrange(len(batch) + 1), self._make_request())
        await self._send(*batch)

    async def _mutate(self) -> None:
        """Sends a frame that was right before some of its bytes were changed."""
        self._lied = True
        frame = encode_frame([encode(self._make_request()) for _ in range(self._dice.randint(1, 3))])
        data = frame.encode() if isinstance(frame, str) else frame
        data = Mutator([data], WORDS, self._dice.getrandbits(32)).next()
        await self._send_raw(data.decode("utf-8", "replace") if isinstance(frame, str) else data)

    async def _leave(self) -> None:
        """Leaves in one of the ways, mostly not."""
        way = self._dice.randrange(20)
        if way == 0:
            await self._page.stream.send_eof()
        elif way == 1:
            await trio.aclose_forcefully(self._page.stream)
        elif way == 2:
            await self._send(Goodbye("closed", "the page is closing"))
        elif way == 3:
            await self._send_raw(json.dumps([{"type": "goodbye", "reason": "closed", "message": ""}] * 2))

    async def _receive(self) -> bool:
        """Takes what the server has sent, without waiting. Returns whether the connection is still there."""
        try:
            while True:
                frame = self._page._frames.receive_nowait()
                for message in decode_frame(frame):
                    self._note(message)
                    if isinstance(message, Beat):
                        await self._send(Beat())
        except trio.WouldBlock:
            return True
        except trio.EndOfChannel:
            return False

    def _note(self, message: Message) -> None:
        stream = getattr(message, "stream", None)
        if isinstance(stream, StreamInfo):
            self._page.connection._last_far_stream = stream.id
        if isinstance(message, Request):
            self._asked[message.id] = message

    async def _check_alive(self) -> None:
        """The session answers an echo; or it has ended, and says why."""
        session = session_of(self._memory.server)
        if session is not None and session.alive:
            self._last_id = 2**53 - 1 if self._lied else self._last_id + 1
            await self._send(Echo(self._last_id, 1, pack(["alive"], field_name="args", shown_as="args")))
            with trio.move_on_after(LONG):
                await self._wait_answer()
        if session is not None and session.why_ended:
            with trio.fail_after(LONG):
                await session.wait_ended()
            assert session.why_ended
            assert session._connection.state in (State.ENDED, State.READY)
            return
        assert session is None or self._answered, "the session is alive and does not answer"

    _answered = False

    async def _wait_answer(self) -> None:
        """Waits until the last request of the page is answered, or the connection has ended."""
        with suppress(LinkClosed):
            while not self._answered:
                for message in decode_frame(await self._page.receive_frame()):
                    if isinstance(message, Beat):
                        await self._send(Beat())
                    self._answered |= isinstance(message, Result | Error) and message.id == self._last_id

"""Fuzzing of the Python peer over streams in memory: a server that is honest, or nearly, or hostile.

Each case is made by its number. Then the peer answers an echo, or has ended and says why; what its program has asked
for has come to an end that has a name; and no method runs on.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import trio
import trio.testing

from jchannel._core.transport import LinkClosed, Side, WebSocketLink
from jchannel._protocol.frames import decode_frame, encode_frame
from jchannel._protocol.messages import (
    Ack,
    Beat,
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
    Request,
    Result,
    Stop,
    StreamInfo,
    Ticket,
    Welcome,
    encode,
)
from jchannel._protocol.values import pack
from jchannel.errors import ProtocolError
from jchannel.testing.network import connect_streams
from jchannel.trio import Peer, PeerChannel, open_peer
from tests.core.world import DATA, Handler, pieces
from tests.fuzz.journal import Journal
from tests.fuzz.mutation import Mutator
from tests.fuzz.sessions import LONG, NAMED
from tests.fuzz.targets import WORDS

__all__ = ["run_case"]

_METHODS: Final = ("add", "add_slowly", "hang", "give", "give_short", "digest", "begin", "fail", "_hidden", "no such")
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def run_case(number: int) -> None:
    """Runs one case, and raises where a promise is broken."""
    trio.run(_run, number, clock=trio.testing.MockClock(autojump_threshold=0))


async def _run(number: int) -> None:
    dice = random.Random(number)  # noqa: S311 (no secret: it can be repeated)
    handler = Handler()
    with Journal() as journal, trio.fail_after(100 * LONG):
        async with trio.open_nursery() as nursery:
            server = _Server(dice, nursery)
            with suppress(*NAMED, ProtocolError):
                async with open_peer("http://localhost/#jchannel=x", handler, connect=server.connect) as peer:
                    await server.play(peer, handler)
            await trio.sleep(LONG)
            assert handler.begun == handler.ended, "methods run on"
            nursery.cancel_scope.cancel()
    journal.check()


class _Server:
    """A server that says what is decided by dice."""

    def __init__(self, dice: random.Random, nursery: trio.Nursery) -> None:
        self._dice = dice
        self._nursery = nursery
        self._link: WebSocketLink
        self._stream: trio.abc.Stream
        self._asked: dict[int, Request] = {}
        self._last_id = 0
        self._last_stream = 0
        self._hostile = dice.random() < 0.5
        self._answered = trio.Event()
        self._echo = 0

    async def connect(self) -> trio.abc.Stream:
        """The first connection is that of the messages; the others, of streams, are closed without an answer."""
        await trio.lowlevel.checkpoint()
        connection = connect_streams()
        if hasattr(self, "_stream"):
            await connection.server.aclose()
        else:
            self._stream = connection.server
            self._nursery.start_soon(self._greet)
        return connection.client

    async def _greet(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self._stream.receive_some()
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")).split()[1]
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())  # noqa: S324 (the WebSocket's own)
        await self._stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\nSec-WebSocket-Protocol: jchannel.v1\r\n\r\n"
        )
        self._link = WebSocketLink(self._stream, Side.SERVER, 2**26)
        await self._link.receive()
        await self._send(Welcome(15, 2**20, 0.5, (), self._dice.choice((0, 3, None))))
        if self._hostile and self._dice.random() < 0.2:
            await self._lie()
        self._last_id = 1
        await self._send(Open(1, 1, "code"))
        with suppress(LinkClosed):
            while True:
                for message in decode_frame(await self._link.receive()):
                    self._note(message)

    def _note(self, message: Message) -> None:
        if isinstance(message, Request):
            self._asked[message.id] = message
        elif isinstance(message, Result | Error) and message.id == self._echo:
            self._answered.set()

    async def _send(self, *messages: Message) -> None:
        await self._send_raw(encode_frame([encode(message) for message in messages]))

    async def _send_raw(self, frame: str | bytes) -> None:
        with suppress(LinkClosed), trio.move_on_after(LONG):
            await self._link.send(frame)

    async def play(self, peer: Peer, handler: Handler) -> None:
        """Plays it, and checks how it has ended."""
        async with trio.open_nursery() as calls:
            with trio.move_on_after(LONG), suppress(*NAMED):
                channel = await peer.wait_channel()
                handler.channel = channel
                for _ in range(self._dice.choice((3, 10, 30))):
                    steps: list[Callable[[], Awaitable[None]]] = [
                        partial(self._ask, calls, channel),
                        *(self._say, self._say, self._answer, self._answer, self._wait),
                        *([self._lie, self._mutate] if self._hostile else []),
                    ]
                    await self._dice.choice(steps)()
                    await trio.testing.wait_all_tasks_blocked()
            self._echo = 2**53 - 1 if self._hostile else self._last_id + 1
            await self._send(Echo(self._echo, 1, pack([], field_name="args", shown_as="args")))
            with trio.move_on_after(LONG):
                await self._answered.wait()
            assert self._answered.is_set() or not peer.connected, "it is connected and does not answer"
            assert peer.connected or peer.why_ended
            if self._dice.random() < 0.5:
                await trio.aclose_forcefully(self._stream)
            handler.go.set()

    async def _wait(self) -> None:
        await trio.sleep(self._dice.choice((0, 0.1, 3)))

    async def _ask(self, calls: trio.Nursery, channel: PeerChannel) -> None:
        await trio.lowlevel.checkpoint()
        calls.start_soon(self._call, channel, self._dice.randrange(3), self._dice.choice((3, 0.5)))

    async def _call(self, channel: PeerChannel, kind: int, timeout: float) -> None:
        with suppress(*NAMED):
            if kind == 0:
                await channel.call("name", 1, b"two", timeout=timeout)
            elif kind == 1:
                await channel.call_with_stream("name", pieces(), timeout=timeout)
            else:
                async with await channel.pipe(DATA, timeout=timeout) as stream:
                    await stream.join()

    def _make_request(self) -> Message:
        self._last_id += 1
        args = pack(self._dice.choice(([], [1, 2])), field_name="args", shown_as="args")
        kind = self._dice.randrange(5)
        if kind == 0:
            return Echo(self._last_id, 1, args)
        if kind == 1:
            return Pipe(self._last_id, 1, self._announce(), self._dice.choice((None, 1)))
        if kind == 2 and self._dice.random() < 0.2:
            return self._dice.choice((Open(self._last_id, 2, ""), Close(self._last_id, self._dice.choice((1, 2)))))
        name = self._dice.choice(_METHODS)
        args = pack([1, 2] if name.startswith("add") else [], field_name="args", shown_as="args")
        stream = self._announce() if name in ("digest", "begin") else None
        return Call(self._last_id, 1, name, args, stream, self._dice.choice((None, 0, 1)))

    def _announce(self) -> StreamInfo:
        self._last_stream += 1
        if self._dice.random() < 0.5:
            return StreamInfo(self._last_stream, None, b"abc")
        return StreamInfo(self._last_stream, None, None, "x" * 22)

    async def _say(self) -> None:
        batch = [self._make_request() for _ in range(self._dice.choice((1, 1, 3)))]
        if self._dice.random() < 0.3:
            batch.append(Cancel(self._dice.randint(1, self._last_id)))
        if self._dice.random() < 0.1:
            batch.append(Beat())
        await self._send(*batch)

    async def _answer(self) -> None:
        if not self._asked:
            await trio.lowlevel.checkpoint()
            return
        id_ = self._dice.choice(sorted(self._asked))
        asked = self._asked.pop(id_)
        if self._dice.random() < 0.3:
            await self._send(Error(id_, self._dice.choice(("exception", "busy", "cancelled", "ended")), "E", "text"))
            return
        stream = self._announce() if isinstance(asked, Pipe) else None
        await self._send(Result(id_, pack(None, field_name="value", shown_as="result"), stream))

    async def _lie(self) -> None:
        number = self._dice.choice((1, 2, self._last_id + 1, 2**53 - 1))
        args = pack([], field_name="args", shown_as="args")
        lies: tuple[Message, ...] = (
            Hello("x"),
            Welcome(1, 5_000, 1, ()),
            Call(number, 9, "add", args),
            Result(number, pack(None, field_name="value", shown_as=""), StreamInfo(number, None, b"")),
            Error(number, "busy", "", ""),
            Piece(number, b"x" * self._dice.choice((1, 300_000))),
            End(number),
            Ack(number),
            Stop(number),
            Ticket(number, "x" * 22, self._dice.choice((None, 1, 2**53 - 1))),
            Credit(number, 2**53 - 1),
            Goodbye("replaced", "x"),
        )
        await self._send(self._dice.choice(lies))

    async def _mutate(self) -> None:
        frame = encode_frame([encode(self._make_request())])
        data = frame.encode() if isinstance(frame, str) else frame
        data = Mutator([data], WORDS, self._dice.getrandbits(32)).next()
        await self._send_raw(data.decode("utf-8", "replace") if isinstance(frame, str) else data)

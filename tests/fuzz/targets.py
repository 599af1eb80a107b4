"""What is fuzzed: each target takes any bytes, and raises only where a promise is broken.

`TARGETS` has them by name. They are run by hypothesis and over the kept corpora in the suite, and by `tests.fuzz.run`
for as long as one likes, with atheris or without it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import trio
import trio.testing
from websockets.frames import Frame
from websockets.protocol import Protocol

from jchannel._core.transport import LinkClosed, Side, WebSocketLink
from jchannel._protocol.connection import BATCH_LIMIT, Connection, Role, State
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
    encode,
)
from jchannel._protocol.parts import Part, decode_part, encode_part
from jchannel._protocol.values import pack
from jchannel.errors import ProtocolError
from tests.core.memory import MemoryServer, open_memory_server
from tests.fuzz.journal import Journal
from tests.protocol.strategies import packed, same

__all__ = ["CORPORA", "TARGETS", "WORDS", "Target", "examples_of"]

#: Where the inputs are kept that a fuzzer has found worth keeping, in a folder for each target.
CORPORA: Final = Path(__file__).parent / "corpora"

_VECTORS: Final = Path(__file__).parent.parent / "vectors"

#: What the inputs of all targets are made of.
WORDS: Final[tuple[bytes, ...]] = (
    *(f'"{word}"'.encode() for word in ("type", "id", "channel", "args", "value", "stream", "attachments", "path")),
    *(f'"{word}"'.encode() for word in ("shape", "size", "data", "ticket", "credit", "bytes", "timeout", "parent")),
    *(f'"{word}"'.encode() for word in ("float64", "uint8", "__proto__", "goodbye", "closed", "kind", "total")),
    *(b"null", b"true", b"[]", b"{}", b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\ud800", b"\\u0000", b"NaN"),
    *(b"Infinity", b"\xff", b"\x00", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\r\n", b"\r\n\r\n", b" "),
    *(b"Upgrade: h2c\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1", b"0"),
    *(b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n", b"Connection: keep-alive, Upgrade\r\n", b"/streams/"),
)


# Frames, values, parts


def _as_frame(data: bytes) -> str | bytes:
    """The frame that some bytes mean: the first one says whether it is text. A WebSocket's text is UTF-8."""
    return str(data[1:], "utf-8", "replace") if data[:1] == b"t" else data[1:]


def _as_input(frame: str | bytes) -> bytes:
    return b"t" + frame.encode("utf-8", "replace") if isinstance(frame, str) else b"b" + frame


def _is_finite(value: object) -> bool:
    """Whether a value has no number that is read and cannot be written, such as 1e400."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def fuzz_frames(data: bytes) -> None:
    """Any frame is messages or a protocol error, and the messages can be written and read again."""
    with suppress(ProtocolError):
        messages = decode_frame(_as_frame(data))
        if all(_is_finite(getattr(message, name, None)) for message in messages for name in ("args", "value")):
            again = decode_frame(encode_frame([encode(packed(message)) for message in messages]))
            assert same(messages, again), (messages, again)


def fuzz_parts(data: bytes) -> None:
    """Any body is a part of a stream or a protocol error."""
    with suppress(ProtocolError):
        part = decode_part(data)
        assert isinstance(part, Part)
        assert encode_part(part) == data


class _Odd:
    """A class of the user's."""

    def __repr__(self) -> str:
        raise ValueError("it does not show itself")


class _Bytes:
    """Draws what is needed from bytes, and zeros behind them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> bool:
        return self._place < len(self._data)

    def byte(self, below: int = 256) -> int:
        byte = self._data[self._place] if self.left else 0
        self._place += 1
        return byte % below

    def take(self, size: int) -> bytes:
        taken = self._data[self._place : self._place + size]
        self._place += size
        return taken

    def choose(self, options: Sequence[Any]) -> Any:
        return options[self.byte(len(options))]


_ODD_NUMBERS: Final = (0, -1, 2**53, 2**53 + 1, -(2**63), 2**64, 10**21, 10**400, math.nan, math.inf, -0.0, 5e-324)
_DTYPES: Final = ("int8", "uint16", "int64", "float32", "float64", "complex64", "bool", "U3", "O", ">i4", "float16")


def _make_value(given: _Bytes, depth: int = 0) -> Any:  # noqa: C901, PLR0911 (one kind of value each)
    kind = given.byte(13)
    if kind < 3 and depth < 300:
        items = [_make_value(given, depth + 1) for _ in range(given.byte(4))]
        return (items, tuple(items), {str(number): item for number, item in enumerate(items)})[kind]
    match kind:
        case 3:
            return int.from_bytes(given.take(given.byte(20)), "little", signed=True)
        case 4:
            return given.choose(_ODD_NUMBERS)
        case 5:
            return str(given.take(given.byte(12)), "utf-8", "surrogateescape")
        case 6:
            return given.take(given.byte(12))
        case 7:
            return given.choose((None, True, False, {1: 2}, {None: 1}, {1, 2}, _Odd(), _Odd, object()))
        case 8:
            return np.zeros([given.byte(3) for _ in range(given.byte(4))], given.choose(_DTYPES))
        case 9:
            return memoryview(bytes(given.byte(9) * 4))[:: given.byte(3) + 1]
        case 10:
            return given.choose((np.float64, np.int16, np.bool_))(given.byte())
        case 11:
            value: Any = None
            for _ in range(given.byte() + 1):
                value = [value]
            return value
        case _:
            circle: list[Any] = []
            circle.append(circle if given.byte(4) == 0 else 1)
            return circle


def fuzz_values(data: bytes) -> None:
    """Any value of Python is refused by name, or is read by the far side."""
    value = _make_value(_Bytes(data))
    try:
        result = pack(value, field_name="value", shown_as="result")
    except (TypeError, ValueError) as error:
        assert str(error)  # noqa: PT017 (it is not what is expected, but what may be)
        return
    (message,) = decode_frame(encode_frame([encode(Result(1, result))]))
    assert isinstance(message, Result)
    again = pack(message.value, field_name="value", shown_as="result")
    assert decode_frame(encode_frame([encode(Result(1, again))])), message


# The connection


class _Pair:
    """Two connections that are ready, and what is under way between them."""

    def __init__(self) -> None:
        self.sides = Connection(Role.SERVER, frame_limit=100_000), Connection(Role.PAGE)
        self.sent = [0, 0]
        server, page = self.sides
        page.send(Hello("fuzz"))
        self.deliver(1)
        server.send(Welcome(15, server.frame_limit, 0.5, ()))
        self.deliver(0)

    @property
    def live(self) -> bool:
        return all(side.state is State.READY for side in self.sides)

    def deliver(self, sender: int) -> None:
        """What an honest side sends is understood by an honest one, whole frames and all."""
        near, far = self.sides[sender], self.sides[1 - sender]
        while (frame := near.next_frame()) is not None:
            size = len(frame.encode()) if isinstance(frame, str) else len(frame)
            assert size <= near.frame_limit
            messages = far.receive(frame)
            assert size <= BATCH_LIMIT or len(messages) == 1
        assert near.waiting_bytes == 0

    def say(self, sender: int, message: Message) -> None:
        """Sends a message, where it may be sent."""
        with suppress(ProtocolError, ValueError):
            self.sides[sender].send(message)

    def check(self) -> None:
        for sender in (0, 1):
            self.deliver(sender)
        server, page = self.sides
        if self.live:
            assert (server.unanswered, page.unanswered) == (page.running, server.running)
        else:
            assert server.state is page.state is State.ENDED


def _announce(pair: _Pair, sender: int, given: _Bytes) -> StreamInfo:
    number = pair.sides[sender].next_stream()
    data = given.take(given.byte(9)) if given.byte(2) else None
    ticket = "x" * 22 if sender == 0 and data is None else None
    return StreamInfo(number, given.byte() if data is None else len(data), data, ticket)


def _say_honestly(pair: _Pair, sender: int, given: _Bytes) -> None:
    side = pair.sides[sender]
    id_ = side.next_id()
    timeout = given.choose((None, 0, 0.5, 10**9))
    parent = given.choose((None, None, given.byte(max(side._last_far_id, 1)) or 1)) if side._last_far_id else None
    values = pack([_make_json(given)], field_name="args", shown_as="args")
    match given.byte(7):
        case 0:
            pair.say(sender, Echo(id_, 1, values))
        case 1:
            stream = _announce(pair, sender, given) if given.byte(2) else None
            pair.say(sender, Call(id_, 1, "name", values, stream, timeout, parent))
        case 2:
            pair.say(sender, Pipe(id_, 1, _announce(pair, sender, given), timeout, parent))
        case 3 if sender == 0:
            pair.say(sender, given.choose((Open(id_, 1, "x" * given.byte()), Close(id_, 1))))
        case 4:
            pair.say(sender, Cancel(given.byte(20) + 1))
        case 5:
            pair.say(sender, Beat())
        case _:
            _answer_honestly(pair, sender, given)


def _answer_honestly(pair: _Pair, sender: int, given: _Bytes) -> None:
    side, far = pair.sides[sender], pair.sides[1 - sender]
    if not side._running:
        return
    id_ = given.choose(sorted(side._running))
    asked = far._asked.get(id_)
    if given.byte(3) == 0:
        pair.say(sender, Error(id_, "exception", "Error", "x" * given.byte(), None))
    elif asked is Pipe or (asked is Call and given.byte(2)):
        pair.say(sender, Result(id_, pack(None, field_name="value", shown_as=""), _announce(pair, sender, given)))
    else:
        pair.say(sender, Result(id_, pack(_make_json(given), field_name="value", shown_as="result")))


def _make_json(given: _Bytes) -> Any:
    return given.choose((None, 1, "x" * 20, "x" * 90_000, [1, {"a": b"bytes"}], b"abc", {"": []}))


def _make_raw(given: _Bytes) -> Message:
    """A message with any numbers, as a hostile side sends it."""
    number, other = given.byte(9), given.byte(9)
    stream = given.choose(
        (
            None,
            StreamInfo(other),
            StreamInfo(other, 3, b"abc"),
            StreamInfo(other, ticket="x" * 22),
            StreamInfo(other, 9, b"abc"),
        )
    )
    args, value = ([1], pack(given.choose((None, 5)), field_name="value", shown_as=""))
    made: tuple[Message, ...] = (
        Hello("x"),
        Welcome(1, 5_000, 1, ()),
        Goodbye("closed", ""),
        Open(number, other, ""),
        Close(number, other),
        Echo(number, other, pack(args, field_name="args", shown_as="args")),
        Call(number, 1, "", pack(args, field_name="args", shown_as="args"), stream, None, other),
        Pipe(number, 1, cast("StreamInfo", stream or StreamInfo(other))),
        Result(number, value, stream),
        Error(number, "busy", "", ""),
        Cancel(number),
        Ticket(number, "x" * 22, other or None),
        Stop(number),
        Broken(number, "", ""),
        Credit(number, other + 1),
        Piece(number, b"x" * (given.byte() + 1)),
        End(number),
        Ack(other + 1),
    )
    return cast("Message", given.choose(made))


def fuzz_connection(data: bytes) -> None:
    """Two sides that send what they may understand each other; a hostile side gets messages or a protocol error."""
    given = _Bytes(data)
    pair = _Pair()
    while given.left and pair.live:
        sender, step = given.byte(2), given.byte(8)
        if step == 0:
            pair.check()
        elif step == 1:
            pair.deliver(sender)
            frame = encode_frame([encode(_make_raw(given)) for _ in range(given.byte(3) + 1)])
            try:
                pair.sides[1 - sender].receive(frame)
            except ProtocolError as error:
                assert str(error)  # noqa: PT017 (it is not what is expected, but what may be)
            return
        else:
            _say_honestly(pair, sender, given)
    pair.check()


# The WebSocket and the head of a connection

_FRAME_BYTES: Final = 5_000


def fuzz_websocket(data: bytes) -> None:
    """Any bytes behind the handshake are messages of the size that is allowed, and an end that is said."""
    trio.run(_receive_all, data)


async def _receive_all(data: bytes) -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, Side.SERVER, _FRAME_BYTES)
    await far.send_all(data)
    await far.send_eof()
    answered = bytearray()
    with suppress(LinkClosed):
        while True:
            message = await link.receive()
            assert len(message) <= _FRAME_BYTES
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.aclose)
        async for chunk in far:
            answered += chunk
    # What was answered are frames, as a client reads them.
    client = Protocol(Side.CLIENT, max_size=None)
    client.receive_data(answered)
    assert client.parser_exc is None, client.parser_exc
    assert all(isinstance(event, Frame) for event in client.events_received())


def fuzz_head(data: bytes) -> None:
    """Any first bytes of a connection are answered by HTTP or not at all, and leave nothing behind."""
    trio.run(_serve_head, data, clock=trio.testing.MockClock(autojump_threshold=0))


async def _serve_head(data: bytes) -> None:
    with Journal() as journal:
        async with open_memory_server() as memory:
            token = memory.server.token.encode()
            answer = await _send_head(memory, data.replace(b"TOKEN", token))
            if answer:
                assert answer.startswith(b"HTTP/1.1 "), answer[:100]
                # A transfer encoding that nobody knows is 501, and a version 505; 500 would be a fault of ours.
                assert not answer.startswith(b"HTTP/1.1 500"), answer[:100]
            # A connection that is kept, or whose client is waited for, ends when its times are over.
            await trio.sleep(100)
            assert memory.server.statistics().connections == 0
    journal.check()


async def _send_head(memory: MemoryServer, data: bytes) -> bytes:
    stream = memory.listener.connect()
    answer = bytearray()
    with suppress(trio.BrokenResourceError), trio.move_on_after(100):
        await stream.send_all(data)
        await stream.send_eof()
        async for chunk in stream:
            answer += chunk
    await trio.aclose_forcefully(stream)
    return bytes(answer)


# All of them

_HELLO: Final = b'[{"type":"hello","client":"fuzz"}]'

_GET: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\n"

_HEADS: Final = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HEAD /jchannel/client.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /a%40b/../x?y=%00 HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n",
    b"GET /streams/xxxxxxxxxxxxxxxxxxxxxx?offset=0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"POST /streams/xxxxxxxxxxxxxxxxxxxxxx?offset=0&end=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /jchannel/notebook/x/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n0123456789",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    _GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    *(
        b"GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n" + rest
        for rest in (
            b"Sec-WebSocket-Protocol: jchannel.v1, jchannel.token.TOKEN\r\n\r\n",
            b"Sec-WebSocket-Protocol: jchannel.v1, jchannel.token.TOKEN\r\n\r\n\x81\xa2\x00\x00\x00\x00" + _HELLO,
            b"Sec-WebSocket-Protocol: jchannel.v1, jchannel.token.x\r\nOrigin: http://evil.example\r\n\r\n",
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\x81\x80\x00\x00\x00\x00",
        )
    ),
)

_WEBSOCKETS: Final = (
    b"\x81\x82\x01\x02\x03\x04ik",
    b"\x82\xfe\x00\x80\x00\x00\x00\x00" + bytes(128),
    b"\x01\x81\x00\x00\x00\x00a\x89\x80\x00\x00\x00\x00\x80\x81\x00\x00\x00\x00b",
    b"\x82\xff\x00\x00\x00\x00\x00\x00\x13\x88\x00\x00\x00\x00" + bytes(5_000),
    b"\x88\x82\x00\x00\x00\x00\x03\xe8",
    b"\x8a\x80\x00\x00\x00\x00\x81\x80\x00\x00\x00\x00",
)


def _frames() -> tuple[bytes, ...]:
    given = []
    for name in ("frames.json", "invalid.json"):
        for vector in json.loads((_VECTORS / name).read_text(encoding="utf-8")):
            frame = base64.b64decode(vector["frame"]) if vector["binary"] else vector["frame"]
            given.append(_as_input(frame))
    return tuple(data for data in given if len(data) < 2_000)


def _parts() -> tuple[bytes, ...]:
    vectors = json.loads((_VECTORS / "parts.json").read_text(encoding="utf-8"))
    return tuple(data for vector in vectors if len(data := base64.b64decode(vector["body"])) < 2_000)


def _programs() -> tuple[bytes, ...]:
    return tuple(bytes((number * step + 7) % 251 for number in range(60)) for step in (3, 5, 11, 17, 29, 64))


@dataclass(frozen=True, slots=True)
class Target:
    """Something to fuzz.

    Attributes:
        run: Takes an input, and raises where a promise is broken.
        examples: Returns inputs to begin with.
        cases: How many the suite tries beside the kept ones.
    """

    run: Callable[[bytes], None]
    examples: Callable[[], tuple[bytes, ...]]
    cases: int


#: What can be fuzzed, by name.
TARGETS: Final[dict[str, Target]] = {
    "frames": Target(fuzz_frames, _frames, 1_000),
    "values": Target(fuzz_values, _programs, 300),
    "parts": Target(fuzz_parts, _parts, 300),
    "connection": Target(fuzz_connection, _programs, 300),
    "websocket": Target(fuzz_websocket, lambda: _WEBSOCKETS, 300),
    "head": Target(fuzz_head, lambda: _HEADS, 100),
}


def examples_of(name: str) -> list[bytes]:
    """The inputs to begin with: those of the target, and those that are kept."""
    kept = sorted(path for path in (CORPORA / name).glob("*") if path.is_file())
    return [*TARGETS[name].examples(), *(path.read_bytes() for path in kept)]

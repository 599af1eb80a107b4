"""What a link makes of the frames of a WebSocket: the cases of the Autobahn test suite for what is used here.

The frames are made by hand and by nobody's protocol, as a hostile page would.
"""

import struct
from collections.abc import Iterable
from contextlib import suppress

import pytest
import trio
import trio.testing
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import Protocol

from jchannel._core import transport
from jchannel._core.transport import LinkClosed, Side, WebSocketLink

TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
MASK = b"\x01\x80\x7f\xff"


def make_frame(opcode: int, data: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes = MASK) -> bytes:
    """A frame as a client sends it."""
    first = fin << 7 | reserved << 4 | opcode
    masked = 0x80 if mask else 0
    if len(data) < 126:
        head = struct.pack("!BB", first, masked | len(data))
    elif len(data) < 2**16:
        head = struct.pack("!BBH", first, masked | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, masked | 127, len(data))
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)) if mask else data
    return head + mask + body


def close(code: int, reason: bytes = b"") -> bytes:
    return make_frame(CLOSE, struct.pack("!H", code) + reason)


async def play(
    *frames: bytes, piece: int | None = None, frame_bytes: int = 2**24
) -> tuple[list[str | bytes], list[Frame]]:
    """Sends frames to a server's link, in pieces of so many bytes, and ends. What it received, and what it answered."""
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, Side.SERVER, frame_bytes)
    data = b"".join(frames)
    piece = piece or len(data) or 1
    received: list[str | bytes] = []
    answered = bytearray()

    async def listen() -> None:
        async for chunk in far:
            answered.extend(chunk)

    async def send() -> None:
        for start in range(0, len(data), piece):
            await far.send_all(data[start : start + piece])
        await far.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        nursery.start_soon(send)
        with suppress(LinkClosed):
            while True:
                received.append(await link.receive())
        await link.aclose()
    client = Protocol(Side.CLIENT, max_size=None)
    client.receive_data(answered)
    events = client.events_received()
    return received, [event for event in events if isinstance(event, Frame)]


def code_of(answers: Iterable[Frame]) -> int:
    """The code of the close that is the last answer."""
    *_, last = answers
    assert last.opcode is Opcode.CLOSE
    return Close.parse(last.data).code


@pytest.mark.parametrize(
    ("size", "piece"),
    [
        (size, piece)
        for size in (0, 1, 125, 126, 127, 128, 65_535, 65_536)
        for piece in (None, 1, 997)
        if size < 997 or piece != 1
    ],
)
async def test_a_message_of_any_size_arrives_whole_in_whatever_pieces_it_comes(size: int, piece: int | None) -> None:
    text, data = "*" * size, b"\xfe" * size
    received, _ = await play(make_frame(TEXT, text.encode()), make_frame(BINARY, data), piece=piece)
    assert received == [text, data]
    assert [type(message) for message in received] == [str, bytes]


@pytest.mark.parametrize("data", [b"", b"hello", bytes(range(125)), b"\xfe" * 125])
async def test_a_ping_is_answered_with_its_own_data(data: bytes) -> None:
    received, answers = await play(make_frame(PING, data), make_frame(TEXT, b"next"))
    assert [(answer.opcode, bytes(answer.data)) for answer in answers] == [(Opcode.PONG, data)]
    assert received == ["next"]


async def test_ten_pings_are_answered_in_their_order() -> None:
    pings = [make_frame(PING, bytes([number])) for number in range(10)]
    assert [bytes(pong.data) for pong in (await play(*pings))[1]] == [bytes([number]) for number in range(10)]


async def test_a_pong_that_nobody_asked_for_is_ignored() -> None:
    assert await play(make_frame(PONG, b"unasked"), make_frame(TEXT, b"next")) == (["next"], [])


@pytest.mark.parametrize(
    "wrong",
    [
        *(make_frame(TEXT, b"x", reserved=reserved) for reserved in range(1, 8)),
        *(make_frame(PING, b"x", reserved=reserved) for reserved in (1, 4)),
        *(make_frame(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        make_frame(TEXT, b"x", mask=b""),
        make_frame(PING, bytes(126)),
        make_frame(PING, b"x", fin=False),
        make_frame(PONG, b"x", fin=False),
        make_frame(CONTINUED, b"x"),
        make_frame(CONTINUED, b"x", fin=False),
        make_frame(TEXT, b"x", fin=False) + make_frame(TEXT, b"x"),
        make_frame(TEXT, b"x", fin=False) + make_frame(BINARY, b"x"),
        make_frame(TEXT, b"x", fin=False) + close(1000),
        make_frame(CLOSE, b"\x03"),
        make_frame(CLOSE, struct.pack("!H", 1000) + bytes(124)),
        *(close(code) for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535)),
    ],
    ids=lambda wrong: wrong[:12].hex(),
)
async def test_what_breaks_the_protocol_closes_the_link_behind_what_came_before(wrong: bytes) -> None:
    received, answers = await play(make_frame(TEXT, b"before"), wrong, make_frame(TEXT, b"behind"))
    assert received == ["before"]
    assert code_of(answers) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("pieces", [[b"frag", b"mented"], [b"", b"frag", b"", b"men", b"ted", b""]])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_message_in_fragments_is_one_message_and_pings_between_them_are_answered(
    pieces: list[bytes], opcode: int
) -> None:
    frames = []
    for number, data in enumerate(pieces):
        fin = number == len(pieces) - 1
        frames += [make_frame(opcode if number == 0 else CONTINUED, data, fin=fin), make_frame(PING, bytes([number]))]
    received, answers = await play(*frames, make_frame(TEXT, b"next"))
    assert received == ["fragmented" if opcode == TEXT else b"fragmented", "next"]
    assert len(answers) == len(pieces)


@pytest.mark.parametrize("expected", [0, 1, 4, 5, 6, 9, 10, 11, 1_000])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_message_is_what_has_come_whatever_size_was_expected(opcode: int, expected: int, *, late: bool) -> None:
    near, far = trio.testing.memory_stream_pair()
    link = WebSocketLink(near, Side.SERVER, 100)
    if not late:
        link.expect(expected)
    await far.send_all(make_frame(BINARY, b"first") + make_frame(opcode, b"12345", fin=False))
    assert await link.receive() == b"first"
    if late:
        link.expect(7)
        link.expect(expected)
    await far.send_all(make_frame(CONTINUED, b"67890"))
    await far.send_all(make_frame(BINARY, b"a", fin=False) + make_frame(CONTINUED, b"b"))
    received = [await link.receive(), await link.receive()]
    assert received == ["1234567890" if opcode == TEXT else b"1234567890", b"ab"]


@pytest.mark.parametrize("piece", [None, 1])
async def test_text_may_be_cut_within_a_character(piece: int | None) -> None:
    text = "κόσμε \x00 \x7f \x80 \u07ff \u0800 \ufffd \uffff \U00010000 \U0010ffff"
    data = text.encode()
    frames = [make_frame(CONTINUED if i else TEXT, data[i : i + 1], fin=i == len(data) - 1) for i in range(len(data))]
    assert (await play(*frames, piece=piece))[0] == [text]


@pytest.mark.parametrize(
    "data",
    [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\x80",
        b"\xfe",
        b"\xff",
        b"\xce",
    ],
)
async def test_text_that_is_no_utf_8_closes_the_link(data: bytes) -> None:
    received, answers = await play(make_frame(TEXT, b"before"), make_frame(TEXT, data), make_frame(TEXT, b"behind"))
    assert received == ["before"]
    assert code_of(answers) == CloseCode.INVALID_DATA


async def test_text_that_is_no_utf_8_in_front_of_a_close_is_dropped() -> None:
    received, answers = await play(make_frame(TEXT, b"\xff"), close(1000))
    assert received == []
    assert code_of(answers) == CloseCode.NORMAL_CLOSURE


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_a_close_is_answered_with_its_own_code(code: int) -> None:
    received, answers = await play(close(code, "ä".encode() * 61), make_frame(TEXT, b"behind"), make_frame(PING))
    assert received == []
    assert [code_of(answers)] == [code]
    assert len(answers) == 1


async def test_a_close_without_a_code_is_answered_without_one() -> None:
    _, answers = await play(make_frame(CLOSE))
    assert code_of(answers) == CloseCode.NO_STATUS_RCVD


async def test_a_close_whose_reason_is_no_utf_8_closes_the_link_with_an_error() -> None:
    _, answers = await play(close(1000, b"\xce\xba\xed\xa0\x80"))
    assert code_of(answers) == CloseCode.INVALID_DATA


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_message_of_16_mib_arrives_whole(opcode: int) -> None:
    head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, 2**24)
    received, _ = await play(head + bytes(4) + b"x" * 2**24)
    assert received == ["x" * 2**24] if opcode == TEXT else [b"x" * 2**24]


@pytest.mark.parametrize("more", [0, 1])
async def test_a_message_has_as_many_fragments_as_may_be(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    monkeypatch.setattr(transport, "_MOST_FRAGMENTS", 100)
    frames = [make_frame(CONTINUED if number else BINARY, b"", fin=False) for number in range(99 + more)]
    received, answers = await play(*frames, make_frame(CONTINUED, b"end"))
    assert received == ([] if more else [b"end"])
    if more:
        assert code_of(answers) == CloseCode.POLICY_VIOLATION


@pytest.mark.parametrize("sizes", [[101], [100, 1], [50, 50, 1], [1] * 101])
async def test_a_message_above_the_limit_closes_the_link_also_in_fragments(sizes: list[int]) -> None:
    frames = [
        make_frame(CONTINUED if number else BINARY, bytes(size), fin=number == len(sizes) - 1)
        for number, size in enumerate(sizes)
    ]
    received, answers = await play(make_frame(BINARY, bytes(100)), *frames, frame_bytes=100)
    assert received == [bytes(100)]
    assert code_of(answers) == CloseCode.MESSAGE_TOO_BIG

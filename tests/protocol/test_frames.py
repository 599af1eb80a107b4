"""Frames: how messages are put together, and what a frame may not be."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jchannel._protocol.frames import APART_FROM, HEAD_LIMIT, decode_frame, encode_frame, encode_frames
from jchannel._protocol.messages import Beat, Call, Cancel, Echo, Error, Message, Result, encode
from jchannel._protocol.values import MAX_ATTACHMENTS, Packed, pack
from jchannel.errors import ProtocolError
from tests.protocol.strategies import json_values, messages, packed, same


def result(number: int, value: object) -> Result:
    return Result(number, pack(value, field_name="value", shown_as="result"))


def binary_frame(objects: object, rest: bytes = b"") -> bytes:
    """A frame with any JSON, and after it any bytes."""
    head = json.dumps(objects).encode()
    return struct.pack("<I", len(head)) + head + rest


@given(st.lists(messages, min_size=1, max_size=4))
def test_a_batch_arrives_as_it_was_sent(batch: list[Message]) -> None:
    assert same(decode_frame(encode_frame([encode(packed(message)) for message in batch])), batch)


def test_messages_without_attachments_are_text() -> None:
    frame = encode_frame([encode(Cancel(1)), encode(Result(2, Packed("[true]")))])
    assert frame == '[{"type":"cancel","id":1},{"type":"result","id":2,"value":[true]}]'


def test_attachments_begin_at_multiples_of_8_and_nothing_follows_the_last() -> None:
    frame = encode_frame([encode(result(1, [b"abc", b""])), encode(Cancel(1)), encode(result(2, b"de"))])
    assert isinstance(frame, bytes)
    (length,) = struct.unpack_from("<I", frame)
    assert [message["id"] for message in json.loads(frame[4 : 4 + length])] == [1, 1, 2]
    first = -(-(4 + length) // 8) * 8
    assert frame[4 + length : first] == bytes(first - 4 - length)
    assert frame[first:] == b"abc\0\0\0\0\0de"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ("", "a frame is not JSON"),
        ("[", "a frame is not JSON"),
        ("[] []", "a frame is not JSON"),
        ('[{"type":"result","id":1,"value":NaN}]', "NaN is not JSON"),
        ('[{"type":"result","id":1,"value":-Infinity}]', "-Infinity is not JSON"),
        ("[" + "9" * 5000 + "]", "a frame is not JSON"),
        ("[" * 100_000, "a frame is nested too deep"),
        ("[]", "a JSON array of one or more messages"),
        ("{}", "a JSON array of one or more messages"),
        ("null", "a JSON array of one or more messages"),
        ("[[]]", "a message must be a JSON object"),
        ('[{"type":"beat"},1]', "a message must be a JSON object"),
        (
            '[{"type":"result","id":1,"value":null,"attachments":[{"path":["value"],"type":"bytes","size":0}]}]',
            "1 attachments of a frame have not come",
        ),
        (b"", "shorter than its length field"),
        (b"\0\0\0", "shorter than its length field"),
        (b"\x05\0\0\0[]", "shorter than its JSON"),
        (b"\xff\xff\xff\xff[]", "shorter than its JSON"),
        (b"\x02\0\0\0\xff\xff", "the JSON of a binary frame is not UTF-8"),
        (b"\x05\0\0\0\xed\xa0\x80[]", "the JSON of a binary frame is not UTF-8"),
        (binary_frame([{"type": "beat"}]), "a frame whose messages have no attachments is text"),
        (binary_frame([{"type": "beat"}], b"\0"), "a frame whose messages have no attachments is text"),
        (binary_frame([{"type": "beat", "attachments": []}]), "a frame whose messages have no attachments is text"),
    ],
)
def test_a_frame_that_is_not_one_breaks_the_protocol(frame: str | bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        decode_frame(frame)


def test_a_byte_after_the_last_attachment_breaks_the_protocol() -> None:
    frame = encode_frame([encode(result(1, b"abc"))])
    assert isinstance(frame, bytes)
    with pytest.raises(ProtocolError, match="something after its last attachment"):
        decode_frame(frame + b"\0")


def test_a_byte_too_few_breaks_the_protocol() -> None:
    frame = encode_frame([encode(result(1, b"abc"))])
    assert isinstance(frame, bytes)
    with pytest.raises(ProtocolError, match="does not fit into its frame"):
        decode_frame(frame[:-1])


def test_padding_that_is_not_zero_breaks_the_protocol() -> None:
    head = b'[{"type":"result","id":10,"value":null,"attachments":[{"path":["value"],"type":"bytes","size":1}]}]'
    frame = struct.pack("<I", len(head)) + head
    frame += bytes(-len(frame) % 8)
    assert decode_frame(frame + b"a") == [Result(10, b"a")]
    with pytest.raises(ProtocolError, match="an attachment of size 1 does not fit into its frame"):
        decode_frame(frame[:-1] + b"\x01a")


@given(st.lists(messages, min_size=1, max_size=4))
def test_a_batch_arrives_as_it_was_sent_with_its_attachments_apart(batch: list[Message]) -> None:
    frames = encode_frames([encode(packed(message)) for message in batch], apart_from=0)
    assert [type(frame) for frame in frames] == [str] + [bytes] * (len(frames) - 1)
    assert same(decode_frame(*frames), batch)


def test_attachments_leave_apart_where_they_are_large_on_average() -> None:
    large, short = bytes(APART_FROM), bytes(APART_FROM - 1)
    head, *apart = encode_frames([encode(result(1, [large, large])), encode(Cancel(1)), encode(result(2, large))])
    assert isinstance(head, str)
    assert [data is large for data in apart] == [True] * 3
    assert decode_frame(head, *apart) == [Result(1, [large, large]), Cancel(1), Result(2, large)]
    (frame,) = encode_frames([encode(result(1, [large, "x" * HEAD_LIMIT]))])
    assert decode_frame(frame) == [Result(1, [large, "x" * HEAD_LIMIT])]
    (_, *apart) = encode_frames([encode(result(1, [large, b"tiny", large + large]))])
    assert list(map(len, apart)) == [APART_FROM, 4, 2 * APART_FROM]
    for value in (short, [large, short]):
        (frame,) = encode_frames([encode(result(1, value))])
        assert isinstance(frame, bytes)
        assert decode_frame(frame) == [Result(1, value)]


@pytest.mark.parametrize(
    ("apart", "message"),
    [
        ([], "2 attachments of a frame have not come"),
        ([b"abc"], "1 attachments of a frame have not come"),
        ([b"abc", b""], "a frame came in the place of an attachment of 1 bytes"),
        ([b"abcd"], "a frame came in the place of an attachment of 3 bytes"),
        (["abc"], "a frame came in the place of an attachment of 3 bytes"),
        ([b"abc", b"d", b"e"], "a frame has come with more than its attachments"),
    ],
)
def test_what_comes_apart_is_what_was_announced(apart: list[str | bytes], message: str) -> None:
    head, *_ = encode_frames([encode(result(1, [b"abc", b"d"]))], apart_from=0)
    with pytest.raises(ProtocolError, match=message):
        decode_frame(head, *apart)


def test_a_binary_frame_may_hold_messages_without_attachments() -> None:
    frame = encode_frame([encode(Beat()), encode(result(1, b"")), encode(Cancel(2))])
    assert decode_frame(frame) == [Beat(), Result(1, b""), Cancel(2)]


def decode_or_refuse(frame: str | bytes) -> None:
    """Fails with any exception that is not a protocol error."""
    try:
        decoded = decode_frame(frame)
    except ProtocolError:
        return
    assert decoded
    assert all(isinstance(message, Message) for message in decoded)


@given(st.text() | st.binary())
def test_anything_gives_messages_or_a_protocol_error(frame: str | bytes) -> None:
    decode_or_refuse(frame)


# Objects that are nearly messages.
numbers: st.SearchStrategy[Any] = st.sampled_from(
    [-1, 0, 1, 2, 8, 1.0, 0.5, True, None, "x", 2**53, 10**30, [], {}, [0, 2**62, 2**62]]
)
attachments = st.lists(
    st.fixed_dictionaries(
        {
            "path": st.lists(st.sampled_from(["args", "value", "x", 0, 1, -1]), max_size=3) | numbers,
            "type": st.sampled_from(["bytes", "int8", "float64", "int12"]) | numbers,
            "size": st.sampled_from([0, 8]) | numbers,
        },
        optional={"shape": st.lists(st.sampled_from([0, 1, 8, 2**31, 2**63]), max_size=4) | numbers},
    )
    | numbers,
    max_size=2,
)
near_messages = st.fixed_dictionaries(
    {"type": st.sampled_from(["hello", "welcome", "goodbye", "open", "echo", "call", "result", "error"]) | numbers},
    optional={
        "id": numbers,
        "channel": numbers,
        "client": numbers,
        "beat": numbers,
        "frame_limit": numbers,
        "cancel_wait": numbers,
        "timeout": numbers,
        "parent": numbers,
        "channels": st.lists(numbers),
        "reason": st.sampled_from(["closed", "x"]) | numbers,
        "message": numbers,
        "code": numbers,
        "name": numbers,
        "kind": st.sampled_from(["busy", "x"]) | numbers,
        "stack": numbers,
        "args": st.lists(st.none() | json_values, max_size=2),
        "value": st.none() | json_values,
        "attachments": attachments | numbers,
    },
)


@given(st.lists(near_messages | json_values, max_size=3) | json_values, st.none() | st.binary(max_size=40))
def test_nearly_messages_give_messages_or_a_protocol_error(objects: Any, rest: bytes | None) -> None:
    decode_or_refuse(json.dumps(objects) if rest is None else binary_frame(objects, rest))


@given(st.lists(messages, min_size=1, max_size=2), st.data())
def test_a_frame_with_a_byte_changed_gives_messages_or_a_protocol_error(
    batch: list[Message], data: st.DataObject
) -> None:
    frame = encode_frame([encode(packed(message)) for message in batch])
    changed = bytearray(frame.encode() if isinstance(frame, str) else frame)
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    decode_or_refuse(changed.decode(errors="replace") if isinstance(frame, str) else bytes(changed))


@pytest.mark.parametrize(
    "frame",
    ["[%s]", '[{"type":%s}]', '[{"type":"cancel","id":%s}]', '[{"type":"echo","id":1,"channel":1,"args":%s}]'],
)
@pytest.mark.parametrize("depth", [199, 500, 900, 990, 5_000])
def test_any_nesting_gives_messages_or_a_protocol_error(frame: str, depth: int) -> None:
    decode_or_refuse(frame % ("[" * depth + "]" * depth))


@pytest.mark.parametrize("extra", [0, 1])
def test_a_frame_has_as_many_attachments_as_may_be_and_one_more_breaks_the_protocol(extra: int) -> None:
    count = MAX_ATTACHMENTS + extra
    head = [{"type": "echo", "id": 1, "channel": 1, "args": [None] * count}]
    head[0]["attachments"] = [{"path": ["args", index], "type": "bytes", "size": 0} for index in range(count)]
    text = json.dumps(head, separators=(",", ":")).encode()
    whole = struct.pack("<I", len(text)) + text
    whole += bytes(-len(whole) % 8)
    if extra:
        with pytest.raises(ProtocolError, match="a frame has more than 65,536 attachments"):
            decode_frame(whole)
    else:
        assert decode_frame(whole) == [Echo(1, 1, [b""] * count)]


@pytest.mark.parametrize("extra", [0, 1])
def test_the_name_of_a_method_is_as_long_as_may_be_and_one_more_character_breaks_the_protocol(extra: int) -> None:
    name = "ü" * (1_000 + extra)
    text = json.dumps([{"type": "call", "id": 1, "channel": 1, "name": name, "args": []}])
    if extra:
        with pytest.raises(ProtocolError, match="the field 'name' of 'call' cannot be"):
            decode_frame(text)
    else:
        assert decode_frame(text) == [Call(1, 1, name, [])]


def test_of_the_texts_of_an_error_no_more_is_taken_than_may_be_sent() -> None:
    text = "x" * 70_000
    fields = {"type": "error", "id": 1, "kind": "exception", "name": text, "message": text, "stack": text}
    assert decode_frame(json.dumps([fields])) == [Error(1, "exception", text[:200], text[:65_536], text[:65_536])]

"""The golden vectors, which hold this implementation of the wire and that in TypeScript together."""

import base64
import dataclasses
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jchannel._protocol.connection import Connection, Role, State
from jchannel._protocol.frames import APART_FROM, decode_frame, encode_frame, encode_frames
from jchannel._protocol.messages import VALUE_FIELDS, Hello, Message, Result, StreamInfo, Welcome, encode
from jchannel._protocol.parts import Part, PartMark, decode_part, encode_part
from jchannel._protocol.values import Packed, pack
from jchannel.errors import ProtocolError
from tests.protocol.strategies import packed, same, write_as_javascript

OPTIONAL = (
    *("code", "module", "nan", "stack", "stream", "timeout", "parent"),
    *("frame_limit", "http_streams", "credit", "near", "door", "why"),
)

VECTORS = Path(__file__).parent.parent / "vectors"


def read(name: str) -> list[Any]:
    """The vectors of a file, as parameters that bear their names."""
    vectors = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def frame_of(vector: dict[str, Any]) -> str | bytes:
    frame: str = vector["frame"]
    return base64.b64decode(frame, validate=True) if vector["binary"] else frame


def frames_of(vector: dict[str, Any]) -> list[str | bytes]:
    """The frame, and those behind it with its attachments."""
    return [frame_of(vector), *(base64.b64decode(data, validate=True) for data in vector.get("apart", ()))]


def revive(value: object) -> object:
    """The value with the attachments that are written in it."""
    if isinstance(value, list):
        return [revive(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"$attachment"}:
        return {key: revive(item) for key, item in value.items()}
    attachment = value["$attachment"]
    data = base64.b64decode(attachment["base64"], validate=True)
    if attachment["type"] == "bytes":
        return data
    if attachment["type"] == "number":
        return struct.unpack("<d", data)[0]
    array = np.frombuffer(data, attachment["type"])
    return array.reshape(attachment["shape"]) if "shape" in attachment else array


def attachments_in(value: object) -> Iterator[dict[str, object]]:
    """The attachments that are written in a value, in their order."""
    if isinstance(value, dict) and value.keys() == {"$attachment"}:
        yield value["$attachment"]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from attachments_in(item)


def packed_as(message: Message, shapeless: Iterator[bool]) -> Message:
    """The message with its values packed. Python sends every array with its shape; some vectors have it left out."""
    message = packed(message)
    name = VALUE_FIELDS.get(message.type, ("stream",))[0]
    if name in ("stream", "data"):
        return message
    value: Packed = getattr(message, name)
    attachments = tuple(
        dataclasses.replace(attachment, shape=None) if next(shapeless) else attachment
        for attachment in value.attachments
    )
    changes: dict[str, Any] = {name: Packed(value.text, attachments)}
    return dataclasses.replace(message, **changes)


def fields_of(message: Message) -> dict[str, object]:
    """The message as an object of the vectors."""
    fields = {name: getattr(message, name) for name in message.__slots__}
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    if isinstance(fields.get("stream"), StreamInfo):
        stream = dataclasses.asdict(fields["stream"])
        fields["stream"] = {key: value for key, value in stream.items() if value is not None}
    optional = {name for name in OPTIONAL if fields.get(name) is None}
    return {"type": message.type} | {name: value for name, value in fields.items() if name not in optional}


@pytest.mark.parametrize("vector", read("frames.json"))
def test_decoding_the_frame_gives_the_messages(vector: dict[str, Any]) -> None:
    decoded = [fields_of(message) for message in decode_frame(*frames_of(vector))]
    assert same(decoded, [revive(message) for message in vector["messages"]])


@pytest.mark.parametrize("vector", read("frames.json"))
def test_encoding_the_messages_gives_the_frame(vector: dict[str, Any]) -> None:
    shapeless = ("shape" not in attachment for attachment in attachments_in(vector["messages"]))
    batch = [packed_as(message, shapeless) for message in decode_frame(*frames_of(vector))]
    apart_from = 0 if "apart" in vector else APART_FROM
    assert encode_frames([encode(message) for message in batch], apart_from=apart_from) == frames_of(vector)


@pytest.mark.parametrize("vector", read("invalid.json"))
def test_a_frame_that_breaks_the_protocol_is_refused(vector: dict[str, Any]) -> None:
    connection = Connection(Role[vector["role"].upper()])
    hello, welcome = Hello("x"), Welcome(15, 1_000_000, 0.5, ())
    if connection.role is Role.PAGE:
        connection.send(hello)
    if vector["state"] == "ready":
        if connection.role is Role.PAGE:
            connection.receive(encode_frame([encode(welcome)]))
        else:
            connection.receive(encode_frame([encode(hello)]))
            connection.send(welcome)
        assert connection.state is State.READY
    *before, last = frames_of(vector)
    for frame in before:
        assert connection.receive(frame) == []
    with pytest.raises(ProtocolError):
        connection.receive(last)


@pytest.mark.parametrize("vector", read("numbers.json"))
def test_a_number_arrives_as_what_javascript_holds_and_goes_back(vector: dict[str, Any]) -> None:
    (message,) = decode_frame(f'[{{"type":"result","id":1,"value":{vector["text"]}}}]')
    assert isinstance(message, Result)
    (expected,) = struct.unpack(">d", bytes.fromhex(vector["bits"]))
    assert type(message.value) is (int if vector["whole"] else float)
    assert message.value == expected
    assert struct.pack(">d", message.value).hex() == vector["bits"]
    if "python" in vector:
        assert write_as_javascript(expected) == vector["javascript"]
        assert pack(message.value, field_name="value", shown_as="result").text == vector["python"]
    else:
        with pytest.raises(ValueError, match="which JSON has no form for"):
            pack(message.value, field_name="value", shown_as="result")


@pytest.mark.parametrize("vector", read("parts.json"))
def test_a_part_of_a_stream_is_read_as_it_was_written_or_refused(vector: dict[str, Any]) -> None:
    body = base64.b64decode(vector["body"], validate=True)
    if "mark" in vector:
        part = Part(base64.b64decode(vector["data"], validate=True), PartMark(vector["mark"].encode()))
        assert (decode_part(body), encode_part(part)) == (part, body)
    else:
        with pytest.raises(ProtocolError, match="a part of a stream"):
            decode_part(body)

"""The vocabulary of the wire: how messages are written and read."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given

from jchannel._protocol.frames import decode_frame, encode_frame
from jchannel._protocol.messages import (
    ERROR_KINDS,
    GOODBYE_REASONS,
    Beat,
    Call,
    Cancel,
    Close,
    Echo,
    Encoded,
    Error,
    Goodbye,
    Hello,
    Message,
    Open,
    Pipe,
    Result,
    StreamInfo,
    Welcome,
    encode,
    parse,
)
from jchannel._protocol.values import Attachment, Packed
from jchannel.errors import ProtocolError
from tests.protocol.strategies import messages, packed, same

LARGEST_ID = 2**53 - 1


@given(messages)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    (arrived,) = decode_frame(encode_frame([encode(packed(message))]))
    assert same(arrived, message)


@given(messages)
def test_the_size_of_an_encoded_message_is_never_too_small(message: Message) -> None:
    encoded = encode(packed(message))
    frame = encode_frame([encoded])
    overhead = 2 if isinstance(frame, str) else 6
    assert len(frame.encode() if isinstance(frame, str) else frame) <= encoded.size + overhead


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Hello("x"), '{"type":"hello","client":"x"}'),
        (Hello("x", 10_000), '{"type":"hello","client":"x","frame_limit":10000}'),
        (
            Welcome(15, 100, 0.5, (1, 2)),
            '{"type":"welcome","beat":15,"frame_limit":100,"cancel_wait":0.5,"channels":[1,2]}',
        ),
        (Goodbye("closed", "Ende ä"), '{"type":"goodbye","reason":"closed","message":"Ende ä"}'),
        (Beat(), '{"type":"beat"}'),
        (Open(1, 2, "x"), '{"type":"open","id":1,"channel":2,"code":"x"}'),
        (Open(1, 2, module="./x.js"), '{"type":"open","id":1,"channel":2,"module":"./x.js"}'),
        (Open(1, 2, "x", nan="keep"), '{"type":"open","id":1,"channel":2,"code":"x","nan":"keep"}'),
        (Close(1, 2), '{"type":"close","id":1,"channel":2}'),
        (Echo(1, 2, Packed("[]")), '{"type":"echo","id":1,"channel":2,"args":[]}'),
        (Call(1, 2, "f", Packed("[1]")), '{"type":"call","id":1,"channel":2,"name":"f","args":[1]}'),
        (Result(1, Packed("null")), '{"type":"result","id":1,"value":null}'),
        (
            Error(1, "exception", "E", "m", "s"),
            '{"type":"error","id":1,"kind":"exception","name":"E","message":"m","stack":"s"}',
        ),
        (Error(1, "busy", "", "m"), '{"type":"error","id":1,"kind":"busy","name":"","message":"m"}'),
        (Cancel(1), '{"type":"cancel","id":1}'),
    ],
)
def test_the_fields_of_a_message_are_written_in_the_order_of_the_wire(message: Message, text: str) -> None:
    assert encode(message) == Encoded(text, (), len(text.encode()))


def test_attachments_are_described_at_the_end_of_their_message() -> None:
    attachment = Attachment(("args", 0), "int16", (2,), b"abcd")
    encoded = encode(Echo(1, 2, Packed("[null]", (attachment,))))
    assert encoded.text == (
        '{"type":"echo","id":1,"channel":2,"args":[null],'
        '"attachments":[{"path":["args",0],"type":"int16","shape":[2],"size":4}]}'
    )
    assert encoded.attachments == (attachment,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "hello", "client": "x"}, Hello("x")),
        ({"type": "hello", "client": "x", "frame_limit": 4096}, Hello("x", 4096)),
        (
            {"type": "welcome", "beat": 0.5, "frame_limit": 4096, "cancel_wait": 2, "channels": [1]},
            Welcome(0.5, 4096, 2, (1,)),
        ),
        ({"type": "goodbye", "reason": "closed", "message": ""}, Goodbye("closed", "")),
        ({"type": "beat"}, Beat()),
        ({"type": "open", "id": 1, "channel": LARGEST_ID, "code": ""}, Open(1, LARGEST_ID, "")),
        ({"type": "close", "id": LARGEST_ID, "channel": 1}, Close(LARGEST_ID, 1)),
        ({"type": "echo", "id": 1, "channel": 1, "args": []}, Echo(1, 1, [])),
        ({"type": "call", "id": 1, "channel": 1, "name": "", "args": [1]}, Call(1, 1, "", [1])),
        ({"type": "result", "id": 1, "value": None}, Result(1, None)),
        ({"type": "error", "id": 1, "kind": "busy", "name": "", "message": ""}, Error(1, "busy", "", "")),
        ({"type": "cancel", "id": 1}, Cancel(1)),
    ],
)
def test_a_message_is_read_and_unknown_fields_are_ignored(fields: dict[str, Any], message: Message) -> None:
    assert parse({**fields, "unknown": {}}) == message


@pytest.mark.parametrize("kind", ["", "helloo", "Hello", None, 1, ["hello"], {}])
def test_an_unknown_type_breaks_the_protocol(kind: object) -> None:
    with pytest.raises(ProtocolError, match="there is no message type"):
        parse({"type": kind})


def test_a_missing_type_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="there is no message type None"):
        parse({})


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Hello("x"), "client"),
        (Welcome(1, 4096, 1, ()), "beat"),
        (Welcome(1, 4096, 1, ()), "cancel_wait"),
        (Welcome(1, 4096, 1, ()), "frame_limit"),
        (Welcome(1, 4096, 1, ()), "channels"),
        (Goodbye("closed", ""), "reason"),
        (Goodbye("closed", ""), "message"),
        (Open(1, 1, ""), "id"),
        (Open(1, 1, ""), "channel"),
        (Close(1, 1), "id"),
        (Close(1, 1), "channel"),
        (Echo(1, 1, []), "id"),
        (Echo(1, 1, []), "channel"),
        (Echo(1, 1, []), "args"),
        (Call(1, 1, "", []), "id"),
        (Call(1, 1, "", []), "channel"),
        (Call(1, 1, "", []), "name"),
        (Call(1, 1, "", []), "args"),
        (Result(1, None), "id"),
        (Result(1, None), "value"),
        (Error(1, "busy", "", ""), "id"),
        (Error(1, "busy", "", ""), "kind"),
        (Error(1, "busy", "", ""), "name"),
        (Error(1, "busy", "", ""), "message"),
        (Cancel(1), "id"),
    ],
)
def test_a_missing_field_breaks_the_protocol(message: Message, field: str) -> None:
    fields = fields_of(message)
    del fields[field]
    with pytest.raises(ProtocolError, match=f"^the field '{field}' of '{message.type}' is missing$"):
        parse(fields)


@pytest.mark.parametrize("given", [{}, {"code": "x", "module": "./x.js"}])
def test_an_opening_without_code_or_a_module_or_with_both_breaks_the_protocol(given: dict[str, str]) -> None:
    with pytest.raises(ProtocolError, match=r"^the message 'open' must have one of the fields 'code' and 'module'$"):
        parse({"type": "open", "id": 1, "channel": 1, **given})


NO_IDS: list[object] = [0, -1, 2**53, 1.0, True, "1", None, []]
NO_TEXTS: list[object] = [None, 1, True, [], {}]


@pytest.mark.parametrize(
    ("message", "field", "wrong"),
    [
        (Hello("x"), "client", ["", "x" * 65, *NO_TEXTS]),
        (Hello("x"), "frame_limit", [4095, 2.0**20, *NO_IDS]),
        (Welcome(1, 4096, 1, ()), "beat", [0, -1, float("inf"), True, "1", None, 0.0]),
        (Welcome(1, 4096, 1, ()), "cancel_wait", [0, -1, float("inf"), True, "1", None, 0.0]),
        (Welcome(1, 4096, 1, ()), "frame_limit", [4095, 2.0**20, *NO_IDS]),
        (Welcome(1, 4096, 1, ()), "channels", [None, {}, "1", [0], [1, "2"], 1]),
        (Goodbye("closed", ""), "reason", ["", "because", *NO_TEXTS]),
        (Goodbye("closed", ""), "message", NO_TEXTS),
        (Open(1, 1, ""), "id", NO_IDS),
        (Open(1, 1, ""), "channel", NO_IDS),
        (Open(1, 1, ""), "code", NO_TEXTS),
        (Open(1, 1, module=""), "module", NO_TEXTS),
        (Call(1, 1, "", [], timeout=1), "timeout", [-1, float("inf"), True, "1", None, []]),
        (Pipe(1, 1, StreamInfo(1), timeout=1), "timeout", [-1, float("inf"), True, "1", None, []]),
        (Call(1, 1, "", [], parent=1), "parent", NO_IDS),
        (Pipe(1, 1, StreamInfo(1), parent=1), "parent", NO_IDS),
        (Echo(1, 1, []), "args", [None, {}, "[]", 1]),
        (Call(1, 1, "", []), "name", NO_TEXTS),
        (Error(1, "busy", "", ""), "kind", ["", "because", *NO_TEXTS]),
        (Error(1, "busy", "", ""), "stack", NO_TEXTS),
        (Cancel(1), "id", NO_IDS),
    ],
)
def test_a_field_that_is_not_of_its_kind_breaks_the_protocol(message: Message, field: str, wrong: list[object]) -> None:
    for value in wrong:
        with pytest.raises(ProtocolError, match=f"^the field '{field}' of '{message.type}' cannot be "):
            parse({**fields_of(message), field: value})


def test_every_reason_and_every_kind_of_the_wire_is_read() -> None:
    for reason in GOODBYE_REASONS:
        assert parse(fields_of(Goodbye(reason, ""))) == Goodbye(reason, "")
    for kind in ERROR_KINDS:
        assert parse(fields_of(Error(1, kind, "", ""))) == Error(1, kind, "", "")


def test_an_error_shows_only_a_part_of_what_is_long() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse({"type": "cancel", "id": "9" * 1000})
    assert len(str(caught.value)) < 200


def fields_of(message: Message) -> dict[str, Any]:
    """The message as the object that JSON would give."""
    values = {name: getattr(message, name) for name in message.__slots__}
    lists = {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
    streams = {name: vars_of(value) for name, value in values.items() if isinstance(value, StreamInfo)}
    given = {name: value for name, value in values.items() if value is not None or name == "value"}
    return {"type": message.type, **given, **lists, **streams}


def vars_of(stream: StreamInfo) -> dict[str, Any]:
    """A stream's announcement as an object."""
    return {name: value for name, value in dataclasses.asdict(stream).items() if value is not None}

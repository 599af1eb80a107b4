"""What may travel as an argument or a result, how it is refused where JSON would change it, and the way back."""

import array
import ast
import datetime as dt
import enum
import importlib.util
import json
import math
import sys
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jchannel._protocol import values
from jchannel._protocol.frames import decode_frame, encode_frame
from jchannel._protocol.messages import Echo, Encoded, Result, encode
from jchannel._protocol.values import MAX_DEPTH, MAX_INTEGER, Attachment, Packed, pack, restore, shorten, to_json
from jchannel.errors import ProtocolError
from tests.protocol.strategies import ELEMENT_TYPES, json_values, same, texts
from tests.protocol.strategies import values as any_values

FORMATS = list(zip("bBhHiIqQfd", ELEMENT_TYPES, strict=True))


def pack_result(value: object) -> Packed:
    return pack(value, field_name="value", shown_as="result")


def pack_args(*args: object) -> Packed:
    return pack(list(args), field_name="args", shown_as="args")


def travel(value: object) -> Any:
    """The value as the far side gets it."""
    (message,) = decode_frame(encode_frame([encode(Result(1, pack_result(value)))]))
    assert isinstance(message, Result)
    return message.value


@pytest.fixture
def no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where NumPy is not installed."""
    monkeypatch.setattr(values, "_import_numpy", lambda: None)
    monkeypatch.setitem(sys.modules, "numpy", None)


# What travels


@given(json_values)
def test_a_json_value_arrives_as_it_was_sent(value: object) -> None:
    assert same(travel(value), value)


@given(any_values)
def test_a_value_with_attachments_arrives_as_it_was_sent(value: object) -> None:
    assert same(travel(value), value)


@given(st.lists(any_values, max_size=3))
def test_packing_changes_nothing_of_the_original(args: list[Any]) -> None:
    before = travel(args)
    pack_args(*args)
    assert same(args, before)


@given(texts)
def test_json_can_be_written_as_utf_8_whatever_the_text(text: str) -> None:
    assert json.loads(to_json(text).encode()) == text


def test_json_has_no_white_space_and_keeps_characters_outside_ascii() -> None:
    assert to_json({"ä": [1, "\ud800"]}) == '{"ä":[1,"\\ud800"]}'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (MAX_INTEGER, "9007199254740992"),
        (-MAX_INTEGER, "-9007199254740992"),
        ([], "[]"),
        ({}, "{}"),
        ([1, 2.5], "[1,2.5]"),
        ([1, 2], "[1,2]"),
        ([1, "a"], '[1,"a"]'),
        ([1.5, 2.5], "[1.5,2.5]"),
        ([True, 2], "[true,2]"),
        (["a", None, False], '["a",null,false]'),
        ((1, (2,)), "[1,[2]]"),
        ({"a": {"b": [1]}}, '{"a":{"b":[1]}}'),
        (OrderedDict(b=1, a=[{}]), '{"b":1,"a":[{}]}'),
    ],
)
def test_a_value_is_written_as_json(value: object, text: str) -> None:
    assert pack_result(value) == Packed(text)


class Colour(enum.IntEnum):
    RED = 1


class Name(enum.StrEnum):
    ANNA = "anna"


class Metre(float):
    pass


class Point(NamedTuple):
    x: int
    y: object


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Colour.RED, "1"),
        (Name.ANNA, '"anna"'),
        (Metre(1.5), "1.5"),
        ([Colour.RED, Name.ANNA], '[1,"anna"]'),
        (Point(1, [Colour.RED]), "[1,[1]]"),
        ({"a": Metre(2.5), "b": 3}, '{"a":2.5,"b":3}'),
        (np.int16(3), "3"),
        (np.float32(0.5), "0.5"),
        (np.float64(0.5), "0.5"),
        (np.True_, "true"),
        (np.str_("a"), '"a"'),
    ],
)
def test_a_value_of_a_type_like_one_of_json_travels_as_that(value: object, text: str) -> None:
    assert pack_result(value) == Packed(text)


def test_a_list_with_attachments_is_copied_and_the_rest_of_it_kept() -> None:
    assert pack_args([1, b"ab", {"x": (2, b"c")}]) == Packed(
        '[[1,null,{"x":[2,null]}]]',
        (
            Attachment(("args", 0, 1), "bytes", None, b"ab"),
            Attachment(("args", 0, 2, "x", 1), "bytes", None, b"c"),
        ),
    )


@pytest.mark.parametrize("value", [b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\xff")])
def test_bytes_of_every_kind_travel_as_bytes(value: object) -> None:
    assert pack_result(value) == Packed("null", (Attachment(("value",), "bytes", None, b"\x00\xff"),))


def test_bytes_are_copied_when_they_are_packed() -> None:
    data = bytearray(b"ab")
    packed = pack_result(data)
    data[0] = 0
    assert packed.attachments[0].data == b"ab"


@pytest.mark.parametrize("name", ELEMENT_TYPES)
def test_a_numpy_array_keeps_its_element_type_and_its_shape(name: str) -> None:
    array = np.arange(6).astype(name).reshape(2, 3)
    assert same(travel(array), array)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,) * 32])
def test_a_numpy_array_keeps_a_shape_at_the_edge(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, np.float32)
    assert same(travel(array), array)


def test_a_numpy_array_of_another_byte_order_travels_as_its_numbers() -> None:
    big = np.array([1, 258], ">i4")
    assert same(travel(big), np.array([1, 258], "int32"))


def test_a_numpy_array_that_is_not_contiguous_travels_as_its_elements() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4)[::2, ::-1]
    assert same(travel(array), np.array([[3, 2, 1, 0], [11, 10, 9, 8]], np.int32))


def test_a_numpy_array_that_arrives_can_be_written_to() -> None:
    arrived = travel(np.zeros(2))
    arrived[0] = 1
    assert arrived.tolist() == [1, 0]


@pytest.mark.parametrize(("letter", "name"), FORMATS)
def test_an_array_of_the_standard_library_travels_as_a_typed_array(letter: str, name: str) -> None:
    value = array.array(letter, [1, 2])
    expected = Attachment(("value",), "bytes" if letter == "B" else name, None if letter == "B" else (2,), bytes(value))
    assert pack_result(value).attachments == (expected,)


@pytest.mark.parametrize("letter", ["l", "L"])
def test_an_array_of_a_platform_s_long_travels_as_what_that_is(letter: str) -> None:
    value = array.array(letter, [1, 2])
    expected = f"{'int' if letter == 'l' else 'uint'}{8 * value.itemsize}"
    assert pack_result(value).attachments[0].type == expected


def test_a_memoryview_of_several_dimensions_keeps_its_shape() -> None:
    value = memoryview(bytes(6)).cast("B", [2, 3])
    assert pack_result(value).attachments == (Attachment(("value",), "uint8", (2, 3), bytes(6)),)


def test_an_attachment_describes_itself_in_the_order_of_the_wire() -> None:
    with_shape = Attachment(("args", 0, "x"), "int16", (3,), bytes(6))
    assert to_json(with_shape.describe()) == '{"path":["args",0,"x"],"type":"int16","shape":[3],"size":6}'
    without_shape = Attachment(("value",), "bytes", None, b"")
    assert to_json(without_shape.describe()) == '{"path":["value"],"type":"bytes","size":0}'


# What is refused before it is sent


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (math.nan, ValueError, "result is nan, which JSON has no form for"),
        (math.inf, ValueError, "result is inf, which JSON has no form for"),
        (np.float32(math.nan), ValueError, "result is nan, which JSON has no form for"),
        (Metre(-math.inf), ValueError, "result is -inf, which JSON has no form for"),
        ([1.5, math.nan], ValueError, "result[1] is nan, which"),
        (MAX_INTEGER + 1, ValueError, "result is 9007199254740993, beyond 2**53"),
        ([1, -MAX_INTEGER - 1], ValueError, "result[1] is -9007199254740993, beyond 2**53"),
        (np.uint64(2**63), ValueError, "result is 9223372036854775808, beyond 2**53"),
        ([10**5000], ValueError, "result[0] is an int of 16610 bits, beyond 2**53"),
        ({"a": {1: 2}}, TypeError, "result['a'] has the key 1, which is an int: JSON would make it a str"),
        ({None: 2}, TypeError, "result has the key None, which is a NoneType"),
        ({1}, TypeError, "result is a set, which cannot be sent"),
        (1j, TypeError, "result is a complex, which cannot be sent"),
        (np.complex64(1), TypeError, "result is a complex, which cannot be sent"),
        (dt.date(2026, 1, 1), TypeError, "result is a datetime.date, which cannot be sent"),
        (np.datetime64("2026-01-01"), TypeError, "result is a numpy.datetime64, which cannot be sent"),
        (np.timedelta64(5, "ns"), TypeError, "result is a numpy.timedelta64, which cannot be sent"),
        (np.array([True]), TypeError, "result is a NumPy array of bool, which JavaScript has no typed array for"),
        (np.array([object()]), TypeError, "result is a NumPy array of object, which"),
        (np.zeros((1,) * 33), ValueError, "result has 33 dimensions, and 32 are the most"),
        (np.ma.array([1, 2], mask=[False, True]), TypeError, "result is a masked array, whose mask would be lost"),
        (memoryview(b"a").cast("c"), TypeError, "result is a buffer of format 'c', which JavaScript has no"),
    ],
)
def test_what_json_would_change_is_refused_by_its_place(value: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        pack_result(value)
    assert str(caught.value).startswith(message)


def test_a_memoryview_that_has_been_released_is_refused() -> None:
    view = memoryview(b"a")
    view.release()
    with pytest.raises(ValueError, match=r"^args\[0\] is a memoryview that has been released"):
        pack_args(view)


def nest(depth: int) -> object:
    value: object = None
    for _ in range(depth):
        value = [value]
    return value


def test_200_levels_may_be_sent() -> None:
    assert pack_result(nest(MAX_DEPTH)).text == "[" * MAX_DEPTH + "null" + "]" * MAX_DEPTH
    pack_args(nest(MAX_DEPTH))


def test_201_levels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^result(\[0\]){12}\[…\] is nested deeper than 200 levels"):
        pack_result(nest(MAX_DEPTH + 1))
    with pytest.raises(ValueError, match=r"^args(\[0\]){12}\[…\] is nested deeper than 200 levels"):
        pack_args(nest(MAX_DEPTH + 1))


def test_a_circular_value_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["x"] = [circle]
    with pytest.raises(ValueError, match="or contains itself"):
        pack_result(circle)


BAD_LEAVES = st.sampled_from([math.nan, -math.inf, MAX_INTEGER + 1, {1, 2}, 1j, {7: 1}, object(), np.array(["a"])])


@st.composite
def values_with_a_bad_leaf(draw: st.DrawFn) -> tuple[object, object]:
    """A value that must be refused, and what it must be refused for."""
    leaf = draw(BAD_LEAVES)
    value = leaf
    for _ in range(draw(st.integers(0, 6))):
        siblings = draw(st.lists(json_values, max_size=3))
        if draw(st.booleans()):
            siblings.insert(draw(st.integers(0, len(siblings))), value)
            value = draw(st.sampled_from([list, tuple]))(siblings)
        else:
            value = {**{f"sibling {i}": sibling for i, sibling in enumerate(siblings)}, draw(texts): value}
    return value, leaf


def evaluate_place(message: str, args: list[object]) -> object:
    """What stands at the place that a message begins with."""
    for end in range(len(message)):
        if message[end:].startswith((" is ", " has ")):
            try:
                node: ast.expr = ast.parse(message[:end], mode="eval").body
            except SyntaxError:  # A key may hold these words, too.
                continue
            keys = []
            while isinstance(node, ast.Subscript):
                keys.append(ast.literal_eval(node.slice))
                node = node.value
            assert isinstance(node, ast.Name)
            assert node.id == "args"
            found: Any = args
            for key in reversed(keys):
                found = found[key]
            return found
    raise AssertionError(message)


@given(values_with_a_bad_leaf())
def test_the_place_in_an_error_is_that_of_what_was_refused(case: tuple[object, object]) -> None:
    value, leaf = case
    with pytest.raises((TypeError, ValueError)) as caught:
        pack_args(None, value)
    assert evaluate_place(str(caught.value), [None, value]) is leaf


# The way back


def message_with(entries: object, value: object = None) -> dict[str, Any]:
    return {"type": "result", "id": 1, "value": value, "attachments": entries}


def entry(**fields: object) -> dict[str, object]:
    return {"path": ["value"], "type": "bytes", "size": 0, **fields}


def test_attachments_are_put_to_their_places_one_after_the_other() -> None:
    fields = {
        "args": [None, {"x": None}],
        "attachments": [
            entry(path=["args", 0], size=3),
            entry(path=["args", 1, "x"], type="int16", size=4),
        ],
    }
    frame = memoryview(b"xxxxx\0\0\0abc\0\0\0\0\0\x01\0\x02\0rest")
    assert restore(fields, "args", frame, 5) == 20
    assert same(fields["args"], [b"abc", {"x": np.array([1, 2], np.int16)}])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (message_with({}), "attachments must be an array of one or more"),
        (message_with([]), "attachments must be an array of one or more"),
        (message_with([1]), "an attachment's entry must be an object"),
        (message_with([entry(size=1)]), "an attachment of size 1 does not fit"),
        (message_with([entry(size=-1)]), "an attachment of size -1 does not fit"),
        (message_with([entry(size=0.0)]), "an attachment of size 0.0 does not fit"),
        (message_with([entry(size=False)]), "an attachment of size False does not fit"),
        (message_with([{}]), "an attachment of size None does not fit"),
        (message_with([entry(type="int12")]), "'int12' is not an attachment's type"),
        (message_with([entry(type=["bytes"])]), "['bytes'] is not an attachment's type"),
        (message_with([entry(shape=[0])]), "an attachment of type bytes has no shape"),
        (message_with([entry(type="int8", shape=0)]), "0 bytes are not a int8 array of shape 0"),
        (message_with([entry(type="int8", shape=[1])]), "0 bytes are not a int8 array of shape [1]"),
        (message_with([entry(type="int8", shape=[])]), "0 bytes are not a int8 array of shape []"),
        (message_with([entry(type="int8", shape=[-1, 0])]), "0 bytes are not a int8 array of shape [-1, 0]"),
        (message_with([entry(type="int8", shape=[False])]), "0 bytes are not a int8 array of shape [False]"),
        (message_with([entry(type="int8", shape=[0] * 33)]), "0 bytes are not a int8 array of shape [0, 0, "),
        (message_with([entry(type="int8", shape=[2**70, 0])]), "0 bytes are not a int8 array of shape [11805916"),
        (message_with([entry(path="value")]), "'value' is not an attachment's path"),
        (message_with([entry(path=[])]), "[] is not an attachment's path"),
        (message_with([entry(path=["id"])]), "['id'] is not an attachment's path"),
        (message_with([entry(path=["value", 0])]), "an attachment's path leads nowhere: ['value', 0]"),
        (message_with([entry(path=["value", 0])], {"0": None}), "an attachment's path leads nowhere"),
        (message_with([entry(path=["value", "x"])], {}), "an attachment's path leads nowhere"),
        (message_with([entry(path=["value", "0"])], [None]), "an attachment's path leads nowhere"),
        (message_with([entry(path=["value", 1])], [None]), "an attachment's path leads nowhere"),
        (message_with([entry(path=["value", -1])], [None]), "an attachment's path leads nowhere"),
        (message_with([entry(path=["value", True])], [None, None]), "an attachment's path leads nowhere"),
        (message_with([entry(path=["value", 0, 0])], ["text"]), "an attachment's path leads nowhere"),
        (message_with([entry()], 0), "there is no null at an attachment's place: ['value']"),
        (message_with([entry(), entry()]), "there is no null at an attachment's place: ['value']"),
    ],
)
def test_an_attachment_that_is_not_one_breaks_the_protocol(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        restore(fields, "value", memoryview(b""), 0)
    assert str(caught.value).startswith(message)


def test_padding_that_is_not_zero_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="an attachment of size 1 does not fit"):
        restore(message_with([entry(size=1)]), "value", memoryview(b"xxxxxxx\x01a"), 7)


def test_bytes_that_are_no_whole_number_of_elements_break_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="3 bytes are not a whole number of int16"):
        restore(message_with([entry(type="int16", size=3)]), "value", memoryview(b"abc"), 0)


def test_what_the_far_side_has_sent_is_shown_shortened() -> None:
    assert len(shorten([{"x": "y" * 1000}] * 1000)) < 1000
    assert shorten(nest(5000)) == "[[[[...]]]]"


# Without NumPy


@pytest.mark.usefixtures("no_numpy")
@pytest.mark.parametrize(("letter", "name"), FORMATS)
def test_without_numpy_a_typed_array_arrives_as_a_memoryview(letter: str, name: str) -> None:
    sent = Attachment(("value",), name, (1, 2), array.array(letter, [1, 2]).tobytes())
    arrived = travel_attached(sent)
    assert (arrived.format, arrived.shape, arrived.tolist()) == (letter, (1, 2), [[1, 2]])


@pytest.mark.usefixtures("no_numpy")
def test_without_numpy_a_typed_array_without_elements_arrives_as_an_empty_memoryview() -> None:
    arrived = travel_attached(Attachment(("value",), "float64", (2, 0), b""))
    assert (arrived.format, arrived.tolist()) == ("d", [])


@pytest.mark.usefixtures("no_numpy")
def test_without_numpy_a_typed_array_without_dimensions_arrives_as_a_memoryview_without_any() -> None:
    arrived = travel_attached(Attachment(("value",), "int32", (), b"\x05\0\0\0"))
    assert (arrived.shape, arrived.tolist()) == ((), 5)


@pytest.mark.usefixtures("no_numpy")
def test_without_numpy_a_memoryview_that_arrived_goes_back_as_it_came() -> None:
    sent = Attachment(("value",), "uint8", (3, 2), b"abcdef")
    assert pack_result(travel_attached(sent)).attachments == (sent,)


@pytest.mark.usefixtures("no_numpy")
def test_without_numpy_a_memoryview_can_be_written_to() -> None:
    arrived = travel_attached(Attachment(("value",), "int8", (2,), b"ab"))
    arrived[0] = 1
    assert arrived.tolist() == [1, 98]


@pytest.mark.usefixtures("no_numpy")
def test_without_numpy_a_value_of_an_unknown_type_is_refused_as_ever() -> None:
    with pytest.raises(TypeError, match=r"^args\[0\]\['x'\] is an object, which cannot be sent"):
        pack_args({"x": object()})


def travel_attached(attachment: Attachment) -> Any:
    packed = Packed("null", (attachment,))
    (message,) = decode_frame(encode_frame([encode(Result(1, packed))]))
    assert isinstance(message, Result)
    return message.value


def test_numpy_is_taken_where_it_is_installed() -> None:
    assert values._import_numpy() is np


def test_where_numpy_is_not_installed_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert values._import_numpy.__wrapped__() is None


# Depth of what arrives


@pytest.mark.parametrize("opening", ["[", '{"x":'])
def test_what_arrives_may_be_nested_as_deep_as_what_is_sent(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    deep = opening * MAX_DEPTH + "null" + closing * MAX_DEPTH
    (message,) = decode_frame(f'[{{"type":"echo","id":1,"channel":1,"args":[{deep}]}}]')
    assert isinstance(message, Echo)
    assert pack(message.args, field_name="args", shown_as="args").text == f"[{deep}]"


@pytest.mark.parametrize(
    "frame", ['[{"type":"echo","id":1,"channel":1,"args":[%s]}]', '[{"type":"result","id":1,"value":%s}]']
)
def test_what_arrives_nested_deeper_breaks_the_protocol(frame: str) -> None:
    with pytest.raises(ProtocolError, match="a value is nested deeper than 200 levels"):
        decode_frame(frame % ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)))


def test_a_wide_value_is_not_a_deep_one() -> None:
    frame = encode_frame([Encoded('{"type":"result","id":1,"value":[' + ",".join(["[{}]"] * 300) + "]}", (), 0)])
    (message,) = decode_frame(frame)
    assert isinstance(message, Result)
    assert message.value == [[{}]] * 300

"""What may travel as an argument or a result, how it is refused where JSON would change it, and the way back."""

import array
import ast
import ctypes
import datetime as dt
import decimal
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
from jchannel._protocol.values import (
    MAX_ATTACHMENTS,
    MAX_DEPTH,
    MAX_INTEGER,
    Attachment,
    Conversion,
    Packed,
    pack,
    restore,
    shorten,
    sizes_of,
    to_json,
)
from jchannel.errors import ProtocolError
from tests.protocol.strategies import ELEMENT_TYPES, json_values, same, texts, whole_numbers, write_as_javascript
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


class Unshown:
    def __repr__(self) -> str:
        raise RuntimeError


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


# What is of a subclass is converted once


class Hiding(dict[str, Any]):
    """A dict whose ``items`` leaves keys out, and whose other views do not."""

    def items(self) -> Any:
        return [(key, item) for key, item in super().items() if not key.startswith("_")]


class OnceOnly(dict[str, Any]):
    """A dict whose views can be read once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._items = iter(list(super().items()))
        self._values = iter(list(super().values()))

    def items(self) -> Any:
        return self._items

    def values(self) -> Any:
        return self._values

    def __iter__(self) -> Any:
        raise AssertionError("json does not ask for the keys")


class OtherItems(list[Any]):
    """A list that gives other items than it holds, and those once."""

    def __init__(self, held: Any, given: Any) -> None:
        super().__init__(held)
        self._given = iter(given)

    def __iter__(self) -> Any:
        return self._given

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("json reads a list by its iterator")


class OtherTuple(tuple[Any, ...]):
    __slots__ = ()

    def __iter__(self) -> Any:
        return iter([1, b"a"])


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "shown"

    def __repr__(self) -> str:
        raise RuntimeError

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class Number(int):
    def __int__(self) -> int:
        return 99

    def __index__(self) -> int:
        return 98

    def __repr__(self) -> str:
        return "many"

    def __le__(self, other: object) -> bool:
        raise AssertionError("it is converted first")

    __ge__ = __lt__ = __gt__ = __le__


class Fraction(float):
    def __float__(self) -> float:
        return math.nan

    def __repr__(self) -> str:
        return "half"


class Level(enum.IntEnum):
    HIGH = 2**60

    def __str__(self) -> str:
        return "high"


class Data(bytes):
    def __bytes__(self) -> bytes:
        return b"other"

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    "value",
    [
        Hiding(a=1, _b=2),
        Hiding(_b=math.nan, a=[1]),
        {"x": [Hiding(a=None, _b=object())]},
        Hiding(_only=1),
        OtherItems([1, 2], [3, [4]]),
        OtherItems([math.nan], []),
        OtherItems([1], (x for x in ["a", {"b": None}])),
        [Text("a"), {"b": Text("c")}, {Text("d"): [Text("e")]}],
        {Text("a"): 1},
        [Number(5), 1],
        {"x": Number(-3)},
        [Fraction(0.5), Fraction(1.0)],
        Level.HIGH,
        {Name.ANNA: {Name.ANNA: Colour.RED}},
    ],
)
def test_a_subclass_travels_as_json_makes_it(value: Any) -> None:
    text = json.dumps(value, separators=(",", ":"))
    if isinstance(value, OtherItems):
        assert text in ("[]", "[3,[4]]", '["a",{"b":null}]')
        value = OtherItems([1, 2, 3], json.loads(text))
    assert pack_result(value).text == text


def test_the_hidden_keys_of_a_dict_stay_hidden_beside_bytes() -> None:
    value = Hiding(a=b"x", _b=1, _c=b"y")
    assert same(travel(value), {"a": b"x"})
    assert same(travel([value]), [{"a": b"x"}])


@pytest.mark.parametrize(
    "given", [{}, {"a": 1}, {"a": 1, "b": "x"}, {"a": [1]}, {"a": b"x", "b": 1}, {"a": {"b": b"x"}, "c": 2.5}]
)
def test_a_dict_whose_views_can_be_read_once_travels(given: dict[str, Any]) -> None:
    assert same(travel(OnceOnly(given)), given)


@pytest.mark.parametrize("given", [[], [1, 2], [b"x", 1], [[b"x"], None], ["a", 2.5]])
def test_a_list_travels_as_what_its_iterator_gives(given: list[Any]) -> None:
    assert same(travel(OtherItems([0, 0, 0], given)), given)
    assert same(travel({"x": OtherItems([math.nan], iter(given))}), {"x": given})


def test_a_tuple_travels_as_what_its_iterator_gives() -> None:
    assert same(travel(OtherTuple([3])), [1, b"a"])


def test_keys_that_are_equal_as_text_travel_as_one_also_beside_bytes() -> None:
    assert same(travel({Text("a"): 1, Text("b"): b"x"}), {"a": 1, "b": b"x"})
    assert same(travel({Text("a"): b"x", Text("a"): b"y"}), {"a": b"y"})


def test_what_is_packed_consists_of_exact_types() -> None:
    value = Hiding(a=[Text("b"), Number(1), Fraction(0.5), OtherItems([], [Level.HIGH])])
    walk = values._Walk(["value"], MAX_DEPTH, "result")
    assert same(walk.convert(value), {"a": ["b", 1, 0.5, [2**60]]})


@pytest.mark.parametrize("value", [Data(b"ab"), type("Array", (bytearray,), {"__bytes__": lambda _: b"z"})(b"ab")])
def test_bytes_of_a_subclass_travel_as_their_buffer(value: object) -> None:
    (attachment,) = pack_result(value).attachments
    assert same(attachment, Attachment(("value",), "bytes", None, b"ab"))


def test_a_numpy_array_of_a_subclass_travels_as_the_array_that_it_is() -> None:
    def refuse(*_: object) -> bytes:
        raise AssertionError("it is converted first")

    odd: Any = type("Odd", (np.ndarray,), {"shape": (1, 1), "astype": refuse, "tobytes": refuse})
    plain = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert same(travel(plain.view(odd)), plain)


def pretend(kind: type) -> object:
    """An object that says it is of another class, as proxies do."""
    pretending: Any = type("Pretending", (), {"__class__": property(lambda _: kind)})
    return pretending()


@pytest.mark.parametrize("kind", [dict, list, str, int, float, bool, bytes, memoryview, np.ndarray, np.float64])
def test_an_object_that_only_says_that_it_is_of_a_type_is_refused_by_its_own(kind: type) -> None:
    with pytest.raises(
        TypeError, match=r"result\[0\] is a tests\.protocol\.test_values\.Pretending, which cannot be sent"
    ):
        pack_result([pretend(kind)])


@pytest.mark.parametrize("value", [{}.keys(), {}.values(), {}.items(), iter([]), iter(()), range(3)])
def test_views_and_iterators_are_refused_as_by_json(value: object) -> None:
    with pytest.raises(TypeError, match=r"which cannot be sent: send list\(value\), or convert each one with default="):
        pack_result(value)


def test_a_subclass_may_be_nested_as_deep_as_its_type() -> None:
    circle: Any = Hiding()
    circle["x"] = [circle]
    with pytest.raises(ValueError, match="or contains itself"):
        pack_result(circle)


def test_what_holds_itself_twice_is_refused_before_it_has_grown() -> None:
    value: list[Any] = []
    value += [value, value]
    with pytest.raises(ValueError, match="or contains itself"):
        pack_result(value)


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


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ((ctypes.c_int32 * 3)(1, 2, 3), "int32"),
        ((ctypes.c_uint8 * 2 * 3)(), "uint8"),
        ((ctypes.c_int8 * 2)(1, 2), "int8"),
        ((ctypes.c_uint16 * 2)(1, 2), "uint16"),
        ((ctypes.c_int64 * 2)(1, 2), "int64"),
        ((ctypes.c_ulonglong * 2)(1, 2), "uint64"),
        ((ctypes.c_float * 2)(1, 2), "float32"),
        ((ctypes.c_double * 2 * 3)(), "float64"),
        ((ctypes.c_double * 0)(), "float64"),
    ],
)
def test_a_ctypes_array_travels_as_a_typed_array(value: Any, name: str) -> None:
    view = memoryview(value)
    expected = (Attachment(("value",), name, view.shape, bytes(value)),)
    assert pack_result(value).attachments == expected
    assert pack_result(view).attachments == expected


def test_a_ctypes_array_of_unsigned_bytes_travels_as_bytes() -> None:
    assert same(travel((ctypes.c_ubyte * 2)(1, 2)), b"\1\2")


@pytest.mark.parametrize(("letter", "name"), [("n", "int"), ("N", "uint")])
def test_a_memoryview_of_sizes_travels_as_the_integers_that_they_are(letter: str, name: str) -> None:
    view = memoryview(bytes(16)).cast(letter)  # type: ignore[call-overload]
    assert pack_result(view).attachments[0].type == f"{name}{8 * view.itemsize}"


def test_a_memoryview_with_the_order_of_its_bytes_travels() -> None:
    assert same(travel(memoryview(np.array([1, 2], "<i2").data)), np.array([1, 2], np.int16))


def test_an_attachment_describes_itself_in_the_order_of_the_wire() -> None:
    with_shape = Attachment(("args", 0, "x"), "int16", (3,), bytes(6))
    assert to_json(with_shape.describe()) == '{"path":["args",0,"x"],"type":"int16","shape":[3],"size":6}'
    without_shape = Attachment(("value",), "bytes", None, b"")
    assert to_json(without_shape.describe()) == '{"path":["value"],"type":"bytes","size":0}'


# Numbers, which are doubles in JavaScript


def arrive(text: str) -> Any:
    """The value that arrives when the far side has written this JSON."""
    (message,) = decode_frame(f'[{{"type":"result","id":1,"value":{text}}}]')
    assert isinstance(message, Result)
    return message.value


@given(st.floats(allow_nan=False, allow_infinity=False) | whole_numbers.map(float))
def test_a_number_of_javascript_s_arrives_as_what_javascript_holds_and_goes_back(number: float) -> None:
    text = write_as_javascript(number)
    arrived = arrive(text)
    assert arrived == number
    assert type(arrived) is (int if text.lstrip("-").isdecimal() else float)
    assert float(pack_result(arrived).text) == number


@given(st.integers() | whole_numbers | st.integers(-(2**80), 2**80))
def test_an_int_travels_where_a_double_holds_it_and_is_refused_elsewhere(number: int) -> None:
    if int(float(number)) == number:
        assert travel(number) == number
    else:
        with pytest.raises(
            ValueError, match=rf"is {number}, beyond 2\*\*53: .* to {int(float(number))}; send it as a str"
        ):
            pack_result([number])


def test_an_int_from_1e21_on_arrives_as_a_float() -> None:
    assert same(travel([10**21, -(2**100), 10**21 - 2**17]), [1e21, -(2.0**100), 10**21 - 2**17])


@given(st.lists(json_values), whole_numbers)
def test_a_long_number_changes_nothing_beside_it(values: list[object], number: int) -> None:
    assert same(travel([*values, number, 2**60, values]), [*values, number, 2**60, values])


@pytest.mark.parametrize(
    "before", ["", "[", "[[", "[1,", '{"x":', "[ ", "[\n", "[\t\r", '["[1",', '[{"é":', '["\\ud800",']
)
def test_a_long_number_is_found_wherever_it_stands(before: str) -> None:
    closing = "".join(
        "]" if bracket == "[" else "}" for bracket in reversed(before.replace('"[1"', "")) if bracket in "[{"
    )
    for sign, number in [("", 2**60), ("-", -(2**60))]:
        arrived = arrive(f"{before}{sign}1152921504606847000{closing}")
        while isinstance(arrived, list | dict):
            arrived = arrived[-1] if isinstance(arrived, list) else next(iter(arrived.values()))
        assert arrived == number


@pytest.mark.parametrize("opening", ["", "-", "[", "[[[", "[" * 30, "[-", '{"x":-', "[ "])
def test_a_long_number_is_found_at_every_place_of_a_long_frame(opening: str) -> None:
    closing = "".join("]" if bracket == "[" else "}" for bracket in reversed(opening) if bracket in "[{")
    for filler in range(2**16 - 100, 2**16 + 10):
        arrived = arrive(f'["{"x" * filler}",{opening}1152921504606847000{closing}]')[1]
        while isinstance(arrived, list | dict):
            (arrived,) = arrived if isinstance(arrived, list) else arrived.values()
        assert abs(arrived) == 2**60


def test_a_long_number_arrives_beside_attachments() -> None:
    head = b'[{"type":"result","id":1,"value":[null,1152921504606847000],'
    head += b'"attachments":[{"path":["value",0],"type":"bytes","size":0}]}]'
    (message,) = decode_frame(len(head).to_bytes(4, "little") + head + bytes(-(4 + len(head)) % 8))
    assert isinstance(message, Result)
    assert message.value == [b"", 2**60]


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
        (
            2**60 + 1,
            ValueError,
            "result is 1152921504606846977, beyond 2**53: JavaScript would change it to 11529215046068",
        ),
        (np.uint64(2**63 + 1), ValueError, "result is 9223372036854775809, beyond 2**53"),
        ([10**5000], ValueError, "result[0] is an int of 16610 bits, beyond 2**53"),
        ([-(2**1024)], ValueError, "result[0] is an int of 1025 bits, beyond 2**53"),
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
        (
            memoryview(b"a").cast("?"),
            TypeError,
            "result is a buffer of format '?', which JavaScript has no typed array",
        ),
        ((ctypes.c_bool * 1)(), TypeError, "result is a buffer of format '<?', which JavaScript has no typed array"),
        (np.zeros(1, ">i4").data, TypeError, "result is a buffer of format '>i', which is big-endian: swap its"),
        (np.zeros(1, np.float16), TypeError, "result is a NumPy array of float16, which not every browser has a typed"),
        (np.zeros(1, np.float16).data, TypeError, "result is a buffer of format 'e', which not every browser"),
        ({(1, 2): 3}, TypeError, "result has the key (1, 2), which is a tuple: JSON has only str, so make it one"),
        ({10**5000: 3}, TypeError, "result has the key <int object at 0x"),
        ({b"k" * 100: 1}, TypeError, f"result has the key b'{'k' * 58}…, which is a bytes: JSON has only str"),
        ({Unshown(): 3}, TypeError, "result has the key <tests.protocol.test_values.Unshown object at "),
        (decimal.Decimal("1.5"), TypeError, "result is a decimal.Decimal, which cannot be sent: send str(value), or"),
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


# What the user's own function converts, and what becomes of NaN


def convert(value: object, **conversion: Any) -> Packed:
    return pack(value, field_name="value", shown_as="result", conversion=Conversion(**conversion))


def test_default_gives_what_is_sent_in_the_place_of_what_would_be_refused() -> None:
    refused: list[Any] = [{1}, np.zeros(1, "float16"), np.zeros(1, "float16").data, np.ma.masked_array([1])]
    given: list[Any] = []
    assert convert([*refused, {"a": 1j}], default=given.append) == Packed('[null,null,null,null,{"a":null}]')
    assert all(one is other for one, other in zip(given, [*refused, 1j], strict=True))


def test_default_is_not_asked_about_what_can_be_sent() -> None:
    def refuse(value: object) -> object:
        raise AssertionError(value)

    assert convert([1, "a", b"", Level.HIGH, np.float64(1)], default=refuse) == pack_result(
        [1, "a", b"", Level.HIGH, np.float64(1)]
    )


def test_what_default_gives_may_hold_what_it_is_asked_about_again() -> None:
    packed = convert({"a": (1, {2j})}, default=lambda value: [b"", *value] if isinstance(value, set) else str(value))
    assert packed.text == '{"a":[1,[null,"2j"]]}'
    assert [attachment.path for attachment in packed.attachments] == [("value", "a", 1, 0)]


def test_what_default_raises_says_of_which_value() -> None:
    def refuse(value: object) -> object:
        raise TypeError(f"no {value!r}")

    with pytest.raises(TypeError, match=r"^no 1j") as caught:
        convert([1j], default=refuse)
    assert caught.value.__notes__ == [
        "default= was called because result[0] is a complex, which cannot be sent: send [value.real, value.imag]"
    ]


def test_default_that_returns_the_same_object_refuses_it() -> None:
    with pytest.raises(TypeError, match=r"^result\['a'\] is a set, .*; default= has returned the same object$"):
        convert({"a": {1}}, default=lambda value: value)


def test_default_that_comes_to_no_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^result needs more of Python's stack than is left: "):
        convert(1j, default=lambda value: value + 1)
    with pytest.raises(
        ValueError,
        match=r"^result(\[0\]){12}\[…\] is nested deeper|^result needs more of Python's stack than is left: ",
    ):
        convert(1j, default=lambda value: [value])


def test_nan_and_the_infinities_are_null_where_it_is_asked_for() -> None:
    value = [1, math.nan, (math.inf, {"a": -math.inf}), np.float32(math.nan), Metre(math.nan)]
    assert convert(value, nan="null") == Packed('[1,null,[null,{"a":null}],null,null]')
    assert value[0] == 1
    assert convert([1.5, math.nan], nan="null") == Packed("[1.5,null]")
    assert convert(math.nan, nan="null") == Packed("null")


def test_nan_and_the_infinities_travel_as_they_are_where_it_is_asked_for() -> None:
    packed = convert([1.5, math.nan, {"a": np.float32(-math.inf)}], nan="keep")
    assert packed.text == '[1.5,null,{"a":null}]'
    (message,) = decode_frame(encode_frame([encode(Result(1, packed))]))
    assert isinstance(message, Result)
    assert same(message.value, [1.5, math.nan, {"a": -math.inf}])
    assert math.isinf(travel_attached(convert(math.inf, nan="keep").attachments[0]))


@pytest.mark.parametrize("fields", [{"size": 16}, {"size": 0}, {"size": 8, "shape": []}])
def test_a_number_of_another_size_or_with_a_shape_breaks_the_protocol(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="an attachment of type number has 8 bytes and no shape"):
        put(message_with([entry(type="number", **fields)]), "value", bytes(fields["size"]))


def test_a_number_that_is_too_large_is_refused_all_the_same() -> None:
    with pytest.raises(ValueError, match="beyond"):
        convert(10**400, nan="null")


@pytest.mark.parametrize(
    ("conversion", "kind", "message"),
    [
        (
            {"default": 5},
            TypeError,
            "default must be a function, and no async one, or None to refuse what cannot be sent, and not 5",
        ),
        ({"nan": "drop"}, ValueError, "nan must be 'refuse', 'null' or 'keep', and not 'drop'"),
        ({"nan": None}, ValueError, "nan must be 'refuse', 'null' or 'keep', and not None"),
    ],
)
def test_a_conversion_that_is_none_is_refused(conversion: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        Conversion(**conversion)
    assert str(caught.value) == message


def test_a_conversion_is_overridden_in_what_is_given() -> None:
    conversion = Conversion(str, "null")
    assert conversion.override(None, None) is conversion
    assert conversion.override(repr, None) == Conversion(repr, "null")
    assert conversion.override(None, "refuse") == Conversion(str)


async def wait() -> None:
    """Something to be awaited."""


def test_what_has_to_be_awaited_is_refused_with_that_advice() -> None:
    waiting = wait()
    with pytest.raises(TypeError, match="is a coroutine, which cannot be sent: await it first, and send what that"):
        pack_result(waiting)
    waiting.close()


# The way back


def message_with(entries: object, value: object = None) -> dict[str, Any]:
    return {"type": "result", "id": 1, "value": value, "attachments": entries}


def entry(**fields: object) -> dict[str, object]:
    return {"path": ["value"], "type": "bytes", "size": 0, **fields}


def put(fields: dict[str, Any], name: str, *attached: bytes) -> None:
    """Put attachments to their places, as a frame does."""
    assert sizes_of(fields["attachments"]) == [len(data) for data in attached]
    left = iter(attached)
    restore(fields, (name,), lambda size: memoryview(next(left))[:size])


def test_attachments_are_put_to_their_places_one_after_the_other() -> None:
    fields = {
        "args": [None, {"x": None}],
        "attachments": [
            entry(path=["args", 0], size=3),
            entry(path=["args", 1, "x"], type="int16", size=4),
        ],
    }
    put(fields, "args", b"abc", b"\x01\0\x02\0")
    assert same(fields["args"], [b"abc", {"x": np.array([1, 2], np.int16)}])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
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
        put(fields, "value", *(b"" for _ in fields["attachments"]))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "attachments must be an array of one or more"),
        ([], "attachments must be an array of one or more"),
        ([1], "an attachment's entry must be an object"),
        ([entry(size=-1)], "an attachment cannot have the size -1"),
        ([entry(size=0.0)], "an attachment cannot have the size 0.0"),
        ([entry(size=False)], "an attachment cannot have the size False"),
        ([{}], "an attachment cannot have the size None"),
    ],
)
def test_entries_without_sizes_break_the_protocol(entries: object, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        sizes_of(entries)
    assert str(caught.value).startswith(message)


def test_bytes_that_are_no_whole_number_of_elements_break_the_protocol() -> None:
    with pytest.raises(ProtocolError, match="3 bytes are not a whole number of int16"):
        put(message_with([entry(type="int16", size=3)]), "value", b"abc")


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


@pytest.mark.parametrize(
    "hidden",
    ['"]"', '"a]["', r'"\""', r'"\\"', '"]","["', '"[]"', '{"}":"{"}', '"ü]"'],
    ids=["a bracket", "brackets", "a quote", "a backslash", "two strings", "a pair", "a key", "beyond ASCII"],
)
def test_what_strings_hold_hides_no_depth(hidden: str) -> None:
    deep = f"[{hidden}," * MAX_DEPTH + "[]" + f",{hidden}]" * MAX_DEPTH
    with pytest.raises(ProtocolError, match="a value is nested deeper than 200 levels"):
        decode_frame(f'[{{"type":"result","id":1,"value":{deep}}}]')
    flat = ",".join([hidden] * 300)
    (message,) = decode_frame(f'[{{"type":"result","id":1,"value":[{flat}]}}]')
    assert isinstance(message, Result)
    assert message.value == json.loads(f"[{flat}]")


@pytest.mark.parametrize("depth", [1, 10, 40])
def test_many_values_are_nested_as_deep_as_one_of_them(depth: int) -> None:
    one = "[" * depth + "]" * depth
    many = ",".join([one] * 300)
    (message,) = decode_frame(f'[{{"type":"result","id":1,"value":[{many}]}}]')
    assert isinstance(message, Result)
    assert message.value == [json.loads(one)] * 300


def test_a_wide_value_is_not_a_deep_one() -> None:
    frame = encode_frame([Encoded('{"type":"result","id":1,"value":[' + ",".join(["[{}]"] * 300) + "]}", (), 0)])
    (message,) = decode_frame(frame)
    assert isinstance(message, Result)
    assert message.value == [[{}]] * 300


@pytest.mark.parametrize("extra", [0, 1])
def test_a_message_has_as_many_attachments_as_may_be_and_one_more_is_refused(extra: int) -> None:
    values = [b""] * (MAX_ATTACHMENTS + extra)
    if extra:
        with pytest.raises(ValueError, match=r"^args\[65536\] is one array or bytes too many: 65,536 are the most"):
            pack(values, field_name="args", shown_as="args")
    else:
        assert len(pack(values, field_name="args", shown_as="args").attachments) == MAX_ATTACHMENTS

"""Hypothesis strategies for values and messages, and a comparison that takes types and bytes into account."""

import dataclasses
import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from jchannel._protocol.messages import (
    ERROR_KINDS,
    GOODBYE_REASONS,
    MIN_FRAME_LIMIT,
    VALUE_FIELDS,
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
from jchannel._protocol.values import MAX_INTEGER, Conversion, pack

ELEMENT_TYPES = (
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
)

# Lone surrogates are among the texts that JavaScript has. A high one with a low one after it is a character.
texts = st.text() | st.sampled_from(["\ud800", "x\udfff", "\udc00\ud800"])

# The ints that arrive as ints: below 2**53 all, and from there to 1e21 those that are doubles.
whole_numbers = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(-1e21, 1e21, exclude_min=True, exclude_max=True).map(
    int
)

scalars = st.none() | st.booleans() | whole_numbers | st.floats(allow_nan=False, allow_infinity=False) | texts


@st.composite
def arrays(draw: st.DrawFn) -> "np.ndarray[Any, Any]":
    """NumPy arrays of up to three dimensions, with any bits in their elements."""
    dtype = np.dtype(draw(st.sampled_from(ELEMENT_TYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    size = math.prod(shape) * dtype.itemsize
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)


def _containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=4) | st.dictionaries(texts, items, max_size=4)


json_values = st.recursive(scalars, _containers, max_leaves=12)
values = st.recursive(scalars | st.binary(max_size=20) | arrays(), _containers, max_leaves=12)

_ids = st.integers(1, MAX_INTEGER - 1)
_args = st.lists(values, max_size=3)

_tickets = st.text("abcXYZ019-_", min_size=22, max_size=22)
_streams = st.builds(
    StreamInfo, _ids, st.none() | st.integers(0, MAX_INTEGER - 1), st.none() | st.binary(), st.none() | _tickets
)
_periods = st.floats(0, exclude_min=True, allow_infinity=False)
_times = st.integers(0) | st.floats(0, allow_infinity=False)

messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, st.text(min_size=1, max_size=64), st.none() | st.integers(MIN_FRAME_LIMIT, MAX_INTEGER - 1)),
    st.builds(
        Welcome,
        _periods,
        st.integers(MIN_FRAME_LIMIT, MAX_INTEGER - 1),
        _periods,
        st.lists(_ids, max_size=4).map(tuple),
        st.none() | st.integers(0, MAX_INTEGER - 1),
    ),
    st.builds(Goodbye, st.sampled_from(sorted(GOODBYE_REASONS)), texts),
    st.just(Beat()),
    st.builds(Open, _ids, _ids, texts),
    st.builds(Open, _ids, _ids, module=texts),
    st.builds(Close, _ids, _ids),
    st.builds(Echo, _ids, _ids, _args),
    st.builds(Call, _ids, _ids, texts, _args, st.none() | _streams, st.none() | _times, st.none() | _ids),
    st.builds(Pipe, _ids, _ids, _streams, st.none() | _times, st.none() | _ids),
    st.builds(Result, _ids, values, st.none() | _streams),
    st.builds(Error, _ids, st.sampled_from(sorted(ERROR_KINDS)), texts, texts, st.none() | texts),
    st.builds(Cancel, _ids),
    st.builds(Ticket, _ids, _tickets, st.none() | _ids),
    st.builds(Stop, _ids),
    st.builds(Broken, _ids, texts, texts),
    st.builds(Credit, _ids, _ids),
    st.builds(Piece, _ids, st.binary(min_size=1)),
    st.builds(End, _ids),
    st.builds(Ack, _ids),
)


def packed(message: Any) -> Any:
    """The message with its values packed, as it must be to be encoded."""
    name = VALUE_FIELDS.get(message.type, ("stream",))[0]
    if name in ("stream", "data"):
        return message
    value = pack(getattr(message, name), field_name=name, shown_as=name, conversion=Conversion(nan="keep"))
    return dataclasses.replace(message, **{name: value})


def write_as_javascript(number: float) -> str:
    """The text of ``JSON.stringify``, as ECMA-262 says (Number::toString)."""
    if number == 0:
        return "0"
    mantissa, _, power = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    # The number is 0.digits times 10 to the point.
    point = len(whole) + int(power or 0)
    digits = whole + fraction
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    sign = "-" if number < 0 else ""
    if len(digits) <= point <= 21:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if digits[1:] else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"


def same(left: object, right: object) -> bool:
    """Whether two values or messages are equal in their types, their element types, their shapes and their bytes."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if dataclasses.is_dataclass(left) and dataclasses.is_dataclass(right):
        return all(same(getattr(left, field.name), getattr(right, field.name)) for field in dataclasses.fields(left))
    both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
    return both_nan or left == right

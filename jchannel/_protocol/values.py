"""Encoding values as JSON with attachments, and decoding them.

A value is checked before anything is sent. One that JSON would change is rejected with an error that names its place.
Most values hold nothing but exact types of JSON's, and are looked through level by level, by loops in C. Only where
that is not sure of a value is it walked through, which finds the place of what cannot be sent, and copies what must be
replaced.

orjson encodes, as it takes a fourteenth of the time of ``json`` (1 MB of records: 1.0 ms and 14.4 ms). It sees exact
types only, and what it refuses (integers of more than 64 bits, lone surrogates) is left to ``json``.

What is of a subclass of a JSON type is converted first, once and as ``json`` does it: a dict by its ``items``, a list
by its iterator, a str or a number by its own data. After that the encoder sees nothing but exact types, in which no
code of a user's runs.
"""

from __future__ import annotations

import array
import functools
import importlib
import importlib.util
import json
import math
import re
import reprlib
import struct
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import orjson

from jchannel._guarded import is_async
from jchannel._protocol.advice import advise_on, advise_on_array, loaded
from jchannel.errors import ProtocolError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ALIGNMENT",
    "MAX_ATTACHMENTS",
    "MAX_DEPTH",
    "MAX_INTEGER",
    "PLAIN",
    "Attachment",
    "Conversion",
    "Default",
    "Nan",
    "Packed",
    "check_depth",
    "pack",
    "restore",
    "shorten",
    "sizes_of",
    "to_json",
]

#: The maximum nesting of lists and dicts in one argument or result.
MAX_DEPTH: Final = 200

#: Up to this magnitude every integer is a number of JavaScript's, a double. Beyond it only some are.
MAX_INTEGER: Final = 2**53

#: Returns JSON without white space, in which lone surrogates, which UTF-8 cannot encode, are as they are.
_dumps: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# JSON never changes values of these types.
_UNCHECKED_TYPES: Final = frozenset({str, bool, NoneType})
_SCALAR_TYPES: Final = _UNCHECKED_TYPES | {int, float}
_PLAIN_TYPES: Final = _SCALAR_TYPES | {list, tuple, dict}

# The element types of the protocol, their letters in Python's buffer formats and their sizes in bytes.
_FORMATS: Final = {
    "int8": ("b", 1),
    "uint8": ("B", 1),
    "int16": ("h", 2),
    "uint16": ("H", 2),
    "int32": ("i", 4),
    "uint32": ("I", 4),
    "int64": ("q", 8),
    "uint64": ("Q", 8),
    "float32": ("f", 4),
    "float64": ("d", 8),
}

# Letters that differ only in a size, which depends on the platform: C's long has 4 or 8 bytes.
_INTEGER_FORMATS: Final = (frozenset("bhilqn"), frozenset("BHILQN"))

# The orders of bytes that may stand before the letter and mean little-endian. ctypes always gives one.
_LITTLE_ENDIAN: Final = "@=<"

# A number that JSON has no form for, as the bytes of a double.
_NUMBER: Final = struct.Struct("<d")

_CONTAINER_TYPES: Final = (list, tuple, dict)
_KEY_TYPES: Final = frozenset({str})

# Why an array is refused. JavaScript's Float16Array is younger than the oldest browsers and Node that are supported.
_NO_ARRAY: Final = "which JavaScript has no typed array for"
_YOUNG_ARRAY: Final = "which not every browser has a typed array for"

# The types of keys that ``json`` would write as a str.
_CHANGED_KEY_TYPES: Final = (int, float, NoneType)

# What makes a value of exactly that type of one of a subclass, without any code of the subclass.
_CONVERSIONS: Final[tuple[tuple[type, Callable[[Any], object]], ...]] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
)

#: Attachments begin at multiples of this in their frame, so that JavaScript can view them in place.
ALIGNMENT: Final = 8

#: The maximum number of keys of a path in an error message.
_MAX_SHOWN_KEYS: Final = 12

#: The maximum number of bits of an integer in an error message.
_MAX_SHOWN_BITS: Final = 256

#: The maximum number of characters of a dict's key in an error message.
_MAX_SHOWN_KEY: Final = 60

#: The maximum number of attachments in one message, and in one frame. Each takes a few microseconds and 200 bytes.
MAX_ATTACHMENTS: Final = 65_536

#: The maximum number of dimensions of an array, as in NumPy 1.
_MAX_DIMENSIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Attachment:
    """Bytes that are sent beside the JSON.

    Attributes:
        path: The keys from the message to the attachment's place, beginning with ``"args"`` or ``"value"``.
        type: ``bytes``, ``number`` or the name of an element type, such as ``float32``.
        shape: The dimensions of an array, or ``None`` if there are none.
        data: The bytes, little-endian and contiguous.
    """

    path: tuple[str | int, ...]
    type: str
    shape: tuple[int, ...] | None
    data: bytes | memoryview

    def describe(self) -> dict[str, object]:
        """Return the entry of the attachment in its message."""
        entry: dict[str, object] = {"path": list(self.path), "type": self.type}
        if self.shape is not None:
            entry["shape"] = list(self.shape)
        entry["size"] = len(self.data)
        return entry


@dataclass(frozen=True, slots=True)
class Packed:
    """A value that has been checked and encoded. Later changes to the original do not affect it."""

    text: str
    attachments: tuple[Attachment, ...] = ()


#: Called with a value that cannot be sent as it is; returns what is sent in its place.
Default: TypeAlias = Callable[[Any], Any]

#: What becomes of NaN and the infinities where JSON would hold them: they are refused, a ``null`` each, or attachments.
Nan: TypeAlias = Literal["refuse", "null", "keep"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a channel does with values that JSON has no form for.

    Attributes:
        default: As ``Default``; ``None`` where such a value is refused.
        nan: As ``Nan``.

    Raises:
        TypeError: ``default`` cannot be called.
        ValueError: ``nan`` is none of its words.
    """

    default: Default | None = None
    nan: Nan = "refuse"

    def __post_init__(self) -> None:
        default: object = self.default  # Whatever the user has passed.
        if default is not None and (not callable(default) or is_async(default)):
            raise TypeError(
                "default must be a function, and no async one, or None to refuse what cannot be sent, and not "
                f"{self.default!r}"
            )
        if self.nan not in get_args(Nan):
            raise ValueError(f"nan must be 'refuse', 'null' or 'keep', and not {self.nan!r}")

    def override(self, default: Default | None, nan: Nan | None) -> Conversion:
        """Return a conversion that differs in what is not ``None``."""
        if default is None and nan is None:
            return self
        return Conversion(self.default if default is None else default, self.nan if nan is None else nan)


#: The conversion where the user has asked for none.
PLAIN: Final = Conversion()


def to_json(value: object) -> str:
    """Return JSON without white space. Lone surrogates, which UTF-8 cannot encode, are escaped."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = _dumps(value)
    if text.isascii():
        return text
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def pack(value: object, *, field_name: str, shown_as: str, conversion: Conversion = PLAIN) -> Packed:
    """Check a value and encode it.

    Args:
        value: The value.
        field_name: The field of the message that will hold the value: ``args`` or ``value``. The paths of attachments
            begin with it.
        shown_as: The name of the value in error messages: ``args`` or ``result``.
        conversion: What becomes of values that JSON has no form for.

    Raises:
        TypeError: The value contains something that JSON has no form for. The message names its place.
        ValueError: The value contains a number that JSON would change, or is nested too deep or circular.
        What the conversion's ``default`` raises.
    """
    max_depth = MAX_DEPTH + (field_name == "args")
    if _is_plain(value, max_depth):
        return Packed(to_json(value))
    walk = _Walk([field_name], max_depth, shown_as, conversion)
    try:
        plain = walk.convert(value)
    except RecursionError as error:
        raise ValueError(
            f"{shown_as} needs more of Python's stack than is left: it is nested deep, the calls round this one are, "
            "or default= comes to no end"
        ) from error
    return Packed(to_json(plain), tuple(walk.attachments))


@dataclass(slots=True)
class _Walk:
    """A walk through a value. ``path`` is its current place."""

    path: list[str | int]
    max_path: int
    shown_as: str
    conversion: Conversion = PLAIN
    attachments: list[Attachment] = field(default_factory=list)

    def convert(self, value: Any) -> Any:
        """Return the value in the form that ``json`` encodes: itself, or a copy if anything in it must be replaced."""
        kind = type(value)
        if kind in _UNCHECKED_TYPES:
            return value
        if kind is int:
            if -MAX_INTEGER <= value <= MAX_INTEGER:
                return value
            return self._check_large(value)
        if kind is float:
            return value if math.isfinite(value) else self._convert_nan(value)
        # The types decide, as for ``json``, and not ``isinstance``, which believes what an object says of itself.
        if issubclass(kind, _CONTAINER_TYPES):
            if len(self.path) > self.max_path:
                raise ValueError(f"{self._place()} is nested deeper than {MAX_DEPTH} levels, or contains itself")
            return self._convert_dict(value) if issubclass(kind, dict) else self._convert_list(value)
        return self._convert_other(value, kind)

    def _convert_nan(self, value: float) -> None:
        """Return what stands for NaN or an infinity, where it is allowed to."""
        if self.conversion.nan == "refuse":
            raise ValueError(
                f"{self._place()} is {value}, which JSON has no form for: send None or a str instead, or an array of "
                "floats; nan='null' makes a null of each, and nan='keep' lets them travel"
            )
        if self.conversion.nan == "keep":
            self._attach("number", None, _NUMBER.pack(value))

    def _check_large(self, value: int) -> int:
        """Return an int beyond ``MAX_INTEGER`` if it is a number of JavaScript's."""
        try:
            number: float = int(float(value))
        except OverflowError:
            number = math.inf
        if number == value:
            return value
        # Python refuses to write an int of very many digits.
        if value.bit_length() <= _MAX_SHOWN_BITS:
            shown = f"{value}, beyond 2**53: JavaScript would change it to {number}"
        else:
            shown = f"an int of {value.bit_length()} bits, beyond 2**53: JavaScript would change it"
        raise ValueError(f"{self._place()} is {shown}; send it as a str")

    def _convert_list(self, value: Sequence[Any]) -> Sequence[Any]:
        if type(value) is not list and type(value) is not tuple:
            value = list(value)
        if _is_flat(value):
            return value
        changed = self._convert_items(enumerate(value))
        if not changed:
            return value
        copy = list(value)
        for index, item in changed.items():
            copy[index] = item
        return copy

    def _convert_dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        if type(value) is not dict or not _KEY_TYPES.issuperset(map(type, value)):
            value = self._copy_dict(value)
        if _is_flat(value.values()):
            return value
        changed = self._convert_items(value.items())
        return {**value, **changed} if changed else value

    def _copy_dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        """Copy a dict whose type, or whose keys' types, may be subclasses."""
        copy = {}
        for key, item in value.items():
            if not issubclass(type(key), str):
                would_change = issubclass(type(key), _CHANGED_KEY_TYPES)
                reason = "JSON would make it a str" if would_change else "JSON has only str"
                shown = f"{_show_key(key)}, which is {_type_name(key)}"
                raise TypeError(f"{self._place()} has the key {shown}: {reason}, so make it one")
            copy[str.__str__(key)] = item
        return copy

    def _convert_items(self, items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
        """Convert the items of one container. Return those that have changed."""
        changed = {}
        for key, item in items:
            self.path.append(key)
            converted = self.convert(item)
            if converted is not item:
                changed[key] = converted
            self.path.pop()
        return changed

    def _convert_other(self, value: Any, kind: type) -> Any:
        """Convert a value that is not exactly of one of JSON's types."""
        if issubclass(kind, bytes | bytearray):
            return self._attach("bytes", None, value if kind is bytes else memoryview(value).tobytes())
        if issubclass(kind, (memoryview, array.array, loaded("ctypes", "Array"))):
            return self._attach_buffer(value)
        if issubclass(kind, loaded("numpy", "ndarray")):
            return self._attach_array(value)
        # A timedelta64 is a number for NumPy, but means nothing without its unit.
        if issubclass(kind, (loaded("numpy", "number"), loaded("numpy", "bool_"))) and not issubclass(
            kind, loaded("numpy", "timedelta64")
        ):
            value = value.item()
            kind = type(value)
        # By now the value may be of a JSON type, or of a subclass of one, such as an IntEnum.
        if kind is bool:
            return value
        for base, convert in _CONVERSIONS:
            if issubclass(kind, base):
                return self.convert(convert(value))
        return self._replace(value, f"{_type_name(value)}, which cannot be sent: {advise_on(value)}")

    def _replace(self, value: Any, problem: str) -> Any:
        """Return what the user's ``default`` gives for a value, converted; where there is none, refuse the value."""
        default = self.conversion.default
        if default is None:
            raise TypeError(f"{self._place()} is {problem}, or convert each one with default=")
        try:
            replacement = default(value)
        except Exception as error:
            error.add_note(f"default= was called because {self._place()} is {problem}")
            raise
        if replacement is value:
            raise TypeError(f"{self._place()} is {problem}; default= has returned the same object")
        return self.convert(replacement)

    def _attach_buffer(self, value: Any) -> Any:
        try:
            view = memoryview(value)
        except ValueError:
            raise ValueError(f"{self._place()} is a memoryview that has been released: its bytes are gone") from None
        shown = view.format
        letter = shown.lstrip(_LITTLE_ENDIAN)
        if letter == "B" and view.ndim == 1:
            return self._attach("bytes", None, view.tobytes())
        for name, (known, size) in _FORMATS.items():
            same_kind = letter == known or any({letter, known} <= group for group in _INTEGER_FORMATS)
            if same_kind and size == view.itemsize:
                return self._attach(name, view.shape, view.tobytes())
        if shown.startswith((">", "!")):
            reason = "which is big-endian: swap its bytes, or make it a NumPy array"
        else:
            reason = f"{_YOUNG_ARRAY if letter == 'e' else _NO_ARRAY}: send bytes(value)"
        return self._replace(value, f"a buffer of format {shown!r}, {reason}")

    def _attach_array(self, value: np.ndarray[Any, Any]) -> Any:
        if isinstance(value, loaded("numpy.ma", "MaskedArray")):
            return self._replace(value, "a masked array, whose mask would be lost: send value.filled()")
        plain = sys.modules["numpy"].asarray(value)
        name = plain.dtype.name
        if name not in _FORMATS:
            reason = _YOUNG_ARRAY if name == "float16" else _NO_ARRAY
            return self._replace(value, f"a NumPy array of {name}, {reason}: {advise_on_array(plain)}")
        little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        return self._attach(name, plain.shape, little.tobytes())

    def _attach(self, kind: str, shape: tuple[int, ...] | None, data: bytes) -> None:
        """Add an attachment. Its place in the JSON becomes None."""
        if shape is not None and len(shape) > _MAX_DIMENSIONS:
            raise ValueError(
                f"{self._place()} has {len(shape)} dimensions, and {_MAX_DIMENSIONS} are the most: reshape it"
            )
        if len(self.attachments) >= MAX_ATTACHMENTS:
            raise ValueError(
                f"{self._place()} is one array or bytes too many: {MAX_ATTACHMENTS:,} are the most in one message; "
                "send them as one array, or with several calls"
            )
        self.attachments.append(Attachment(tuple(self.path), kind, shape, data))

    def _place(self) -> str:
        """Return the current place as a Python expression. A long one is cut at its end."""
        keys = self.path[1:]
        shown = "".join(f"[{key!r}]" for key in keys[:_MAX_SHOWN_KEYS])
        return self.shown_as + shown + ("[…]" if len(keys) > _MAX_SHOWN_KEYS else "")


def _is_plain(value: Any, max_depth: int) -> bool:
    """Return whether a value can be encoded as it is; ``False`` if it is not sure.

    Args:
        value: The value.
        max_depth: How deep it may be nested.
    """
    # Most values are the arguments of a call: a tuple, which need not be looked at itself.
    is_tuple = type(value) is tuple
    level: Collection[Any] = value if is_tuple else (value,)
    for _ in range(max_depth + (not is_tuple)):
        kinds = set(map(type, level))
        if not kinds <= _PLAIN_TYPES or not _are_kept(level, kinds):
            return False
        if kinds <= _SCALAR_TYPES:
            return True
        # A container is looked into once a level, however many hold it: what contains itself does not grow.
        containers = {id(item): item for item in level if type(item) in _CONTAINER_TYPES}.values()
        dicts = [container for container in containers if type(container) is dict]
        if not _KEY_TYPES.issuperset(map(type, chain.from_iterable(dicts))):
            return False
        others = (container for container in containers if type(container) is not dict)
        level = [*chain.from_iterable(others), *chain.from_iterable(map(dict.values, dicts))]
    return False


def _is_flat(values: Collection[Any]) -> bool:
    """Return whether all of these are scalars that JSON would not change."""
    kinds = set(map(type, values))
    return kinds <= _SCALAR_TYPES and _are_kept(values, kinds)


def _are_kept(values: Collection[Any], kinds: set[type]) -> bool:
    """Return whether JSON keeps every number among values of the given types."""
    if float in kinds:
        floats = values if len(kinds) == 1 else [value for value in values if type(value) is float]
        if not all(map(math.isfinite, floats)):
            return False
    if int in kinds:
        numbers = values if len(kinds) == 1 else [value for value in values if type(value) is int]
        return bool(min(numbers) >= -MAX_INTEGER and max(numbers) <= MAX_INTEGER)
    return True


def shorten(value: object) -> str:
    """Return the repr of a value from the far side, cut so that it is never long."""
    text = _SHORT_REPR.repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


#: What is nested has a long repr of short ones. So much, and a sentence round it, fits into the smallest frame.
_MAX_SHOWN: Final = 200
_SHORT_REPR: Final = reprlib.Repr()
_SHORT_REPR.maxlevel = 3
_SHORT_REPR.maxstring = _SHORT_REPR.maxlong = _SHORT_REPR.maxother = 60


def _show_key(key: object) -> str:
    """Return the repr of a dict's key, cut if it is long. One that fails is that of any object."""
    try:
        text = repr(key)
    except Exception:  # noqa: BLE001 # It is a user's.
        text = object.__repr__(key)
    return text if len(text) <= _MAX_SHOWN_KEY else f"{text[:_MAX_SHOWN_KEY]}…"


def _type_name(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def sizes_of(attachments: object) -> list[int]:
    """Return the sizes of a message's attachments.

    Args:
        attachments: The message's unchecked field ``attachments``.

    Raises:
        ProtocolError: It is no list of entries, or one of them has no size.
    """
    if not isinstance(attachments, list) or not attachments:
        raise ProtocolError("attachments must be an array of one or more objects")
    sizes = []
    for entry in attachments:
        if not isinstance(entry, dict):
            raise ProtocolError("an attachment's entry must be an object")
        size = entry.get("size")
        if type(size) is not int or size < 0:
            raise ProtocolError(f"an attachment cannot have the size {shorten(size)}")
        sizes.append(size)
    return sizes


def restore(message: dict[str, Any], field_names: Collection[str], take: Callable[[int], bytes | memoryview]) -> None:
    """Put the attachments of a message into their places.

    Args:
        message: The message decoded from JSON, whose attachments have sizes. It is modified in place.
        field_names: The fields that may hold attachments.
        take: Returns the bytes of the next attachment, given how many they are.

    Raises:
        ProtocolError: An entry is invalid. What ``take`` raises.
    """
    for entry in message["attachments"]:
        _set_at(message, field_names, entry.get("path"), _decode(entry, take(entry["size"])))


def check_depth(values: object) -> None:
    """Reject received values that are nested too deep to be sent back.

    Raises:
        ProtocolError: A value is nested deeper than ``MAX_DEPTH``.
    """
    level: list[Any] = [values] if isinstance(values, list) else []
    for _ in range(MAX_DEPTH + 1):
        items = chain.from_iterable(item.values() if type(item) is dict else item for item in level)
        level = [item for item in items if type(item) in _CONTAINER_TYPES]
        if not level:
            return
    raise ProtocolError(f"a value is nested deeper than {MAX_DEPTH} levels")


def _set_at(message: dict[str, Any], field_names: Collection[str], path: object, value: object) -> None:
    """Put a value into its place, which must be a null."""
    if not isinstance(path, list) or not path or path[0] not in field_names:
        raise ProtocolError(f"{shorten(path)} is not an attachment's path")
    container: Any = message
    for position, key in enumerate(path):
        if isinstance(container, dict):
            found = isinstance(key, str) and key in container
        else:
            found = isinstance(container, list) and type(key) is int and 0 <= key < len(container)
        if not found:
            raise ProtocolError(f"an attachment's path leads nowhere: {shorten(path)}")
        if position < len(path) - 1:
            container = container[key]
    if container[path[-1]] is not None:
        raise ProtocolError(f"there is no null at an attachment's place: {shorten(path)}")
    container[path[-1]] = value


def _decode(entry: dict[str, Any], data: bytes | memoryview) -> object:
    """Return the value of an attachment: bytes, a number, a NumPy array, or a memoryview where there is no NumPy."""
    kind = entry.get("type")
    if kind == "bytes":
        if "shape" in entry:
            raise ProtocolError("an attachment of type bytes has no shape")
        return bytes(data)
    if kind == "number":
        if "shape" in entry or len(data) != _NUMBER.size:
            raise ProtocolError("an attachment of type number has 8 bytes and no shape")
        return _NUMBER.unpack(data)[0]
    if not isinstance(kind, str) or kind not in _FORMATS:
        raise ProtocolError(f"{shorten(kind)} is not an attachment's type")
    letter, size = _FORMATS[kind]
    if len(data) % size:
        raise ProtocolError(f"{len(data)} bytes are not a whole number of {kind}")
    shape: Any = entry["shape"] if "shape" in entry else [len(data) // size]
    valid = isinstance(shape, list) and all(type(length) is int and length >= 0 for length in shape)
    # NumPy multiplies the lengths beside a zero, too, so an empty array must have lengths that a full one could have.
    valid = valid and len(shape) <= _MAX_DIMENSIONS and math.prod(length or 1 for length in shape) * size <= MAX_INTEGER
    if not valid or math.prod(shape) * size != len(data):
        raise ProtocolError(f"{len(data)} bytes are not a {kind} array of shape {shorten(shape)}")
    numpy = _import_numpy()
    if numpy is not None:
        # A copy, because what arrives is read-only, and a view of a frame would keep its other messages alive.
        return numpy.frombuffer(data, numpy.dtype(kind).newbyteorder("<")).astype(kind).reshape(shape)
    flat: Any = memoryview(bytearray(data))
    return flat.cast(letter, shape) if data else flat.cast(letter)


@functools.cache
def _import_numpy() -> Any:
    """Return NumPy, or None if it is not installed. The first array that arrives imports it.

    It would not do to use it only where something has imported it already: what arrives must not depend on that.
    """
    return importlib.import_module("numpy") if importlib.util.find_spec("numpy") else None

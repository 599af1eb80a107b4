"""Translating the annotations of Python into types of TypeScript: what the page sees of a value that travels.

The tables are those of the values in ``docs/protocol.md``. What has no type, or a type whose values do not travel, is
``unknown``, and there is a remark that says so.
"""

from __future__ import annotations

import array
import collections.abc
import dataclasses
import enum
import io
import json
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jchannel._guarded import text_of
from jchannel._streams.reader import MetaGenerator

__all__ = ["STREAM", "UNKNOWN", "Declaration", "Position", "Translator", "resolve", "write_name"]

UNKNOWN: Final = "unknown"

#: The type of a stream, as the page sees it.
STREAM: Final = "MetaGenerator"

_NULL: Final = "null"

#: What arrives as bytes in Python.
_BYTES_ARGUMENT: Final = "Uint8Array | ArrayBuffer | DataView"

#: What is of JSON's types, and buffers, by their classes, and by the names of those that are not imported for this.
_SIMPLE: Final[tuple[tuple[tuple[type, ...], tuple[str, ...], str], ...]] = (
    ((bool,), ("numpy.bool", "numpy.bool_"), "boolean"),
    ((int, float), ("numpy.integer", "numpy.floating"), "number"),
    ((str,), (), "string"),
    ((memoryview, array.array), (), "ArrayBufferView"),
)

#: The typed arrays, by the element types of NumPy.
_ARRAYS: Final = {
    "int8": "Int8Array",
    "uint8": "Uint8Array",
    "int16": "Int16Array",
    "uint16": "Uint16Array",
    "int32": "Int32Array",
    "uint32": "Uint32Array",
    "int64": "BigInt64Array",
    "uint64": "BigUint64Array",
    "float32": "Float32Array",
    "float64": "Float64Array",
}

_SEQUENCES: Final = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Collection)
_MAPPINGS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_AWAITABLES: Final = (collections.abc.Awaitable, collections.abc.Coroutine)
_QUALIFIERS: Final = (typing.Annotated, typing.Required, typing.NotRequired, typing.Final, typing.ClassVar)

#: What is known without looking into it.
_KNOWN: Final[tuple[tuple[object, str], ...]] = (
    (Any, UNKNOWN),
    (object, UNKNOWN),
    (None, _NULL),
    (types.NoneType, _NULL),
    (typing.Never, "never"),
    (typing.NoReturn, "never"),
)

#: What a method returns that answers with a stream. Iterators do where methods run in threads.
_STREAMS: Final = (
    collections.abc.AsyncIterable,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.Iterator,
    collections.abc.Generator,
)
_STREAM_CLASSES: Final = (MetaGenerator, Path, io.IOBase, typing.IO)

#: Streams of classes that are not imported for this.
_FOREIGN_STREAMS: Final = ("jchannel._streams.blocking.ByteStream", "trio.abc.ReceiveStream")

_IDENTIFIER: Final = re.compile(r"[^\W\d]\w*")


class Position(enum.Enum):
    """Where a value stands."""

    FIRST_ARGUMENT = enum.auto()
    ARGUMENT = enum.auto()
    IN_ARGUMENT = enum.auto()
    RESULT = enum.auto()
    IN_RESULT = enum.auto()

    @property
    def inside(self) -> Position:
        """The position of what is inside of the value."""
        return Position.IN_RESULT if self in (Position.RESULT, Position.IN_RESULT) else Position.IN_ARGUMENT

    @property
    def to_python(self) -> bool:
        """Whether the value travels to Python."""
        return self not in (Position.RESULT, Position.IN_RESULT)

    @property
    def may_be_stream(self) -> bool:
        """Whether a stream may stand here."""
        return self in (Position.FIRST_ARGUMENT, Position.RESULT)


@dataclasses.dataclass(slots=True)
class Declaration:
    """A type with a name.

    Attributes:
        name: Its name.
        doc: The docstring of the Python class; empty where it has none.
        text: What stands behind ``export``, or ``None`` as long as it is being written.
    """

    name: str
    doc: str = ""
    text: str | None = None


def resolve(annotation: object, names: Mapping[str, object], local_names: Mapping[str, object]) -> Any:
    """Return what an annotation means that may be text, or have text in it.

    Raises:
        Exception: A name in it is not known, as where it is imported for the type checker only.
    """
    holder = types.FunctionType(_holder.__code__, dict(names))
    holder.__annotations__ = {"it": annotation}
    return typing.get_type_hints(holder, dict(names), dict(local_names), include_extras=True)["it"]


def _holder() -> None: ...


def write_name(name: str) -> str:
    """Return the name of a property as TypeScript writes it."""
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def _union(parts: Sequence[str]) -> str:
    """Return a union of types, each of them once."""
    unique = dict.fromkeys(parts)
    return UNKNOWN if UNKNOWN in unique else " | ".join(unique)


def _array_of(item: str, position: Position) -> str:
    shown = f"({item})" if " " in item else item
    return f"readonly {shown}[]" if position.to_python else f"{shown}[]"


class Translator:
    """Translates annotations.

    Args:
        taken: Names that no declaration may have.

    Attributes:
        declarations: The types with names that were met, in their order.
        remarks: What a reader should know, one sentence each.
        uses_streams: Whether a stream was met.
    """

    def __init__(self, *taken: str) -> None:
        self.declarations: list[Declaration] = []
        self.remarks: list[str] = []
        self.uses_streams = False
        self._taken = {*taken, STREAM}
        self._named: dict[object, Declaration] = {}
        self._place = ""

    def translate(self, annotation: object, position: Position, place: str) -> str:
        """Return the type of a value, whose annotation has been resolved.

        Args:
            annotation: The annotation.
            position: Where the value stands.
            place: What it is, for remarks.
        """
        before, self._place = self._place, place
        try:
            return self._translate(annotation, position)
        finally:
            self._place = before

    def remark(self, text: str, place: str | None = None) -> str:
        """Add a remark about a place, and return the type of what is not known."""
        remark = f"{self._place if place is None else place} {text}"
        if remark not in self.remarks:
            self.remarks.append(remark)
        return UNKNOWN

    def stream(self) -> str:
        """Return the type of a stream."""
        self.uses_streams = True
        return STREAM

    def _translate(self, annotation: Any, position: Position) -> str:
        for known, text in _KNOWN:
            if annotation is known:
                return text
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (typing.Union, types.UnionType):
            return _union([self._translate(one, position) for one in arguments])
        if origin is typing.Literal:
            return _union([self._write_literal(value) for value in arguments])
        if origin in _QUALIFIERS:
            return self._translate(arguments[0], position)
        cls = annotation if origin is None else origin
        if isinstance(cls, type):
            return self._translate_class(cls, arguments, position)
        return self._translate_variable(annotation, position)

    def _translate_variable(self, variable: Any, position: Position) -> str:
        """Return the type of what stands for another type."""
        if isinstance(variable, typing.NewType):
            return self._translate(variable.__supertype__, position)
        if isinstance(variable, typing.TypeVar):
            bounds = variable.__constraints__ or (Any if variable.__bound__ is None else variable.__bound__,)
            return _union([self._translate(one, position) for one in bounds])
        if hasattr(variable, "__value__"):  # The statement `type`, from Python 3.12 on.
            return self._name(variable, variable.__name__, self._write_alias)
        return self.remark(f"is {variable}, which is not known here: it is {UNKNOWN}")

    def _translate_class(self, cls: type, arguments: tuple[Any, ...], position: Position) -> str:
        simple = _find_simple(cls, position)
        if simple is not None:
            return simple
        for applies, translate in (
            (_is_awaitable, self._translate_awaited),
            (_is_stream, self._translate_stream),
            (_is_enum, self._translate_enum),
            (typing.is_typeddict, self._translate_typed_dict),
            (dataclasses.is_dataclass, self._translate_dataclass),
            (_is_tuple, self._translate_tuple),
            (_is_sequence, self._translate_sequence),
            (_is_mapping, self._translate_mapping),
            (_is_array, self._translate_array),
        ):
            if applies(cls):
                return translate(cls, arguments, position)
        return self.remark(f"is a {cls.__qualname__}, which does not travel: it is {UNKNOWN}")

    def _translate_awaited(self, _cls: type, arguments: tuple[Any, ...], position: Position) -> str:
        return self._translate(arguments[-1] if arguments else Any, position)

    def _translate_stream(self, cls: type, _arguments: tuple[Any, ...], position: Position) -> str:
        if position is Position.FIRST_ARGUMENT and issubclass(cls, Path | io.IOBase):
            return self.remark(f"is a {cls.__qualname__}, and receives none: a stream arrives as a {STREAM}")
        if not position.may_be_stream:
            text = "is a stream, which can be the first argument of a method, or its result"
            return self.remark(f"{text}: it is {UNKNOWN}")
        return self.stream()

    def _translate_tuple(self, cls: type, arguments: tuple[Any, ...], position: Position) -> str:
        if hasattr(cls, "_fields"):
            hints = self._find_hints(cls)
            items = [f"{name}: {self._translate(hints.get(name, Any), position.inside)}" for name in cls._fields]
        elif len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004 (as typing writes it)
            return _array_of(self._translate(arguments[0], position.inside), position)
        elif not arguments and cls is tuple:
            return _array_of(UNKNOWN, position)
        else:
            items = [self._translate(one, position.inside) for one in arguments]
        return f"{'readonly ' if position.to_python else ''}[{', '.join(items)}]"

    def _translate_sequence(self, _cls: type, arguments: tuple[Any, ...], position: Position) -> str:
        return _array_of(self._translate(arguments[0] if arguments else Any, position.inside), position)

    def _translate_mapping(self, _cls: type, arguments: tuple[Any, ...], position: Position) -> str:
        key, value = arguments if len(arguments) == 2 else (str, Any)  # noqa: PLR2004 (a key and a value)
        name = self._translate(key, position.inside)
        if name in ("number", "boolean"):
            self.remark("has keys that are no str, and JSON has no others")
            name = "string"
        item = self._translate(value, position.inside)
        # What a Literal or an Enum names may be missing in a dict of Python's.
        record = f"Record<{name}, {item}>" if name == "string" else f"Partial<Record<{name}, {item}>>"
        return f"Readonly<{record}>" if position.to_python else record

    def _translate_array(self, _cls: type, arguments: tuple[Any, ...], position: Position) -> str:
        kinds = typing.get_args(arguments[1]) if len(arguments) == 2 else ()  # noqa: PLR2004 (a shape and a dtype)
        names = _find_elements(kinds[0] if kinds else None)
        if not names:
            text = f"is an array of {kinds[0].__name__}, which JavaScript has no typed array for"
            return self.remark(f"{text}: it is {UNKNOWN}")
        types_of_arrays = " | ".join(_ARRAYS[name] for name in names)
        if position.to_python:
            return types_of_arrays
        shown = f"({types_of_arrays})" if len(names) > 1 else types_of_arrays
        return f"{shown} & {{ shape: number[] }}"

    def _translate_enum(self, cls: Any, _arguments: tuple[Any, ...], _position: Position) -> str:
        if issubclass(cls, str | int | float):
            return _union([self._write_literal(member.value) for member in cls]) or "never"
        return self.remark(
            f"is a {cls.__qualname__}, an Enum that does not travel: send its value, or make it a StrEnum or an IntEnum"
        )

    def _translate_dataclass(self, cls: type, _arguments: tuple[Any, ...], position: Position) -> str:
        if position.to_python:
            self.remark(f"is a {cls.__qualname__}, and receives a dict with its fields")
        else:
            text = "a dataclass, which does not travel by itself: return dataclasses.asdict() of it"
            self.remark(f"is a {cls.__qualname__}, {text}")
        return self._name(cls, cls.__name__, self._write_dataclass)

    def _translate_typed_dict(self, cls: type, _arguments: tuple[Any, ...], _position: Position) -> str:
        return self._name(cls, cls.__name__, self._write_typed_dict)

    def _write_literal(self, value: object) -> str:
        if isinstance(value, enum.Enum):
            if not isinstance(value, str | int):
                return self._translate_enum(type(value), (), Position.IN_RESULT)
            return self._write_literal(value.value)
        if isinstance(value, bytes):
            return "Uint8Array"
        return json.dumps(value, ensure_ascii=False)

    # Types with names

    def _name(self, key: object, name: str, write: Callable[[Declaration, Any], str]) -> str:
        """Return the name of a type that is declared once, and declare it where it is new."""
        declaration = self._named.get(key)
        if declaration is None:
            free, number = name, 2
            while free in self._taken:
                free, number = f"{name}{number}", number + 1
            self._taken.add(free)
            declaration = self._named[key] = Declaration(free)
            self.declarations.append(declaration)
            declaration.text = write(declaration, key)
        return declaration.name

    def _write_alias(self, declaration: Declaration, alias: Any) -> str:
        return f"type {declaration.name} = {self.translate(alias.__value__, Position.IN_RESULT, alias.__name__)};"

    def _write_typed_dict(self, declaration: Declaration, cls: Any) -> str:
        members = []
        for name, hint in self._find_hints(cls).items():
            required = name in cls.__required_keys__
            origin = typing.get_origin(hint)
            if origin in (typing.Required, typing.NotRequired):  # Python 3.11 does not see it in text.
                required = origin is typing.Required
            members.append((name, hint, required))
        return self._write_interface(declaration, cls, members)

    def _write_dataclass(self, declaration: Declaration, cls: Any) -> str:
        hints = self._find_hints(cls)
        members = [(field.name, hints.get(field.name, Any), True) for field in dataclasses.fields(cls)]
        return self._write_interface(declaration, cls, members)

    def _write_interface(self, declaration: Declaration, cls: type, members: list[tuple[str, Any, bool]]) -> str:
        doc = cls.__dict__.get("__doc__") or ""
        # That of a dataclass is written by Python where there is none.
        declaration.doc = "" if doc.startswith(f"{cls.__name__}(") else doc
        lines = [f"interface {declaration.name} {{"]
        for name, hint, required in members:
            text = self.translate(hint, Position.IN_RESULT, f"{cls.__qualname__}.{name}")
            lines.append(f"  {write_name(name)}{'' if required else '?'}: {text};")
        return "\n".join([*lines, "}"])

    def _find_hints(self, cls: type) -> dict[str, Any]:
        try:
            return typing.get_type_hints(cls, include_extras=True)
        except Exception as error:  # noqa: BLE001 (an annotation may be any expression)
            self.remark(f"has annotations that cannot be resolved: {text_of(error)}", cls.__qualname__)
            return dict.fromkeys(cls.__annotations__, Any)


def _find_simple(cls: type, position: Position) -> str | None:
    """Return the type of what JSON has, or of bytes; ``None`` for all else."""
    # A timedelta64 is an integer for NumPy, and means nothing without its unit.
    if issubclass(cls, enum.Enum) or _is_named(cls, "numpy.timedelta64"):
        return None
    if issubclass(cls, bytes | bytearray):
        return _BYTES_ARGUMENT if position.to_python else "Uint8Array"
    for classes, foreign, text in _SIMPLE:
        if issubclass(cls, classes) or _is_named(cls, *foreign):
            return text
    return None


def _is_named(cls: type, *names: str) -> bool:
    """Return whether a class is one of these, or of a subclass, without importing them."""
    return any(f"{base.__module__}.{base.__qualname__}" in names for base in cls.__mro__)


def _find_elements(kind: Any) -> list[str]:
    """Return the element types that an array may have whose annotation says this."""
    kind = typing.get_origin(kind) or kind
    if not isinstance(kind, type) or kind is Any:
        return list(_ARRAYS)
    numpy = sys.modules["numpy"]
    return [name for name in _ARRAYS if issubclass(getattr(numpy, name), kind)]


def _is_awaitable(cls: type) -> bool:
    return cls in _AWAITABLES or _is_named(cls, "_asyncio.Future", "asyncio.futures.Future")


def _is_stream(cls: type) -> bool:
    return cls in _STREAMS or issubclass(cls, _STREAM_CLASSES) or _is_named(cls, *_FOREIGN_STREAMS)


def _is_sequence(cls: type) -> bool:
    return cls in _SEQUENCES or issubclass(cls, list)


def _is_mapping(cls: type) -> bool:
    return cls in _MAPPINGS or issubclass(cls, dict)


def _is_tuple(cls: type) -> bool:
    return issubclass(cls, tuple)


def _is_enum(cls: type) -> bool:
    return issubclass(cls, enum.Enum)


def _is_array(cls: type) -> bool:
    return _is_named(cls, "numpy.ndarray")

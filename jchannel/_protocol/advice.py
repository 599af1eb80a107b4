"""What to send in the place of a value whose type cannot be sent: one line of Python for each type that people have.

Packages are recognised where the program has imported them, and never imported. The lines are run by
``tests/test_advice.py``.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

__all__ = ["advise_on", "advise_on_array", "loaded"]

# A class by its module and its name, and what is sent in the place of its instances. The first one that fits counts.
_BY_CLASS: Final = (
    ("enum", "Enum", "value.value"),
    ("pandas", "DataFrame", 'value.to_dict("records")'),
    ("pandas", "Series", "value.tolist()"),
    ("pandas", "Index", "value.tolist()"),
    ("pandas.api.extensions", "ExtensionArray", "value.tolist()"),
    ("polars", "DataFrame", "value.to_dicts()"),
    ("polars", "LazyFrame", "value.collect().to_dicts()"),
    ("polars", "Series", "value.to_list()"),
    ("numpy", "datetime64", "str(value)"),
    ("numpy", "timedelta64", 'value.astype("timedelta64[ms]").astype("float64")'),
    ("numpy", "clongdouble", "[float(value.real), float(value.imag)]"),
    ("numpy", "longdouble", "float(value)"),
    ("datetime", "date", "value.isoformat()"),
    ("datetime", "time", "value.isoformat()"),
    ("datetime", "timedelta", "value.total_seconds()"),
    ("decimal", "Decimal", "str(value)"),
    ("fractions", "Fraction", "float(value)"),
    ("builtins", "complex", "[value.real, value.imag]"),
    ("pathlib", "PurePath", "str(value)"),
    ("io", "IOBase", "it as a stream, with call_with_stream"),
    ("uuid", "UUID", "str(value)"),
    ("pydantic", "BaseModel", 'value.model_dump(mode="json")'),
)

# What some packages have in the place of a value that is missing.
_MISSING: Final = (("pandas", "NaT"), ("pandas", "NA"))

# An attribute of the classes that a decorator has made, and what is sent in the place of their instances.
_BY_MARK: Final = (("__dataclass_fields__", "dataclasses.asdict(value)"), ("__attrs_attrs__", "attrs.asdict(value)"))

# Last, what an object can do.
_BY_KIND: Final = (
    (Mapping, "dict(value)"),
    (AsyncIterable, "it as a stream, with call_with_stream"),
    (Iterable, "list(value)"),
)

# The kind of an array's elements as NumPy has it, and what is sent in the place of an array of them.
_BY_ELEMENTS: Final = {
    "b": 'value.astype("uint8")',
    "c": "[value.real, value.imag]",
    "M": 'value.astype("datetime64[ms]").astype("float64")',
    "m": 'value.astype("timedelta64[ms]").astype("float64")',
}

#: The sizes of floats that have a typed array of their own, or the next larger one.
_LARGEST_FLOAT: Final = 8


def advise_on(value: object) -> str:
    """Return what can be sent in the place of a value, as the end of a sentence. No code of the value's own runs."""
    kind = type(value)
    if any(value is loaded(module, name) for module, name in _MISSING):
        return "send None"
    for module, name, line in _BY_CLASS:
        if issubclass(kind, loaded(module, name)):
            return f"send {line}"
    for mark, line in _BY_MARK:
        if any(mark in vars(base) for base in kind.__mro__):
            return f"send {line}"
    if issubclass(kind, Awaitable):
        return "await it first, and send what that gives"
    for base, line in _BY_KIND:
        if issubclass(kind, base):
            return f"send {line}"
    return "send what it holds, as JSON's types, bytes and arrays"


def advise_on_array(array: np.ndarray[Any, Any]) -> str:
    """Return what can be sent in the place of a NumPy array, as the end of a sentence."""
    kind = array.dtype.kind
    if kind == "f":
        return f'send value.astype("{"float32" if array.dtype.itemsize < _LARGEST_FLOAT else "float64"}")'
    return f"send {_BY_ELEMENTS.get(kind, 'value.tolist()')}"


def loaded(module: str, name: str) -> Any:
    """Return a class of a module that may not be imported; where it is not, no type at all."""
    return getattr(sys.modules.get(module), name, ())

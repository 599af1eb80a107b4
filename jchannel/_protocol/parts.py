"""The parts in which a stream of the server is fetched through a proxy: a head and data.

The head has the length of the part and says what follows, so that a part that a proxy has truncated or replaced is
detected. It stands before the data: a mark behind it could occur in the data itself, and wherever a proxy truncates,
too few bytes are there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final

from jchannel.errors import ProtocolError

__all__ = ["Part", "PartMark", "decode_part", "encode_part"]

_HEAD: Final = struct.Struct("<I4s")


class PartMark(Enum):
    """The mark in the head of a part that says what follows it."""

    MORE = b"more"
    """Another part."""

    LAST = b"last"
    """Nothing: the stream ended."""

    FAIL = b"fail"
    """Nothing: the source of the stream failed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stream."""

    data: bytes
    mark: PartMark


def encode_part(part: Part) -> bytes:
    """Return a part as bytes."""
    return _HEAD.pack(len(part.data), part.mark.value) + part.data


def decode_part(body: bytes) -> Part:
    """Decode a part, as a page does.

    Raises:
        ProtocolError: The bytes are not one whole part.
    """
    if len(body) < _HEAD.size:
        raise ProtocolError(f"a part of a stream has {len(body)} bytes, and its head alone has {_HEAD.size}")
    length, mark = _HEAD.unpack_from(body)
    if mark not in {known.value for known in PartMark}:
        raise ProtocolError(f"a part of a stream begins with {body[: _HEAD.size]!r}, which is no head of one")
    if len(body) - _HEAD.size != length:
        raise ProtocolError(f"a part of a stream has {len(body) - _HEAD.size:,} bytes of data instead of {length:,}")
    return Part(body[_HEAD.size :], PartMark(mark))

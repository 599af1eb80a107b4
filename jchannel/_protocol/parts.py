"""The parts in which a stream of the server is fetched through a proxy: what stands before the data of each.

The head says how long the part is and what follows it, so that one which a proxy has cut short or replaced is noticed.
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
    """What follows a part, as its head has it."""

    MORE = b"more"
    """Another part."""

    LAST = b"last"
    """Nothing: the stream has ended."""

    FAIL = b"fail"
    """Nothing: the source of the stream has failed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stream."""

    data: bytes
    mark: PartMark


def encode_part(part: Part) -> bytes:
    """The part as it travels."""
    return _HEAD.pack(len(part.data), part.mark.value) + part.data


def decode_part(body: bytes) -> Part:
    """Reads a part.

    Raises:
        ProtocolError: It is not the whole of one.
    """
    if len(body) < _HEAD.size:
        raise ProtocolError(f"a part of a stream has {len(body)} bytes, and its head alone has {_HEAD.size}")
    length, mark = _HEAD.unpack_from(body)
    if mark not in {known.value for known in PartMark}:
        raise ProtocolError(f"a part of a stream begins with {body[: _HEAD.size]!r}, which is no head of one")
    if len(body) - _HEAD.size != length:
        raise ProtocolError(f"a part of a stream has {len(body) - _HEAD.size:,} bytes of data instead of {length:,}")
    return Part(body[_HEAD.size :], PartMark(mark))

"""Frames: arrays of messages as text, or as bytes if any of them has attachments."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import orjson

from jchannel._protocol.messages import VALUE_FIELDS, Encoded, Message, parse
from jchannel._protocol.values import ALIGNMENT, MAX_ATTACHMENTS, MAX_DEPTH, Attachment, check_depth, restore
from jchannel.errors import ProtocolError

__all__ = ["decode_frame", "encode_frame", "frame_size"]

_LENGTH: Final = struct.Struct("<I")


def encode_frame(messages: Sequence[Encoded]) -> str | bytes:
    """Return a frame with these messages: text, or bytes if any of them has attachments."""
    attachments: list[Attachment] = []
    texts = []
    for message in messages:
        texts.append(message.text)
        attachments += message.attachments
    text = f"[{','.join(texts)}]"
    if not attachments:
        return text
    head = text.encode()
    parts: list[bytes | memoryview] = [_LENGTH.pack(len(head)), head]
    offset = _LENGTH.size + len(head)
    for attachment in attachments:
        padding = -offset % ALIGNMENT
        parts += [bytes(padding), attachment.data]
        offset += padding + len(attachment.data)
    return b"".join(parts)


def frame_size(frame: str | bytes) -> int:
    """Return the bytes of a frame. A text knows whether it is ASCII: nothing is encoded for that."""
    return len(frame) if isinstance(frame, bytes) or frame.isascii() else len(frame.encode(errors="surrogatepass"))


def decode_frame(frame: str | bytes) -> list[Message]:
    """Return the messages of a frame.

    Raises:
        ProtocolError: The frame is invalid. No bytes raise any other exception.
    """
    binary = memoryview(b"" if isinstance(frame, str) else frame)
    text, offset = (frame, 0) if isinstance(frame, str) else _split(binary)
    brackets, may_be_long = _survey(text)
    objects = _parse_json(text, _decode_long if may_be_long else _decode_short)
    if not isinstance(objects, list) or not objects:
        raise ProtocolError("a frame must be a JSON array of one or more messages")
    may_be_deep = brackets > MAX_DEPTH
    attached = False
    count = 0
    messages = []
    for fields in objects:
        if not isinstance(fields, dict):
            raise ProtocolError("a message must be a JSON object")
        kind = fields.get("type")
        value_fields = VALUE_FIELDS.get(kind, ()) if isinstance(kind, str) else ()
        if may_be_deep:
            for name in value_fields:
                check_depth(fields.get(name) if name == "args" else [fields.get(name)])
        if value_fields and "attachments" in fields:
            count += len(fields["attachments"]) if isinstance(fields["attachments"], list) else 0
            if count > MAX_ATTACHMENTS:
                raise ProtocolError(f"a frame has more than {MAX_ATTACHMENTS:,} attachments")
            offset = restore(fields, value_fields, binary, offset)
            attached = True
        messages.append(parse(fields))
    if offset != len(binary) or attached == isinstance(frame, str):
        raise ProtocolError(
            "a frame is binary if messages have attachments and text otherwise, with nothing after them"
        )
    return messages


def _split(binary: memoryview) -> tuple[str, int]:
    """Return the JSON of a binary frame and the offset of its attachments."""
    if len(binary) < _LENGTH.size:
        raise ProtocolError("a binary frame is shorter than its length field")
    end = _LENGTH.size + _LENGTH.unpack_from(binary)[0]
    if end > len(binary):
        raise ProtocolError("a binary frame is shorter than its JSON")
    try:
        return str(binary[_LENGTH.size : end], "utf-8"), end
    except UnicodeDecodeError as error:
        raise ProtocolError(f"the JSON of a binary frame is not UTF-8: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_whole_number(digits: str) -> float:
    """Return the number that JavaScript reads: the double that is nearest, as an int where JavaScript writes digits."""
    if len(digits) <= _SAFE_DIGITS:
        return int(digits)
    number = float(digits)
    return int(number) if abs(number) < _FIRST_WITH_EXPONENT else number


#: Every whole number of this many characters is a double.
_SAFE_DIGITS: Final = 15

#: JavaScript writes larger numbers with an exponent, which ``json`` reads as floats.
_FIRST_WITH_EXPONENT: Final = 1e21

# What makes a 0 of each digit, and a semicolon of whatever may stand before a number and is no bracket.
_OUTLINE: Final = bytes(
    ord("0" if chr(code) in "0123456789" else ";" if chr(code) in ",:- \t\r\n" else ".") for code in range(256)
)
_LONG_DIGITS: Final = b"0" * (_SAFE_DIGITS + 1)
_LONG_NUMBER: Final = b";" + _LONG_DIGITS

#: Characters that are looked at together: copies of a large frame would cost more than the search.
_PIECE: Final = 64 * 2**10


def _survey(text: str) -> tuple[int, bool]:
    """Return how many opening brackets a text has, or more, and whether a long whole number may be in it.

    Only a value with many brackets can be nested too deep. Only long whole numbers need a function in Python for each
    whole number, which doubles the time that JSON takes; this takes 4 % of it. The digits of a fraction do not count.
    """
    brackets = 0
    may_be_long = False
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE + len(_LONG_DIGITS)].encode("utf-8", "surrogatepass")
        # Without its brackets a number still stands behind a semicolon, unless a piece begins between the two.
        outline = piece.translate(_OUTLINE, b"[{")
        brackets += len(piece) - len(outline)
        # The search from the end is twice as fast as `in`.
        found = outline.rfind(_LONG_NUMBER) >= 0 or (start > 0 and outline.startswith(_LONG_DIGITS))
        may_be_long = may_be_long or found
    return brackets, may_be_long


_decode_refused: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode
_decode_long: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_read_whole_number).decode


def _decode_short(text: str) -> Any:
    """Decode JSON without long whole numbers. What orjson refuses, such as a lone surrogate, is left to ``json``."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _decode_refused(text)


def _parse_json(text: str, decode: Callable[[str], Any]) -> Any:
    try:
        return decode(text)
    except ValueError as error:
        raise ProtocolError(f"a frame is not JSON: {error}") from error
    except RecursionError as error:
        raise ProtocolError("a frame is nested too deep") from error

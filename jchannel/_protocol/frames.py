"""Frames: arrays of messages as text, and their attachments: in the same frame, or each in one of its own behind it."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import orjson

from jchannel._protocol.messages import VALUE_FIELDS, Encoded, Message, parse
from jchannel._protocol.values import (
    ALIGNMENT,
    MAX_ATTACHMENTS,
    MAX_DEPTH,
    Attachment,
    check_depth,
    restore,
    sizes_of,
)
from jchannel.errors import ProtocolError

__all__ = ["APART_FROM", "HEAD_LIMIT", "Arriving", "decode_frame", "encode_frame", "encode_frames", "frame_size"]

#: The attachments of a frame leave apart where they have at least so many bytes on average: then copies into the frame
#: cost more than frames of their own. Of smaller ones the heartbeat would not see that they move (``Link.moved``).
APART_FROM: Final = 512 * 2**10

#: The most bytes of a frame whose attachments are apart: as long as it waits for them it counts as no request.
HEAD_LIMIT: Final = 256 * 2**10

_LENGTH: Final = struct.Struct("<I")


def encode_frames(messages: Sequence[Encoded], *, apart_from: float = APART_FROM) -> list[str | bytes]:
    """Return a frame with these messages, and behind it their attachments, if they have so many bytes on average."""
    texts: list[str] = []
    attachments: list[Attachment] = []
    total = 0
    for message in messages:
        texts.append(message.text)
        for attachment in message.attachments:
            attachments.append(attachment)
            total += len(attachment.data)
    text = f"[{','.join(texts)}]"
    if not attachments:
        return [text]
    if total >= apart_from * len(attachments) and frame_size(text) <= HEAD_LIMIT:
        return [text, *(bytes(attachment.data) for attachment in attachments)]  # What is bytes is not copied.
    return [_join(text, attachments)]


def encode_frame(messages: Sequence[Encoded]) -> str | bytes:
    """Return one frame with these messages: text, or bytes with the attachments if there are any."""
    return encode_frames(messages, apart_from=math.inf)[0]


def _join(text: str, attachments: Sequence[Attachment]) -> bytes:
    """Return a frame that has its attachments inside."""
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


def decode_frame(frame: str | bytes, *apart: str | bytes) -> list[Message]:
    """Return the messages of a frame.

    Args:
        frame: The frame.
        apart: The frames behind it, with the attachments that are apart.

    Raises:
        ProtocolError: A frame is invalid, or one is missing. No bytes raise any other exception.
    """
    arriving = Arriving(frame, frame_size(frame))
    for data in apart:
        arriving.add(data)
    return arriving.finish()


class Arriving:
    """A frame that arrives: whole, or with attachments in frames of their own behind it.

    Args:
        frame: The frame.
        size: Its bytes, as ``frame_size`` returns them.

    Attributes:
        size: Its bytes, with those of all attachments behind it.
        whole: Whether all attachments have come.

    Raises:
        ProtocolError: The frame is invalid.
    """

    def __init__(self, frame: str | bytes, size: int) -> None:
        self.size: int = size
        self._is_text = isinstance(frame, str)
        self._binary = _NO_BYTES if isinstance(frame, str) else memoryview(frame)
        text, self._offset = (frame, 0) if isinstance(frame, str) else _split(self._binary)
        brackets, may_be_long = _survey(text)
        objects = _parse_json(text, may_be_long=may_be_long)
        if not isinstance(objects, list) or not objects:
            raise ProtocolError("a frame must be a JSON array of one or more messages")
        may_be_deep = brackets > MAX_DEPTH and _may_be_deep(text)
        #: The objects of the messages, each with the names of its fields that may hold attachments.
        self._messages: list[tuple[dict[str, Any], tuple[str, ...]]] = []
        sizes: list[int] = []
        for fields in objects:
            if not isinstance(fields, dict):
                raise ProtocolError("a message must be a JSON object")
            kind = fields.get("type")
            value_fields = VALUE_FIELDS.get(kind, ()) if isinstance(kind, str) else ()
            if may_be_deep:
                for name in value_fields:
                    check_depth(fields.get(name) if name == "args" else [fields.get(name)])
            if value_fields and "attachments" in fields:
                sizes += sizes_of(fields["attachments"])
                if len(sizes) > MAX_ATTACHMENTS:
                    raise ProtocolError(f"a frame has more than {MAX_ATTACHMENTS:,} attachments")
            self._messages.append((fields, value_fields))
        if not sizes and not self._is_text:
            raise ProtocolError("a frame whose messages have no attachments is text")
        self.whole: bool = not sizes or not self._is_text
        self._sizes = sizes
        self._apart: list[bytes] = []
        if not self.whole:
            self._check_head()
            self.size += sum(sizes)

    def _check_head(self) -> None:
        if self.size > HEAD_LIMIT:
            raise ProtocolError(
                f"a frame of {self.size:,} bytes has its attachments apart, and {HEAD_LIMIT:,} are the most"
            )

    @property
    def next_size(self) -> int:
        """The bytes of the attachment that comes next."""
        return self._sizes[len(self._apart)]

    def add(self, frame: str | bytes) -> None:
        """Add the next frame, which is an attachment.

        Raises:
            ProtocolError: It is not.
        """
        if self.whole:
            raise ProtocolError("a frame has come with more than its attachments")
        if isinstance(frame, str) or len(frame) != self.next_size:
            raise ProtocolError(f"a frame came in the place of an attachment of {self.next_size:,} bytes")
        self._apart.append(frame)
        self.whole = len(self._apart) == len(self._sizes)

    def finish(self) -> list[Message]:
        """Return its messages.

        Raises:
            ProtocolError: It is not whole, or a message is invalid.
        """
        if not self.whole:
            raise ProtocolError(f"{len(self._sizes) - len(self._apart):,} attachments of a frame have not come")
        apart = iter(self._apart)
        take = (lambda _: next(apart)) if self._is_text else self._take_inside
        messages = []
        for fields, value_fields in self._messages:
            if value_fields and "attachments" in fields:
                restore(fields, value_fields, take)
            messages.append(parse(fields))
        if self._offset != len(self._binary):
            raise ProtocolError("a frame has something after its last attachment")
        return messages

    def _take_inside(self, size: int) -> memoryview:
        start = self._offset + -self._offset % ALIGNMENT
        if start + size > len(self._binary) or any(self._binary[self._offset : start]):
            raise ProtocolError(f"an attachment of size {size} does not fit into its frame")
        self._offset = start + size
        return self._binary[start : self._offset]


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

#: What a text frame has in place of bytes.
_NO_BYTES: Final = memoryview(b"")

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


# What leaves the quotes and the brackets of a text, all of them of one kind.
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(code for code in range(256) if code not in b'"[]{}')

#: The levels of brackets that are taken off, from the innermost on, before each value is looked at instead.
_ROUNDS: Final = 16


def _may_be_deep(text: str) -> bool:
    """Return whether a text of JSON may be nested too deep; ``False`` only if it is not.

    To look at the brackets takes a fifth of the time of looking at each value: 0.8 ms for 1 MB of records.
    """
    if "\\" in text:  # Then a quote need not begin or end a string.
        return True
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    outline = b"".join(
        [piece.encode("utf-8", "surrogatepass").translate(_BRACKETS, _NO_BRACKETS) for piece in pieces]
    ).replace(b'""', b"")
    if b'"' in outline:  # A string holds brackets: there is an odd number of quotes before each of them.
        return True
    for taken_off in range(_ROUNDS):
        if outline.count(b"[") + taken_off <= MAX_DEPTH:
            return False
        outline = outline.replace(b"[]", b"")
    return True


_decode_refused: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode
_decode_long: Final = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_read_whole_number).decode


def _parse_json(text: str, *, may_be_long: bool) -> Any:
    """Decode JSON. Long whole numbers, and what orjson refuses, such as a lone surrogate, are left to ``json``."""
    try:
        if may_be_long:
            return _decode_long(text)
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return _decode_refused(text)
    except ValueError as error:
        raise ProtocolError(f"a frame is not JSON: {error}") from error
    except RecursionError as error:
        raise ProtocolError("a frame is nested too deep") from error

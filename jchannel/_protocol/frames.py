"""Frames: arrays of messages as text, or as bytes if any of them has attachments."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from jchannel._protocol.messages import VALUE_FIELDS, Encoded, Message, parse
from jchannel._protocol.values import ALIGNMENT, MAX_DEPTH, Attachment, check_depth, restore
from jchannel.errors import ProtocolError

__all__ = ["decode_frame", "encode_frame"]

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


def decode_frame(frame: str | bytes) -> list[Message]:
    """Return the messages of a frame.

    Raises:
        ProtocolError: The frame is invalid. No bytes raise any other exception.
    """
    binary = memoryview(b"" if isinstance(frame, str) else frame)
    text, offset = (frame, 0) if isinstance(frame, str) else _split(binary)
    objects = _parse_json(text)
    if not isinstance(objects, list) or not objects:
        raise ProtocolError("a frame must be a JSON array of one or more messages")
    # Counting brackets is quick and never counts too few; only a value with many of them can be nested too deep.
    may_be_deep = text.count("[") + text.count("{") > MAX_DEPTH
    attached = False
    messages = []
    for fields in objects:
        if not isinstance(fields, dict):
            raise ProtocolError("a message must be a JSON object")
        value_fields = VALUE_FIELDS.get(str(fields.get("type")), ())
        if may_be_deep:
            for name in value_fields:
                check_depth(fields.get(name) if name == "args" else [fields.get(name)])
        if value_fields and "attachments" in fields:
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


_decode_json: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _parse_json(text: str) -> Any:
    try:
        return _decode_json(text)
    except ValueError as error:
        raise ProtocolError(f"a frame is not JSON: {error}") from error
    except RecursionError as error:
        raise ProtocolError("a frame is nested too deep") from error

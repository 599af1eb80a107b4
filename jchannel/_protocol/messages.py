"""The vocabulary of the wire: one frozen type for each message, how it is written and how it is read.

The tables here are those of ``docs/protocol.md``. Whether a message may come at this time and from that side is not
decided here but in ``connection``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from jchannel._protocol.values import MAX_INTEGER, Attachment, Packed, shorten, to_json
from jchannel.errors import ProtocolError

__all__ = [
    "ERROR_KINDS",
    "GOODBYE_REASONS",
    "MIN_FRAME_LIMIT",
    "VALUE_FIELDS",
    "Answer",
    "Beat",
    "Broken",
    "Call",
    "Cancel",
    "Close",
    "Echo",
    "Encoded",
    "Error",
    "Goodbye",
    "Hello",
    "Message",
    "Open",
    "Pipe",
    "Request",
    "Result",
    "Stop",
    "StreamInfo",
    "Ticket",
    "Welcome",
    "encode",
    "parse",
]

GOODBYE_REASONS: Final = frozenset({"closed", "token", "origin", "version", "taken", "replaced", "protocol"})
ERROR_KINDS: Final = frozenset(
    {
        "exception",
        "handler",
        "method",
        "callable",
        "private",
        "value",
        "channel",
        "busy",
        "cancelled",
        "timeout",
        "aborted",
        "ended",
    }
)

#: The fields that may hold attachments, of the messages that have any. The values come first.
VALUE_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "echo": ("args",),
    "call": ("args", "stream"),
    "pipe": ("stream",),
    "result": ("value", "stream"),
}

#: The least that a page's frame limit may be, in bytes: whatever the two sides have to say of themselves fits into it.
MIN_FRAME_LIMIT: Final = 4 * 2**10

_MAX_CLIENT_LENGTH: Final = 64
_MAX_SHOWN: Final = 40
_TICKET: Final = re.compile("[A-Za-z0-9_-]{22}")
_MAX_ID: Final = MAX_INTEGER - 1


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The announcement of a stream.

    Attributes:
        id: Its number.
        total: Its length in bytes, or ``None`` where its source does not know it.
        data: The whole stream, or ``None`` where it comes beside the messages.
        ticket: Where a page fetches a stream of the server that is not whole in ``data``.
    """

    id: int
    total: int | None = None
    data: bytes | None = None
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class Hello:
    """The page's first message. ``client`` names the page, the same after a reconnect or a reload.

    ``frame_limit`` is the largest frame that its way to the server carries, in bytes; ``None`` where it knows of none.
    """

    type: ClassVar = "hello"
    client: str
    frame_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer to ``Hello``: its beat in seconds, its frame limit in bytes, and the channels alive.

    ``cancel_wait`` is the most seconds that the page waits for the end of what it has cancelled.
    """

    type: ClassVar = "welcome"
    beat: float
    frame_limit: int
    cancel_wait: float
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The last message of a side that ends the connection on purpose."""

    type: ClassVar = "goodbye"
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The server's sign of life, for pages, which cannot see a WebSocket's pings."""

    type: ClassVar = "beat"


@dataclass(frozen=True, slots=True)
class Open:
    """Asks the page to open a channel with an initialization function, given as JavaScript code."""

    type: ClassVar = "open"
    id: int
    channel: int
    code: str


@dataclass(frozen=True, slots=True)
class Close:
    """Asks the page to forget a channel."""

    type: ClassVar = "close"
    id: int
    channel: int


@dataclass(frozen=True, slots=True)
class Echo:
    """Asks for the arguments back."""

    type: ClassVar = "echo"
    id: int
    channel: int
    args: Any


@dataclass(frozen=True, slots=True)
class Call:
    """Asks for a call of a method of the channel's handler.

    ``timeout`` is the time left in seconds, and ``parent`` the receiver's own request on whose behalf this one is made.
    """

    type: ClassVar = "call"
    id: int
    channel: int
    name: str
    args: Any
    stream: StreamInfo | None = None
    timeout: float | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class Pipe:
    """Sends a stream, and asks for it back. ``timeout`` and ``parent`` are those of ``Call``."""

    type: ClassVar = "pipe"
    id: int
    channel: int
    stream: StreamInfo
    timeout: float | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to the request ``id``."""

    type: ClassVar = "result"
    id: int
    value: Any
    stream: StreamInfo | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """The answer to a request that has failed."""

    type: ClassVar = "error"
    id: int
    kind: str
    name: str
    message: str
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Asks for the end of the sender's request ``id``, which is answered all the same."""

    type: ClassVar = "cancel"
    id: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """Tells the page where to post its stream ``stream``, which somebody has begun to read."""

    type: ClassVar = "ticket"
    stream: int
    ticket: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Tells a stream's source that its reader wants no more."""

    type: ClassVar = "stop"
    stream: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Tells a stream's reader that its source has failed, and with which exception."""

    type: ClassVar = "broken"
    stream: int
    name: str
    message: str


Request: TypeAlias = Open | Close | Echo | Call | Pipe
Answer: TypeAlias = Result | Error
Message: TypeAlias = Hello | Welcome | Goodbye | Beat | Request | Answer | Cancel | Ticket | Stop | Broken


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message as it leaves: its JSON, what is attached to it, and the bytes it takes in a frame, at most."""

    text: str
    attachments: tuple[Attachment, ...]
    size: int


def encode(message: Message) -> Encoded:
    """Writes a message. The ``args`` or ``value`` of a message with values must be a ``Packed``."""
    parts = [f'{{"type":"{message.type}"']
    attachments: tuple[Attachment, ...] = ()
    for name in message.__slots__:
        value = getattr(message, name)
        if isinstance(value, Packed):
            parts.append(f'"{name}":{value.text}')
            attachments = value.attachments
        elif isinstance(value, StreamInfo):
            parts.append(f'"{name}":{_write_stream(value)}')
            if value.data is not None:
                attachments += (Attachment((name, "data"), "bytes", None, value.data),)
        elif value is not None:
            parts.append(f'"{name}":{to_json(value)}')
    if attachments:
        parts.append(f'"attachments":{to_json([attachment.describe() for attachment in attachments])}')
    text = ",".join(parts) + "}"
    size = len(text) if text.isascii() else len(text.encode())
    return Encoded(text, attachments, size + sum(len(attachment.data) + 8 for attachment in attachments))


def _write_stream(info: StreamInfo) -> str:
    fields: dict[str, object] = {"id": info.id}
    if info.total is not None:
        fields["total"] = info.total
    if info.data is not None:
        fields["data"] = None
    if info.ticket is not None:
        fields["ticket"] = info.ticket
    return to_json(fields)


def parse(fields: dict[str, Any]) -> Message:
    """Reads a message from its JSON object, with its attachments back in their places.

    Raises:
        ProtocolError: The object is not a message of the protocol.
    """
    kind = fields.get("type")
    entry = _READERS.get(kind) if isinstance(kind, str) else None
    if entry is None:
        raise ProtocolError(f"there is no message type {shorten(kind)}")
    message_type, checks = entry
    values = []
    for name, check in checks:
        value = fields.get(name, _MISSING)
        if not check(value):
            problem = "is missing" if value is _MISSING else f"cannot be {shorten(value)}"
            raise ProtocolError(f"the field {name!r} of {kind!r} {problem}")
        values.append(value)
    return message_type(*values)


_MISSING: Final = object()


def _is_id(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MAX_ID


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_id, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_client(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= _MAX_CLIENT_LENGTH


def _is_period(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf  # type: ignore[operator]


def _is_optional_time(value: object) -> bool:
    return value is _MISSING or (type(value) in (int, float) and 0 <= value < math.inf)  # type: ignore[operator]


def _is_optional_limit(value: object) -> bool:
    return value is _MISSING or (type(value) is int and MIN_FRAME_LIMIT <= value <= _MAX_ID)


def _is_optional_id(value: object) -> bool:
    return value is _MISSING or _is_id(value)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_value(value: object) -> bool:
    return value is not _MISSING


def _is_reason(value: object) -> bool:
    return isinstance(value, str) and value in GOODBYE_REASONS


def _is_kind(value: object) -> bool:
    return isinstance(value, str) and value in ERROR_KINDS


def _is_ticket(value: object) -> bool:
    return isinstance(value, str) and _TICKET.fullmatch(value) is not None


def _is_stream(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _is_id(value.get("id"))
        and ("total" not in value or _is_count(value["total"]))
        and ("data" not in value or isinstance(value["data"], bytes))
        and ("ticket" not in value or _is_ticket(value["ticket"]))
    )


def _is_optional_stream(value: object) -> bool:
    return value is _MISSING or _is_stream(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_ID


def _is_stack(value: object) -> bool:
    return value is _MISSING or isinstance(value, str)


_Check: TypeAlias = Callable[[object], bool]


def _given(value: Any) -> Any:
    return None if value is _MISSING else value


def _make_hello(client: str, frame_limit: object) -> Hello:
    return Hello(client, _given(frame_limit))


def _make_welcome(beat: float, frame_limit: int, cancel_wait: float, channels: list[int]) -> Welcome:
    return Welcome(beat, frame_limit, cancel_wait, tuple(channels))


def _make_stream(fields: object) -> StreamInfo | None:
    if not isinstance(fields, dict):
        return None
    return StreamInfo(fields["id"], fields.get("total"), fields.get("data"), fields.get("ticket"))


def _make_call(id: int, channel: int, name: str, args: list[Any], *others: Any) -> Call:  # noqa: A002 (as above)
    stream, timeout, parent = others
    return Call(id, channel, name, args, _make_stream(stream), _given(timeout), _given(parent))


def _make_pipe(id: int, channel: int, stream: dict[str, Any], *others: Any) -> Pipe:  # noqa: A002 (as above)
    timeout, parent = others
    info = _make_stream(stream)
    assert info is not None
    return Pipe(id, channel, info, _given(timeout), _given(parent))


def _make_result(id: int, value: Any, stream: object) -> Result:  # noqa: A002 (as above)
    return Result(id, value, _make_stream(stream))


def _make_error(id: int, kind: str, name: str, message: str, stack: object) -> Error:  # noqa: A002 (the field's name)
    return Error(id, kind, name, message, stack if isinstance(stack, str) else None)


_READERS: Final[dict[str, tuple[Callable[..., Message], tuple[tuple[str, _Check], ...]]]] = {
    "hello": (_make_hello, (("client", _is_client), ("frame_limit", _is_optional_limit))),
    "welcome": (
        _make_welcome,
        (("beat", _is_period), ("frame_limit", _is_id), ("cancel_wait", _is_period), ("channels", _is_ids)),
    ),
    "goodbye": (Goodbye, (("reason", _is_reason), ("message", _is_text))),
    "beat": (Beat, ()),
    "open": (Open, (("id", _is_id), ("channel", _is_id), ("code", _is_text))),
    "close": (Close, (("id", _is_id), ("channel", _is_id))),
    "echo": (Echo, (("id", _is_id), ("channel", _is_id), ("args", _is_list))),
    "call": (
        _make_call,
        (
            ("id", _is_id),
            ("channel", _is_id),
            ("name", _is_text),
            ("args", _is_list),
            ("stream", _is_optional_stream),
            ("timeout", _is_optional_time),
            ("parent", _is_optional_id),
        ),
    ),
    "pipe": (
        _make_pipe,
        (
            ("id", _is_id),
            ("channel", _is_id),
            ("stream", _is_stream),
            ("timeout", _is_optional_time),
            ("parent", _is_optional_id),
        ),
    ),
    "result": (_make_result, (("id", _is_id), ("value", _is_value), ("stream", _is_optional_stream))),
    "error": (
        _make_error,
        (("id", _is_id), ("kind", _is_kind), ("name", _is_text), ("message", _is_text), ("stack", _is_stack)),
    ),
    "cancel": (Cancel, (("id", _is_id),)),
    "ticket": (Ticket, (("stream", _is_id), ("ticket", _is_ticket))),
    "stop": (Stop, (("stream", _is_id),)),
    "broken": (Broken, (("stream", _is_id), ("name", _is_text), ("message", _is_text))),
}

"""The vocabulary of the wire: one frozen type for each message, how it is written and how it is read.

The tables here are those of ``docs/protocol.md``. Whether a message may come at this time and from that side is not
decided here but in ``connection``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as field_of
from operator import itemgetter
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

from jchannel._protocol.values import MAX_INTEGER, Attachment, Packed, shorten, to_json
from jchannel.errors import ProtocolError

__all__ = [
    "DOORS",
    "ERROR_KINDS",
    "GOODBYE_REASONS",
    "MAX_CLIENT_LENGTH",
    "MAX_ERROR_NAME",
    "MAX_ERROR_TEXT",
    "MAX_METHOD_LENGTH",
    "MAX_WHY",
    "MIN_FRAME_LIMIT",
    "UNSENT",
    "VALUE_FIELDS",
    "Ack",
    "Answer",
    "Beat",
    "Broken",
    "Call",
    "Cancel",
    "Close",
    "Credit",
    "Door",
    "Echo",
    "Encoded",
    "End",
    "Error",
    "Goodbye",
    "Hello",
    "Message",
    "Open",
    "Piece",
    "Pipe",
    "Request",
    "Result",
    "Stop",
    "StreamInfo",
    "StreamMessage",
    "Ticket",
    "Welcome",
    "encode",
    "parse",
]

GOODBYE_REASONS: Final = frozenset({"closed", "token", "origin", "version", "taken", "replaced", "protocol", "away"})
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

#: The fields that may hold attachments, of the messages that have any. Those that hold values come first.
VALUE_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "echo": ("args",),
    "call": ("args", "stream"),
    "pipe": ("stream",),
    "result": ("value", "stream"),
    "piece": ("data",),
}

#: The id, the channel and the stream's number of a request that has not been sent: the connection numbers it.
UNSENT: Final = 0

#: The least that a page's frame limit may be, in bytes: whatever the two sides have to say of themselves fits into it.
MIN_FRAME_LIMIT: Final = 4 * 2**10

#: The most characters of a page's name.
MAX_CLIENT_LENGTH: Final = 64

#: The ways of a notebook's page to the server: its port, a proxy of the page's own origin, the kernel's own messages.
Door: TypeAlias = Literal["port", "proxy", "comm"]
DOORS: Final[tuple[str, ...]] = get_args(Door)

#: The most characters of why a page could use no better one.
MAX_WHY: Final = 1_000

#: The most characters of the name of a method.
MAX_METHOD_LENGTH: Final = 1_000

#: The most characters of an error's name, of the other texts of an error and of a goodbye's. More is cut off.
MAX_ERROR_NAME: Final = 200
MAX_ERROR_TEXT: Final = 65_536

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
    ticket: str | None = field_of(default=None, repr=False)  # A secret.


@dataclass(frozen=True, slots=True)
class Hello:
    """The page's first message. ``client`` names the page, the same after a reconnect or a reload.

    ``frame_limit`` is the largest frame that its way to the server carries, in bytes; ``None`` where it knows of none.
    ``door`` is that way, and ``why`` says why no better one could be used; ``None`` where there is only one.
    """

    type: ClassVar[str] = "hello"
    client: str
    frame_limit: int | None = None
    door: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer to ``Hello``: its beat in seconds, its frame limit in bytes, and the channels alive.

    ``cancel_wait`` is the most seconds that the page waits for the end of what it has cancelled, and ``http_streams``
    the most streams that travel over HTTP at once; ``None`` for no limit.
    """

    type: ClassVar[str] = "welcome"
    beat: float
    frame_limit: int
    cancel_wait: float
    channels: tuple[int, ...]
    http_streams: int | None = None


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The last message of a side that ends the connection on purpose."""

    type: ClassVar[str] = "goodbye"
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The server's sign of life, and the page's, which answers each: its own code does, and not its browser."""

    type: ClassVar[str] = "beat"


@dataclass(frozen=True, slots=True)
class Open:
    """Ask the page to open a channel with an initialization function.

    It is given as JavaScript code, or as the module of the page whose default export it is: one of the two. ``nan`` is
    what the page does with NaN and the infinities, ``null`` or ``keep``; without it the page refuses to send them.
    """

    type: ClassVar[str] = "open"
    id: int
    channel: int
    code: str | None = None
    module: str | None = None
    nan: str | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Ask the page to forget a channel."""

    type: ClassVar[str] = "close"
    id: int
    channel: int


@dataclass(frozen=True, slots=True)
class Echo:
    """Ask for the arguments back."""

    type: ClassVar[str] = "echo"
    id: int
    channel: int
    args: Any


@dataclass(frozen=True, slots=True)
class Call:
    """Ask for a call of a method of the channel's handler.

    ``timeout`` is the time left in seconds, and ``parent`` the receiver's own request on whose behalf this one is made.
    """

    type: ClassVar[str] = "call"
    id: int
    channel: int
    name: str
    args: Any
    stream: StreamInfo | None = None
    timeout: float | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class Pipe:
    """Send a stream, and ask for it back. ``timeout`` and ``parent`` are those of ``Call``."""

    type: ClassVar[str] = "pipe"
    id: int
    channel: int
    stream: StreamInfo
    timeout: float | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to the request ``id``."""

    type: ClassVar[str] = "result"
    id: int
    value: Any
    stream: StreamInfo | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """The answer to a request that has failed."""

    type: ClassVar[str] = "error"
    id: int
    kind: str
    name: str
    message: str
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask for the end of the sender's request ``id``, which is answered all the same."""

    type: ClassVar[str] = "cancel"
    id: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """Tell the page where to post its stream ``stream``, which somebody has begun to read.

    ``credit`` is the number of bytes that it may send as pieces instead; ``None`` where it must post. ``near`` is
    whether the round trip is so short that pieces are the faster way.
    """

    type: ClassVar[str] = "ticket"
    stream: int
    ticket: str = field_of(repr=False)  # A secret.
    credit: int | None = None
    near: bool | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell a stream's source that its reader wants no more."""

    type: ClassVar[str] = "stop"
    stream: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Tell a stream's reader that its source has failed, and with which exception."""

    type: ClassVar[str] = "broken"
    stream: int
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Credit:
    """Allow a stream's source to send so many more bytes as pieces. The first credit begins the stream."""

    type: ClassVar[str] = "credit"
    stream: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Piece:
    """The next bytes of a stream, at least one, that travels as pieces."""

    type: ClassVar[str] = "piece"
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """Tell a stream's reader that it has had all pieces."""

    type: ClassVar[str] = "end"
    stream: int


@dataclass(frozen=True, slots=True)
class Ack:
    """Tell the far side that so many more bytes of its pieces have arrived."""

    type: ClassVar[str] = "ack"
    bytes: int


Request: TypeAlias = Open | Close | Echo | Call | Pipe
Answer: TypeAlias = Result | Error
StreamMessage: TypeAlias = Ticket | Stop | Broken | Credit | Piece | End
Message: TypeAlias = Hello | Welcome | Goodbye | Beat | Request | Answer | Cancel | StreamMessage | Ack


#: What a log may say of a message: no value, no text and no code of a user's, and no ticket.
_OUTLINED: Final = ("id", "channel", "name", "stream", "timeout", "parent", "kind", "reason", "credit", "bytes")


def outline(message: Message, **numbers: int) -> str:
    """Return what a message is and refers to, without what it carries: for the log.

    Args:
        message: The message.
        numbers: Its fields that it gets only when it is sent, by their names.
    """
    parts = [message.type]
    for name in _OUTLINED:
        value = numbers.get(name, getattr(message, name, None))
        if isinstance(value, StreamInfo):
            value = value.id
        if value is not None:
            parts.append(f"{name}={shorten(value)}")
    return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message as it leaves.

    Attributes:
        text: Its JSON.
        attachments: What is attached to it.
        size: The bytes it takes in a frame, at most.
        unasked: The bytes it takes while it waits, where it is one that is queued whether there is room or not: an
            error, a cancel, a beat, or one about a stream. 0 for the others.
    """

    text: str
    attachments: tuple[Attachment, ...]
    size: int
    unasked: int = field_of(default=0, compare=False)


# Their senders wait until there is room for them. Of pieces no more are made than may leave.
_WAIT_FOR_ROOM: Final[frozenset[type[Message]]] = frozenset({Open, Close, Echo, Call, Pipe, Result, Piece})

# What a short message takes beside its bytes while it waits: its objects.
_MESSAGE_COST: Final = 256


def encode(message: Message) -> Encoded:
    """Write a message. The ``args`` or ``value`` of a message with values must be a ``Packed``."""
    text = f'{{"type":"{message.type}"'
    attachments: tuple[Attachment, ...] = ()
    for name in message.__slots__:
        value = getattr(message, name)
        if value is None:
            continue
        kind = type(value)
        if kind is int:  # The quickest way for what most fields are.
            text += f',"{name}":{value}'
        elif kind is Packed:
            text += f',"{name}":{value.text}'
            attachments = value.attachments
        elif kind is StreamInfo:
            text += f',"{name}":{_write_stream(value)}'
            if value.data is not None:
                attachments += (Attachment((name, "data"), "bytes", None, value.data),)
        elif isinstance(value, bytes):
            text += f',"{name}":null'
            attachments = (Attachment((name,), "bytes", None, value),)
        else:
            text += f',"{name}":{to_json(value)}'
    if attachments:
        text += f',"attachments":{to_json(list(map(Attachment.describe, attachments)))}'
    text += "}"
    size = len(text) if text.isascii() else len(text.encode())
    for attachment in attachments:
        size += len(attachment.data) + 8
    return Encoded(text, attachments, size, 0 if type(message) in _WAIT_FOR_ROOM else size + _MESSAGE_COST)


def _write_stream(info: StreamInfo) -> str:
    text = f'{{"id":{info.id}'
    if info.total is not None:
        text += f',"total":{info.total}'
    if info.data is not None:
        text += ',"data":null'
    if info.ticket is not None:  # It has no character that JSON escapes.
        text += f',"ticket":"{info.ticket}"'
    return text + "}"


def parse(fields: dict[str, Any]) -> Message:
    """Read a message from its JSON object, with its attachments back in their places.

    Raises:
        ProtocolError: The object is not a message of the protocol.
    """
    kind = fields.get("type")
    entry = _READERS.get(kind) if isinstance(kind, str) else None
    if entry is None:
        raise ProtocolError(f"there is no message type {shorten(kind)}")
    message_type, readers = entry
    values = []
    for field in readers:
        value = fields.get(field.name, _MISSING)
        if value is _MISSING:
            if not field.optional:
                raise ProtocolError(f"the field {field.name!r} of {kind!r} is missing")
            value = None
        elif field.types and (type(value) not in field.types or not (field.check is None or field.check(value))):
            raise ProtocolError(f"the field {field.name!r} of {kind!r} cannot be {shorten(value)}")
        elif field.convert is not None:
            value = field.convert(value)
        values.append(value)
    message = message_type(*values)
    if isinstance(message, Open) and (message.code is None) == (message.module is None):
        raise ProtocolError("the message 'open' must have one of the fields 'code' and 'module'")
    return message


_MISSING: Final = object()


# Ranges, which find an int without a function in Python: most fields of most messages are numbers.
_IDS: Final = range(1, _MAX_ID + 1)
_COUNTS: Final = range(_MAX_ID + 1)
_LIMITS: Final = range(MIN_FRAME_LIMIT, _MAX_ID + 1)


def _is_id(value: object) -> bool:
    return type(value) is int and value in _IDS


def _are_ids(value: list[object]) -> bool:
    return all(map(_is_id, value))


def _is_method(value: str) -> bool:
    return len(value) <= MAX_METHOD_LENGTH


def _is_nan(value: str) -> bool:
    return value in ("null", "keep")


def _is_client(value: str) -> bool:
    return 1 <= len(value) <= MAX_CLIENT_LENGTH


def _is_period(value: float) -> bool:
    return 0 < value < math.inf


def _is_time(value: float) -> bool:
    return 0 <= value < math.inf


def _is_ticket(value: object) -> bool:
    return isinstance(value, str) and _TICKET.fullmatch(value) is not None


def _is_stream(value: dict[str, object]) -> bool:
    return (
        _is_id(value.get("id"))
        and ("total" not in value or (type(value["total"]) is int and value["total"] in _COUNTS))
        and ("data" not in value or isinstance(value["data"], bytes))
        and ("ticket" not in value or _is_ticket(value["ticket"]))
    )


def _make_stream(fields: dict[str, Any]) -> StreamInfo:
    return StreamInfo(fields["id"], fields.get("total"), fields.get("data"), fields.get("ticket"))


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a message: what it may be, and what it becomes.

    Attributes:
        name: Its name.
        types: The types that a value may have, exactly as JSON and attachments give them; none for any.
        check: Whether a value of such a type is allowed; ``None`` where each is.
        optional: Whether it may be missing; then it is ``None``.
        convert: Makes the value of what JSON has; ``None`` where that is it.
    """

    name: str
    types: tuple[type, ...] = ()
    check: Callable[[Any], object] | None = None
    optional: bool = False
    convert: Callable[[Any], object] | None = None


_NUMBER: Final = (int, float)
_ID: Final = _Field("id", (int,), _IDS.__contains__)
_CHANNEL: Final = _Field("channel", (int,), _IDS.__contains__)
_METHOD: Final = _Field("name", (str,), _is_method)
_NAME: Final = _Field("name", (str,), convert=itemgetter(slice(MAX_ERROR_NAME)))
_MESSAGE: Final = _Field("message", (str,), convert=itemgetter(slice(MAX_ERROR_TEXT)))
_STACK: Final = _Field("stack", (str,), optional=True, convert=itemgetter(slice(MAX_ERROR_TEXT)))
_ARGS: Final = _Field("args", (list,))
_STREAM: Final = _Field("stream", (dict,), _is_stream, convert=_make_stream)
_MAYBE_STREAM: Final = _Field("stream", (dict,), _is_stream, optional=True, convert=_make_stream)
_STREAM_ID: Final = _Field("stream", (int,), _IDS.__contains__)
_TIMEOUT: Final = _Field("timeout", _NUMBER, _is_time, optional=True)
_PARENT: Final = _Field("parent", (int,), _IDS.__contains__, optional=True)

# The fields of each message, in the order of its type's.
_READERS: Final[dict[str, tuple[Callable[..., Message], tuple[_Field, ...]]]] = {
    "hello": (
        Hello,
        (
            _Field("client", (str,), _is_client),
            _Field("frame_limit", (int,), _LIMITS.__contains__, optional=True),
            _Field("door", (str,), DOORS.__contains__, optional=True),
            _Field("why", (str,), optional=True, convert=itemgetter(slice(MAX_WHY))),
        ),
    ),
    "welcome": (
        Welcome,
        (
            _Field("beat", _NUMBER, _is_period),
            _Field("frame_limit", (int,), _LIMITS.__contains__),
            _Field("cancel_wait", _NUMBER, _is_period),
            _Field("channels", (list,), _are_ids, convert=tuple),
            _Field("http_streams", (int,), _COUNTS.__contains__, optional=True),
        ),
    ),
    "goodbye": (Goodbye, (_Field("reason", (str,), GOODBYE_REASONS.__contains__), _MESSAGE)),
    "beat": (Beat, ()),
    "open": (
        Open,
        (
            _ID,
            _CHANNEL,
            _Field("code", (str,), optional=True),
            _Field("module", (str,), optional=True),
            _Field("nan", (str,), _is_nan, optional=True),
        ),
    ),
    "close": (Close, (_ID, _CHANNEL)),
    "echo": (Echo, (_ID, _CHANNEL, _ARGS)),
    "call": (Call, (_ID, _CHANNEL, _METHOD, _ARGS, _MAYBE_STREAM, _TIMEOUT, _PARENT)),
    "pipe": (Pipe, (_ID, _CHANNEL, _STREAM, _TIMEOUT, _PARENT)),
    "result": (Result, (_ID, _Field("value"), _MAYBE_STREAM)),
    "error": (
        Error,
        (_ID, _Field("kind", (str,), ERROR_KINDS.__contains__), _NAME, _MESSAGE, _STACK),
    ),
    "cancel": (Cancel, (_ID,)),
    "ticket": (
        Ticket,
        (
            _STREAM_ID,
            _Field("ticket", (str,), _is_ticket),
            _Field("credit", (int,), _IDS.__contains__, optional=True),
            _Field("near", (bool,), optional=True),
        ),
    ),
    "stop": (Stop, (_STREAM_ID,)),
    "broken": (Broken, (_STREAM_ID, _NAME, _MESSAGE)),
    "credit": (Credit, (_STREAM_ID, _Field("bytes", (int,), _IDS.__contains__))),
    "piece": (Piece, (_STREAM_ID, _Field("data", (bytes,), bool))),
    "end": (End, (_STREAM_ID,)),
    "ack": (Ack, (_Field("bytes", (int,), _IDS.__contains__),)),
}

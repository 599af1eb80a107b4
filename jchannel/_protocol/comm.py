"""A connection over the messages of a comm: what a notebook's kernel and its pages send each other anyway.

Such messages have no end that is noticed, come to every page of the kernel, may be dropped without an error, and must
not be too many or too large. So each has the name of its connection and a number; a gap ends the connection, what is
under way is bounded by acknowledgements, and how often a message leaves by a pace. The frames of a session, one after
the other, are a sequence of bytes that is cut into messages; several frames that wait leave in one.

Some hosts hand over a page's messages in another order than they were sent in. There the kernel's side keeps those that
came too early, a close too, until what is missing has come; a message that stays missing is a lost one, for the link
to notice.

A ``CommConnection`` is one side. It does no I/O, and is told the time.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from jchannel.errors import ProtocolError

__all__ = [
    "COMM_ACK_FROM",
    "COMM_BURST",
    "COMM_FRAME_COST",
    "COMM_GAP_SECONDS",
    "COMM_MESSAGE_BYTES",
    "COMM_RATE",
    "COMM_UNREAD_BYTES",
    "COMM_WINDOW",
    "CommConnection",
    "CommMessage",
    "CommPace",
    "CommState",
    "decode_comm_message",
    "encode_comm_message",
]

#: The most bytes of one message. Jupyter's server takes 10 MiB and drops what is larger without an error.
COMM_MESSAGE_BYTES: Final = 2**20

#: The most messages that are under way in one direction, which the far side has not acknowledged.
COMM_WINDOW: Final = 16

#: After how many messages they are acknowledged by a message of its own, where none goes back anyway.
COMM_ACK_FROM: Final = 8

#: The most messages a second in the long run. Jupyter's server drops a kernel's messages above 1,000, silently, and
#: a message of the page's may cause two more.
COMM_RATE: Final = 200

#: The most messages that leave at once, after a rest.
COMM_BURST: Final = 50

#: The bytes of frames that nobody has taken from which on nothing is acknowledged, so that the far side waits.
COMM_UNREAD_BYTES: Final = 4 * 2**20

#: The bytes that each of these frames counts beside its own: a small one takes that much memory, and an empty one, too.
COMM_FRAME_COST: Final = 100

#: How long a message may be missing, in seconds in which the far side is heard, where they come out of order, while
#: others that were sent after it are there. What is kept meanwhile is less than ``COMM_WINDOW`` messages.
COMM_GAP_SECONDS: Final = 10

#: The most characters of a connection's name.
_MAX_NAME: Final = 64

#: The most characters of the reason of a close.
_MAX_REASON: Final = 500

#: The largest integer that both languages know as one.
_MAX_NUMBER: Final = 2**53 - 1

#: A frame's kind and the length of its bytes, before them.
_HEAD: Final = 5
_TEXT: Final = 0
_BINARY: Final = 1

_ALMOST_ONE: Final = 1 - 1e-6

_TYPES: Final = ("open", "opened", "data", "ack", "close")


class CommState(Enum):
    """How far a connection is."""

    OPENING = auto()
    """The page has asked, and has no answer yet."""

    OPEN = auto()
    """Frames go both ways."""

    CLOSING = auto()
    """What waits to be sent still leaves, and then a close."""

    ENDED = auto()
    """Nothing is sent or received any more."""


#: The states that may follow a state.
_FOLLOWING: Final = {
    CommState.OPENING: {CommState.OPEN, CommState.CLOSING, CommState.ENDED},
    CommState.OPEN: {CommState.CLOSING, CommState.ENDED},
    CommState.CLOSING: {CommState.ENDED},
    CommState.ENDED: set[CommState](),
}


@dataclass(frozen=True, slots=True)
class CommMessage:
    """One message of a comm.

    Attributes:
        connection: The name of its connection.
        type: ``open`` is the page's first message, ``opened`` the kernel's; ``data`` has bytes, ``ack`` nothing of its
            own, and ``close`` is the last.
        number: The number of messages before it in its direction, and one; 0 for an ``ack``, which does not count.
        acknowledged: The number of the last message of the other direction that has been received.
        data: The bytes of ``data``; otherwise empty.
        reason: Why, in words, in a ``close``; otherwise empty.
    """

    connection: str
    type: str
    number: int
    acknowledged: int
    data: bytes = b""
    reason: str = ""


def encode_comm_message(message: CommMessage) -> tuple[dict[str, Any], list[bytes]]:
    """Return the content and the buffers of a message."""
    content: dict[str, Any] = {"connection": message.connection, "type": message.type, "number": message.number}
    content["acknowledged"] = message.acknowledged
    if message.type == "close":
        content["reason"] = message.reason
    return content, [message.data] if message.type == "data" else []


def decode_comm_message(content: object, buffers: Sequence[bytes | bytearray | memoryview | str]) -> CommMessage:
    """Return the message of a content and its buffers, which some front ends hand over as Base64.

    Raises:
        ProtocolError: They are not one.
    """
    if not isinstance(content, Mapping):
        raise ProtocolError("a message of a comm has no fields")
    name, kind = content.get("connection"), content.get("type")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise ProtocolError("a message of a comm does not name its connection")
    if kind not in _TYPES:
        raise ProtocolError("a message of a comm has no type that is known")
    number: Any = content.get("number")
    acknowledged: Any = content.get("acknowledged")
    if not _is_number(number) or not _is_number(acknowledged):
        raise ProtocolError("a message of a comm has no numbers")
    if len(buffers) != (kind == "data"):
        raise ProtocolError(f"a message of a comm of type {kind!r} has {len(buffers)} buffers")
    reason = content.get("reason", "")
    if not isinstance(reason, str):
        raise ProtocolError("the reason of a close is no text")
    data = _to_bytes(buffers[0]) if buffers else b""
    if len(data) > COMM_MESSAGE_BYTES:
        raise ProtocolError(f"a message of a comm has {len(data):,} bytes, and {COMM_MESSAGE_BYTES:,} are the most")
    return CommMessage(name, kind, number, acknowledged, data, reason[:_MAX_REASON])


def _to_bytes(buffer: bytes | bytearray | memoryview | str) -> bytes:
    try:
        return base64.b64decode(buffer, validate=True) if isinstance(buffer, str) else bytes(memoryview(buffer))
    except (TypeError, ValueError):
        raise ProtocolError("the front end hands over something else than bytes, or Base64 of them") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER


class CommConnection:
    """One side of a connection.

    Args:
        name: Its name, of 1 to 64 characters.
        opens: Whether this side has to send ``open``: the page's. The other one is made for an ``open`` that has come.
        frame_limit: The largest frame that is received, in bytes.
        pace: Says how often a message may leave; connections may share one. ``None`` for one of its own.
        reorders: Whether messages may come out of order. Otherwise one that is missing ends the connection at once.

    Attributes:
        name: As above.
        state: How far it is.
        why_ended: Why it has ended, as the end of a sentence; empty before.
        received: The number of bytes that have come in.
    """

    def __init__(
        self, name: str, *, opens: bool, frame_limit: int, pace: CommPace | None = None, reorders: bool = False
    ) -> None:
        self.name = name
        self.state: CommState = CommState.OPENING
        self.why_ended: str = ""
        self.received: int = 0
        self._opens = opens
        self._frame_limit = frame_limit
        self._pace = CommPace() if pace is None else pace
        self._reorders = reorders
        # Towards the far side.
        self._greets = opens
        self._unsent: deque[bytes] = deque()
        self._offset = 0
        self._unsent_bytes = 0
        self._goodbye: str | None = None
        self._sent = 0
        self._acknowledged = 0
        # From it.
        self._last = 0
        self._told = 0
        self._early: dict[int, CommMessage] = {}
        self._begun = bytearray()
        self._frames: deque[tuple[str | bytes, int]] = deque()
        self._unread = 0

    # Sending

    @property
    def waiting_bytes(self) -> int:
        """The bytes that wait to be sent."""
        return self._unsent_bytes

    @property
    def acknowledged(self) -> int:
        """The number of the last message that the far side has acknowledged."""
        return self._acknowledged

    def send(self, frame: str | bytes) -> None:
        """Queue a frame. It is dropped if the connection is closing or has ended."""
        if self.state in (CommState.OPENING, CommState.OPEN):
            data = frame.encode() if isinstance(frame, str) else frame
            kind = _TEXT if isinstance(frame, str) else _BINARY
            self._unsent += bytes([kind]) + len(data).to_bytes(_HEAD - 1, "little"), data
            self._unsent_bytes += _HEAD + len(data)

    def close(self, reason: str) -> None:
        """Close the connection when what waits has been sent."""
        if self.state in (CommState.OPENING, CommState.OPEN):
            self._goodbye = reason
            self._move(CommState.CLOSING)

    def end(self, why: str) -> None:
        """End the connection at once, without telling the far side. The first reason counts."""
        if self.state is not CommState.ENDED:
            self.why_ended = why
            self._unsent.clear()
            self._unsent_bytes = 0
            self._early.clear()
            self._move(CommState.ENDED)

    def next_message(self, now: float) -> CommMessage | None:
        """Return the next message to send; ``None`` if there is none, or none may leave yet.

        Args:
            now: The time, in seconds.
        """
        kind = self._next_type()
        if kind is None or self._pace.wait(now) > 0:
            return None
        self._pace.take()
        data, reason = b"", ""
        if kind == "data":
            data = self._take_bytes()
        elif kind == "close":
            reason = self._goodbye or ""
            self.end("it was closed on this side")
        elif kind != "ack":
            self._greets = False
        number = 0
        if kind != "ack":
            self._sent += 1
            number = self._sent
        self._told = self._readable
        return CommMessage(self.name, kind, number, self._told, data, reason)

    def make_sign(self, now: float) -> CommMessage | None:
        """Return an ``ack`` that shows the far side that this one lives; ``None`` where messages can still leave.

        It is for a time in which nothing of the far side's is received: then the window closes, for a beat as for
        anything else.

        Args:
            now: The time, in seconds.
        """
        if self.state is CommState.ENDED or self._has_room or self._pace.wait(now) > 0:
            return None
        self._pace.take()
        self._told = self._readable
        return CommMessage(self.name, "ack", 0, self._told)

    def wait(self, now: float) -> float | None:
        """Return in how many seconds a message may leave; ``None`` if not before something else happens."""
        return None if self._next_type() is None else self._pace.wait(now)

    @property
    def _has_room(self) -> bool:
        """Whether fewer messages are under way than may be."""
        return self._sent - self._acknowledged < COMM_WINDOW

    def _next_type(self) -> str | None:
        if self.state is CommState.ENDED:
            return None
        if self._has_room:
            if self._greets:
                return "open" if self._opens else "opened"
            if self._unsent and self.state is not CommState.OPENING:
                return "data"
            if self.state is CommState.CLOSING and not self._unsent:
                return "close"
        return "ack" if self._readable - self._told >= COMM_ACK_FROM else None

    def _take_bytes(self) -> bytes:
        parts: list[bytes | memoryview] = []
        room = COMM_MESSAGE_BYTES
        while self._unsent and room:
            first = memoryview(self._unsent[0])[self._offset : self._offset + room]
            parts.append(first)
            room -= len(first)
            self._offset += len(first)
            if self._offset == len(self._unsent[0]):
                self._unsent.popleft()
                self._offset = 0
        data = b"".join(parts)
        self._unsent_bytes -= len(data)
        return data

    # Receiving

    def receive(self, message: CommMessage) -> None:
        """Receive a message of the connection. After the end it is ignored.

        Raises:
            ProtocolError: It cannot follow those before: one was lost, or the far side is wrong. The connection has
                ended.
        """
        if self.state is CommState.ENDED:
            return
        try:
            self._receive(message)
        except ProtocolError as error:
            self.end(str(error))
            raise

    @property
    def missing(self) -> int | None:
        """The number of the message that those which came too early wait for; ``None`` if none waits."""
        return self._last + 1 if self._early else None

    def next_frame(self) -> str | bytes | None:
        """Return the next frame that has come; ``None`` if there is none."""
        if not self._frames:
            return None
        frame, cost = self._frames.popleft()
        self._unread -= cost
        return frame

    @property
    def _readable(self) -> int:
        """The number of the last message that is acknowledged now."""
        return self._last if self._unread <= COMM_UNREAD_BYTES else self._told

    def _receive(self, message: CommMessage) -> None:
        if message.type == "close" and not (self._reorders and message.number > self._last + 1):
            self._take_close(message)  # It counts wherever it stands: who closes may not know what has come.
            return
        # Where messages come out of order, an older acknowledgement may come last.
        least = 0 if self._reorders else self._acknowledged
        if not least <= message.acknowledged <= self._sent:
            raise ProtocolError(
                f"message {message.acknowledged} of its comm is acknowledged, and {self._sent} were sent"
            )
        self._acknowledged = max(self._acknowledged, message.acknowledged)
        if message.type == "ack":
            return
        is_early = message.number > self._last + 1
        if message.number <= self._last or message.number in self._early or (is_early and not self._reorders):
            raise ProtocolError(f"message {message.number} of its comm came after {self._last}: messages were lost")
        if message.number - self._told > COMM_WINDOW:
            raise ProtocolError(f"more than {COMM_WINDOW} messages of its comm are under way")
        self._early[message.number] = message
        while (following := self._early.pop(self._last + 1, None)) is not None:
            self._take(following)

    def _take(self, message: CommMessage) -> None:
        """Take the message that follows the last one."""
        if message.type == "close":
            self._take_close(message)
            return
        expected = "data" if self._last else ("opened" if self._opens else "open")
        if message.type != expected:
            raise ProtocolError(f"a message of its comm of type {message.type!r} came in the place of {expected!r}")
        self._last = message.number
        if message.type == "data":
            self._take_data(message.data)
        else:
            self._greets = not self._opens
            if self.state is CommState.OPENING:
                self._move(CommState.OPEN)

    def _take_close(self, message: CommMessage) -> None:
        self.end(message.reason or "it was closed on the far side")

    def _take_data(self, data: bytes) -> None:
        self.received += len(data)
        begun = self._begun
        begun += data
        while len(begun) >= _HEAD:
            kind, size = begun[0], int.from_bytes(begun[1:_HEAD], "little")
            if kind not in (_TEXT, _BINARY):
                raise ProtocolError(f"a frame over its comm has the kind {kind}")
            if size > self._frame_limit:
                raise ProtocolError(f"a frame of {size:,} bytes came, and {self._frame_limit:,} are the most")
            if len(begun) < _HEAD + size:
                return
            payload = bytes(begun[_HEAD : _HEAD + size])
            del begun[: _HEAD + size]
            try:
                self._frames.append((payload.decode() if kind == _TEXT else payload, size + COMM_FRAME_COST))
            except UnicodeDecodeError as error:
                raise ProtocolError(f"a text frame over its comm is no UTF-8: {error.reason}") from None
            self._unread += size + COMM_FRAME_COST

    def _move(self, state: CommState) -> None:
        assert state in _FOLLOWING[self.state], (self.state, state)
        self.state = state


class CommPace:
    """Lets ``COMM_BURST`` messages leave at once, and ``COMM_RATE`` a second in the long run."""

    def __init__(self) -> None:
        self._tokens: float = COMM_BURST
        self._now: float | None = None

    def wait(self, now: float) -> float:
        """Return in how many seconds the next message may leave."""
        if self._now is not None:
            self._tokens = min(COMM_BURST, self._tokens + max(0.0, now - self._now) * COMM_RATE)
        self._now = now
        # A float may miss one by a hair, and then no time would ever be enough.
        return 0.0 if self._tokens > _ALMOST_ONE else (1 - self._tokens) / COMM_RATE

    def take(self) -> None:
        """Count a message that leaves."""
        self._tokens -= 1

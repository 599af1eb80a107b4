"""The states of one connection: what may follow what, for the connection as a whole and for each request.

The window is the connection's, too: how many bytes of streams may be under way on it, in each direction. What one
stream may send before its reader has read any is its credit, which its reader gives (``_core.pieces``).

A ``Connection`` belongs to one side of one socket. Messages go in and frames come out; frames go in and messages come
out. It does no I/O and knows no time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, ClassVar, Final

from jchannel._protocol.frames import Arriving, encode_frames, frame_size
from jchannel._protocol.messages import (
    Ack,
    Answer,
    Beat,
    Broken,
    Call,
    Cancel,
    Close,
    Credit,
    Echo,
    Encoded,
    End,
    Error,
    Goodbye,
    Hello,
    Message,
    Open,
    Piece,
    Pipe,
    Request,
    Result,
    Stop,
    StreamInfo,
    Ticket,
    Welcome,
    encode,
)
from jchannel.errors import ProtocolError

__all__ = [
    "BATCH_LIMIT",
    "FRAME_LIMIT",
    "PIECES_BESIDE_MESSAGES",
    "PIECES_UNDER_WAY",
    "PIECE_LIMIT",
    "QUIET_BYTES",
    "QUIET_SECONDS",
    "VERSION",
    "Connection",
    "Role",
    "State",
    "Window",
]

#: The protocol's version, as the WebSocket's subprotocol has it.
VERSION: Final = "jchannel.v1"

#: The largest frame in bytes, unless the server says otherwise.
FRAME_LIMIT: Final = 64 * 2**20

#: A batch ends before it exceeds this number of bytes, unless it is one message.
BATCH_LIMIT: Final = 256 * 2**10

#: The most bytes that one piece of a stream has.
PIECE_LIMIT: Final = 64 * 2**10

#: The most bytes of pieces that are under way to the far side, of all streams together: what a message may have to wait
#: for. It bounds the rate, too, to so much in a round trip.
PIECES_UNDER_WAY: Final = 2**20

#: The most that a side sends of them while requests and answers pass beside its streams. Over a comm it makes no
#: difference, as that takes few messages and a longer way: more pieces share one.
PIECES_BESIDE_MESSAGES: Final = 256 * 2**10

#: So many bytes of pieces have to arrive within so many seconds, without a request or an answer beside them, before a
#: side sends as many as may be under way: on a connection that takes 40 MiB/s a call waits 25 ms behind them at most.
QUIET_BYTES: Final = 8 * 2**20
QUIET_SECONDS: Final = 0.2

# What a piece's message takes beside its bytes, at most.
_PIECE_OVERHEAD: Final = 160

# What a frame takes beside its messages: the length field, the brackets, a comma for each message.
_FRAME_OVERHEAD: Final = 16


class Role(Enum):
    """Which side of the connection this is."""

    # That of enums is in Python, and each message is looked up by two of them.
    __hash__: ClassVar[Callable[[object], int]] = object.__hash__

    SERVER = auto()
    PAGE = auto()


class State(Enum):
    """How far the connection is."""

    __hash__: ClassVar[Callable[[object], int]] = object.__hash__

    OPENING = auto()
    HELLO = auto()
    READY = auto()
    ENDED = auto()


_MAY_HAVE_PARENT: Final = (Call, Pipe)
_MAY_CARRY_STREAM: Final = (Call, Pipe, Result)

_EITHER: Final = (Beat, Echo, Call, Pipe, Result, Error, Cancel, Stop, Broken, Credit, Piece, End, Ack)
_BY_SERVER: Final = (Open, Close, Ticket, *_EITHER)

# The state that a message leads to, by the side that sends it and the state it is sent in. The rest is an error.
_TRANSITIONS: Final[dict[tuple[Role, State, type[Message]], State]] = {
    (Role.PAGE, State.OPENING, Hello): State.HELLO,
    (Role.SERVER, State.HELLO, Welcome): State.READY,
    **{(Role.SERVER, State.READY, kind): State.READY for kind in _BY_SERVER},
    **{(Role.PAGE, State.READY, kind): State.READY for kind in _EITHER},
    **{(role, state, Goodbye): State.ENDED for role in Role for state in (State.OPENING, State.HELLO, State.READY)},
}


class Window:
    """Counts the pieces of one side of a connection.

    Attributes:
        beside_messages: The most bytes that this side sends while requests and answers pass beside them.
        quiet_since: When pieces of this side have arrived first since the last request or answer of either side, by the
            clock of ``note_time``; ``None`` for not yet. A request or an answer sets it back.
        under_way: The bytes of this side's pieces that have not arrived yet, as far as is known.
        unacknowledged: The bytes of the far side's pieces that have arrived, and of which it has not heard.
    """

    def __init__(self) -> None:
        self.beside_messages: int = PIECES_BESIDE_MESSAGES
        self.quiet_since: float | None = None
        self._quiet_bytes = 0
        self._fast = False
        self.under_way: int = 0
        self.unacknowledged: int = 0

    @property
    def open(self) -> bool:
        """Whether a piece may be sent now. Otherwise those under way must arrive first."""
        most = PIECES_UNDER_WAY if self._fast and self.quiet_since is not None else self.beside_messages
        return self.under_way + PIECE_LIMIT <= most

    @property
    def ack_due(self) -> int:
        """The bytes that are to be acknowledged now; 0 for none yet."""
        # From half of the least that may be under way on, so there is always room for a piece when all have arrived.
        return self.unacknowledged if self.unacknowledged >= self.beside_messages // 2 else 0

    def send(self, message: Piece | Ack) -> None:
        """Count a message of this side."""
        if isinstance(message, Piece):
            self.under_way += len(message.data)
        else:
            self.unacknowledged -= message.bytes

    def receive(self, message: Piece | Ack) -> None:
        """Count a message of the far side.

        Raises:
            ProtocolError: It sends more than may be under way, or acknowledges more than was sent.
        """
        if isinstance(message, Piece):
            self.unacknowledged += len(message.data)
            if self.unacknowledged > PIECES_UNDER_WAY:
                raise ProtocolError(f"more than {PIECES_UNDER_WAY:,} bytes of pieces are under way")
        else:
            if message.bytes > self.under_way:
                raise ProtocolError(f"{message.bytes} bytes are acknowledged, and {self.under_way} are under way")
            self.under_way -= message.bytes
            self._quiet_bytes += message.bytes

    def note_time(self, now: float) -> None:
        """Note when pieces of this side have arrived, in seconds of any clock, and whether they came fast."""
        if self.quiet_since is None or self._quiet_bytes >= QUIET_BYTES:
            self._fast = self.quiet_since is not None and now - self.quiet_since <= QUIET_SECONDS
            self.quiet_since, self._quiet_bytes = now, 0


class Connection:
    """One side of a connection.

    Args:
        role: Which side.
        frame_limit: The largest frame, in bytes. A page takes the server's from its welcome, and both sides take that
            of the page's hello where it is smaller.

    Attributes:
        role: As above.
        state: How far it is.
        frame_limit: As above.
        far_beat: The seconds between two beats of the server, as its welcome says.
        window: How many bytes of pieces are under way, in both directions.
        waiting: Whether a frame can leave. It may be an attachment of no bytes.
        waiting_bytes: The size of the messages that no frame has taken yet.
        waiting_unasked: The bytes that those of them take which are queued whether there is room or not.
        sent_size: The bytes of the frame that ``next_frame`` has returned last, and ``sent_messages`` the number of its
            messages.
        received_size: The bytes of the frame that has come last, with the attachments behind it; 0 until all have come.
    """

    def __init__(self, role: Role, *, frame_limit: int = FRAME_LIMIT) -> None:
        self.role = role
        self.state: State = State.OPENING
        self.frame_limit: int = frame_limit
        self.far_beat: float | None = None
        self._way_limit: float = math.inf
        self._far_role = Role.PAGE if role is Role.SERVER else Role.SERVER
        self._last_id = 0
        self._last_far_id = 0
        self._last_stream = 0
        self._last_far_stream = 0
        self._asked: dict[int, type[Request]] = {}
        self._running: set[int] = set()
        self.window: Window = Window()
        #: What notes the messages that are more than requests and answers.
        self._note_sent: dict[type[Message], Callable[[Any], None]] = {
            Hello: self._apply_limits,
            Welcome: self._apply_limits,
            Piece: self.window.send,
            Ack: self.window.send,
        }
        self._note_received: dict[type[Message], Callable[[Any], None]] = {
            **self._note_sent,
            Piece: self.window.receive,
            Ack: self.window.receive,
        }
        self._waiting: deque[Encoded] = deque()
        #: Attachments that follow the frame that has left last, and the frame that has come and waits for its own.
        self._apart: deque[str | bytes] = deque()
        self._arriving: Arriving | None = None
        self.waiting: bool = False
        self.waiting_bytes: int = 0
        self.waiting_unasked: int = 0
        self.sent_size: int = 0
        self.sent_messages: int = 0
        self.received_size: int = 0

    @property
    def unanswered(self) -> int:
        """The number of this side's requests that the far side has not answered, cancelled ones included."""
        return len(self._asked)

    @property
    def running(self) -> int:
        """The number of the far side's requests that this side has not answered."""
        return len(self._running)

    @property
    def expected_size(self) -> int:
        """The bytes of the frame that comes next, where it is an attachment; 0 where that is not known."""
        return 0 if self._arriving is None else self._arriving.next_size

    def next_id(self) -> int:
        """Return the id of the next request of this side."""
        return self._last_id + 1

    def request(
        self,
        request: Request,
        channel: int,
        stream: StreamInfo | None = None,
        timeout: float | None = None,
        parent: int | None = None,
    ) -> int:
        """Number a request, queue it for the next frame, and return its id.

        Args:
            request: The request, whose own numbers do not count.
            channel: The number of its channel.
            stream: The announcement of its stream.
            timeout: The time left in seconds; ``None`` for no limit.
            parent: The far side's request on whose behalf it is made.

        Raises:
            What ``send`` raises. No number has been used then.
        """
        numbered = _number(request, self._last_id + 1, channel, stream=stream, timeout=timeout, parent=parent)
        self.send(numbered)
        return numbered.id

    def next_stream(self) -> int:
        """Return the number of the next stream of this side, which the next message with a stream must have."""
        return self._last_stream + 1

    @property
    def piece_room(self) -> int:
        """The most bytes that the next piece may have; 0 if none may leave, as until those under way have arrived."""
        if self.state is not State.READY or not self.window.open:
            return 0
        return min(PIECE_LIMIT, self.frame_limit - _PIECE_OVERHEAD)

    def send(self, message: Message) -> None:
        """Queue a message for the next frame.

        A cancel of a request that has been answered is dropped.

        Raises:
            ProtocolError: The message may not be sent by this side in this state, or answers no request that runs. This
                is this side's own mistake.
            ValueError: The message is larger than a frame may be. The message says both sizes.
        """
        state = _TRANSITIONS.get((self.role, self.state, type(message)))
        if state is None:
            raise self._explain_refusal(self.role, message)
        if isinstance(message, Cancel) and message.id not in self._asked:
            return
        if isinstance(message, Answer) and message.id not in self._running:
            raise ProtocolError(f"there is no request {message.id} to answer")
        if isinstance(message, Request) and message.id != self._last_id + 1:
            raise ProtocolError(f"the next request's id is {self._last_id + 1} and not {message.id}")
        encoded = encode(message)
        size = encoded.size + _FRAME_OVERHEAD
        if size > self.frame_limit:
            raise ValueError(
                f"a message of {size:,} bytes is larger than the connection takes at once, {self.frame_limit:,} bytes: "
                "send less at a time, or bytes as a stream"
            )
        self.state = state
        if isinstance(message, _MAY_CARRY_STREAM) and message.stream is not None:
            self._last_stream = message.stream.id
        if isinstance(message, Request):
            self._last_id = message.id
            self._asked[message.id] = type(message)
            self.window.quiet_since = None
        elif isinstance(message, Answer):
            self._running.discard(message.id)
            self.window.quiet_since = None
        note = self._note_sent.get(type(message))
        if note is not None:
            note(message)
        # A beat asks for a sign of life, or is one, whatever else there is to send.
        add = self._waiting.appendleft if isinstance(message, Beat) else self._waiting.append
        add(encoded)
        self.waiting = True
        self.waiting_bytes += encoded.size
        self.waiting_unasked += encoded.unasked

    def next_frame(self) -> str | bytes | None:
        """Return what is waiting, up to one batch, as a frame; ``None`` when nothing waits.

        Attachments that leave apart are the frames behind it.
        """
        if self._apart:
            frame = self._apart.popleft()
            self.sent_messages, self.sent_size = 0, len(frame)
            self.waiting_bytes -= self.sent_size
            self.waiting = bool(self._apart or self._waiting)
            return frame
        if not self._waiting:
            return None
        batch = [self._waiting.popleft()]
        size, unasked = batch[0].size, batch[0].unasked
        limit = min(BATCH_LIMIT, self.frame_limit) - _FRAME_OVERHEAD
        while self._waiting and size + self._waiting[0].size + 1 <= limit:
            batch.append(self._waiting.popleft())
            size += batch[-1].size + 1
            unasked += batch[-1].unasked
        frame, *apart = encode_frames(batch)
        self._apart.extend(apart)
        self.waiting_bytes -= size - (len(batch) - 1) - sum(map(len, apart))
        self.waiting_unasked -= unasked
        self.sent_messages = len(batch)
        self.sent_size = frame_size(frame)
        self.waiting = bool(self._apart or self._waiting)
        return frame

    def receive(self, frame: str | bytes) -> list[Message]:
        """Receive a frame from the far side, and return its messages, or none while it waits for its attachments.

        Raises:
            ProtocolError: The frame, or one of its messages at this time, is not one of the protocol. Nothing of the
                frame counts then, and the connection should end.
        """
        arriving = self._arriving
        if arriving is None:
            size = frame_size(frame)
            if len(frame) * 4 > BATCH_LIMIT and size > self.frame_limit:
                raise self._explain_size(size)
            arriving = Arriving(frame, size)
            if not arriving.whole:
                if arriving.size > self.frame_limit:
                    raise self._explain_size(arriving.size)
                if self.state is not State.READY:
                    raise ProtocolError("the handshake has no attachments")
        else:
            arriving.add(frame)
        if not arriving.whole:
            self._arriving, self.received_size = arriving, 0
            return []
        self._arriving = None
        size = self.received_size = arriving.size
        messages = arriving.finish()
        if size > BATCH_LIMIT and len(messages) > 1:
            raise ProtocolError(f"a frame of several messages has {size:,} bytes, and {BATCH_LIMIT:,} are the most")
        for message in messages:
            self._receive(message)
        return messages

    def _receive(self, message: Message) -> None:
        state = _TRANSITIONS.get((self._far_role, self.state, type(message)))
        if state is None:
            raise self._explain_refusal(self._far_role, message)
        self.state = state
        if isinstance(message, Request):
            self._receive_request(message)
        elif isinstance(message, Answer):
            self.window.quiet_since = None
            asked = self._asked.pop(message.id, None)
            if asked is None:
                raise ProtocolError(f"there is no request {message.id} that waits for an answer")
            if isinstance(message, Result):
                _check_result(message, asked)
        elif isinstance(message, Piece | End | Broken):
            self._check_announced(message.stream, self._last_far_stream)
        elif isinstance(message, Stop | Ticket | Credit):
            self._check_announced(message.stream, self._last_stream)
        note = self._note_received.get(type(message))
        if note is not None:
            note(message)
        if isinstance(message, _MAY_CARRY_STREAM) and message.stream is not None:
            self._receive_stream(message.stream)

    def _receive_request(self, request: Request) -> None:
        if request.id <= self._last_far_id:
            raise ProtocolError(f"the id {request.id} does not follow {self._last_far_id}")
        self._last_far_id = request.id
        self._running.add(request.id)
        self.window.quiet_since = None
        # A parent that was answered has crossed its child.
        if isinstance(request, _MAY_HAVE_PARENT) and request.parent is not None and request.parent > self._last_id:
            raise ProtocolError(f"there is no request {request.parent} that could be the parent of another")

    def _apply_limits(self, message: Hello | Welcome) -> None:
        """Apply the limits that the handshake's messages say, whichever side has sent them: the smallest holds."""
        if isinstance(message, Hello):
            if message.door == "comm":
                self.window.beside_messages = PIECES_UNDER_WAY
            if message.frame_limit is not None:
                self._way_limit = message.frame_limit
                self.frame_limit = min(self.frame_limit, message.frame_limit)
        else:
            self.frame_limit = int(min(self._way_limit, message.frame_limit))
            self.far_beat = message.beat

    def _receive_stream(self, stream: StreamInfo) -> None:
        if stream.id <= self._last_far_stream:
            raise ProtocolError(f"the stream number {stream.id} does not follow {self._last_far_stream}")
        self._last_far_stream = stream.id
        if stream.data is not None and stream.total not in (None, len(stream.data)):
            raise ProtocolError(f"a stream of {len(stream.data)} bytes cannot have a total of {stream.total}")
        if self._far_role is Role.PAGE and stream.ticket is not None:
            raise ProtocolError("a page's stream has no ticket of its own")
        if self._far_role is Role.SERVER and (stream.ticket is None) == (stream.data is None):
            raise ProtocolError("a server's stream has either its data or a ticket")

    def _check_announced(self, stream: int, last: int) -> None:
        if stream > last:
            raise ProtocolError(f"no stream {stream} has been announced")

    def _explain_size(self, size: int) -> ProtocolError:
        return ProtocolError(f"a frame of {size:,} bytes came, and {self.frame_limit:,} are the most")

    def _explain_refusal(self, sender: Role, message: Message) -> ProtocolError:
        side, state = sender.name.lower(), self.state.name.lower()
        return ProtocolError(f"the {side} may not send {message.type!r} while the state is {state!r}")


def _check_result(result: Result, asked: type[Request]) -> None:
    """Refuse a stream where none can be, and its absence where one must be."""
    if result.stream is None:
        if asked is Pipe:
            raise ProtocolError("a pipe is answered by a stream")
    elif asked not in (Call, Pipe):
        raise ProtocolError(f"a request of type {asked.type!r} is not answered by a stream")
    elif result.value is not None:
        raise ProtocolError("beside a stream the value is null")


def _number(
    request: Request, id_: int, channel: int, *, stream: StreamInfo | None, timeout: float | None, parent: int | None
) -> Request:
    """Return a request as it is sent."""
    if isinstance(request, Call):
        return Call(id_, channel, request.name, request.args, stream, timeout, parent)
    if isinstance(request, Pipe):
        assert stream is not None
        return Pipe(id_, channel, stream, timeout, parent)
    if isinstance(request, Echo):
        return Echo(id_, channel, request.args)
    if isinstance(request, Open):
        return Open(id_, channel, request.code, request.module, request.nan)
    return Close(id_, channel)

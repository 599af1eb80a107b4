"""A session: one connected socket, with the requests that are under way on it in both directions.

Requests are queued synchronously, and no task of a caller waits for the socket: a cancelled caller never leaves half a
frame behind. It serves both ends: the server's, and the Python peer's.
"""

from __future__ import annotations

import enum
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from jchannel._core.heartbeat import Heartbeat
from jchannel._core.incoming import IncomingStream
from jchannel._core.invocation import Invocation
from jchannel._core.limits import Limits
from jchannel._core.nursery import open_flat_nursery
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.pieces import Pieces
from jchannel._core.request import Request
from jchannel._core.room import Room
from jchannel._core.statistics import SocketTally
from jchannel._core.stream import StreamQuota
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.threads import TrioThreads
from jchannel._core.transport import Link, LinkClosed
from jchannel._core.trio_run import TrioRun
from jchannel._guarded import WIRE, is_logged, log, without_locals
from jchannel._protocol import messages
from jchannel._protocol.connection import Connection, Role, State
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
    End,
    Error,
    Goodbye,
    Message,
    Open,
    Piece,
    Pipe,
    Result,
    Stop,
    StreamInfo,
    StreamMessage,
)
from jchannel.errors import PageLostError, ProtocolError, RemoteError

if TYPE_CHECKING:
    from jchannel._core.endpoint import Endpoint

__all__ = ["Session"]

_T = TypeVar("_T")
_Sent = TypeVar("_Sent")

#: How long a stream waits for a call that has just been made, in seconds. Most have their answer before; each of the
#: others costs a stream this once.
PASSING_SECONDS: Final = 0.001


class FrameLoad:
    """What a frame of the far side holds: its bytes, for as long as one of its requests has no answer.

    How long each request is by itself is not known, and an honest far side puts no more than a batch together.
    """

    __slots__ = ("requests", "size")

    def __init__(self, size: int) -> None:
        self.size: int = size
        self.requests: int = 0


#: The requests of the far side that a channel answers.
_ANSWERED_BY_CHANNELS: Final = (Call, Echo, Pipe)

#: Those that end requests of their sender.
_ENDING: Final = {Cancel, Close, Goodbye}

#: Those that have a time and may carry a stream.
_WITH_TIME_AND_STREAM: Final = (Call, Pipe)

#: The most characters of a goodbye's message, where the whole of it does not fit into the far side's frames: at four
#: bytes a character, or six for what JSON escapes, they fit into the smallest.
_SHORT_GOODBYE: Final = 500


class SessionState(enum.Enum):
    """How far a session is."""

    ALIVE = enum.auto()
    """Frames are sent and handled."""

    ENDING = enum.auto()
    """Nothing that comes in is handled, and all that was under way has been ended. At most the goodbye is still sent,
    and the deadline of the session's scope says until when."""

    FINISHED = enum.auto()
    """The link is closed."""


#: The states that may follow a state. A session never goes back.
_FOLLOWING: Final = {
    SessionState.ALIVE: {SessionState.ENDING},
    SessionState.ENDING: {SessionState.FINISHED},
    SessionState.FINISHED: set[SessionState](),
}


class Session:
    """One connected socket. ``run`` lives as long as the connection.

    Args:
        link: The connection's link; the session closes it.
        connection: The connection's protocol, ready.
        channels: The channels that are open on this side, by their numbers: what answers the far side's requests.
        serve: Called with what opens and closes channels; ``None`` where the far side may not. It must not wait.
        limits: The limits of what the far side controls.
        no_channel: What the far side hears of a channel that is not open on this side.
        far_side: What the far side is called in messages for people.
        remote_error: The exception that the far side's errors become.
        streams: Where the streams of both directions are entered.
        heartbeat: Seconds between two beats, and the most that the answer may take. ``None``: this side answers them.
        far_beat: Seconds between two beats of the far side, which is lost when nothing comes from it for three of them;
            ``None`` where it sends none.
        tally: Counts what goes over the socket; ``None`` for one of its own.

    Attributes:
        is_server: Whether this side is the server, whose streams a page may take over HTTP: each has a ticket.
        alive: Whether requests can be made: it is not ending, and nobody has said goodbye. Safe in any thread.
        ending: Whether nothing that comes in is handled any more.
        client: The name of the page's client.
        door: By which of several ways the page has come; empty where it has one.
        door_reason: Why it could use no better one; otherwise empty.
        since: When it was connected, by trio's clock.
        heartbeat: Whether the far side lives.
        why_ended: Why it has ended, or is ending; empty while it is alive.
        room: The room to send.
        invocations: The far side's requests that run here, by their ids.
        running_bytes: The bytes of the frames that they came in.
        stream_quota: Counts the streams that the far side causes.
        frame_cancels: Whether the frame that is being handled ends requests, too: what it ends must not begin before.
        on_end: Called when it ends; ``None`` for nobody.
    """

    def __init__(
        self,
        link: Link,
        connection: Connection,
        *,
        channels: Mapping[int, Endpoint],
        serve: Callable[[Session, Open | Close], None] | None,
        limits: Limits,
        no_channel: str,
        far_side: str,
        remote_error: type[RemoteError],
        streams: StreamRegistry,
        heartbeat: float | None,
        far_beat: float | None = None,
        tally: SocketTally | None = None,
    ) -> None:
        self.client = ""
        self.door = ""
        self.door_reason = ""
        self._no_channel = no_channel
        self.far_side = far_side
        self.limits = limits
        self.remote_error = remote_error
        self._run = TrioRun()
        self.since: float = self._run.now()
        self.tally: SocketTally = SocketTally() if tally is None else tally
        self.why_ended: str = ""
        self.invocations: dict[int, Invocation] = {}
        self.running_bytes: int = 0
        self.is_server: bool = connection.role is Role.SERVER
        self.alive: bool = connection.state is State.READY
        self.ending: bool = False
        self._state = SessionState.ALIVE
        self._link = link
        self._connection = connection
        self._channels = channels
        self._serve = serve
        self._streams = streams
        self._pieces = Pieces(self, connection, streams)
        self.heartbeat: Heartbeat = Heartbeat(self, link, heartbeat, far_beat)
        self._answered = trio.lowlevel.ParkingLot()
        self._requests: dict[int, Request] = {}
        self.room: Room = Room(connection, limits)
        # Whether the program wants messages in the log. To ask for each would be a tenth of the work of a call.
        self._traces = is_logged(WIRE)
        self._load: FrameLoad | None = FrameLoad(0)
        self.frame_cancels: bool = False
        self.stream_quota: StreamQuota = StreamQuota(limits)
        self._writer_waits: trio.lowlevel.Task | None = None
        self._unsent = False
        self.on_end: Callable[[], None] | None = None
        self._scope = trio.CancelScope()
        self._finished = trio.Event()

    @property
    def threads(self) -> TrioThreads:
        """Where the blocking code of the server or the peer runs."""
        return self._streams.threads

    @property
    def pending(self) -> int:
        """The number of this side's requests that wait for their outcome."""
        return len(self._requests)

    @property
    def running(self) -> int:
        """The number of the far side's requests that run here."""
        return len(self.invocations)

    @property
    def finished(self) -> bool:
        """Whether the session has ended and its link is closed."""
        return self._state is SessionState.FINISHED

    @property
    def waiting_bytes(self) -> int:
        """The bytes that wait to be sent."""
        return self._connection.waiting_bytes

    # Requests of this side

    def request(
        self,
        request: Request,
        channel: int,
        timeout: float | None,
        parent: int | None,
        stream: StreamInfo | None = None,
    ) -> int:
        """Queue a request, and return the id that it was given; then ``send_queued``. The session must be alive.

        Args:
            request: The request.
            channel: The number of its channel.
            timeout: The time left in seconds; ``None`` for no limit.
            parent: The far side's request on whose behalf it is made.
            stream: The announcement of its stream; ``None`` without one.

        Raises:
            ValueError: The request is larger than a frame may be.
        """
        assert self.alive, self.why_ended
        id_ = self._connection.request(request.message, channel, stream, timeout, parent)
        if self._traces:  # Its own message is not numbered.
            text = messages.outline(request.message, id=id_, channel=channel)
            log(logging.DEBUG, "to %s: %s", self.far_side, text, name=WIRE)
        self._requests[id_] = request
        return id_

    def send_queued(self, *, more: bool = False) -> None:
        """Send what was queued: in this step where nothing else is under way, and otherwise soon, with what follows.

        Args:
            more: Whether others follow in this step.
        """
        if self.alive:
            try:
                self._send(at_once=not more and len(self._requests) <= 1 and len(self.invocations) <= 1)
            except Exception as error:  # noqa: BLE001 (a bulkhead)
                self.break_off(error)

    def forget(self, request: Request) -> None:
        """Forget a request that is done. A late answer to it is dropped."""
        if request.id is not None:
            self._requests.pop(request.id, None)

    @property
    def newest_request(self) -> int:
        """The id of this side's last request; 0 before the first."""
        return self._connection.next_id() - 1

    async def let_newest_pass(self, seen: int) -> int:
        """Wait until the newest request has its answer, for a short time, if it has been made since the last wait.

        A stream that fills every buffer on its way does so between what it sends: a call would have to wait until the
        far side has read all of it.

        Args:
            seen: What the last wait has returned; at first ``newest_request``.

        Returns:
            The id of the newest request.

        Cancelling it does nothing else.
        """
        newest = self.newest_request
        if newest > seen and newest in self._requests:
            with trio.move_on_after(PASSING_SECONDS):
                while newest in self._requests:
                    await self._answered.park()
        return newest

    # Requests of the far side

    def invoke(self, request: Call | Pipe | Open | Echo, make: type[Invocation]) -> Invocation:
        """Begin to answer a request of the far side.

        Args:
            request: The request.
            make: The class of its invocation.
        """
        assert self._state is SessionState.ALIVE, "nobody would cancel it"
        # Its scope is there from now on, and not from when its task runs: a cancel may stand in the same frame.
        invocation = self.invocations[request.id] = make(self, request, self._deadline_of(request))
        load = self._load
        assert load is not None, "find_full comes first"
        invocation.load = load
        if not load.requests:
            self.running_bytes += load.size
        load.requests += 1
        return invocation

    def find_full(self, request: Call | Echo | Pipe | Open) -> str | None:
        """Return what the far side hears of a request for which there is no room; ``None`` if there is."""
        limits, load = self.limits, self._load
        if load is None:  # It is the first one of its frame.
            load = self._load = FrameLoad(self._connection.received_size)
        if len(self.invocations) >= limits.running_requests:
            return f"too many calls at once: {limits.running_requests:,} are running already (Limits.running_requests)"
        if not load.requests and self.invocations and self.running_bytes + load.size > limits.running_bytes:
            return (
                f"too much at once: calls with {self.running_bytes:,} bytes are running already, with this one's "
                f"{load.size:,} it would be more than {limits.running_bytes:,} (Limits.running_bytes)"
            )
        stream = request.stream if isinstance(request, _WITH_TIME_AND_STREAM) else None
        if stream is not None and stream.data is None and self.stream_quota.used_up:
            return self.stream_quota.explain()
        return None

    def answer(self, answer: Answer) -> None:
        """Queue the answer to a request of the far side, if the session is alive; then ``send_queued``.

        Raises:
            ValueError: The answer is larger than a frame may be.
        """
        self.queue(answer)
        self._leave(answer.id)

    def forget_invocation(self, invocation: Invocation) -> None:
        """Forget an invocation that is over. One that was answered is forgotten already."""
        self._leave(invocation.id)

    def _leave(self, number: int) -> None:
        """Count what an invocation holds no more."""
        load = self.invocations.pop(number).load
        load.requests -= 1
        if not load.requests:
            self.running_bytes -= load.size

    def _deadline_of(self, request: messages.Request) -> float:
        """Return when the code that answers is cancelled: when its time, or its parent's on this side, is over."""
        deadline = math.inf
        if isinstance(request, _WITH_TIME_AND_STREAM):
            if request.timeout is not None:
                deadline = trio.current_time() + request.timeout
            parent = None if request.parent is None else self._requests.get(request.parent)
            if parent is not None:
                deadline = min(deadline, parent.deadline)
        return deadline

    # Streams

    def send_stream(self, stream: OutgoingStream, data: bytes | None, send: Callable[[StreamInfo], _Sent]) -> _Sent:
        """Number a stream of this side, and send the message that announces it.

        Args:
            stream: The stream.
            data: The whole of it, where it is short and ready. It travels inside the message, if there is room in it.
            send: Sends the message, and returns what is returned here.

        Raises:
            ValueError: The message is larger than a frame may be, even without the stream.
        """
        number = self._connection.next_stream()
        if data is not None:
            # A large message, or a way with small frames, leaves no room for it; it is no longer without it.
            with suppress(ValueError):
                sent = send(StreamInfo(number, len(data), data))
                stream.sent_inside()
                return sent
        self._streams.number(stream, self, number)
        ticket = self._streams.issue_ticket(stream) if self.is_server else None
        sent = send(StreamInfo(number, stream.total, None, ticket))
        stream.announced(self, number)
        return sent

    def begin_stream(self, stream: IncomingStream) -> None:
        """Make a stream's source send, because somebody has begun to read it."""
        try:
            self._pieces.request(stream, near=self.heartbeat.near)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self.break_off(error)  # It ends the stream, too, with an error that its reader gets.

    def stop_stream(self, number: int) -> None:
        """Make the source of a stream of the far side stop, because nobody wants more."""
        self.tell(Stop(number))

    def _handle_stream(self, message: StreamMessage) -> None:
        """Handle what the far side says of a stream. One that has ended has crossed it."""
        if isinstance(message, Piece | End | Broken):
            incoming = self._streams.find_incoming(self, message.stream)
            if not isinstance(message, Broken):
                self._pieces.receive(incoming, message)
            elif incoming is not None:
                incoming.fail(self.remote_error("exception", message.name, message.message))
            return
        outgoing = self._streams.find_outgoing(self, message.stream)
        if outgoing is None:
            return
        if isinstance(message, Stop):
            outgoing.stop()
        elif isinstance(message, Credit):
            self._pieces.allow(outgoing, message.bytes)
        else:
            self._pieces.take_ticket(outgoing, message)

    # The connection

    async def run(self, early: Sequence[Message] = (), begin: Callable[[], None] | None = None) -> None:
        """Run the session until its connection ends. Cancelling it ends the connection without a goodbye.

        Args:
            early: Messages that came in the same frame as the handshake's last.
            begin: Called first, to send what comes before everything else.

        The connection's own failures do not come out of here: they end the requests that are under way.
        """
        farewell = 0.0  # A session that is cancelled has no time for the link's closing handshake.
        try:
            try:
                if begin is not None:
                    begin()
            except Exception as error:  # noqa: BLE001 (a bulkhead)
                self.break_off(error)
            with self._scope:
                # Each has a task of its own: what has to be resumed for every frame is not deeper than it must be.
                async with open_flat_nursery() as nursery:
                    nursery.start_soon(self._write, name=f"writer to {self.far_side}")
                    nursery.start_soon(self._read, early, name=f"reader of {self.far_side}")
                    self.heartbeat.start(nursery)
            farewell = self.limits.close_seconds
        finally:
            self._end("the connection is closing")
            try:
                with trio.move_on_after(farewell, shield=True):
                    await self._link.aclose()
            except Exception as error:  # noqa: BLE001 (a bulkhead)
                self._log_late(error)
            finally:
                self._move(SessionState.FINISHED)
                self._finished.set()

    def wait_ended(self) -> Awaitable[None]:
        """Wait until the session has ended and its link is closed. Cancelling it does nothing else."""
        return self._finished.wait()

    def end(self, reason: str, message: str) -> None:
        """End the session on purpose: say goodbye with a reason of the wire, and close when that has been sent.

        Sending it is given ``Limits.close_seconds``.
        """
        if self._state is SessionState.ALIVE:
            said = self._say_goodbye(reason, message)
            self._end(message, seconds=self.limits.close_seconds if said else 0)

    def break_off(self, error: Exception) -> None:
        """End the session because of an unexpected error of the library, which is logged and ends nothing else.

        The far side hears a goodbye, where one can be sent.
        """
        # Another thread makes a step: handlers of the log and scopes are not for it.
        if threading.get_ident() != self._run.thread:
            self._run.run_soon(partial(self.break_off, error))
            return
        text = "an error of jchannel has ended the session with %s"
        log(logging.ERROR, text, self.far_side, error=without_locals(error))
        self.end("closed", "an error of jchannel has ended the session")

    def tell(self, message: Message, *, more: bool = True) -> None:
        """Queue a message to be sent, if the session is alive.

        Args:
            message: The message.
            more: Whether others may follow in this step.

        Raises:
            ValueError: It is larger than a frame may be.
        """
        if self.queue(message):
            self.send_queued(more=more)

    def queue(self, message: Message) -> bool:
        """Queue a message for the next frame, if the session is alive. Return whether it was queued.

        Raises:
            ValueError: It is larger than a frame may be.
        """
        if not self.alive:
            return False
        try:
            self._connection.send(message)
            if self._traces:
                self._trace("to", message)
        except ValueError:
            raise
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self.break_off(error)
        return self.alive

    def _say_goodbye(self, reason: str, message: str) -> bool:
        """Queue a goodbye, where the connection can carry one. Return whether it was queued."""
        if self._connection.state is not State.READY:
            return False  # The far side has said goodbye.
        try:
            try:
                self._connection.send(Goodbye(reason, message))
            except ValueError:
                self._connection.send(Goodbye(reason, message[:_SHORT_GOODBYE]))
            self.alive = False
            log(logging.DEBUG, "said goodbye to %s: %s", self.far_side, reason, name=WIRE)
            self._send()
        except Exception as error:  # noqa: BLE001 (a bulkhead: what has ended the session may be what fails here)
            self._log_late(error)
            return False
        return True

    def ask_log(self) -> None:
        """Ask whether the program wants messages in the log: at each beat, as it may change."""
        self._traces = is_logged(WIRE)

    def _trace(self, way: str, *traced: Message) -> None:
        """Log messages that have come or are going, without what they carry."""
        for message in traced:
            log(logging.DEBUG, "%s %s: %s", way, self.far_side, messages.outline(message), name=WIRE)

    def _send(self, *, at_once: bool = False) -> None:
        """Send what the connection has.

        Args:
            at_once: In this step, as far as the link takes it: for what is alone under way. Otherwise ``_write`` sends
                it, in one frame with all else that is queued until then.
        """
        # What is left of a frame is the writer's, also while it has not woken up yet.
        if at_once and not self._unsent and self._writer_waits is not None:
            self._send_frame()
            if not self._connection.waiting and not self._unsent:  # Attachments may follow their frame.
                return
        self.rouse_writer()

    def _send_frame(self) -> bool:
        """Send the next frame, as far as the link takes it. Return whether there was one."""
        if self._pieces.line and not self._connection.waiting:
            self._pieces.queue_next()
        frame = self._connection.next_frame() if self._connection.waiting else None
        if frame is None:
            return False
        self._unsent = not self._link.send_nowait(frame)
        self.tally.frames_sent += 1
        self.tally.messages_sent += self._connection.sent_messages
        self.tally.bytes_sent += self._connection.sent_size
        return True

    def rouse_writer(self) -> None:
        """Wake the writer, if it waits for something to send: ``Pieces.queue_next`` may have something, too."""
        if self._writer_waits is None:
            return
        if threading.get_ident() == self._run.thread:
            trio.lowlevel.reschedule(self._writer_waits)
            self._writer_waits = None
        else:
            self._run.run_soon(self.rouse_writer)

    @trio.lowlevel.enable_ki_protection  # An interrupt is the program's: half a step would break the session.
    async def _write(self) -> None:
        try:
            try:
                await self._write_frames()
            except Exception as error:
                if isinstance(error, LinkClosed) or not self.alive:
                    raise
                self.break_off(error)
                await self._write_frames()  # The goodbye.
        except LinkClosed as closed:
            self.lose(closed)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self._log_late(error)
            self.lose("an error of jchannel has ended it")

    async def _write_frames(self) -> None:
        """Write what is to be sent, up to the goodbye."""
        while True:
            if self._unsent:
                await self._link.flush()
                self._unsent = False
            if self.room.waited_for:
                self.room.go_on()
            woken = self.room.woken
            if woken:  # In the second pass of the scheduler all of them have had their step.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                self.room.woken = False
            if self._send_frame():
                continue
            if self._connection.state is State.ENDED:
                self._scope.cancel()
                return
            if not woken:
                self._writer_waits = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._writer_waits = None
        return trio.lowlevel.Abort.SUCCEEDED

    @trio.lowlevel.enable_ki_protection
    async def _read(self, early: Sequence[Message]) -> None:
        try:
            self._receive_frame(None, early)
            while True:
                if self._connection.waiting_unasked > self.room.most_unasked:
                    await self.room.wait_to_receive()
                self._receive_frame(await self._link.receive())
        except LinkClosed as closed:
            self.lose(closed)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self.break_off(error)

    def _receive_frame(self, frame: str | bytes | None, early: Sequence[Message] = ()) -> None:
        """Receive a frame, or handle messages that came early, up to the end of the session.

        A frame that comes after the end is dropped. It is received all the same: a far side that waits for somebody to
        read could not hear the goodbye.
        """
        if self.ending:  # Not `alive`: a goodbye that came early has ended the connection, and says why.
            return
        try:
            received = early
            if frame is not None:
                received = self._connection.receive(frame)
                if not received:  # Its attachments follow it.
                    self._link.expect(self._connection.expected_size)
                self._load = None
                self.tally.frames_received += 1
                self.tally.messages_received += len(received)
                self.tally.bytes_received += self._connection.received_size
                if self._connection.state is not State.READY:  # A goodbye has come.
                    self.alive = False
            if self._traces:
                self._trace("from", *received)
            self.frame_cancels = len(received) > 1 and not _ENDING.isdisjoint(map(type, received))
            for message in received:
                if self._state is not SessionState.ALIVE:
                    return  # What would begin now would be ended by nobody.
                self._handle(message)
        except ProtocolError as error:
            self.alive = self.alive and self._connection.state is State.READY
            log(logging.WARNING, "%s broke the protocol: %s", self.far_side, error)
            self.end("protocol", f"{self.far_side} broke the protocol: {error}")
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self.break_off(error)

    def _handle(self, message: Message) -> None:
        if isinstance(message, Answer):
            self._handle_answer(message)
        elif isinstance(message, _ANSWERED_BY_CHANNELS):
            self._handle_request(message)
        elif isinstance(message, Cancel):
            invocation = self.invocations.get(message.id)
            if invocation is not None:
                invocation.cancel_by_sender()
        elif isinstance(message, StreamMessage):
            self._handle_stream(message)
        elif isinstance(message, Beat):
            self.heartbeat.receive(message)
        elif isinstance(message, Ack):
            self._pieces.go_on()
        elif isinstance(message, Goodbye):
            self._end(f"{self.far_side} has closed the connection: {message.message}")
        else:
            assert isinstance(message, Open | Close), "the others are of the handshake"
            assert self._serve is not None, "the protocol's table of states lets only a server open and close channels"
            self._serve(self, message)

    def _handle_answer(self, answer: Answer) -> None:
        request = self._requests.pop(answer.id, None)
        if self._answered:
            self._answered.unpark_all()
        if request is not None:
            # A stream is there at once, and not when its request's task runs: it may break in the same frame.
            request.answer(answer)
        elif isinstance(answer, Result) and answer.stream is not None and answer.stream.data is None:
            self.stop_stream(answer.stream.id)  # Nobody waits for it any more.

    def _handle_request(self, request: Call | Echo | Pipe) -> None:
        channel = self._channels.get(request.channel)
        if channel is None:
            self.tell(Error(request.id, "channel", "", self._no_channel))
        elif (full := self.find_full(request)) is not None:
            self.tell(Error(request.id, "busy", "", full))
            if not isinstance(request, Echo) and request.stream is not None and request.stream.data is None:
                self.stop_stream(request.stream.id)
        elif isinstance(request, Echo) and self.room.free:
            channel.dispatcher.answer_echo(self, request)
        else:
            dispatcher = channel.dispatcher
            dispatcher.dispatch(self.invoke(request, dispatcher.methods.invocation_type))

    def lose(self, how: LinkClosed | str) -> None:
        """End the session, because its connection is lost."""
        self._end(f"the connection to {self.far_side} was lost: {how}")
        self._scope.cancel()  # A goodbye that was to be sent cannot be.

    def _end(self, why: str, *, seconds: float = 0) -> None:
        """End all that is under way, and the session within so many seconds. The first reason counts.

        It is one step, and it ends itself: there is no session that is not alive and never finishes.
        """
        if self._state is not SessionState.ALIVE:
            return
        self._move(SessionState.ENDING)
        self.why_ended = why
        log(logging.DEBUG, "the session with %s is ending: %s", self.far_side, why)
        if seconds:
            self._scope.deadline = trio.current_time() + seconds
        else:
            self._scope.cancel()
        for request in list(self._requests.values()):
            lost = PageLostError(f"the request has no answer: {why}. It may have run; it is not sent again")
            self._finish(request.fail, lost)
        for invocation in list(self.invocations.values()):
            self._finish(invocation.cancel)
        for stream in self._finish(self._streams.of_session, self) or ():
            if isinstance(stream, OutgoingStream):
                self._finish(stream.stop)
            else:
                assert isinstance(stream, IncomingStream)
                self._finish(stream.fail, PageLostError(f"the stream is not whole: {why}"))
        self._finish(self._streams.forget_tickets)
        self._finish(self.room.end)
        if self.on_end is not None:
            self._finish(self.on_end)

    def _finish(self, function: Callable[..., _T], *args: object) -> _T | None:
        """Take one step of the end. An error of it is logged, and keeps no other from being taken."""
        try:
            return function(*args)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self._log_late(error)
            return None

    def _log_late(self, error: Exception) -> None:
        """Log an error of the library that comes when there is no session any more that it could end."""
        text = "an error of jchannel came up when the session with %s was ending"
        log(logging.ERROR, text, self.far_side, error=without_locals(error))

    def _move(self, state: SessionState) -> None:
        assert state in _FOLLOWING[self._state], (self._state, state)
        self._state = state
        self.alive, self.ending = False, True

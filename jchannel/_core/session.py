"""A session: one connected socket, with the requests that are under way on it in both directions.

It owns the only task that sends. Requests are made synchronously, so that a cancelled caller never leaves half a frame
behind. It serves both ends: the server's, and the Python peer's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final

import trio

from jchannel._core.cut import MAX_NAME, send_cut
from jchannel._core.invocation import Answering, RunningCall
from jchannel._core.limits import Limits
from jchannel._core.nursery import open_flat_nursery
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.registry import Carrier, StreamTable
from jchannel._core.request import PendingRequest
from jchannel._core.statistics import SocketTally
from jchannel._core.transport import Link, LinkClosed
from jchannel._protocol.connection import Connection, State
from jchannel._protocol.messages import (
    Answer,
    Beat,
    Broken,
    Call,
    Cancel,
    Error,
    Goodbye,
    Message,
    Pipe,
    Request,
    Result,
    Stop,
    Ticket,
)
from jchannel._protocol.values import pack
from jchannel.errors import PageLostError, ProtocolError, RemoteError

__all__ = ["RunningRequest", "Session"]

logger = logging.getLogger("jchannel")

#: How long after connecting the round trip is measured for the first time, in seconds: soon, and not while the page has
#: its hands full with opening its channels.
FIRST_PING_SECONDS: Final = 0.2


class Session:
    """One connected socket. ``run`` lives as long as the connection.

    Args:
        link: The connection's link; the session closes it.
        connection: The connection's protocol, ready.
        serve: Called with each request of the far side. It must start whatever answers it, and not wait.
        limits: The server's limits.
        far_side: What the far side is called in messages for people.
        remote_error: The exception that the far side's errors become.
        carrier: Carries the bytes of streams.
        heartbeat: Seconds between two pings, and the most that the answer may take. ``None``: the other side pings.
        tally: Counts what goes over the socket; ``None`` for one of its own.
    """

    def __init__(
        self,
        link: Link,
        connection: Connection,
        *,
        serve: Callable[[Session, Request], None],
        limits: Limits,
        far_side: str,
        remote_error: type[RemoteError],
        carrier: Carrier,
        heartbeat: float | None,
        tally: SocketTally | None = None,
    ) -> None:
        #: The streams of both directions that come and go beside the messages.
        self.streams = StreamTable(
            self._tell, connection.next_stream, carrier, lambda name, text: remote_error("exception", name, text)
        )
        self.client = ""
        self.far_side = far_side
        self.since = trio.current_time()
        self.tally = SocketTally() if tally is None else tally
        #: The seconds that the last ping took; ``None`` before the first has been answered.
        self.round_trip: float | None = None
        self._link = link
        self._connection = connection
        self._serve = serve
        self._limits = limits
        self._remote_error = remote_error
        self._heartbeat = heartbeat
        self._pending: dict[int, PendingRequest] = {}
        self._running: dict[int, trio.CancelScope] = {}
        self._cancelled: set[int] = set()
        self._wake_writer = trio.lowlevel.ParkingLot()
        self._room_made = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._why = ""

    @property
    def pending(self) -> int:
        """The number of this side's requests that wait for their outcome."""
        return len(self._pending)

    @property
    def running(self) -> int:
        """The number of the far side's requests that run here."""
        return len(self._running)

    @property
    def alive(self) -> bool:
        """Whether requests can be made."""
        return not self._why and self._connection.state is State.READY

    @property
    def why_ended(self) -> str:
        """Why the session has ended, or is ending; empty while it is alive."""
        return self._why

    # Requests of this side

    @property
    def has_room(self) -> bool:
        """Whether what waits to be sent is below the limit."""
        return self._connection.waiting_bytes <= self._limits.send_buffer_bytes

    async def wait_room(self) -> None:
        """Waits until there may be room to send, or the session has ended. Cancelling it does nothing else."""
        await self._room_made.park()

    def send_request(self, make: Callable[[int], Request], deadline: float = math.inf) -> PendingRequest:
        """Sends a request at once.

        Args:
            make: Makes the request's message for the id it is given.
            deadline: When this side's time for it is over, by trio's clock.

        The session must be alive.

        Raises:
            ValueError: The request is larger than a frame may be.
        """
        assert self.alive, self._why
        request = make(self._connection.next_id())
        self._send(request)
        pending = PendingRequest(request, deadline)
        self._pending[request.id] = pending
        return pending

    async def wait_answer(self, pending: PendingRequest) -> Any:
        """Waits for the outcome of a request, and gives its value. The stream of an answer is with the request.

        Cancelling it cancels the request on the far side, and waits at most ``Limits.cancel_seconds`` until it has
        ended there.

        Raises:
            PageLostError: The session ended meanwhile.
            RemoteError: The far side answered with an error.
            ClosedError: The channel was closed meanwhile, on either side.
            trio.TooSlowError: The far side ended it, because the time that went with it was over.
            RemoteCancelledError: The far side's program cancelled it.
        """
        try:
            await pending.wait()
            if pending.was_too_slow and pending.deadline < math.inf:
                # The far side's clock was first. This side's scopes say what comes of it, in a moment.
                await trio.sleep_until(pending.deadline)
        except trio.Cancelled:
            self.cancel_request(pending)
            with trio.move_on_after(self._limits.cancel_seconds, shield=True):
                await pending.wait()
            if pending.stream is not None:
                pending.stream.drop()
            raise
        finally:
            self._pending.pop(pending.request.id, None)
        return pending.unwrap(self._remote_error)

    def cancel_request(self, pending: PendingRequest) -> None:
        """Tells the far side that a request is not wanted any more."""
        if not pending.ended:
            pending.cancelled = True
            self._tell(Cancel(pending.request.id))

    # Requests of the far side

    def scope_of(self, request: Request) -> trio.CancelScope:
        """The scope in which a request that has just come in will run."""
        return self._running[request.id]

    def was_cancelled(self, request: Request) -> bool:
        """Whether the far side has cancelled a request that runs here."""
        return request.id in self._cancelled

    @property
    def waiting_bytes(self) -> int:
        """The bytes that wait to be sent."""
        return self._connection.waiting_bytes

    def running_request(self, request: Request) -> RunningRequest:
        """What is entered round the code that answers a request."""
        return RunningRequest(self, request, self._running[request.id])

    def finish_request(self, request: Request, scope: trio.CancelScope) -> None:
        """Answers a request whose scope is being left, if nothing else has answered it."""
        if request.id in self._running:
            self._answer_unfinished(request, scope)
        self._cancelled.discard(request.id)

    def answer_value(self, request: Request, value: object, *, shown_as: str = "result") -> bool:
        """Answers a request with a value, or with the error that says why the value cannot be sent.

        Tells whether it is the value that was sent.
        """
        try:
            self._answer(Result(request.id, pack(value, field_name="value", shown_as=shown_as)))
        except (TypeError, ValueError) as error:
            self.answer_error(request, "value", type(error).__name__, str(error))
            return False
        return self.alive

    def answer_stream(self, request: Request, stream: OutgoingStream, data: bytes | None) -> None:
        """Answers a request with a stream.

        Args:
            request: The request.
            stream: The stream.
            data: The whole of it, where it is short and ready.

        Raises:
            ValueError: Its announcement is larger than a frame may be.
        """
        if not self.alive:
            stream.stop()
        if stream.stopped:
            return  # It is closed with its channel, or its session, and the request is answered as ended.
        info = self.streams.announce(stream, data)
        self._answer(Result(request.id, pack(None, field_name="value", shown_as="result"), info))
        self.streams.announced(stream, info)

    def answer_error(self, request: Request, kind: str, name: str, message: str, stack: str | None = None) -> None:
        """Answers a request with an error. What is too long for a person to read, or for a frame, is cut."""
        send_cut(
            lambda most: self._answer(Error(request.id, kind, name[:MAX_NAME], message[:most], stack and stack[-most:]))
        )

    def _answer_unfinished(self, request: Request, scope: trio.CancelScope) -> None:
        if request.id in self._cancelled:
            self._answer(Error(request.id, "cancelled", "", "the request was cancelled by its sender"))
        elif scope.deadline <= trio.current_time():
            self._answer(Error(request.id, "timeout", "", "the time of the request was over before it was answered"))
        else:
            self._answer(Error(request.id, "ended", "", "the channel was closed while the request was running"))

    def _answer(self, answer: Answer) -> None:
        if self.alive:
            self._send(answer)
        self._running.pop(answer.id)

    # The connection

    async def run(self, early: Sequence[Message] = ()) -> None:
        """Runs the session until its connection ends. Cancelling it ends the connection without a goodbye.

        ``early`` are messages that came in the same frame as the handshake's last.

        The connection's own failures do not come out of here: they end the requests that are under way.
        """
        farewell = 0.0  # A session that is cancelled has no time for the link's closing handshake.
        try:
            with self._scope:
                async with open_flat_nursery() as nursery:
                    nursery.start_soon(self._until_lost, self._write, name=f"writer to {self.far_side}")
                    if self._heartbeat is not None:
                        beat = partial(self._beat, self._heartbeat)
                        nursery.start_soon(self._until_lost, beat, name=f"heartbeat of {self.far_side}")
                    await self._until_lost(partial(self._read, early))
            farewell = self._limits.close_seconds
        finally:
            self._end("the connection is closing")
            with trio.move_on_after(farewell, shield=True):
                await self._link.aclose()
            self._ended.set()

    @property
    def finished(self) -> bool:
        """Whether the session has ended and its link is closed."""
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Waits until the session has ended and its link is closed. Cancelling it does nothing else."""
        await self._ended.wait()

    def end(self, reason: str, message: str) -> None:
        """Ends the session on purpose: says goodbye with a reason of the wire, and closes when that has been sent.

        Sending it is given ``Limits.close_seconds``.
        """
        if self.alive:
            self._send(Goodbye(reason, message))
            self._end(message)
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + self._limits.close_seconds)

    def _tell(self, message: Message) -> None:
        if self.alive:
            self._send(message)

    def _send(self, message: Message) -> None:
        self._connection.send(message)
        self.tally.messages_sent += 1
        self._wake_writer.unpark_all()

    async def _until_lost(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does a part of the session's work until the link is closed, which ends the session."""
        try:
            await work()
        except LinkClosed as closed:
            self._lose(closed)

    async def _write(self) -> None:
        while True:
            frame = self._connection.next_frame()
            if frame is not None:
                await self._link.send(frame)
                self.tally.count_sent(frame)
                self._room_made.unpark_all()
            elif self._connection.state is State.ENDED:
                self._scope.cancel()
                return
            else:
                await self._wake_writer.park()

    async def _beat(self, period: float) -> None:
        first = min(FIRST_PING_SECONDS, period / 2)
        await trio.sleep(first)
        if self.alive:
            await self._ping(period)
        await trio.sleep(period - first)
        while self.alive:
            self._send(Beat())
            await self._ping(period)
            await trio.sleep(period)

    async def _ping(self, limit: float) -> None:
        began = trio.current_time()
        with trio.move_on_after(limit):
            await self._link.ping()
            self.round_trip = trio.current_time() - began
            return
        self._lose(f"it did not answer a ping within {limit:g} s")

    async def _read(self, early: Sequence[Message]) -> None:
        try:
            for message in early:
                self._handle(message)
            while True:
                frame = await self._link.receive()
                if self._connection.state is State.ENDED:
                    continue
                messages = self._connection.receive(frame)
                self.tally.count_received(frame, len(messages))
                for message in messages:
                    self._handle(message)
        except ProtocolError as error:
            logger.warning("%s broke the protocol: %s", self.far_side, error)
            self.end("protocol", f"{self.far_side} broke the protocol: {error}")
            await trio.sleep_forever()  # Until the goodbye has been sent, or its time is over.

    def _handle(self, message: Message) -> None:
        if isinstance(message, Result | Error):
            pending = self._pending.pop(message.id, None)
            # A stream is there at once, and not when its request's task runs: it may break in the same frame.
            info = message.stream if isinstance(message, Result) else None
            stream = None if info is None else self.streams.accept(info)
            if (pending is None or not pending.answer(message, stream)) and stream is not None:
                stream.drop()
        elif isinstance(message, Ticket | Stop | Broken):
            self.streams.handle(message)
        elif isinstance(message, Request):
            self._handle_request(message)
        elif isinstance(message, Cancel):
            scope = self._running.get(message.id)
            if scope is not None:
                self._cancelled.add(message.id)
                scope.cancel()
        elif isinstance(message, Goodbye):
            self._end(f"{self.far_side} has closed the connection: {message.message}")
            self._scope.cancel()

    def _handle_request(self, request: Request) -> None:
        # The scope is there from now on, and not from when its task runs: a cancel may stand in the same frame.
        self._running[request.id] = trio.CancelScope(deadline=self._deadline_of(request))
        if len(self._running) > self._limits.running_requests:
            message = f"too many calls at once: {self._limits.running_requests:,} are running already"
            self.answer_error(request, "busy", "", message)
        else:
            self._serve(self, request)

    def _deadline_of(self, request: Request) -> float:
        """When the code that answers a request is cancelled: when its time, or its parent's on this side, is over."""
        deadline = math.inf
        if isinstance(request, Call | Pipe):
            if request.timeout is not None:
                deadline = trio.current_time() + request.timeout
            parent = None if request.parent is None else self._pending.get(request.parent)
            if parent is not None:
                deadline = min(deadline, parent.deadline)
        return deadline

    def _lose(self, how: LinkClosed | str) -> None:
        self._end(f"the connection to {self.far_side} was lost: {how}")
        self._scope.cancel()

    def _end(self, why: str) -> None:
        """Ends all that is under way. The first reason counts."""
        if self._why:
            return
        self._why = why
        for pending in self._pending.values():
            pending.fail(PageLostError(f"the request has no answer: {why}. It may have run; it is not sent again"))
        for scope in self._running.values():
            scope.cancel()
        self.streams.end(PageLostError(f"the stream is not whole: {why}"))
        self._room_made.unpark_all()


class RunningRequest:
    """A context manager round the code that answers a request. It gives the scope in which the code runs.

    The far side's cancel, the end of the request's time and the session's end cancel the scope. Whatever happens
    inside, the request is answered when it is left: as cancelled, too slow or ended if nothing else was answered.
    """

    __slots__ = ("_answering", "_request", "_running", "_scope", "_session")

    def __init__(self, session: Session, request: Request, scope: trio.CancelScope) -> None:
        self._session = session
        self._request = request
        self._scope = scope
        self._running = RunningCall(session, request.id, scope)
        self._answering = Answering(self._running)

    def __enter__(self) -> trio.CancelScope:
        self._scope.__enter__()
        self._answering.__enter__()
        return self._scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            self._answering.__exit__(kind, error, traceback)
            self._running.answered = True
            self._session.finish_request(self._request, self._scope)
        finally:
            swallowed = self._scope.__exit__(kind, error, traceback)
        return swallowed

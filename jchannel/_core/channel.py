"""The server's channels: opening and closing them, and opening them again when a page comes back."""

from __future__ import annotations

import enum
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import outcome
import trio

from jchannel._core.arguments import check_code
from jchannel._core.endpoint import Endpoint
from jchannel._core.forked import FORKED
from jchannel._core.handlers import Methods
from jchannel._core.incoming import read_in_trio
from jchannel._core.javascript import explain_stack
from jchannel._core.limits import Limits
from jchannel._core.nursery import copy_error, open_flat_nursery
from jchannel._core.outbox import ConvertStream
from jchannel._core.request import Request
from jchannel._core.session import Session
from jchannel._core.watch import Board, ChannelStatus
from jchannel._guarded import log, repr_of
from jchannel._protocol.messages import UNSENT, Close, Open
from jchannel._protocol.values import Conversion
from jchannel.errors import ClosedError, FrontendError, PageLostError, StateError

if TYPE_CHECKING:
    from jchannel._core.server import Server

__all__ = ["BLOCK_LEFT", "CLOSED", "ChannelState", "ServerChannel"]

#: Why a channel was closed, as the end of a sentence: by its user's call, and at the end of its user's block.
CLOSED: Final = "close() was called, and open() opens it again"
BLOCK_LEFT: Final = "its block was left"


class ChannelState(enum.Enum):
    """How far a channel is."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"


class Opening:
    """One opening of a channel: a channel that is closed and opened again is another one to all who waited.

    Attributes:
        error: Why the channel has been closed, for those who wait for the opening.
        closed: Set when the channel has been closed.
        released: Set when its tasks have ended, where ``hold`` owns them.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.closed: trio.Event = trio.Event()
        self.released: trio.Event = trio.Event()


class ServerChannel(Endpoint):
    """A channel between Python and whichever page is connected.

    A channel outlives a page: when a page comes back after a reload, a crash or a lost network, the channel is opened
    in it again before anything else is sent, and requests made meanwhile wait for that, within their timeouts.

    Its tasks belong to the nursery of ``own_tasks`` or ``hold``.

    Args:
        server: Its server.
        code: JavaScript that evaluates to the initialization function. It receives the page's side of the channel.
        module: The module of the page whose default export is the initialization function, in the place of code.
        handler: As that of ``Endpoint``.
        methods: As that of ``Endpoint``.
        convert_stream: As that of ``Endpoint``.
        conversion: As that of ``Endpoint``; ``None`` for the server's.

    Attributes:
        server: As above.
        code: As above; empty where there is a module.
        module: As above; empty where there is code.
        opening: The present or last opening.
        board: Shows how far it is.

    Raises:
        TypeError: The code or the module is not a str, or there are both or neither.
        ValueError: The module is empty.
    """

    _far_side = "the page"
    _reconnects = True

    def __init__(
        self,
        server: Server,
        code: str | None,
        *,
        module: str | None = None,
        handler: object = None,
        methods: Methods | None = None,
        convert_stream: ConvertStream = read_in_trio,
        conversion: Conversion | None = None,
    ) -> None:
        check_code(code, module)
        super().__init__(
            handler,
            nursery=None,
            streams=server.streams,
            deadlines=server.deadlines,
            methods=Methods() if methods is None else methods,
            convert_stream=convert_stream,
            tracebacks=server.tracebacks,
            tally=server.tally,
            conversion=server.conversion if conversion is None else conversion,
        )
        self.code: str = code or ""
        self.module: str = module or ""
        self.server = server
        self.limits: Limits = server.limits
        # The channel's number while it is open or opening, and the session in which the page has opened it.
        self._id: int | None = None
        self._session: Session | None = None
        self._left = False
        self._open_request: Request | None = None
        self.opening: Opening = Opening()
        status = ChannelStatus(state="closed", openings=0, why="it has not been opened: call open() first")
        self.board: Board[ChannelStatus] = Board(status)
        server.channel_boards.add(self.board)
        self._openings = 0
        self._value: Any = None
        self._changed = trio.lowlevel.ParkingLot()
        self._why_closed = "it has not been opened: call open() first"
        self._failure: Exception | None = None
        self._last_wait = ""
        self.outbox.close(ClosedError(f"the channel is closed: {self._why_closed}"))

    @property
    def number(self) -> int | None:
        """Its number while it is open or opening: another one at each opening. Safe in any thread."""
        return self._id

    @property
    def state(self) -> ChannelState:
        """How far it is. Safe in any thread."""
        if self._id is None:
            return ChannelState.CLOSED
        session = self._session  # Once: other threads ask, too.
        return ChannelState.OPEN if session is not None and session.alive else ChannelState.OPENING

    # Its tasks

    @asynccontextmanager
    async def own_tasks(self) -> AsyncIterator[trio.Nursery]:
        """Own the channel's tasks for the time of an ``async with`` block, and wait for them at its end.

        Cancelling it cancels them.
        """
        self.server.add(self)
        try:
            async with open_flat_nursery() as nursery:
                self.use_nursery(nursery)
                try:
                    yield nursery
                finally:
                    self.leave_nursery(nursery)
        finally:
            self.server.remove(self)

    async def hold(self, opening: Opening) -> None:
        """Own the channel's tasks until an opening has ended: for channels that no block owns.

        An error of the library is logged, and ends the channel and nothing else.
        """
        try:
            # Of one that has been closed already, the one that has followed it may own the tasks.
            if self.has_waiting_tasks or not opening.closed.is_set():
                async with self.own_tasks():
                    await opening.closed.wait()
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            log(logging.ERROR, "a channel has ended with an error of jchannel", error=error)
            failure = ClosedError(f"the channel has ended with an error: {repr_of(error)}")
            failure.__cause__ = error
            if opening is self.opening:
                self.shut("it has ended with an error", error=failure)
        finally:
            if opening is self.opening:
                self.shut("its server was closed")
            opening.released.set()

    # Opening and closing

    def begin_open(self) -> Opening:
        """Begin to open the channel. It is being opened from now on.

        Raises:
            StateError: It is open already.
            ClosedError: The server is closed.
            ValueError: The code is larger than the connection takes at once.
        """
        if self._id is not None:
            raise StateError("the channel is open already: close it before you open it again")
        if self._left:
            raise ClosedError(f"the channel is closed: {BLOCK_LEFT}; open another one")
        self._id, self._failure = self.server.register(self), None
        log(logging.DEBUG, "channel %d is being opened", self._id)
        self.outbox.reopen()
        opening = self.opening = Opening()
        self.note_state()
        session = self.server.session
        if session is not None:
            try:
                self.attach(session)
            except Exception as error:  # noqa: BLE001 (a bulkhead)
                session.break_off(error)  # The next page opens it.
            if opening.error is not None:
                raise opening.error
        return opening

    async def wait_open(self, opening: Opening, limit: float) -> Any:
        """Wait until the channel is open, and return what its initialization function returned.

        Args:
            opening: What ``begin_open`` has returned.
            limit: Seconds for the whole, waiting for a page included.

        Raises:
            trio.TooSlowError: The time ran out. The channel is closed then.
            What has closed the channel.

        Cancelling it closes the channel.
        """
        with trio.move_on_after(limit):
            try:
                while opening.error is None and self.state is not ChannelState.OPEN:
                    await self._changed.park()
            except BaseException:
                if opening.error is None:
                    self.shut("opening it was given up")
                raise
            if opening.error is not None:
                raise copy_error(opening.error)
            return self._value
        raise trio.TooSlowError(f"the channel was not opened within {limit:g} s: {self._last_wait}")

    async def wait_closed(self, close_request: Request | None, limit: float, held: Opening | None = None) -> None:
        """Wait until the page has taken note that the channel is closed, and its running handler methods have ended.

        Args:
            close_request: What ``shut`` has returned.
            limit: Seconds for the whole.
            held: The opening that was closed, where ``hold`` owns its tasks: the sources of its streams are waited for,
                too. A block waits for its own tasks when it is left.

        Raises:
            trio.TooSlowError: The time ran out.

        Cancelling it stops the waiting; the channel is closed all the same.
        """
        with trio.move_on_after(limit):
            await trio.lowlevel.checkpoint()
            if close_request is not None:
                # A page that is gone, or has no such channel any more, has closed it by that.
                with suppress(PageLostError, ClosedError):
                    await close_request.wait()
            await self.dispatcher.wait_ended()
            if held is not None:
                await held.released.wait()
            return
        raise trio.TooSlowError(
            f"closing the channel was not confirmed within {limit:g} s; on this side it is closed all the same"
        )

    def attach(self, session: Session) -> None:
        """Open the channel in a page that has just connected, before anything else is sent."""
        assert self._id is not None
        code, module = (None, self.module) if self.module else (self.code, None)
        nan = None if self.conversion.nan == "refuse" else self.conversion.nan
        self._open_request = self.outbox.send_now(Open(UNSENT, UNSENT, code, module, nan), session, self._id, self)
        if self._open_request.done:
            self._open_request = None

    def leave(self) -> None:
        """Close this side for good, as the block that owned its tasks is being left."""
        self.shut(BLOCK_LEFT)
        self._left = True
        self.board.end()

    def shut(
        self, why: str, *, tell: bool = True, cause: Exception | None = None, error: ClosedError | None = None
    ) -> Request | None:
        """Close this side at once, without waiting.

        Args:
            why: The reason, as the end of a sentence about the channel.
            tell: Whether to tell the page. A server that is closing says goodbye for all of them.
            cause: The error behind it, which those who wait get as the cause; ``None`` where there is none.
            error: What those who wait get, where it is another error than one that says why.

        Returns:
            The request that tells the page, where there is a page to be told.
        """
        if self._id is None:
            return None
        channel, self._id = self._id, None
        self.server.unregister(channel)
        log(logging.DEBUG, "channel %d is closed: %s", channel, why)
        self._last_wait = self.explain_wait()
        self._why_closed = why
        if error is None:
            error = ClosedError(f"the channel is closed: {why}")
            error.__cause__ = self._failure or cause
        self.opening.error = self._failure or error
        self.opening.closed.set()
        # The page hears it of `close`: a `cancel` before it would give its readers another reason.
        self._end_all(error)
        session = self._session
        opening, self._open_request, self._session = self._open_request, None, None
        if opening is not None:
            session = opening.session
            if tell:
                opening.cancel()
            opening.fail(ClosedError(f"the channel is closed: {why}"))
        self._changed.unpark_all()
        self.note_state()
        if session is None or not session.alive or not tell:
            return None
        return self.outbox.send_now(Close(UNSENT, UNSENT), session, channel, None)

    def disown(self) -> None:
        """Refuse to be used in a forked process. What is under way is its parent's, and nothing of it is touched."""
        self._id = self._session = self._open_request = None
        self._why_closed = FORKED
        self.outbox.disown(ClosedError(FORKED))

    def note_done(self, request: Request) -> None:
        """Handle the page's answer to an opening."""
        if self._id is None:
            return  # It was closed meanwhile.
        self._open_request = None
        result = request.outcome
        if isinstance(result, outcome.Value):
            self._session = request.session
            self._value = result.value
            log(logging.DEBUG, "channel %d is open in a page", self._id)
            self._changed.unpark_all()
            assert request.session is not None
            self._openings += 1
            self.note_state()
            self.outbox.connect(request.session, self._id)
            return
        assert isinstance(result, outcome.Error)
        error = result.error
        if isinstance(error, PageLostError):
            return  # The next page gets its own.
        # Whatever the page's answer means: its code may have been cancelled (`aborted`), or its time be over.
        assert isinstance(error, Exception)
        if self._session is not None:
            log(logging.ERROR, "a channel could not be opened again in a new page: %s", error)
        self._failure = error
        self.shut("the page could not open it")

    # Its state

    def note_state(self) -> None:
        """Show those who watch how far it is now."""
        state = self.state
        why = self._why_closed if state is ChannelState.CLOSED else ""
        self.board.show(ChannelStatus(state=state.value, openings=self._openings, why=why))

    def _describe(self) -> tuple[int | None, str]:
        number, session = self._id, self._session
        if number is None:
            return None, f"closed: {self._why_closed}"
        is_open = session is not None and session.alive
        return number, "open" if is_open else f"being opened: {self.explain_wait()}"

    def annotate(self, error: Exception) -> None:
        """Add the stack of an error in JavaScript as a note."""
        if isinstance(error, FrontendError):
            note = explain_stack(error.stack, self.code, self._id)
            if note is not None:
                error.add_note(note)

    def explain_wait(self) -> str:
        """Return what requests that have not been sent wait for, as a sentence. Safe in any thread."""
        session = self._session  # Once: the tree asks it in other threads.
        if session is not None and session.alive:
            return "the page does not take what waits to be sent"
        return self.server.explain_wait() or "the page has not opened the channel yet"

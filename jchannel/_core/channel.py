"""The server's channels: opening and closing them, and opening them again when a page comes back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

import trio

from jchannel._core.arguments import check_timeout
from jchannel._core.channel_streams import Give, give
from jchannel._core.endpoint import Endpoint
from jchannel._core.handlers import Invoke, invoke
from jchannel._core.request import PendingRequest, raise_copy
from jchannel._core.session import Session
from jchannel._core.statistics import ChannelTally
from jchannel._notebook.desk import Claims
from jchannel._notebook.figures import describe_channel
from jchannel._notebook.panel import Mood, Panel
from jchannel._protocol.messages import Close, Open
from jchannel.errors import ClosedError, PageLostError, RemoteError, StateError

__all__ = ["Channel"]

logger = logging.getLogger("jchannel")


class Host(Protocol):
    """What a channel needs of its server."""

    url: str
    tracebacks: bool
    claims: Claims
    tally: ChannelTally

    @property
    def session(self) -> Session | None:
        """The session of the page that is connected, or ``None``."""

    def register(self, channel: Channel) -> int:
        """Gives a channel that is being opened its number, or raises ``ClosedError``."""

    def unregister(self, number: int) -> None:
        """Forgets a channel that is being closed."""

    def explain_wait(self) -> str:
        """What a channel waits for, when it waits for a page; empty when one is connected."""


class Channel(Endpoint):
    """A channel between Python and whichever page is connected. ``Server.open_channel`` makes them.

    A channel outlives a page: when a page comes back after a reload, a crash or a lost network, the channel is opened
    in it again before anything else is sent, and calls made meanwhile wait for that, within their timeouts.

    Attributes:
        code: JavaScript that evaluates to the initialization function. It receives the page's side of the channel.
        handler: The object that handles calls from the page, or ``None``.
    """

    def __init__(
        self,
        server: Host,
        code: str,
        nursery: trio.Nursery,
        *,
        handler: object = None,
        run_method: Invoke = invoke,
        give_stream: Give = give,
    ) -> None:
        super().__init__(
            nursery,
            handler,
            tracebacks=server.tracebacks,
            run_method=run_method,
            give_stream=give_stream,
            tally=server.tally,
        )
        self.code = code
        self._server = server
        self._context_timeout: float | None = 3
        # The channel's number while it is open or opening, and the session in which the page has opened it.
        self._id: int | None = None
        self._session: Session | None = None
        self._opening: tuple[Session, PendingRequest] | None = None
        self._term = _Term()
        self._value: Any = None
        self._changed = trio.lowlevel.ParkingLot()
        self._why_closed = "it has not been opened: call open() first"
        self._failure: Exception | None = None
        self._last_wait = ""

    def __repr__(self) -> str:
        state = "closed" if self._id is None else "open" if self._session else "opening"
        return f"<{type(self).__module__}.{type(self).__qualname__} {state}, {self._server.url}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """As IPython asks for: in notebooks, a panel."""
        return {"text/plain": repr(self), "text/html": self._server.claims.panels.render(self)}

    def panel(self) -> Panel:
        """What its panel in a notebook says now. It can be asked in any thread, and never waits."""
        session = self._session  # Once: other threads ask, too.
        state: str
        mood: Mood
        if self._id is None:
            state, mood = "closed", "off"
        elif session is not None and session.alive:
            state, mood = "open", "good"
        else:
            state, mood = "being opened" if self._server.session else "waits for a page", "busy"
        return describe_channel(self._server.url, self.statistics(), state, mood)

    @property
    def context_timeout(self) -> float | None:
        """The timeout in seconds for opening and closing when the channel is used as a context manager. Default is 3.

        Raises:
            TypeError, ValueError: When it is set to what is not a timeout.
        """
        return self._context_timeout

    @context_timeout.setter
    def context_timeout(self, timeout: float | None) -> None:
        check_timeout(timeout)
        self._context_timeout = timeout

    @property
    def is_open(self) -> bool:
        """Whether the channel is open or being opened, with or without a page."""
        return self._id is not None

    async def open(self, timeout: float | None = 3) -> Any:
        """Opens the channel: runs its code's initialization function in the page.

        Args:
            timeout: Seconds for the whole, waiting for a page included; ``None`` for no limit.

        Returns:
            What the initialization function returned.

        Raises:
            trio.TooSlowError: The time ran out. The channel is closed then.
            StateError: It is open already.
            FrontendError: The code is not that of a function, or the function raised. The channel is closed then.
            ClosedError: The server is closed, or the channel was closed meanwhile.
            ValueError: The code is larger than the connection takes at once, or the timeout is not one.

        Cancelling it closes the channel.
        """
        return await self.begin_open(timeout)

    def begin_open(self, timeout: float | None) -> Awaitable[Any]:
        """As ``open``, for those who make requests in another thread. The channel is being opened from now on.

        What is given must be awaited at once; it does the waiting.
        """
        limit = check_timeout(timeout)
        if self._id is not None:
            raise StateError("the channel is open already: close it before you open it again")
        number = self._server.register(self)
        self._id, self._failure = number, None
        term = self._term = _Term()
        if self._server.session is not None:
            try:
                self.attach(self._server.session)
            except BaseException:
                self._shut("opening it was given up")
                raise
        return self._finish_opening(term, limit)

    async def _finish_opening(self, term: _Term, limit: float) -> Any:
        with trio.move_on_after(limit):
            try:
                while term.error is None and self.find_session() is None:
                    await self._changed.park()
            except BaseException:
                if term.error is None:
                    self._shut("opening it was given up")
                raise
            if term.error is not None:
                raise_copy(term.error)
            return self._value
        raise trio.TooSlowError(f"the channel was not opened within {limit:g} s: {self._last_wait}")

    async def close(self, timeout: float | None = 3) -> None:
        """Closes the channel, on both sides. Calls under way in either direction end.

        The channel is closed from the moment of the call, whatever follows. Closing a closed channel does nothing.

        Args:
            timeout: Seconds for the page to take note and for running handler methods to end; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out.

        Cancelling it stops the waiting; the channel is closed all the same.
        """
        await self.begin_close(timeout)

    def begin_close(self, timeout: float | None) -> Awaitable[None]:
        """As ``close``, for those who make requests in another thread. The channel is closed from now on.

        What is given must be awaited at once; it does the waiting.
        """
        limit = check_timeout(timeout)
        return self._finish_closing(self._shut("it was closed"), limit)

    async def _finish_closing(self, closing: tuple[Session, PendingRequest] | None, limit: float) -> None:
        with trio.move_on_after(limit):
            await trio.lowlevel.checkpoint()
            if closing is not None:
                session, pending = closing
                # A page that is gone, or has no such channel any more, has closed it by that.
                with suppress(PageLostError, ClosedError):
                    await session.wait_answer(pending)
            await self._service.wait_ended()
            return
        raise trio.TooSlowError(
            f"closing the channel was not confirmed within {limit:g} s; on this side it is closed all the same"
        )

    def attach(self, session: Session) -> None:
        """Opens the channel in a page that has just connected. Called by the server, before anything else is sent."""
        assert self._id is not None
        channel, code = self._id, self.code
        pending = session.send_request(lambda id_: Open(id_, channel, code))
        self._opening = session, pending
        self._nursery.start_soon(self._await_opened, session, pending, name="opening a channel")

    def end(self, why: str, *, tell: bool) -> None:
        """Ends the channel because what it belongs to is closing. Does not wait.

        Args:
            why: The reason, as the end of a sentence about the channel.
            tell: Whether to tell the page. A server that is closing says goodbye for all of them.
        """
        self._shut(why, tell=tell)

    async def _await_opened(self, session: Session, pending: PendingRequest) -> None:
        assert isinstance(pending.request, Open)
        try:
            value = await session.wait_answer(pending)
        except PageLostError:
            return  # The next page gets its own.
        except (RemoteError, ClosedError) as error:
            if self._id == pending.request.channel:
                self._fail_opening(error)
            return
        if self._id == pending.request.channel and session.alive:
            self._opening = None
            self._session = session
            self._value = value
            self._changed.unpark_all()

    def _fail_opening(self, error: Exception) -> None:
        if self._session is not None:
            logger.error("a channel could not be opened again in a new page: %s", error)
        self._failure = error
        self._shut("the page could not open it")

    def _shut(self, why: str, *, tell: bool = True) -> tuple[Session, PendingRequest] | None:
        """Closes this side at once. Gives the request that tells the page, where there is a page to be told."""
        if self._id is None:
            return None
        channel, self._id = self._id, None
        self._server.unregister(channel)
        self._last_wait = self.explain_wait()
        self._why_closed = why
        self._term.error = self._failure or ClosedError(f"the channel is closed: {why}")
        # The page hears it of `close`: a `cancel` before it would give its readers another reason.
        self._end_all(f"the channel is closed: {why}", self._failure)
        session = self._session
        if self._opening is not None:
            session, pending = self._opening
            if tell:
                session.cancel_request(pending)
            pending.fail(ClosedError(f"the channel is closed: {why}"))
        self._opening = self._session = None
        self._changed.unpark_all()
        if session is None or not session.alive or not tell:
            return None
        return session, session.send_request(lambda id_: Close(id_, channel))

    _far_side = "the page"

    def _describe(self) -> tuple[int | None, str]:
        number, session = self._id, self._session
        if number is None:
            return None, f"closed: {self._why_closed}"
        is_open = session is not None and session.alive
        return number, "open" if is_open else f"being opened: {self.explain_wait()}"

    def find_session(self) -> tuple[Session, int] | None:
        """As ``requests.Way.find_session``."""
        if self._id is None:
            raise ClosedError(f"the channel is closed: {self._why_closed}") from self._failure
        session = self._session
        return (session, self._id) if session is not None and session.alive else None

    async def wait_session(self) -> tuple[Session, int]:
        """As ``requests.Way.wait_session``."""
        while (found := self.find_session()) is None:
            await self._changed.park()
        return found

    def explain_wait(self) -> str:
        """As ``requests.Way.explain_wait``."""
        session = self._session  # Once: the tree asks it in other threads.
        if session is not None and session.alive:
            return "the page does not take what waits to be sent"
        return self._server.explain_wait() or "the page has not opened the channel yet"


class _Term:
    """One time that a channel is open, from the asking for it on: it may be closed and open again before that is seen.

    Attributes:
        error: Why it is over, for those who wait for the opening.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

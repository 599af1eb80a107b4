"""Links over the messages of a widget's comm, and the desk that pages ask for one: where no port can be reached.

All of it runs in trio's thread. What hands messages over, and what sends them, is the widget's (``widget``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import trio

from jchannel._core.nursery import open_flat_nursery
from jchannel._core.server import Server, ServerState
from jchannel._core.transport import Link, LinkClosed
from jchannel._guarded import log, text_of, without_locals
from jchannel._notebook.desk import Claims
from jchannel._protocol.comm import (
    COMM_GAP_SECONDS,
    COMM_MESSAGE_BYTES,
    CommConnection,
    CommMessage,
    CommPace,
    CommState,
    decode_comm_message,
    encode_comm_message,
)
from jchannel.errors import ClosedError, ProtocolError

__all__ = ["MAX_LINKS", "CommDesk", "CommLink", "Post"]

#: Sends a content and its buffers to every page of the kernel. It may raise, when there is nobody to send to.
Post = Callable[[dict[str, Any], list[bytes]], None]

#: The most pages, or attempts of pages, that are connected over a comm at once.
MAX_LINKS: Final = 16

#: How long it takes until the next look whether a cell keeps pages from being heard, in seconds.
_LOOK_SECONDS: Final = 1

#: How many such looks there are in the time between two beats, at least: silence is counted in beats on both sides.
_LOOKS_A_BEAT: Final = 2

#: The most panels that are asked for at once.
_MAX_NAMES: Final = 100

#: The most characters of the name of a question, which its answer repeats.
_MAX_ASKED: Final = 64


class CommLink(Link):
    """A page's connection over a comm. ``run`` must run as long as it is used.

    Args:
        connection: Its protocol.
        post: Sends a message.
    """

    def __init__(self, connection: CommConnection, post: Post) -> None:
        self._connection = connection
        self._post = post
        self._deaf_looks = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._late = trio.Event()

    @property
    def moved(self) -> int:
        """The number of bytes that have come in, and of messages that the page has acknowledged.

        Messages leave for a page that is gone as for any other: what has left says nothing. Nor does silence while
        nothing is handed over: then it changes, too, with each look of ``watch``.
        """
        return self._connection.received + self._connection.acknowledged + self._deaf_looks

    @property
    def ended(self) -> bool:
        """Whether nothing is sent or received any more."""
        return self._connection.state is CommState.ENDED

    async def send(self, frame: str | bytes) -> None:
        """Send a frame. It waits while more than a message's bytes wait to leave."""
        self._connection.send(frame)
        self._pump()
        while self._connection.waiting_bytes > COMM_MESSAGE_BYTES:
            await self._changed.park()
        if self._connection.state in (CommState.CLOSING, CommState.ENDED):
            raise LinkClosed(self._connection.why_ended or "it was closed on this side")

    async def receive(self) -> str | bytes:
        """Return the next frame."""
        while (frame := self._connection.next_frame()) is None:
            if self.ended:
                raise LinkClosed(self._connection.why_ended)
            await self._changed.park()
        self._pump()  # What has been read may have to be acknowledged.
        return frame

    async def aclose(self) -> None:
        """Close the link, when what was sent has left."""
        self._connection.close("the server has closed the connection")
        self._pump()
        try:
            await trio.lowlevel.checkpoint()
            while not self.ended:
                await self._changed.park()
        finally:
            self.end("it was closed on this side")

    def handle(self, message: CommMessage) -> None:
        """Receive a message of the connection."""
        try:
            self._connection.receive(message)
        except ProtocolError as error:
            self.break_off(text_of(error))
        self._pump()
        self._changed.unpark_all()

    def break_off(self, why: str) -> None:
        """End the connection at once, because of what has come or is missing, and tell the page why."""
        log(logging.WARNING, "a connection over a comm has ended: %s", why)
        self._say(CommMessage(self._connection.name, "close", 0, 0, reason=why))
        self.end(why)

    def end(self, why: str) -> None:
        """End the connection at once, without telling the page."""
        self._connection.end(why)
        self._late.set()
        self._changed.unpark_all()

    async def watch(self, is_deaf: Callable[[], bool], period: float) -> None:
        """Look again and again whether what the page sends is handed over, until cancelled.

        While it is not, the page is shown that this side lives. While it is, the time counts for which a message of the
        page's has been missing; the connection is broken off when that is too long.

        Args:
            is_deaf: Returns whether nothing is handed over now, as a cell runs.
            period: The seconds between two looks.
        """
        connection = self._connection
        missing: int | None = None
        heard = 0.0
        while True:
            await trio.sleep(period)
            if connection.missing != missing:
                missing, heard = connection.missing, 0.0
            if is_deaf():
                self._deaf_looks += 1
                if (sign := connection.make_sign(trio.current_time())) is not None:
                    self._say(sign)
            elif missing is not None:
                heard += period
                if heard > COMM_GAP_SECONDS:
                    why = f"message {missing} of its comm has not come within {COMM_GAP_SECONDS} s, and later ones have"
                    self.break_off(why)

    async def run(self) -> None:
        """Send what had to wait for its time, until cancelled."""
        while True:
            await self._late.wait()
            self._late = trio.Event()
            wait = self._connection.wait(trio.current_time())
            if wait is not None:
                await trio.sleep(wait)
                self._pump()
                self._changed.unpark_all()

    def _pump(self) -> None:
        now = trio.current_time()
        while (message := self._connection.next_message(now)) is not None:
            self._say(message)
        if self._connection.wait(now) is not None:
            self._late.set()

    def _say(self, message: CommMessage) -> None:
        try:
            self._post(*encode_comm_message(message))
        except Exception as error:  # noqa: BLE001 (what sends it is not jchannel's)
            self.end(f"its comm takes no messages: {text_of(error)}")


class CommDesk:
    """What the pages of one server ask over a comm: what they must know, and a connection.

    Args:
        server: The server.
        desk: Its desk for notebooks, whose answers need no proof and no key here: the comm is the kernel's.
        make_config: Returns what an output of now would say.
        is_deaf: Returns whether what pages send is not handed over now, as a cell runs, where that is so between cells
            only, and in any order; ``None`` where it comes at once and in order.
    """

    def __init__(
        self,
        server: Server,
        desk: Claims,
        make_config: Callable[[], dict[str, Any]],
        is_deaf: Callable[[], bool] | None = None,
    ) -> None:
        self._is_deaf = is_deaf
        self._server = server
        self._desk = desk
        self._make_config = make_config
        self._links: dict[str, CommLink] = {}
        self._pace = CommPace()  # The kernel's messages are limited together, whichever page they are for.

    def handle(self, post: Post, content: object, buffers: Sequence[bytes | bytearray | memoryview | str]) -> None:
        """Handle a message of a page. What is none is logged, and ends nothing."""
        # The pages hear that it is closed as a goodbye, which needs their acknowledgements to leave.
        closed = self._server.state is ServerState.CLOSED
        if isinstance(content, Mapping) and content.get("type") == "ask":
            if not closed:
                self._answer(post, content)
            return
        try:
            message = decode_comm_message(content, buffers)
        except ProtocolError as error:
            self._refuse_malformed(content, error)
            return
        link = self._links.get(message.connection)
        if link is not None:
            link.handle(message)
        elif closed:
            return
        elif message.type == "open":
            self._open(post, message)
        elif message.type != "close":
            self._refuse(post, message.connection, "the kernel does not know this connection")

    def end(self, why: str) -> None:
        """End all connections, because their comm has closed."""
        for link in list(self._links.values()):
            link.end(why)

    def _answer(self, post: Post, question: Mapping[str, Any]) -> None:
        what, asked, answer = question.get("what"), question.get("asked"), None
        if not isinstance(asked, str) or len(asked) > _MAX_ASKED:
            log(logging.WARNING, "a page has asked over a comm without a name of at most %d characters", _MAX_ASKED)
            return
        if what == "config":
            answer = self._make_config()
        elif what == "panels" and isinstance(names := question.get("names"), list):
            answer = self._desk.panels.report(name for name in names[:_MAX_NAMES] if isinstance(name, str))
        elif what == "place" and isinstance(channel := question.get("channel"), int):
            self._server.start_soon(self._show_element, channel)
            answer = {}
        self._say(post, {"type": "told", "asked": asked, "answer": answer})

    async def _show_element(self, channel: int) -> None:
        try:
            await self._desk.show_element(channel)
        except Exception as error:  # noqa: BLE001 (a bulkhead: the program's own display hooks run there)
            log(logging.ERROR, "a place for an element could not be shown", error=without_locals(error))

    def _refuse_malformed(self, content: object, error: ProtocolError) -> None:
        """End the connection, if there is one, of which a message could not be read. After its end it is ignored."""
        name = content.get("connection") if isinstance(content, Mapping) else None
        link = self._links.get(name) if isinstance(name, str) else None
        if link is not None and link.ended:
            return
        log(logging.WARNING, "a page has sent what is no message of a comm: %s", error)
        if link is not None:
            link.break_off(text_of(error))

    def _open(self, post: Post, message: CommMessage) -> None:
        if len(self._links) >= MAX_LINKS:
            self._refuse(post, message.connection, f"{MAX_LINKS} connections over the comm are open already")
            return
        limit = self._server.limits.frame_bytes
        reorders = self._is_deaf is not None
        connection = CommConnection(
            message.connection, opens=False, frame_limit=limit, pace=self._pace, reorders=reorders
        )
        link = self._links[message.connection] = CommLink(connection, post)
        link.handle(message)
        self._server.start_soon(self._serve, message.connection, link)

    async def _serve(self, name: str, link: CommLink) -> None:
        try:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(link.run)
                if self._is_deaf is not None:
                    period = min(_LOOK_SECONDS, self._server.heartbeat / _LOOKS_A_BEAT)
                    nursery.start_soon(link.watch, self._is_deaf, period)
                await self._server.serve_link(link)
                nursery.cancel_scope.cancel()
        except ClosedError as error:
            log(logging.DEBUG, "a page came over a comm too late: %s", error)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            log(logging.ERROR, "an error of jchannel has ended the session of a page", error=without_locals(error))
        finally:
            del self._links[name]

    def _refuse(self, post: Post, name: str, reason: str) -> None:
        self._say(post, encode_comm_message(CommMessage(name, "close", 0, 0, reason=reason))[0])

    def _say(self, post: Post, content: dict[str, Any]) -> None:
        try:
            post(content, [])
        except Exception as error:  # noqa: BLE001 (what sends it is not jchannel's)
            log(logging.DEBUG, "a page could not be answered over its comm: %r", error)

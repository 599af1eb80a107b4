"""Links: what carries the frames of one connection. A session knows nothing else of the transport.

The frames of a WebSocket are read and written by the sans-IO protocol of ``websockets``, which masks in C. This is the
only module that knows it. ``upgrade`` makes the links.
"""

from __future__ import annotations

import logging
import math
import os
import struct
import sys
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Final

import trio
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.typing import BytesLike

__all__ = ["Link", "LinkClosed", "NowaitLink", "Side", "WebSocketLink"]

#: Read at once. trio's own 4 KiB cost a factor 3 on large messages: 40 MiB/s against 137.
_RECEIVE_BYTES: Final = 64 * 2**10

#: Read at once where as much as above has just come: Chromium writes 128 KiB of a large message at once. Not always, as
#: it is allocated for each read, and cut to what has come.
_RECEIVE_MORE: Final = 256 * 2**10

#: Sent at once, so that it shows whether a large message moves.
_SEND_BYTES: Final = 256 * 2**10

#: The most bytes of a message that are copied behind its head, so that they leave together.
_COPIED_BYTES: Final = 64 * 2**10

#: The head of a message of more than 64 KiB that is not masked, and what stands in it: that nothing follows, and that
#: the length has eight bytes.
_LARGE_HEAD: Final = struct.Struct("!BBQ")
_WHOLE: Final = 0x80
_LONG: Final = 127

#: What a stream raises that carries nothing more.
_LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

#: ``websockets`` logs every frame with what it carries, and a log handler may raise: nothing of it is wanted. What it
#: fails on is the reason of its close.
_LOGGER: Final = logging.Logger("jchannel.websocket", logging.CRITICAL + 1)  # noqa: LOG001 (nobody's to configure)

#: The most pieces that may wait to be sent while more is received: a far side that pings and does not read must wait.
_MAX_LEFT: Final = 100

#: The most fragments of a message. Chromium sends some for each MiB, and no fragment needs to have any bytes at all.
_MOST_FRAGMENTS: Final = 65_536

_TEXT: Final = Opcode.TEXT
_BINARY: Final = Opcode.BINARY
_OPEN: Final = State.OPEN


class LinkClosed(Exception):  # noqa: N818 (an event that every link comes to, and no mistake)
    """The link carries nothing more. The message says why, as the end of a sentence about the connection."""


class Link(trio.abc.AsyncResource):
    """Carries frames between two sides: what a session needs of a connection, and nothing else.

    A frame is a ``str`` or ``bytes``, and arrives as the far side has sent it: whole, unchanged and in order. A link
    that cannot keep that must end, with ``LinkClosed`` from ``send`` and ``receive``. At most one task sends at a time
    and at most one receives, both in trio's thread.
    """

    @abstractmethod
    async def send(self, frame: str | bytes) -> None:
        """Send a frame. It should wait while the far side does not take what was sent: that is the backpressure.

        Args:
            frame: The frame.

        Raises:
            LinkClosed: The link is closed or lost.

        Cancelling it may leave half a frame behind: the link is only closed then.
        """

    @abstractmethod
    async def receive(self) -> str | bytes:
        """Return the next frame. It need not be a checkpoint where the frame is there already.

        Raises:
            LinkClosed: The link is closed or lost.

        Cancelling it must lose nothing.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the link. What was sent should still arrive. Closing it again does nothing.

        Cancelling it closes it at once, without telling the far side.
        """

    # What a link may do better.

    def expect(self, size: int) -> None:
        """Hear how many bytes the next frame should have, for which a link may have the memory ready.

        A far side has said so, and need not keep to it. By default nothing is done.
        """

    _left: str | bytes | None = None

    def send_nowait(self, frame: str | bytes) -> bool:
        """Send a frame as far as the transport takes it now. Return whether nothing is left for ``flush`` to send.

        A link that is closed or lost leaves it to ``flush`` to say so. It is not called while something is left. It may
        be called in another thread, in whose step trio stands still: no task may be woken by it. By default the whole
        frame is left.
        """
        self._left = frame
        return False

    async def flush(self) -> None:
        """Send what ``send_nowait`` has left. Cancelling it is like cancelling ``send``.

        Raises:
            LinkClosed: The link is closed or lost.
        """
        frame, self._left = self._left, None
        if frame is not None:
            await self.send(frame)

    @property
    def moved(self) -> int:
        """A number that changes whenever something has come in, or a part of a large frame has left.

        By default it does not change. Then a page is lost whose answer to a beat stands behind a frame that takes
        longer than the server's ``heartbeat``.
        """
        return 0


class NowaitLink(Link):
    """A link that can send without waiting, and says whether anything moves."""

    @abstractmethod
    def send_nowait(self, frame: str | bytes) -> bool:
        """Send a frame as far as the transport takes it now. Return whether nothing is left for ``flush``."""

    @abstractmethod
    async def flush(self) -> None:
        """Send what is left."""

    @property
    @abstractmethod
    def moved(self) -> int:
        """A number that changes whenever something has come in, or a part of a large frame has left."""

    async def send(self, frame: str | bytes) -> None:
        """Send a frame. It is no checkpoint where it need not wait."""
        if not self.send_nowait(frame):
            await self.flush()


class WebSocketLink(NowaitLink):
    """A link over a WebSocket, of either side. Each frame of the link is one message of the WebSocket.

    Args:
        stream: The stream, behind the handshake.
        side: Which side of the WebSocket this is.
        frame_bytes: The largest message that is received.
        early: What has been received behind the handshake.
    """

    def __init__(self, stream: trio.abc.Stream, side: Side, frame_bytes: int, early: bytes = b"") -> None:
        self._stream = stream
        self._protocol = Protocol(side, max_size=frame_bytes, logger=_LOGGER)
        #: What the stream takes at once needs no task to wait for it.
        self._send_some_nowait = _find_send_some_nowait(stream)
        self._receive_some = _find_receive_some(stream)
        self._messages: deque[str | bytes] = deque()
        self._begun: BytesIO | None = None
        self._expected = 0
        self._begun_as_text = False
        self._fragments = 0
        self._receive_bytes = _RECEIVE_BYTES
        self._unsent: deque[bytes | memoryview] = deque()
        self._flushing = False
        self._flushed = trio.lowlevel.ParkingLot()
        self._cut = False
        self._moved = 0
        if early:
            self._handle_data(early)

    @property
    def moved(self) -> int:
        """The number of bytes that have come in, and of large frames that have left."""
        return self._moved

    # Sending

    def send_nowait(self, frame: str | bytes) -> bool:
        """Send a frame as one message, as far as the socket takes it now."""
        protocol = self._protocol
        if protocol.state is not _OPEN:
            return False
        opcode, data = (_TEXT, frame.encode()) if isinstance(frame, str) else (_BINARY, frame)
        if len(data) > _COPIED_BYTES and protocol.side is Side.SERVER:
            self._queue_large(opcode, data)
        elif opcode is _TEXT:
            protocol.send_text(data)
        else:
            protocol.send_binary(data)
        return self._write_nowait()

    def _queue_large(self, opcode: Opcode, data: bytes) -> None:
        """Queue a large message of a server, which is not masked, without the copy that the protocol would make."""
        head = _LARGE_HEAD.pack(_WHOLE | opcode, _LONG, len(data))
        self._unsent += [head + data[:_COPIED_BYTES], memoryview(data)[_COPIED_BYTES:]]

    async def flush(self) -> None:
        """Send what is left."""
        await self._flush()
        if self._protocol.state is not _OPEN:
            raise LinkClosed(self._explain())

    async def _flush(self, most: float = math.inf) -> None:
        """Send what is left, or at most so many pieces of it."""
        while self._flushing:
            await self._flushed.park()
        self._flushing = True
        try:
            while self._unsent and most > 0:
                data = memoryview(self._unsent[0])
                for begin in range(0, len(data), _SEND_BYTES):
                    piece = data[begin : begin + _SEND_BYTES]
                    await self._stream.send_all(piece)
                    if len(data) > _SEND_BYTES:
                        self._moved += len(piece)
                self._unsent.popleft()
                most -= 1
        except _LOST as error:
            self._unsent.clear()
            raise LinkClosed(self._explain()) from error  # What the far side has said is received all the same.
        except trio.Cancelled:
            self._cut = True
            raise
        finally:
            self._flushing = False
            self._flushed.unpark()

    def _write_nowait(self) -> bool:
        """Write what waits to be sent, as far as the socket takes it. Return whether nothing is left."""
        unsent = self._unsent
        unsent.extend(filter(None, self._protocol.data_to_send()))
        if self._send_some_nowait is None or self._flushing:
            return not unsent
        while unsent:
            sent = self._send_some_nowait(unsent[0])
            if sent < len(unsent[0]):
                unsent[0] = memoryview(unsent[0])[sent:]
                return False
            unsent.popleft()
        return True

    # Receiving

    def expect(self, size: int) -> None:
        """Hear how many bytes the next message should have: its fragments are gathered in so many."""
        self._expected = size
        if self._begun is not None:
            self._begun = self._gather(self._begun.getvalue()[: self._begun.tell()])

    async def receive(self) -> str | bytes:
        """Return the next message."""
        while not self._messages:
            if self._protocol.state is not _OPEN:
                raise LinkClosed(self._explain())
            try:
                data = await self._receive_some(self._receive_bytes)
            except _LOST:
                data = b""
            self._handle_data(data)
            if answers := self._protocol.data_to_send():
                await self._send_answers(answers)
        return self._messages.popleft()

    async def _send_answers(self, answers: list[bytes]) -> None:
        """Send what answers what has been received: a pong, or the answer to a close.

        What a sender has left before is the sender's: two sides whose receivers waited for it would wait for each
        other.
        """
        left = len(self._unsent)
        self._unsent.extend(filter(None, answers))  # An empty piece stands for the end.
        if self._write_nowait():
            return
        with suppress(LinkClosed):  # Then ``receive`` says so, behind what has arrived.
            if not left and not self._flushing:
                await self._flush(len(self._unsent))
            while len(self._unsent) > _MAX_LEFT and self._flushing:
                await self._flushed.park()

    def _gather(self, begun: bytes = b"") -> BytesIO:
        """Return what gathers the fragments of a message. Where its size is expected, it has all its memory already."""
        gathering = BytesIO(bytes(self._expected))
        gathering.write(begun)
        self._expected = 0
        return gathering

    def _handle_data(self, data: bytes | bytearray) -> None:
        self._moved += len(data)
        self._receive_bytes = _RECEIVE_MORE if len(data) >= _RECEIVE_BYTES else _RECEIVE_BYTES
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for frame in self._protocol.events_received():
            assert isinstance(frame, Frame)  # Requests and responses are the handshake's.
            opcode = frame.opcode
            if opcode is _TEXT or opcode is _BINARY or opcode is Opcode.CONT:
                payload: BytesLike = frame.data
                frame.data = b""  # The protocol keeps its last frame until the next one comes.
                if self._begun is not None or not frame.fin:
                    if self._begun is None:
                        self._begun, self._begun_as_text, self._fragments = self._gather(), opcode is _TEXT, 0
                    self._fragments += 1
                    if self._fragments > _MOST_FRAGMENTS:
                        text = f"a message of more than {_MOST_FRAGMENTS:,} fragments"
                        self._protocol.fail(CloseCode.POLICY_VIOLATION, text)
                        return
                    # Not a list of the parts: a part of one byte would cost fifty. What it has is given away uncopied.
                    self._begun.write(payload)
                    if not frame.fin:
                        continue
                    self._begun.truncate()
                    payload, self._begun, self._expected = self._begun.getvalue(), None, 0
                    opcode = _TEXT if self._begun_as_text else _BINARY
                try:
                    self._messages.append(str(payload, "utf-8") if opcode is _TEXT else bytes(payload))
                except UnicodeDecodeError as error:
                    if self._protocol.state is _OPEN:
                        self._protocol.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
                    return

    # The end

    async def aclose(self) -> None:
        """Close the link. Behind half a frame nothing could be understood: then the far side is not told."""
        if self._cut or self._unsent:
            await trio.aclose_forcefully(self._stream)
            return
        try:
            if self._protocol.state is _OPEN:
                self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            if self._write_nowait():
                await self._wait_close()
            else:  # Both sides may be closing: neither may wait for the other to read.
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._wait_close)
                    with suppress(LinkClosed):  # It is what was wanted.
                        await self._flush()
        finally:
            await self._stream.aclose()

    async def _wait_close(self) -> None:
        """Wait until the far side has closed the WebSocket, too."""
        while self._protocol.close_rcvd is None and self._protocol.state is State.CLOSING:
            self._messages.clear()  # Nobody will receive them, and a stranger may send as many as it likes.
            # As in `receive`: a coroutine for both would be entered, and resumed, for every frame that comes.
            try:
                data = await self._receive_some(self._receive_bytes)
            except _LOST:
                data = b""
            self._handle_data(data)
            if answers := self._protocol.data_to_send():
                await self._send_answers(answers)

    def _explain(self) -> str:
        close = self._protocol.close_rcvd or self._protocol.close_sent
        if close is None:
            return "it broke off without a word"
        name = f" ({CloseCode(close.code).name})" if close.code in set(CloseCode) else ""
        said = f": {close.reason}" if close.reason else ""
        if close.code == CloseCode.GOING_AWAY and self._protocol.side is Side.SERVER:
            # Not every browser sends what a page says when it is left.
            said = said or ": the page was left or closed"
        return f"the WebSocket was closed with code {close.code}{name}{said}"


def _find_send_some_nowait(stream: trio.abc.Stream) -> Callable[[bytes | memoryview], int] | None:
    """Return the way to send as much as a stream takes now, which returns how much; ``None`` if there is none."""
    if isinstance(stream, trio.SocketStream) and sys.platform != "win32":
        return partial(_write, stream.socket)
    return getattr(stream.send_stream if isinstance(stream, trio.StapledStream) else stream, "send_some_nowait", None)


def _write(socket: trio.socket.SocketType, data: bytes | memoryview) -> int:
    try:
        return os.write(socket.fileno(), data)
    except OSError:
        return 0  # It is full, or lost, or closed: ``flush`` waits, or finds out.


def _find_receive_some(stream: trio.abc.Stream) -> Callable[[int], Awaitable[bytes | bytearray]]:
    """Return the way to receive what comes on a stream."""
    if isinstance(stream, trio.SocketStream) and sys.platform != "win32":
        return _SocketReader(stream.socket).receive_some
    return stream.receive_some


class _SocketReader:
    """Receives what comes on a socket as trio does, and does not try first where nothing can be there.

    trio cannot know that, and tries: this took 4 of the 13 µs that it takes to wait for a frame.

    Args:
        socket: The socket.
    """

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self._socket = socket
        self._may_have_more = False

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return what has come. Cancelling it loses nothing.

        Raises:
            trio.BrokenResourceError: The connection is lost.
            trio.ClosedResourceError: The socket has been closed on this side.
        """
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError
        if self._may_have_more:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._socket)
        while True:
            try:
                data = os.read(self._socket.fileno(), max_bytes)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._socket)
            except OSError as error:
                raise trio.BrokenResourceError from error
            else:
                self._may_have_more = len(data) == max_bytes
                return data

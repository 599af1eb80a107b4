"""Links: what carries the frames of one connection. A session knows nothing else of the transport.

WebSockets are trio-websocket's. This is the only module that knows it: its errors are translated here.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, cast

import trio
import trio_websocket
import wsproto.utilities

__all__ = ["Link", "LinkClosed", "RejectedError", "Upgrade", "WebSocketLink", "hold_websocket", "open_websocket"]

logger = logging.getLogger("jchannel")

#: trio-websocket's own default of 4 KiB costs a factor 3 on large messages: 40 MiB/s against 137.
RECEIVE_BUFFER: Final = 64 * 2**10

#: The code that a WebSocket reports when it ended without a closing handshake (RFC 6455, 7.1.5).
ABNORMAL_CLOSURE: Final = 1006


class LinkClosed(Exception):  # noqa: N818 (an event that every link comes to, and no mistake)
    """The link carries nothing more. The message says why, as the end of a sentence about the connection."""


class RejectedError(Exception):
    """The far side has answered a WebSocket's request with an HTTP status.

    Attributes:
        status: The status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Link(ABC):
    """Carries frames between two sides. At most one task sends and at most one receives."""

    @abstractmethod
    async def send(self, frame: str | bytes) -> None:
        """Send a frame. Cancelling it may leave half a frame behind: the link can only be closed then.

        Raises:
            LinkClosed: The link is closed or lost.
        """

    @abstractmethod
    async def receive(self) -> str | bytes:
        """Return the next frame. Cancelling it loses nothing.

        Raises:
            LinkClosed: The link is closed or lost.
        """

    @property
    def received(self) -> int:
        """A number that changes whenever something has come in, be it a part of a frame."""
        return 0

    @abstractmethod
    async def aclose(self) -> None:
        """Close the link. Cancelling it closes it at once, without telling the far side."""


class WebSocketLink(Link):
    """A link over a WebSocket, of either side.

    Args:
        websocket: The WebSocket.
        stream: The stream below it.
    """

    def __init__(self, websocket: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        self._websocket = websocket
        self._stream = stream
        self._cut = False
        self._received = 0

    @property
    def received(self) -> int:
        """The number of bytes of the message that is coming in, and of the messages before."""
        return self._received + self._websocket._message_size  # noqa: SLF001 (nothing else tells)

    async def send(self, frame: str | bytes) -> None:
        """Send a frame as one message."""
        try:
            await self._websocket.send_message(frame)
        except trio_websocket.ConnectionClosed as error:
            raise LinkClosed(_explain(error)) from error
        except trio.Cancelled:
            self._cut = True
            raise

    async def receive(self) -> str | bytes:
        """Return the next message."""
        try:
            message = await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise LinkClosed(_explain(error)) from error
        self._received += len(message)
        return message

    async def aclose(self) -> None:
        """Close the link. Behind half a frame nothing could be understood: then the far side is not told."""
        if self._cut:
            await trio.aclose_forcefully(self._stream)
        else:
            await self._websocket.aclose()


class Upgrade:
    """A WebSocket's request that has arrived, and waits to be accepted or rejected. ``receive`` makes it.

    Attributes:
        subprotocols: The subprotocols that it offers.
    """

    def __init__(self, request: trio_websocket.WebSocketRequest, stream: trio.abc.Stream) -> None:
        self.subprotocols: Sequence[str] = request.proposed_subprotocols
        self._request = request
        self._stream = stream

    @classmethod
    async def receive(cls, nursery: trio.Nursery, stream: trio.abc.Stream, frame_bytes: int) -> Upgrade:
        """Read a WebSocket's request from a stream.

        Args:
            nursery: Owns the WebSocket's own task.
            stream: The stream, from its beginning.
            frame_bytes: The largest message that is received.
        """
        request = await trio_websocket.wrap_server_stream(
            nursery,
            cast("trio.SocketStream", stream),  # Any stream will do; it is annotated too narrowly.
            max_message_size=frame_bytes,
            receive_buffer_size=RECEIVE_BUFFER,
        )
        return cls(request, stream)

    async def accept(self, subprotocol: str | None) -> Link:
        """Accept it with one of its subprotocols, and return the link."""
        return WebSocketLink(await self._request.accept(subprotocol=subprotocol), self._stream)

    async def reject(self, status: int) -> None:
        """Answer with an HTTP status instead."""
        await self._request.reject(status)


async def open_websocket(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    *,
    host: str,
    path: str,
    subprotocols: list[str],
    frame_bytes: int,
) -> Link:
    """Ask for a WebSocket over a stream, and return the link.

    Args:
        nursery: Owns the WebSocket's own task: that of ``hold_websocket``.
        stream: The stream.
        host: The Host header.
        path: The path that is asked for.
        subprotocols: The subprotocols to offer.
        frame_bytes: The largest message that is received.

    Where the far side answers with an HTTP status instead, ``hold_websocket`` raises, and cancels this.
    """
    websocket = await trio_websocket.wrap_client_stream(
        nursery,
        cast("trio.SocketStream", stream),
        host,
        path,
        subprotocols=subprotocols,
        max_message_size=frame_bytes,
        receive_buffer_size=RECEIVE_BUFFER,
    )
    return WebSocketLink(websocket, stream)


async def hold_websocket(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """Own the task of a client's WebSocket until cancelled. Reports the nursery as started.

    Raises:
        RejectedError: The far side has answered the WebSocket's request with an HTTP status.
    """
    rejected: RejectedError | None = None
    try:
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()
    except* wsproto.utilities.LocalProtocolError:
        # trio-websocket cannot answer a ping that comes in while it is closing, and raises. Nothing is lost by that.
        logger.debug("a ping came in while the WebSocket was closing", exc_info=True)
    except* trio_websocket.ConnectionRejected as group:
        error = group.exceptions[0]
        assert isinstance(error, trio_websocket.ConnectionRejected)
        rejected = RejectedError(error.status_code)
    if rejected is not None:
        raise rejected


def _explain(error: trio_websocket.ConnectionClosed) -> str:
    reason = error.reason
    if reason is None or reason.code == ABNORMAL_CLOSURE:
        return "it broke off without a word"
    said = f": {reason.reason}" if reason.reason else ""
    return f"the WebSocket was closed with code {reason.code} ({reason.name}){said}"

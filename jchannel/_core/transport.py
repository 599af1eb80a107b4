"""Links: what carries the frames of one connection. A session knows nothing else of the transport.

The errors of a transport are translated here and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import trio
import trio_websocket

__all__ = ["Link", "LinkClosed", "WebSocketLink"]


class LinkClosed(Exception):  # noqa: N818 (an event that every link comes to, and no mistake)
    """The link carries nothing more. The message says why, as the end of a sentence about the connection."""


class Link(ABC):
    """Carries frames between two sides. At most one task sends and at most one receives."""

    @abstractmethod
    async def send(self, frame: str | bytes) -> None:
        """Sends a frame. Cancelling it may leave half a frame behind: the link can only be closed then.

        Raises:
            LinkClosed: The link is closed or lost.
        """

    @abstractmethod
    async def receive(self) -> str | bytes:
        """Gives the next frame. Cancelling it loses nothing.

        Raises:
            LinkClosed: The link is closed or lost.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Returns when the far side has shown that it is there. Cancelling it is harmless.

        When the link is lost meanwhile it may never return: the receiver notices that.

        Raises:
            LinkClosed: The link is closed.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Closes the link. Cancelling it closes it at once, without telling the far side."""


class WebSocketLink(Link):
    """A link over a WebSocket of trio-websocket, of either side.

    Args:
        websocket: The WebSocket.
        stream: The stream below it.
    """

    def __init__(self, websocket: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        self._websocket = websocket
        self._stream = stream
        self._cut = False

    async def send(self, frame: str | bytes) -> None:
        """As ``Link.send``."""
        try:
            await self._websocket.send_message(frame)
        except trio_websocket.ConnectionClosed as error:
            raise LinkClosed(_explain(error)) from error
        except trio.Cancelled:
            self._cut = True
            raise

    async def receive(self) -> str | bytes:
        """As ``Link.receive``."""
        try:
            return await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise LinkClosed(_explain(error)) from error

    async def ping(self) -> None:
        """As ``Link.ping``."""
        try:
            await self._websocket.ping()
        except trio_websocket.ConnectionClosed as error:
            raise LinkClosed(_explain(error)) from error

    async def aclose(self) -> None:
        """As ``Link.aclose``. Behind half a frame nothing could be understood: then the far side is not told."""
        if self._cut:
            await trio.aclose_forcefully(self._stream)
        else:
            await self._websocket.aclose()


def _explain(error: trio_websocket.ConnectionClosed) -> str:
    reason = error.reason
    if reason is None or reason.code == ABNORMAL_CLOSURE:
        return "it broke off without a word"
    said = f": {reason.reason}" if reason.reason else ""
    return f"the WebSocket was closed with code {reason.code} ({reason.name}){said}"


#: The code that a WebSocket reports when it ended without a closing handshake (RFC 6455, 7.1.5).
ABNORMAL_CLOSURE = 1006

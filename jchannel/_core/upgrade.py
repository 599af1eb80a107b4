"""The handshakes of WebSockets, on either side. What a handshake leads to is a link.

They are trio-websocket's, and this is the only module that knows it: its errors are translated here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, cast

import h11
import trio
import trio_websocket

from jchannel._core.nursery import open_flat_nursery
from jchannel._core.transport import Link, LinkClosed, Side, WebSocketLink
from jchannel._guarded import text_of

__all__ = [
    "ForeignError",
    "RejectedError",
    "accept_websocket",
    "asks_for_websocket",
    "check_request",
    "find_headers",
    "make_head",
    "open_websocket",
]

#: The end of an HTTP head, as h11 knows it. What comes behind it is the link's.
_HEAD_END: Final = re.compile(rb"\n\r?\n")

#: The beginning of the head of a response, and the header that says where a redirect leads.
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_LOCATION: Final = re.compile(rb"^location:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)

#: The bytes of a handshake's key.
_KEY_BYTES: Final = 16


def asks_for_websocket(request: h11.Request) -> bool:
    """Return whether a request asks for a WebSocket, and for nothing else beside it."""
    return [value.lower() for value in find_headers(request, b"upgrade")] == [b"websocket"]


def check_request(request: h11.Request) -> HTTPStatus | None:
    """Return the status with which a request for a WebSocket is to be refused that is none; ``None`` for one.

    What trio-websocket would take or raise an error of its own for is refused here, in words of HTTP: a key that is
    none or not the only one, a body, which would be read as frames, a subprotocol that is no name.
    """
    if find_headers(request, b"sec-websocket-version") != [b"13"]:
        return HTTPStatus.UPGRADE_REQUIRED
    connection = b",".join(find_headers(request, b"connection")).lower().split(b",")
    valid = (
        request.method == b"GET"
        and request.http_version == b"1.1"
        and b"upgrade" in [token.strip() for token in connection]
        and [_is_key(key) for key in find_headers(request, b"sec-websocket-key")] == [True]
        and not find_headers(request, b"content-length")
        and not find_headers(request, b"transfer-encoding")
        and all(value.isascii() for value in find_headers(request, b"sec-websocket-protocol"))
    )
    return None if valid else HTTPStatus.BAD_REQUEST


def make_head(request: h11.Request) -> bytes:
    """Return the head of a request for a WebSocket with nothing but what was checked.

    The rest is of no use here, and wsproto raises errors of Python's for much of it: a Host that is no name of a
    machine, extensions that are not ASCII.
    """
    lines = [
        b"GET " + request.target + b" HTTP/1.1",
        b"Host: localhost",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + find_headers(request, b"sec-websocket-key")[0],
        *(b"Sec-WebSocket-Protocol: " + value for value in find_headers(request, b"sec-websocket-protocol")),
    ]
    return b"\r\n".join([*lines, b"", b""])


def find_headers(request: h11.Request, name: bytes) -> list[bytes]:
    """Return the values of a header, each of its lines, under its name in lower case."""
    return [value for key, value in request.headers if key == name]


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False


class RejectedError(Exception):
    """The far side has answered a WebSocket's request with an HTTP status.

    Attributes:
        status: The status.
        location: Where a redirect leads; empty where it is none.
    """

    def __init__(self, status: int, location: str = "") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.location = location


class ForeignError(Exception):
    """What has answered a WebSocket's request does not speak our language. The message is the end of a sentence."""


async def accept_websocket(
    stream: trio.abc.Stream, read: bytes, select: Callable[[Sequence[str]], str | None], frame_bytes: int
) -> Link:
    """Accept a WebSocket's request over a stream, and return the link.

    Args:
        stream: The stream.
        read: What has been read of it already.
        select: Returns which of the subprotocols that are offered is taken; ``None`` for none of them.
        frame_bytes: The largest message that the link receives.

    Raises:
        BaseExceptionGroup: It has a ``LinkClosed``: the stream ended before the handshake did.
    """
    head = _HeadStream(stream, read)
    async with trio.open_nursery() as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, head.as_stream())
        await request.accept(subprotocol=select(request.proposed_subprotocols))
        link = head.detach(Side.SERVER, frame_bytes)
        nursery.cancel_scope.cancel()
    return link


async def open_websocket(
    stream: trio.abc.Stream, *, host: str, path: str, subprotocols: list[str], frame_bytes: int
) -> Link:
    """Ask for a WebSocket over a stream, and return the link.

    Args:
        stream: The stream.
        host: The Host header.
        path: The path that is asked for.
        subprotocols: The subprotocols to offer.
        frame_bytes: The largest message that the link receives.

    Raises:
        RejectedError: The far side has answered with an HTTP status instead.
        ForeignError: What was answered is no HTTP, no WebSocket, or one without any of the subprotocols.
        LinkClosed: The stream ended before the answer did.
    """
    head = _HeadStream(stream)
    try:
        async with open_flat_nursery() as nursery:
            websocket = await trio_websocket.wrap_client_stream(
                nursery, head.as_stream(), host, path, subprotocols=subprotocols
            )
            nursery.cancel_scope.cancel()
    except (LinkClosed, RejectedError):
        raise
    except Exception as error:  # wsproto's and h11's own come through trio-websocket.
        raise ForeignError(f"what it answered is no HTTP: {text_of(error)}") from error
    if websocket.subprotocol is None:
        raise ForeignError("it opened a WebSocket without jchannel's subprotocol")
    return head.detach(Side.CLIENT, frame_bytes)


class _HeadStream:
    """The stream that a handshake sees: it ends, without an end, behind the HTTP head that begins a WebSocket.

    Args:
        stream: The stream below.
        read: What has been read of it already.
    """

    def __init__(self, stream: trio.abc.Stream, read: bytes = b"") -> None:
        self._stream = stream
        self._read = read
        self._seen = b""
        self._early: bytes | None = None

    def as_stream(self) -> trio.SocketStream:
        """Return it by the type that trio-websocket asks for. It uses no more of it than there is here."""
        return cast("trio.SocketStream", self)

    def detach(self, side: Side, frame_bytes: int) -> Link:
        """Make the link of all that comes behind the head."""
        return WebSocketLink(self._stream, side, frame_bytes, self._early or b"")

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive bytes of the head. Behind it, wait until cancelled."""
        if self._early is not None:
            await trio.sleep_forever()
        data: bytes | bytearray
        if self._read:
            await trio.lowlevel.checkpoint()
            data, self._read = self._read, b""
        else:
            try:
                data = await self._stream.receive_some(max_bytes)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                said = "" if error.__cause__ is None else f": {text_of(error.__cause__)}"
                raise LinkClosed(f"it broke off during the handshake{said}") from error
            if not data:  # trio-websocket would wait for ever, and also where the stream breaks.
                raise LinkClosed("it ended during the handshake")
        begin = len(self._seen)
        self._seen += data
        end = _HEAD_END.search(self._seen)
        if end is None:
            return data
        head = self._seen[: end.end()]
        status = _STATUS.match(head)
        if status is not None and int(status[1]) != HTTPStatus.SWITCHING_PROTOCOLS:
            # trio-websocket would read the body first, and that may have no end.
            location = _LOCATION.search(head)
            raise RejectedError(int(status[1]), "" if location is None else str(location[1], "latin-1").rstrip())
        length = len(head) - begin
        self._early = bytes(data[length:])
        return data[:length]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:  # It would wait for ever for the answer.
            raise LinkClosed("it ended during the handshake") from error

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

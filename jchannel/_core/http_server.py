"""HTTP/1.1 over one accepted stream: h11 parses it, and an ASGI app answers. No other version is spoken.

Whatever is awaited here ends when the client has gone, and for a stranger also when its time is over.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from operator import itemgetter
from typing import Final
from urllib.parse import unquote

import h11
import trio

from jchannel._core.asgi import AsgiApp, Message, Scope
from jchannel._core.limits import Limits
from jchannel._core.visitors import Visitor
from jchannel._guarded import log, without_locals

__all__ = ["HttpConnection"]

#: Read at once of a request's body. trio's own 4 KiB cost a factor 3.
_RECEIVE_BYTES: Final = 64 * 2**10

#: What a stranger has to take of a response in ``Limits.handshake_seconds``, in bytes: 6 KiB/s by default.
_SEND_BYTES: Final = 64 * 2**10

#: The statuses of responses without a body. h11 lets none be sent with them.
_WITHOUT_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

_LOGGER: Final = "jchannel.http"


class HttpConnection:
    """HTTP on one stream: one request after the other.

    h11 and not hypercorn: that speaks HTTP/2 whenever it is asked to, and its connections outlive their clients; it
    shields what it sends, and while it answers it does not notice that the client has gone.

    Args:
        app: The ASGI app that answers.
        limits: The server's limits.
        stream: The stream.
        visitor: Whose stream it is.
    """

    def __init__(self, app: AsgiApp, limits: Limits, stream: trio.abc.Stream, visitor: Visitor) -> None:
        #: What has been received since the last request was answered: the head of the next one, and what is behind it.
        self._received = b""
        self._app = app
        self._limits = limits
        self._stream = stream
        self._visitor = visitor
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)

    @property
    def behind(self) -> bytes:
        """What has been received behind the last request."""
        return self._http.trailing_data[0]

    async def serve(self, is_others: Callable[[h11.Request], bool] = lambda _: False) -> h11.Request | None:
        """Answer requests until the connection ends, and close it, or until there is one that is not for HTTP.

        Args:
            is_others: Returns whether a request is for somebody else.

        Returns:
            The request that is. What was received behind it is in ``behind``. ``None`` at the end of the connection.

        Raises:
            trio.BrokenResourceError: The client has gone while something was sent to it.

        Cancelling it breaks off the response that is under way.
        """
        seconds = self._limits.handshake_seconds
        while (request := await self._receive_request(seconds)) is not None:
            if is_others(request):
                return request
            exchange = _Exchange(self._app, self._limits, self._stream, self._visitor, self._http)
            if not await exchange.answer(request):
                return None
            self._visitor.end_request()
            self._http.start_next_cycle()
            seconds = self._limits.idle_seconds
        return None

    async def _receive_request(self, seconds: float) -> h11.Request | None:
        """Return the next request, when its head is there; ``None`` where there will be none.

        Args:
            seconds: The time until it begins. From then on its head has ``Limits.handshake_seconds``.
        """
        limits = self._limits
        self._received, _ = self._http.trailing_data
        with trio.move_on_after(limits.handshake_seconds if self._received else seconds) as timer:
            while True:
                try:
                    event = self._http.next_event()
                    if isinstance(event, h11.Request):
                        self._check(event)
                        return event
                except h11.RemoteProtocolError as error:
                    # Not what is wrong with it: a stranger's bytes are not for the log, and a page's may be secret.
                    status = error.error_status_hint
                    log(logging.INFO, "what is no HTTP request was answered with %d", status, name=_LOGGER)
                    await self.refuse(status)
                    return None
                if event is not h11.NEED_DATA:
                    return None
                data = await self._stream.receive_some(limits.head_bytes)
                if not data and self._received:
                    return None  # There is nobody to hear that half a head is none.
                if not self._received:
                    timer.deadline = trio.current_time() + limits.handshake_seconds
                self._visitor.note_move()
                self._received += data
                self._http.receive_data(bytes(data))
        log(logging.DEBUG, "a connection without a request was closed", name=_LOGGER)
        return None

    def _check(self, request: h11.Request) -> None:
        """Check what h11 takes for a request.

        Raises:
            h11.RemoteProtocolError: For this server it is none.
        """
        if request.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("another version", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if len(self._received) - len(self._http.trailing_data[0]) > self._limits.head_bytes:
            # h11 measures only what is incomplete.
            raise h11.RemoteProtocolError("too long", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not request.target.startswith(b"/"):
            # A proxy's forms of a target name another host than the header that is checked.
            raise h11.RemoteProtocolError("not a path")
        names = set()
        for name, value in request.headers:
            if name == b"host" and not value.isascii():
                raise h11.RemoteProtocolError("not a host")
            names.add(name)
        if {b"content-length", b"transfer-encoding"} <= names:
            # A proxy between may believe the other of the two, and take the body for the next request.
            raise h11.RemoteProtocolError("two lengths")

    async def refuse(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer a request that is not to be served with a status. The connection is to be closed then."""
        lines = [*headers, ("content-length", "0"), ("connection", "close")]
        data = self._http.send(h11.Response(status_code=status, headers=lines))
        with trio.move_on_after(self._limits.handshake_seconds):
            await self._stream.send_all(data + self._http.send(h11.EndOfMessage()))


class _Exchange:
    """One request, and its response.

    Args:
        app: The ASGI app that answers.
        limits: The server's limits.
        stream: The connection's stream.
        visitor: Whose stream it is.
        http: The connection's parser, which has given the request.
    """

    def __init__(
        self, app: AsgiApp, limits: Limits, stream: trio.abc.Stream, visitor: Visitor, http: h11.Connection
    ) -> None:
        self._app = app
        self._limits = limits
        self._stream = stream
        self._visitor = visitor
        self._http = http
        # Cancelled when nobody is left to answer.
        self._scope = trio.CancelScope()
        self._gone = False
        self._body_bytes = 0
        self._body_deadline = trio.current_time() + limits.handshake_seconds
        # The head of a response that waits for the body, which follows at once.
        self._head = b""
        self._without_body = False
        # Whether the client waits to be asked for its body, and was answered instead.
        self._body_unasked = False

    async def answer(self, request: h11.Request) -> bool:
        """Let the app answer. Return whether another request may follow."""
        self._without_body = request.method == b"HEAD"
        try:
            with self._scope:
                await self._app(self._make_scope(request), self.receive, self.send)
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            # A bulkhead: an error of an app ends its response, and nothing else.
            log(logging.ERROR, "an HTTP request ended with an error", error=without_locals(error), name=_LOGGER)
            self._visitor.end_request()  # What is left to be said has little time, whoever it is for.
            if self._http.our_state is h11.SEND_RESPONSE:
                await self._fail()
        http = self._http
        if self._gone or http.our_state not in (h11.DONE, h11.MUST_CLOSE):
            return False  # A response that was broken off ends the connection: no client takes it for whole.
        if http.their_state is h11.SEND_BODY and not self._body_unasked:
            await self._drop_body()
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    def _make_scope(self, request: h11.Request) -> Scope:
        path, _, query = request.target.partition(b"?")
        return {
            "type": "http",
            # From 2.4 on apps need not wait for the client's going beside their sending: that ends them here, too. A
            # client that has closed its own direction is answered.
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http",
            "path": unquote(path.decode()),  # h11 lets only printable ASCII through.
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": None,
            "server": None,
            "extensions": {},
            "jchannel.visitor": self._visitor,
        }

    # Receiving

    async def receive(self) -> Message:
        """Receive the next part of the body, as an ASGI app does. Behind it, wait until the client has gone."""
        http = self._http
        while not self._gone and http.their_state is h11.SEND_BODY:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError:
                log(logging.INFO, "the body of an HTTP request was none", name=_LOGGER)
                self._gone = True
            else:
                if isinstance(event, h11.Data):
                    self._count_body(len(event.data))
                    return {"type": "http.request", "body": bytes(event.data), "more_body": True}
                if isinstance(event, h11.EndOfMessage):
                    return {"type": "http.request", "body": b"", "more_body": False}
                await self._receive_body()
        while not self._gone:
            await self._receive_more()
            # Behind a request whose answer is under way another one may wait, and no more than its head.
            self._gone |= len(http.trailing_data[0]) > self._limits.head_bytes
        await trio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    def _count_body(self, size: int) -> None:
        self._body_bytes += size
        if not self._visitor.known and self._body_bytes > self._limits.stranger_bytes:
            log(logging.INFO, "a request without the token had too large a body (Limits.stranger_bytes)", name=_LOGGER)
            self._gone = True

    async def _receive_body(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
        with trio.CancelScope(deadline=math.inf if self._visitor.known else self._body_deadline) as timer:
            await self._receive_more()
        if timer.cancelled_caught:
            log(logging.INFO, "a request without the token did not send its body in time", name=_LOGGER)
            self._gone = True

    async def _receive_more(self) -> None:
        try:
            data = await self._stream.receive_some(_RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        self._visitor.note_move()
        self._http.receive_data(bytes(data))
        if not data:
            self._gone = True

    async def _drop_body(self) -> None:
        """Read the rest of a body that the app did not want, for a time: some clients read the response only then."""
        with trio.move_on_after(self._limits.handshake_seconds):
            while not self._gone and self._http.their_state is h11.SEND_BODY:
                await self.receive()

    # Sending

    async def send(self, message: Message) -> None:
        """Send a part of the response, as an ASGI app does. Where the client has gone, the app is cancelled."""
        if message["type"] == "http.response.start":
            await self._send_head(message["status"], list(message.get("headers", ())))
            return
        body = message.get("body", b"")
        data = self._http.send(h11.Data(data=body)) if body and not self._without_body else b""
        if not message.get("more_body", False):
            data += self._http.send(h11.EndOfMessage())
        await self._write(data)

    async def _send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._without_body |= status in _WITHOUT_BODY
        self._body_unasked = self._http.they_are_waiting_for_100_continue
        headers.append((b"date", formatdate(usegmt=True).encode()))
        self._head = self._http.send(h11.Response(status_code=status, headers=headers))
        if b"content-length" in map(bytes.lower, map(itemgetter(0), headers)):
            await trio.lowlevel.checkpoint()  # The body follows at once: together they are one packet.
        else:
            await self._write(b"")

    async def _fail(self) -> None:
        self._head = self._http.send(
            h11.Response(
                status_code=HTTPStatus.INTERNAL_SERVER_ERROR, headers=[("content-length", "0"), ("connection", "close")]
            )
        )
        await self._write(self._http.send(h11.EndOfMessage()))

    async def _write(self, data: bytes) -> None:
        """Send bytes, behind the head that waits for them. A stranger has to take them in time."""
        data, self._head = self._head + data, b""
        try:
            if self._visitor.known:
                await self._stream.send_all(data)
            else:
                await self._write_to_stranger(memoryview(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._gone = True
            self._scope.cancel()
            await trio.lowlevel.checkpoint()

    async def _write_to_stranger(self, data: memoryview) -> None:
        for begin in range(0, len(data), _SEND_BYTES):
            with trio.move_on_after(self._limits.handshake_seconds) as timer:
                await self._stream.send_all(data[begin : begin + _SEND_BYTES])
            if timer.cancelled_caught:
                log(logging.INFO, "a connection without the token did not take its response in time", name=_LOGGER)
                raise trio.BrokenResourceError
            self._visitor.note_move()

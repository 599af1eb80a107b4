"""HTTP over one accepted stream, by hypercorn. This is the only module that knows hypercorn.

``hypercorn.trio.tcp_server.TCPServer`` is not documented: the dependency is pinned to a minor version, and a test fails
when its shape changes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from jchannel._core.asgi import AsgiApp, Message, Receive, Scope, Send
from jchannel._core.limits import Limits
from jchannel._core.replay import ReplayStream
from jchannel._guarded import log, without_locals

__all__ = ["HttpServer"]


class HttpServer:
    """Serves an ASGI app on accepted streams.

    Args:
        app: The app.
        limits: The server's limits.
    """

    def __init__(self, app: AsgiApp, limits: Limits) -> None:
        self._app = ASGIWrapper(cast("Any", _TakeBody(app, limits.handshake_seconds)))
        self._config = Config()
        self._config.include_server_header = False
        self._config.h11_max_incomplete_size = limits.head_bytes
        self._config.errorlog = self._config.accesslog = None
        self._config.logger_class = _Logger
        self._context = WorkerContext(None)

    async def serve(self, stream: ReplayStream) -> None:
        """Serve a stream until its end, and close it. An error in hypercorn is logged, and ends this connection only.

        Cancelling it works also while the client does not read: hypercorn shields its sends, but closing the stream
        from outside wakes them.
        """
        server = _StreamServer(self._app, self._config, self._context, {}, cast("Any", stream))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_close_when_cancelled, stream)
                # In a task of its own, so that fewer coroutines are resumed for every piece of data.
                nursery.start_soon(_run, server, nursery.cancel_scope)
        except* Exception as errors:  # noqa: BLE001 (a bulkhead)
            log(logging.WARNING, "a connection ended with an error", error=without_locals(errors))


class _Logger(Logger):
    """hypercorn's log, which would write to the terminal and let the errors of log handlers through.

    Requests are not logged at all, as their paths contain tickets.
    """

    async def exception(self, message: str, *args: Any, **_: Any) -> None:
        error = sys.exception()
        shown = None if error is None else without_locals(error)
        log(logging.ERROR, message, *args, error=shown, name="jchannel.http")


class _StreamServer(TCPServer):
    """hypercorn's server of one stream, which ends when its stream has ended."""

    async def _read_data(self) -> None:
        await super()._read_data()
        # Its timer for an idle client would run for seconds, and the connection would count for as long.
        await self.idle_task.stop()


async def _run(server: _StreamServer, scope: trio.CancelScope) -> None:
    await server
    scope.cancel()


async def _close_when_cancelled(stream: ReplayStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        await trio.aclose_forcefully(stream)


class _TakeBody:
    """An ASGI app that wraps another one, and reads a request's body from hypercorn whether the app does or not.

    hypercorn puts a request's body into a bounded queue of the application. When the application answers before it has
    read the body, and the queue is full, hypercorn waits for room that never comes, even when the client has gone: the
    connection would stay for ever, and any page could use up all connections with a few posts. So a task of each
    request that has a body empties the queue, and drops what the application does not want any more.

    Args:
        app: The app.
        seconds: How long after its answer the rest of a request's body is read and dropped. A client that has not sent
            all of it by then is cut off.
    """

    def __init__(self, app: AsgiApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request. Cancelling it breaks the response off."""
        if scope["type"] != "http" or not _has_body(scope):
            return self._app(scope, receive, send)
        return self._answer(scope, _Body(receive, send))

    async def _answer(self, scope: Scope, body: _Body) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(body.take)
            await self._app(scope, body.receive, body.send)
            with trio.move_on_after(self._seconds):
                await body.wait_taken()
            nursery.cancel_scope.cancel()


def _has_body(scope: Scope) -> bool:
    return not {b"content-length", b"transfer-encoding"}.isdisjoint(dict(scope["headers"]))


class _Body:
    """One request's body, and whether its client has gone."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._sender, self._receiver = trio.open_memory_channel[Message](0)
        self._taken = trio.Event()
        self._gone = trio.Event()

    async def take(self) -> None:
        """Read the body from hypercorn, until the client has gone."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
            with suppress(trio.BrokenResourceError):  # Nobody reads the body any more.
                await self._sender.send(message)
            if not message.get("more_body", False):
                self._taken.set()
                self._sender.close()
        self._taken.set()
        self._sender.close()
        self._gone.set()

    async def send(self, message: Message) -> None:
        """Send a part of the response, as an ASGI app does. The rest of the body is not wanted any more."""
        self._receiver.close()
        await self._send(message)

    async def receive(self) -> Message:
        """Receive the next message, as an ASGI app does. After the body, wait until the client has gone."""
        try:
            return await self._receiver.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            await self._gone.wait()
            return {"type": "http.disconnect"}

    async def wait_taken(self) -> None:
        """Wait until the whole body has been read, or the client has gone."""
        await self._taken.wait()

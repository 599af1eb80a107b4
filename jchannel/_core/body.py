"""The body of an HTTP request, taken from hypercorn whether the application reads it or not.

hypercorn puts a request's body into a bounded queue of the application. When the application answers before it has
read the body, and the queue is full, hypercorn waits for room that never comes, even when the client has gone: the
connection would stay for ever, and any page could use up all connections with a few posts. So a task of each request
takes from the queue, and drops what the application does not want any more.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from jchannel._core.asgi import AsgiApp, Message, Receive, Scope, Send

__all__ = ["TakeBody"]


class TakeBody:
    """An ASGI app that wraps another one.

    Args:
        app: The app.
        seconds: How long after its answer the rest of a request's body is taken and dropped. A client that has not come
            to its end by then is cut off.
    """

    def __init__(self, app: AsgiApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Cancelling it breaks the response off."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive)

        async def send_and_drop(message: Message) -> None:
            body.drop()
            await send(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(body.take)
            await self._app(scope, body.receive, send_and_drop)
            with trio.move_on_after(self._seconds):
                await body.wait_taken()
            nursery.cancel_scope.cancel()


class _Body:
    """One request's body, and the news that its client has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._sender, self._receiver = trio.open_memory_channel[Message](0)
        self._taken = trio.Event()
        self._gone = trio.Event()

    async def take(self) -> None:
        """Takes what hypercorn has, until the client has gone."""
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

    def drop(self) -> None:
        """Says that the rest of the body is not wanted."""
        self._receiver.close()

    async def receive(self) -> Message:
        """As ASGI's. Behind the body it waits until the client has gone."""
        try:
            return await self._receiver.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            await self._gone.wait()
            return {"type": "http.disconnect"}

    async def wait_taken(self) -> None:
        """Waits until the whole body has been taken, or the client has gone."""
        await self._taken.wait()

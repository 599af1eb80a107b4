"""Files that are written to while they are served: a response has as many bytes as its head has promised."""

from __future__ import annotations

from jchannel._core.asgi import AsgiApp, Message, Receive, Scope, Send

__all__ = ["cut_to_length"]


def cut_to_length(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI app whose responses may have more bytes than their ``content-length``, and cut them to that.

    A server measures a file, and then sends it to its end: one that has grown meanwhile, such as a log, would break the
    connection. One that has become shorter does break it: nobody can know its end otherwise.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, _Cut(send).send)

    return serve


class _Cut:
    """The sending of one response.

    Args:
        send: Sends a part of it.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._left: int | None = None

    async def send(self, message: Message) -> None:
        """Send a part of the response, as far as it was promised."""
        if message["type"] == "http.response.start":
            lengths = [value for name, value in message["headers"] if name.lower() == b"content-length"]
            self._left = int(lengths[0]) if lengths else None
        elif self._left is not None:
            body = message.get("body", b"")[: self._left]
            self._left -= len(body)
            message = {**message, "body": body}
        await self._send(message)

"""The ASGI types and helpers that the frontends and the server share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from jchannel._core.visitors import Visitor

__all__ = [
    "AsgiApp",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "get_header",
    "read_body",
    "respond",
    "show_token",
    "with_headers",
]

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def show_token(scope: Scope) -> bool:
    """Say that a request carries what only a page with the token has: the small limits of strangers are not for it.

    Returns:
        Whether there is room for it. If there is not, it is to be answered with 503.
    """
    visitor: Visitor = scope["jchannel.visitor"]
    return visitor.show_token()


def get_header(scope: Scope, name: bytes) -> str | None:
    """Return a header of a request, or ``None`` if it is missing."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


async def read_body(receive: Receive, limit: int) -> str:
    """Return the body of a request; empty if it has more bytes than the limit, or does not come whole."""
    body = b""
    more = True
    while more and len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return ""
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body.decode("latin-1") if len(body) <= limit else ""


async def respond(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    """Send a whole response. Cancelling it interrupts the response."""
    lines = [(name.encode(), value.encode()) for name, value in {**headers, "content-length": str(len(body))}.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Return a way to send a response that adds headers to it, but for those that it has."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            lines = list(message.get("headers", ()))
            present = {name.lower() for name, _ in lines}
            added = [(name.encode(), value.encode()) for name, value in headers.items() if name.encode() not in present]
            message = {**message, "headers": [*lines, *added]}
        await send(message)

    return send_with_headers

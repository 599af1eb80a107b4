"""A client of an ASGI app, without a server."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from jchannel._core.asgi import AsgiApp, Message


@dataclass
class AppResponse:
    """What an app has answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def call(
    app: AsgiApp,
    path: str,
    *,
    method: str = "GET",
    query: str = "",
    headers: dict[str, str] | None = None,
    host: str | None = "localhost:8889",
    kind: str = "http",
    body: Sequence[bytes] = (b"",),
) -> AppResponse:
    """Calls an app with a request and collects its response."""
    lines = {"accept": "text/html,*/*;q=0.8", **({"host": host} if host is not None else {}), **(headers or {})}
    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        "extensions": {},
    }
    response = AppResponse()
    parts = list(body)
    kind_prefix = "http" if kind == "http" else "websocket.http"

    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        if kind == "websocket":
            return {"type": "websocket.connect"}
        data = parts.pop(0) if parts else b""
        return {"type": "http.request", "body": data, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == f"{kind_prefix}.response.start":
            response.status = message["status"]
            response.headers = {str(name, "latin-1"): str(value, "latin-1") for name, value in message["headers"]}
        else:
            assert message["type"] == f"{kind_prefix}.response.body"
            response.body += message.get("body", b"")

    await app(scope, receive, send)
    return response

"""What a server says of itself to whoever has its token, and is not its page, as ``python -m jchannel doctor``."""

from __future__ import annotations

import hashlib
import hmac
import json
from http import HTTPStatus
from typing import Final

from jchannel._core.asgi import Receive, Scope, Send, read_body, respond
from jchannel._core.server import Server

__all__ = ["STATUS_PATH", "StatusDesk", "make_key"]

#: The path of the status, below the server's base URL.
STATUS_PATH: Final = "/jchannel/status"

_MAX_KEY_BYTES: Final = 100

# A page of another origin may ask, too: it hears nothing that its key gives it no right to.
_HEADERS: Final = {
    "access-control-allow-origin": "*",
    "cache-control": "no-store",
    "content-type": "application/json",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def make_key(token: str) -> str:
    """Return the key for the status, which is good for nothing else: who listens in the server's place may have it."""
    return hmac.new(token.encode(), b"jchannel status", hashlib.sha256).hexdigest()


class StatusDesk:
    """Answers requests for the status of a server.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._key = make_key(server.token)

    async def serve(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whose body is the key. Cancelling it interrupts the response."""
        if name or scope["method"] != "POST":
            await respond(send, HTTPStatus.NOT_FOUND, b"", _HEADERS)
            return
        key = await read_body(receive, _MAX_KEY_BYTES)
        valid = hmac.compare_digest(key.encode(), self._key.encode())
        # A refusal has the status 200, too: browsers show any other as an error in their console.
        answer = self._describe() if valid else {"jchannel": "refused"}
        await respond(send, HTTPStatus.OK, json.dumps(answer).encode(), _HEADERS)

    def _describe(self) -> dict[str, object]:
        statistics = self._server.statistics()
        return {
            "jchannel": "status",
            "page_seconds": statistics.connected_seconds,
            "channels": statistics.channels,
            "advice": self._server.advice,
        }

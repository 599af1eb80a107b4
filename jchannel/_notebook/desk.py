"""The server's desk for notebooks: tickets, which an output may carry, are changed into the token, which it may not.

An output is saved with its notebook, so nothing in it may be worth anything later. It carries the server's public name
and a ticket, which works once and soon. The page that shows the output changes the ticket into the token; its origin,
and the name under which it has reached the server, may connect from then on.

The page must know that it speaks with the server before it gives it anything or runs its code: the server may have
ended, and another user's program may listen where it did. So the server proves, for any nonce, that it knows the token
or the ticket. Everything is below a path with the server's public name in it: who does not know that finds nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from jchannel._client import read_static
from jchannel._core.asgi import Receive, Scope, Send, get_header, respond
from jchannel._notebook.panel import Panels

__all__ = ["NOTEBOOK_PATH", "Claims"]

#: Where the desks are, below the server's base URL. The server's public name follows.
NOTEBOOK_PATH: Final = "/jchannel/notebook/"

_NONCE: Final = re.compile(r"[\w-]{16,64}", re.ASCII)

_MAX_TICKET: Final = 100

#: The key, and as many names of panels as a page can have in sight.
_MAX_QUESTION: Final = 1000

#: How many tickets may wait to be used. One more takes the place of the oldest.
_MAX_TICKETS: Final = 100

# A notebook's page is one of another origin. Nothing is given to it that the request has not paid for.
_HEADERS: Final = {
    "access-control-allow-origin": "*",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Claims:
    """The desk of one server.

    Args:
        token: The server's token.
        seconds: How long a ticket works.
        admit: Lets the pages of an origin connect, by the name in a Host header: called with both headers of a request
            that has brought a good ticket. Browsers always send an origin there, programs need not.
        clock: The time in seconds.

    Attributes:
        server_id: The server's public name. It is random, and no secret.
        path: Where this desk is, below the server's base URL, with a slash at its end.
        panels: The server's panels.
    """

    def __init__(
        self,
        token: str,
        seconds: float,
        admit: Callable[[str | None, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server_id = secrets.token_urlsafe(16)
        self.path = f"{NOTEBOOK_PATH}{self.server_id}/"
        self.panels = Panels(self.server_id)
        self._token = token
        self._seconds = seconds
        self._admit = admit
        self._clock = clock
        self._names = itertools.count(1)
        # By its name, each ticket and when it ends. The oldest comes first.
        self._tickets: dict[str, tuple[str, float]] = {}

    def issue(self) -> str:
        """Makes a ticket. It may be called in any thread.

        Returns:
            The ticket: its name, which may be told, a dot, and 128 random bits.
        """
        name = str(next(self._names))
        ticket = f"{name}.{secrets.token_urlsafe(16)}"
        self._tickets[name] = ticket, self._clock() + self._seconds
        while len(self._tickets) > _MAX_TICKETS:
            self._tickets.pop(next(iter(self._tickets)), None)
        return ticket

    async def serve(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request for what is below ``path``. Cancelling it breaks the response off."""
        method = scope["method"]
        if name == "client.js" and method in ("GET", "HEAD"):
            headers = {"content-type": "text/javascript; charset=utf-8", **_HEADERS}
            await respond(send, HTTPStatus.OK, read_static("notebook.js"), headers)
        elif name == "proof" and method == "GET":
            query = parse_qs(scope["query_string"].decode("latin-1"))
            await _answer(send, self._prove(query.get("nonce", [""])[0], query.get("ticket", [None])[0]))
        elif name == "claim" and method == "POST":
            ticket = await _read_body(receive, _MAX_TICKET)
            await _answer(send, self._claim(ticket, get_header(scope, b"origin"), get_header(scope, b"host") or ""))
        elif name == "panels" and method == "POST":
            await _answer(send, self._report(await _read_body(receive, _MAX_QUESTION)))
        else:
            await respond(send, HTTPStatus.NOT_FOUND, b"", _HEADERS)

    def _prove(self, nonce: str, name: str | None) -> dict[str, str] | None:
        if not _NONCE.fullmatch(nonce):
            return None
        key = self._token if name is None else self._find(name)
        if key is None:
            return {"refused": "ticket"}
        text = f"jchannel {self.server_id} {nonce}"
        return {"proof": hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()}

    def _claim(self, ticket: str, origin: str | None, host: str) -> dict[str, str]:
        name = ticket.partition(".")[0]
        known = self._find(name)
        if known is None or not hmac.compare_digest(known.encode(), ticket.encode()):
            return {"refused": "ticket"}
        self._tickets.pop(name, None)
        self._admit(origin, host)
        return {"token": self._token}

    def _report(self, question: str) -> dict[str, Any]:
        """What panels say, for who knows the token: the question is a key that is made of it, and names."""
        key, *names = question.split(" ")
        # No proof is of such a text, whatever its nonce.
        known = hmac.new(self._token.encode(), f"jchannel panels {self.server_id}".encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(known.encode(), key.encode()):
            return {"refused": "key"}
        return {"panels": self.panels.report(names)}

    def _find(self, name: str) -> str | None:
        ticket, end = self._tickets.get(name, ("", 0.0))
        return ticket if self._clock() < end else None


async def _answer(send: Send, answer: dict[str, Any] | None) -> None:
    # A refusal is a good answer, too: browsers show any other status as an error in their console.
    if answer is None:
        await respond(send, HTTPStatus.BAD_REQUEST, b"", _HEADERS)
    else:
        await respond(
            send, HTTPStatus.OK, json.dumps(answer).encode(), {"content-type": "application/json", **_HEADERS}
        )


async def _read_body(receive: Receive, limit: int) -> str:
    """The body of a request; empty where it has more bytes than what is asked for can have."""
    body = b""
    more = True
    while more and len(body) <= limit:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body.decode("latin-1") if len(body) <= limit else ""

"""The server's desk for notebooks: exchanges tickets, which an output may contain, for the token, which it must not.

An output is saved with its notebook, so it must contain nothing that is valuable later. It contains the server's public
name and a ticket, which works once and for a short time. The page that shows the output exchanges the ticket for the
token; from then on its origin, and the host name that it used for the server, may connect.

The page must authenticate the server before it sends anything to it or runs its code: the server may have ended, and
another user's program may be listening on its port. So the server proves, for any nonce, that it knows the token or the
ticket. All paths contain the server's public name: requests without it find nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import trio

from jchannel._client import read_static
from jchannel._core.asgi import Receive, Scope, Send, get_header, read_body, respond
from jchannel._notebook.elements import Elements
from jchannel._notebook.panel import Panels
from jchannel._secret import Secret

__all__ = ["Claims"]

#: The path of the desk, below the server's base URL. The server's public name follows it.
_NOTEBOOK_PATH: Final = "/jchannel/notebook/"

_NONCE: Final = re.compile(r"[\w-]{16,64}", re.ASCII)

_NUMBER: Final = re.compile(r"[0-9]{1,16}")

_MAX_TICKET_BYTES: Final = 100

#: Enough for the key, and for the names of all panels that a page can show at a time.
_MAX_REPORT_BYTES: Final = 1000

#: The maximum number of unused tickets. A further one replaces the oldest.
_MAX_TICKETS: Final = 100

# A notebook's page has another origin. Each response contains only what its request proves a right to.
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
        seconds: How long a ticket is valid.
        admit: Allows an origin and a host to connect. Called with the headers Origin and Host of a request that has a
            valid ticket. Browsers always send an origin there; other programs may not.
        clock: Returns the current time in seconds.
        run: Calls a function, which may block for a short time, with its arguments in a thread.

    Attributes:
        server_id: The server's public name. It is random, but not secret.
        path: The path of this desk, below the server's base URL, with a slash at its end.
        panels: The server's panels.
        elements: The elements of the server's channels.
    """

    def __init__(
        self,
        token: str,
        seconds: float,
        admit: Callable[[str | None, str], None],
        clock: Callable[[], float] = time.monotonic,
        run: Callable[..., Awaitable[object]] = trio.to_thread.run_sync,
    ) -> None:
        self.server_id: str = secrets.token_urlsafe(16)
        self.path: str = f"{_NOTEBOOK_PATH}{self.server_id}/"
        self.panels: Panels = Panels(self.server_id)
        self.elements: Elements = Elements(self.server_id)
        self._run = run
        self._token = token
        self._seconds = seconds
        self._admit = admit
        self._clock = clock
        self._names = itertools.count(1)
        # Maps the name of each ticket to the ticket and the time when it expires. The oldest comes first.
        self._tickets: dict[str, tuple[str, float]] = {}

    def issue(self) -> str:
        """Create a ticket. May be called in any thread.

        Returns:
            The ticket: its name, which is not secret, a dot, and 128 random bits.
        """
        name = str(next(self._names))
        ticket = Secret(f"{name}.{secrets.token_urlsafe(16)}")
        self._tickets[name] = ticket, self._clock() + self._seconds
        while len(self._tickets) > _MAX_TICKETS:
            self._tickets.pop(next(iter(self._tickets)), None)
        return ticket

    async def serve(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a name below ``path``. Cancelling it interrupts the response."""
        method = scope["method"]
        if name == "client.js" and method in ("GET", "HEAD"):
            headers = {"content-type": "text/javascript; charset=utf-8", **_HEADERS}
            await respond(send, HTTPStatus.OK, read_static("notebook.js"), headers)
        elif name == "proof" and method == "GET":
            query = parse_qs(scope["query_string"].decode("latin-1"))
            await _answer(send, self._prove(query.get("nonce", [""])[0], query.get("ticket", [None])[0]))
        elif name == "claim" and method == "POST":
            ticket = await read_body(receive, _MAX_TICKET_BYTES)
            await _answer(send, self._claim(ticket, get_header(scope, b"origin"), get_header(scope, b"host") or ""))
        elif name == "panels" and method == "POST":
            await _answer(send, self._report(await read_body(receive, _MAX_REPORT_BYTES)))
        elif name == "element" and method == "POST":
            await _answer(send, await self._show_element(await read_body(receive, _MAX_REPORT_BYTES)))
        else:
            await respond(send, HTTPStatus.NOT_FOUND, b"", _HEADERS)

    def _prove(self, nonce: str, name: str | None) -> dict[str, str] | None:
        if not _NONCE.fullmatch(nonce):
            return None
        key = self._token if name is None else self._find_ticket(name)
        if key is None:
            return {"refused": "ticket"}
        text = f"jchannel {self.server_id} {nonce}"
        return {"proof": hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()}

    def _claim(self, ticket: str, origin: str | None, host: str) -> dict[str, str]:
        name = ticket.partition(".")[0]
        issued = self._find_ticket(name)
        if issued is None or not hmac.compare_digest(issued.encode(), ticket.encode()):
            return {"refused": "ticket"}
        self._tickets.pop(name, None)
        self._admit(origin, host)
        return {"token": self._token}

    def _report(self, body: str) -> dict[str, Any]:
        """Return the contents of panels. The body is a key, which is derived from the token, and names."""
        key, *names = body.split(" ")
        return {"panels": self.panels.report(names)} if self._is_key(key) else {"refused": "key"}

    async def _show_element(self, body: str) -> dict[str, Any]:
        """Let a cell show a place for an element. The body is the key, and the number of the channel."""
        key, _, number = body.partition(" ")
        if not self._is_key(key):
            return {"refused": "key"}
        shown = _NUMBER.fullmatch(number) is not None and await self.show_element(int(number))
        return {"shown": True} if shown else {"refused": "element"}

    async def show_element(self, number: int) -> bool:
        """Let a cell show a place for the element of a channel. Return whether there is one. Cancelling it does it."""
        place = self.elements.find_place(number)
        if place is None:
            return False
        # IPython flushes what was printed before it shows anything, and waits for that.
        await self._run(place.show, number)
        return True

    def _is_key(self, key: str) -> bool:
        """Return whether a text is the key of pages that are connected, which is good for nothing else."""
        # No nonce makes `_prove` sign this text.
        text = f"jchannel panels {self.server_id}"
        expected = hmac.new(self._token.encode(), text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), key.encode())

    def _find_ticket(self, name: str) -> str | None:
        ticket, end = self._tickets.get(name, ("", 0.0))
        return ticket if self._clock() < end else None


async def _answer(send: Send, answer: dict[str, Any] | None) -> None:
    # A refusal has the status 200, too: browsers show any other as an error in their console.
    if answer is None:
        await respond(send, HTTPStatus.BAD_REQUEST, b"", _HEADERS)
    else:
        await respond(
            send, HTTPStatus.OK, json.dumps(answer).encode(), {"content-type": "application/json", **_HEADERS}
        )

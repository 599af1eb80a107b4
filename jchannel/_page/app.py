"""The page frontend: serves the client and either the application's own page or a plain one over HTTP."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from jchannel._client import read_static
from jchannel._core.asgi import AsgiApp, Receive, Scope, Send, get_header, respond, with_headers
from jchannel._core.auth import Gate
from jchannel._core.routes import find_path
from jchannel._secret import Secret, SecretBytes

__all__ = ["CLIENT_PATH", "PageApp"]

#: The path of the client's files, below the server's base URL.
CLIENT_PATH: Final = "/jchannel/"

_CLIENT_FILES: Final = {
    "inject.js": "text/javascript; charset=utf-8",
    "jchannel.js": "text/javascript; charset=utf-8",
    "jchannel.d.ts": "text/plain; charset=utf-8",
}

_HEADERS: Final = {
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

#: What the page that has the token in it may do, besides running its one script.
_TICKET_POLICY: Final = "default-src 'none'; img-src data:; base-uri 'none'; frame-ancestors 'none'"

_HTML_HEADERS: Final = {"content-type": "text/html; charset=utf-8", **_HEADERS}


class PageApp:
    """The ASGI app of a server.

    Args:
        folder: The application's folder of static files, or ``None`` for the plain page.
        prefix: The path of the server's URL, for proxies that do not strip it; empty or ``/like/this``.
        gate: Says which Host headers are the server's, and who may show its pages in frames.

    Raises:
        TypeError: ``folder`` is not a path.
        ValueError: There is no folder at that path.
    """

    def __init__(self, folder: str | Path | None, prefix: str, gate: Gate) -> None:
        self._site = None if folder is None else _open_site(folder)
        # A page of the application's may open windows of other origins, and talk to them.
        self._opener_policy = "same-origin" if folder is None else "same-origin-allow-popups"
        self._prefix = prefix
        self._gate = gate
        self._tickets: dict[str, str] = {}

    def issue_ticket(self, token: str) -> Secret:
        """Create a ticket that gives the token to the first page that is opened with it, and leads it to the own page.

        The URL of the page contains the token, and other users of the machine can read the command that opens a
        browser. So the command gets a ticket instead. The token is in the body of the response, which no browser
        stores, and goes from there into the tab's session storage: a redirect to the page's URL, token and all, would
        stay in the browser's history, which may be sent to the user's other devices, and in its cache.

        Returns:
            The path and query of the ticket, below the server's base URL.
        """
        ticket = secrets.token_urlsafe(16)
        self._tickets[ticket] = token
        return Secret(f"{CLIENT_PATH}open?ticket={ticket}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Cancelling it interrupts the response."""
        host = get_header(scope, b"host") or ""
        headers = {"content-security-policy": self._gate.frame_policy(host)}
        if not _is_webkit(scope):
            headers["cross-origin-opener-policy"] = self._opener_policy
        send = with_headers(send, headers)
        if not self._gate.allows_host(host):
            text = "This server is not available under this name."
            await _respond_with_text(send, HTTPStatus.MISDIRECTED_REQUEST, text)
            return
        path = find_path(scope["path"], self._prefix)
        if path == f"{CLIENT_PATH}open" and scope["method"] == "GET":
            await self._redeem_ticket(scope, send)
        elif path.startswith(CLIENT_PATH):
            await _respond_with_client(path.removeprefix(CLIENT_PATH), send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _respond_with_text(send, HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here.")
        elif self._site is not None:
            await self._site({**scope, "path": path, "root_path": ""}, receive, send)
        elif path == "/":
            await respond(send, HTTPStatus.OK, read_static("index.html"), _HTML_HEADERS)
        else:
            await _respond_with_text(send, HTTPStatus.NOT_FOUND, "There is nothing here.")

    async def _redeem_ticket(self, scope: Scope, send: Send) -> None:
        tickets = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [""])
        token = self._tickets.pop(tickets[0], None)
        if token is None:
            text = "This address works only once. Open the server's page_url instead."
            await _respond_with_text(send, HTTPStatus.GONE, text)
        else:
            nonce = secrets.token_urlsafe(16)
            # Both are of characters that mean nothing in HTML.
            page = read_static("open.html").replace(b"{nonce}", nonce.encode()).replace(b"{token}", token.encode())
            headers = {
                **_HTML_HEADERS,
                "cache-control": "no-store",
                "content-security-policy": f"{_TICKET_POLICY}; script-src 'nonce-{nonce}'",
            }
            await respond(send, HTTPStatus.OK, SecretBytes(page), headers)


def _is_webkit(scope: Scope) -> bool:
    """Return whether a browser is WebKit, as Safari and every browser on iOS are: it must not get an opener policy.

    It gives a page with that policy to another process, while the first one still reports the beginning of the load. A
    server on the same machine can be faster than that report: WebKit takes it for another load then, drops the page and
    stays blank (2.50: ``ProvisionalPageProxy::cancel`` in its log, in one of some thousand loads of a busy machine).
    """
    agent = get_header(scope, b"user-agent") or ""
    return "AppleWebKit/" in agent and "Chrome/" not in agent


def _open_site(folder: object) -> AsgiApp:
    if not isinstance(folder, str | Path):
        raise TypeError(f"static must be the path of a folder, and not {folder!r}")
    if not Path(folder).is_dir():
        raise ValueError(f"static must be the path of a folder, and there is none at {str(folder)!r}")
    # Imported here because it takes longer than everything else (60 ms), and few servers have a folder.
    from jchannel._page.site import open_site  # noqa: PLC0415

    return open_site(Path(folder))


async def _respond_with_client(name: str, send: Send) -> None:
    content_type = _CLIENT_FILES.get(name)
    if content_type is None:
        await _respond_with_text(send, HTTPStatus.NOT_FOUND, "The client has no such file.")
    else:
        # A page of another origin, such as a notebook's, may load the client.
        headers = {"content-type": content_type, "access-control-allow-origin": "*", **_HEADERS}
        await respond(send, HTTPStatus.OK, read_static(name), headers)


async def _respond_with_text(send: Send, status: HTTPStatus, text: str) -> None:
    await respond(send, status, text.encode(), {"content-type": "text/plain; charset=utf-8", **_HEADERS})

"""Routes: what answers an HTTP request, by the beginning of its path. Frontends plug in here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import unquote

from jchannel._core.asgi import AsgiApp, Receive, Scope, Send, respond

__all__ = ["Route", "Routes", "find_path"]

#: Answers a request: called with the rest of the path, and what an ASGI app is called with.
Route: TypeAlias = Callable[[str, Scope, Receive, Send], Awaitable[None]]


def find_path(path: str, prefix: str) -> str:
    """Return a path below the server's URL, also where a proxy has not taken the path of that URL away.

    Args:
        path: The path of a request, without escapes, as it is in the scope of an ASGI app.
        prefix: The path of the server's URL as it is written there, which a proxy may escape in another way.
    """
    unescaped = unquote(prefix)
    return path.removeprefix(unescaped) if path.startswith(f"{unescaped}/") else path


class Routes:
    """The table of routes of a server. It is an ASGI app.

    Args:
        prefix: The path of the server's URL, for proxies that do not take it away; empty or ``/like/this``.

    Attributes:
        fallback: The ASGI app that answers whatever no route is for; until one is set, 404.
    """

    def __init__(self, prefix: str) -> None:
        self.fallback: AsgiApp = _answer_not_found
        self._prefix = prefix
        self._routes: dict[str, Route] = {}

    def add(self, path: str, route: Route) -> None:
        """Let a route answer the HTTP requests whose path begins with ``path``."""
        self._routes[path] = route

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request. Cancelling it breaks the response off."""
        path = find_path(scope["path"], self._prefix)
        for beginning, route in self._routes.items():
            if path.startswith(beginning):
                return route(path.removeprefix(beginning), scope, receive, send)
        return self.fallback(scope, receive, send)


async def _answer_not_found(_scope: Scope, _receive: Receive, send: Send) -> None:
    await respond(send, HTTPStatus.NOT_FOUND, b"", {})

"""An application's own folder of static files, with the client's script inserted into its pages.

Starlette serves the files: it handles paths that lead outside, ranges, conditional requests and content types.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote, urlsplit

import trio
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from jchannel._core.asgi import AsgiApp, Receive, Send, get_header, with_headers
from jchannel._core.asgi import Scope as AsgiScope
from jchannel._guarded import log
from jchannel._page.markup import find_charset, insert_script
from jchannel._page.measured import cut_to_length

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["open_site"]

#: What a browser says that it wants a page for, when the page will be a document: in a tab or in a frame.
_DOCUMENTS: Final = frozenset({"document", "iframe", "frame", "embed", "object", "fencedframe"})

#: What the pages of the server's own have, too, as far as the application's work does not need the contrary: a service
#: worker is known by the referrer of what it fetches.
_HEADERS: Final = {
    # Otherwise a page that is reloaded may run a script of last week.
    "cache-control": "no-cache",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

#: What decides whether a page becomes a document.
_VARY: Final = "Sec-Fetch-Dest, Referer, Accept"


def open_site(folder: Path) -> AsgiApp:
    """Return the ASGI app that serves a folder.

    Raises:
        RuntimeError: The folder does not exist.
    """
    app = cut_to_length(cast("AsgiApp", ExceptionMiddleware(_Site(directory=folder, html=True))))

    async def serve(scope: AsgiScope, receive: Receive, send: Send) -> None:
        await app(scope, receive, with_headers(send, _HEADERS))

    return serve


class _Site(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            return await self._get_response(path, scope)
        except OSError as error:
            # A link to itself, a page that has just been removed, and what else a folder may have: any stranger can ask
            # for it, as often as it likes, and gets no traceback into the log.
            log(logging.WARNING, "a file of the application cannot be served: %s", error)
            raise HTTPException(HTTPStatus.NOT_FOUND) from None

    async def _get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, RedirectResponse):
            # It adds a slash to the name of a folder. The URL is relative, because a proxy may serve it at any path.
            name = quote(scope["path"].rpartition("/")[2], safe="")
            query = scope["query_string"].decode("latin-1")
            response.headers["location"] = f"./{name}/?{query}" if query else f"./{name}/"
            return response
        if not isinstance(response, FileResponse):
            return response
        if response.media_type in ("text/css", "text/javascript"):
            # Without a charset they are read as the page that loads them is.
            response.headers["content-type"] = response.media_type
        if response.media_type != "text/html":
            return response
        page = await trio.Path(response.path).read_bytes()
        charset = find_charset(page)
        if _becomes_document(scope):
            # The URL is relative, because a proxy may serve it at any path.
            page = insert_script(page, "../" * (scope["path"].count("/") - 1) + "jchannel/inject.js")
        headers = {
            "content-type": "text/html" if charset is None else f"text/html; charset={charset}",
            "vary": _VARY,
        }
        return Response(page, response.status_code, headers)


def _becomes_document(scope: Scope) -> bool:
    """Return whether a page that is asked for will be a document. What a script fetches is data for it, and none."""
    purpose = get_header(scope, b"sec-fetch-dest")
    if purpose is None:  # Browsers say it only on this machine, and over HTTPS.
        accepted = get_header(scope, b"accept")
        return accepted is None or "text/html" in accepted
    # A service worker fetches pages to answer navigations with them, and is known by its script.
    return purpose in _DOCUMENTS or (purpose == "empty" and _find_referrer(scope).endswith((".js", ".mjs")))


def _find_referrer(scope: Scope) -> str:
    """Return the path of what asks; empty where the header is missing or no URL, as a stranger may send anything."""
    try:
        return urlsplit(get_header(scope, b"referer") or "").path
    except ValueError:
        return ""

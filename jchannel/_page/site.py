"""An application's own folder of static files, with the client's script inserted into its pages.

Starlette serves the files: it handles paths that lead outside, ranges, conditional requests and content types.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

import trio
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from jchannel._core.asgi import AsgiApp
from jchannel._page.measured import cut_to_length

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["insert_script", "open_site"]

_HEAD_TAG: Final = re.compile(rb"<head(\s[^>]*)?>", re.IGNORECASE)


def open_site(folder: Path) -> AsgiApp:
    """Return the ASGI app that serves a folder.

    Raises:
        RuntimeError: The folder does not exist.
    """
    return cut_to_length(cast("AsgiApp", ExceptionMiddleware(_Site(directory=folder, html=True))))


class _Site(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, RedirectResponse):
            # It adds a slash to the name of a folder. The URL is relative, because a proxy may serve it at any path.
            name = quote(scope["path"].rpartition("/")[2], safe="")
            query = scope["query_string"].decode("latin-1")
            response.headers["location"] = f"./{name}/?{query}" if query else f"./{name}/"
            return response
        if not isinstance(response, FileResponse) or response.media_type != "text/html":
            return response
        page = await trio.Path(response.path).read_bytes()
        depth = scope["path"].count("/") - 1
        return HTMLResponse(insert_script(page, depth), response.status_code, {"cache-control": "no-cache"})


def insert_script(page: bytes, depth: int) -> bytes:
    """Insert the client's script into a page, unless the page loads the client itself.

    Args:
        page: The page, in HTML.
        depth: The number of folders between the server's base URL and the page. The script's URL is relative, because
            a proxy may serve it at any path.

    Returns:
        The page with the script.
    """
    if b"jchannel/inject.js" in page or b"jchannel/jchannel.js" in page:
        return page
    script = b'<script src="%sjchannel/inject.js"></script>' % (b"../" * depth)
    head = _HEAD_TAG.search(page)
    at = head.end() if head else 0
    if head is None and page[:9].lower() == b"<!doctype":
        at = page.index(b">") + 1 if b">" in page else len(page)
    return page[:at] + script + page[at:]

"""Putting a server together: the core, the page frontend and the notebook's desk, which plug into it."""

from __future__ import annotations

import ssl
import webbrowser
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import trio

from jchannel._core.limits import Limits
from jchannel._core.server import Server
from jchannel._notebook.desk import Claims
from jchannel._page.app import PageApp
from jchannel._page.status import STATUS_PATH, StatusDesk
from jchannel._protocol.values import PLAIN, Conversion
from jchannel._secret import Secret

__all__ = ["Assembly", "ServerOptions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """What a user may say of a server. ``jchannel.trio.open_server`` documents each."""

    host: str = "localhost"
    port: int | None = None
    url: str | None = None
    static: str | Path | None = None
    open_browser: bool = False
    heartbeat: float = 15
    origins: Iterable[str] = ()
    tracebacks: bool = False
    limits: Limits | None = None
    listeners: Sequence[trio.abc.Listener[Any]] | None = None
    ssl_context: ssl.SSLContext | None = None
    conversion: Conversion = PLAIN

    def __post_init__(self) -> None:
        if isinstance(self.origins, Iterator):  # A server that is started again needs them again.
            object.__setattr__(self, "origins", tuple(self.origins))


class Assembly:
    """A server with its frontends.

    Args:
        options: What the user has said.

    Attributes:
        server: The server of the core.
        desk: Where a notebook's page gets the token, and its panels their figures.

    Raises:
        TypeError, ValueError: An option is not of its kind.
    """

    def __init__(self, options: ServerOptions) -> None:
        server = Server(
            options.host,
            options.port,
            url=options.url,
            heartbeat=options.heartbeat,
            origins=options.origins,
            tracebacks=options.tracebacks,
            limits=options.limits,
            listeners=options.listeners,
            ssl_context=options.ssl_context,
            conversion=options.conversion,
        )
        self.server: Server = server
        self.desk: Claims = Claims(
            server.token, server.limits.claim_seconds, server.gate.admit, run=server.streams.threads.run_short
        )
        self._page = PageApp(options.static, server.prefix, server.gate)
        self._open_browser = options.open_browser
        server.routes.add(self.desk.path, self.desk.serve)
        server.routes.add(STATUS_PATH, StatusDesk(server).serve)
        server.routes.fallback = self._page

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Open the server for the time of an ``async with`` block, as ``Server.open`` does, and the browser."""
        async with self.server.open():
            if self._open_browser:
                url = self.issue_browser_url()
                threads = self.server.streams.threads
                self.server.start_soon(partial(threads.run_waiting, webbrowser.open, url, abandon_on_cancel=True))
            yield self

    def issue_browser_url(self) -> Secret:
        """Return a URL that gives the token to the first who opens it, leads to the page, and is worth nothing after.

        It is for the command that starts a browser: other users of the machine can read commands, and tokens in them.
        """
        return Secret(self.server.url + self._page.issue_ticket(self.server.token))

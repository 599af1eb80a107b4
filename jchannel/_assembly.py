"""Putting a server together: the core, the page frontend and the notebook's desk, which plug into it."""

from __future__ import annotations

import logging
import os
import ssl
import webbrowser
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

import trio

from jchannel._core.limits import Limits
from jchannel._core.server import Server
from jchannel._guarded import log
from jchannel._notebook.desk import Claims
from jchannel._page.app import PageApp
from jchannel._page.status import STATUS_PATH, StatusDesk
from jchannel._protocol.values import PLAIN, Conversion
from jchannel._secret import Secret

if TYPE_CHECKING:
    from jchannel._page.headless import HeadlessPage

__all__ = ["Assembly", "PageKind", "ServerOptions", "find_page_kind"]

#: A page that a server gives itself.
PageKind: TypeAlias = Literal["headless"]

#: The environment variable with the page of servers that are given none.
_PAGE_VARIABLE: Final = "JCHANNEL_PAGE"


def find_page_kind() -> PageKind | None:
    """Return the page that the environment gives to servers that are given none.

    Raises:
        ValueError: It names another one than there is.
    """
    return _check_page(os.environ.get(_PAGE_VARIABLE) or None, f"{_PAGE_VARIABLE} in the environment")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """What a user may say of a server. ``jchannel.trio.open_server`` documents each."""

    host: str = "localhost"
    port: int | None = None
    url: str | None = None
    static: str | Path | None = None
    open_browser: bool = False
    page: PageKind | None = None
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
        is_open_to_others: Whether somebody has been given what lets a page connect that is no notebook's.

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
        self.is_open_to_others: bool = False
        self._page = PageApp(options.static, server.prefix, server.gate)
        self._open_browser = options.open_browser
        self._headless = _make_headless(options)
        server.routes.add(self.desk.path, self.desk.serve)
        server.routes.add(STATUS_PATH, StatusDesk(server).serve)
        server.routes.fallback = self._page

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Open the server for the time of an ``async with`` block, as ``Server.open`` does, and its page.

        A browser is not waited for, and a headless page is.
        """
        async with self.server.open():
            if self._open_browser:
                self.server.start_soon(self._show_in_browser)
            if self._headless is not None:
                await self._headless.open(self.server, self.issue_browser_url())
            yield self

    async def _show_in_browser(self) -> None:
        threads = self.server.streams.threads
        opened = await threads.run_waiting(webbrowser.open, self.issue_browser_url(), abandon_on_cancel=True)
        if not opened:
            # Whoever waits for the page may wait for ever, and its address has the token, which is in no log.
            text = "no browser could be opened (open_browser=True): print server.page_url and open it in one, or give "
            log(logging.WARNING, text + "the server a page of its own (page='headless')")

    def issue_browser_url(self) -> Secret:
        """Return a URL that gives the token to the first who opens it, leads to the page, and is worth nothing after.

        It is for the command that starts a browser: other users of the machine can read commands, and tokens in them.
        """
        return Secret(self.server.url + self._page.issue_ticket(self.server.token))


def _make_headless(options: ServerOptions) -> HeadlessPage | None:
    if _check_page(options.page, "page") is None:
        return None
    if options.open_browser:
        raise ValueError('a server has one page: give it either open_browser=True or page="headless"')
    # Imported here because few servers have such a page.
    from jchannel._page.headless import HeadlessPage  # noqa: PLC0415

    return HeadlessPage()


def _check_page(page: object, name: str) -> PageKind | None:
    if page not in (None, "headless"):
        raise ValueError(f"{name} must be 'headless', or nothing for no page of the server's own, and not {page!r}")
    return "headless" if page else None

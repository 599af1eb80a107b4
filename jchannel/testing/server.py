"""A server in memory and its pages, for tests that run in trio."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from jchannel._core.limits import Limits
from jchannel._protocol.values import Default, Nan
from jchannel.testing.hold import hold_time
from jchannel.testing.kit import choose_code
from jchannel.testing.network import MemoryListener
from jchannel.testing.page import Page, hold_page
from jchannel.trio import Channel, OnOpen, Server
from jchannel.trio import open_server as open_trio_server

__all__ = ["listener_of", "open_page", "open_pair", "open_server"]

_listeners: Final[weakref.WeakKeyDictionary[Server, MemoryListener]] = weakref.WeakKeyDictionary()


@asynccontextmanager
async def open_server(
    *,
    static: str | Path | None = None,
    heartbeat: float = 15,
    origins: Iterable[str] = (),
    tracebacks: bool = False,
    limits: Limits | None = None,
    default: Default | None = None,
    nan: Nan = "refuse",
) -> AsyncIterator[Server]:
    """Open a server without sockets, for the time of an ``async with`` block. ``open_page`` connects pages to it.

    It is a ``jchannel.trio.Server`` like every other, and works under any clock. One that jumps does not while a thread
    of jchannel's reads or writes for a stream.

    Parameters and exceptions are those of ``jchannel.trio.open_server``, and cancelling it does the same.
    """
    listener = MemoryListener()
    async with open_trio_server(
        listeners=[listener],
        static=static,
        heartbeat=heartbeat,
        origins=origins,
        tracebacks=tracebacks,
        limits=limits,
        default=default,
        nan=nan,
    ) as server:
        hold_time()
        _listeners[server] = listener
        yield server


def listener_of(server: Server) -> MemoryListener:
    """Return the listener of a server in memory.

    Raises:
        TypeError: The server is not one.
    """
    try:
        return _listeners[server]
    except (KeyError, TypeError):  # What cannot be referenced weakly is no server either.
        raise TypeError(
            f"a page in memory needs a server of jchannel.testing.open_server, and not {server!r}"
        ) from None


@asynccontextmanager
async def open_page(
    server: Server, handler: object = None, *, on_open: OnOpen | None = None, client: str | None = None
) -> AsyncIterator[Page]:
    """Connect a scripted page to a server in memory, for the time of an ``async with`` block.

    Args:
        server: A server of ``jchannel.testing.open_server``.
        handler: The object that handles calls from Python, on every channel: it plays the page's JavaScript. Its public
            methods can be called, sync and async ones; one that is an async generator answers with a stream.
        on_open: Plays the code of channels: called with each channel that is opened (a ``jchannel.trio.PeerChannel``)
            and its code, sync or async. It may set the channel's ``handler``, and returns what opening the channel
            returns.
        client: The page's name, by which the server recognises it; ``None`` for a random one.

    Raises:
        TypeError: The server is not one in memory.
        RefusedError: Another page is connected.
        UnreachableError: The server is closed.

    Leaving the block closes the connection with a goodbye; a page that is held or delayed is lost. Cancelling it does
    the same.
    """
    listener = listener_of(server)
    async with hold_page(server.page_url, listener, handler, on_open=on_open, client=client) as page:
        yield page


@asynccontextmanager
async def open_pair(
    page_handler: object = None,
    *,
    handler: object = None,
    code: str | None = None,
    module: str | None = None,
    on_open: OnOpen | None = None,
    heartbeat: float = 15,
    tracebacks: bool = False,
    limits: Limits | None = None,
    default: Default | None = None,
    nan: Nan = "refuse",
) -> AsyncIterator[tuple[Channel, Page]]:
    """Connect a channel and a scripted page in memory, for the time of an ``async with`` block.

    Args:
        page_handler: The object that handles calls from Python: it plays the page's JavaScript.
        handler: The channel's handler, which handles calls from the page.
        code: The channel's code; ``None`` for one that does nothing. The page does not run it.
        module: The channel's module, in the place of code. The page does not run it either.
        on_open: Plays the code of channels, as in ``open_page``.
        heartbeat: Seconds between two beats of the page, and the most that its answer may take.
        tracebacks: Whether the page receives the traceback of an exception that a Python handler raised.
        limits: The limits of what the page controls; ``None`` for the defaults.
        default: As that of ``jchannel.trio.open_server``.
        nan: As that of ``jchannel.trio.open_server``.

    Returns:
        The channel, open, and the page.

    Raises:
        What ``Channel.open`` raises.

    Leaving the block ends the channel, the page and the server. Cancelling it does the same.
    """
    async with (
        open_server(heartbeat=heartbeat, tracebacks=tracebacks, limits=limits, default=default, nan=nan) as server,
        open_page(server, page_handler, on_open=on_open) as page,
        server.hold_channel(choose_code(code, module), module=module, handler=handler) as channel,
    ):
        await (channel.open(None) if page._may_get_lost else channel.open())
        yield channel, page

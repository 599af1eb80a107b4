"""The kit for tests of programs that use the blocking facade."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

import jchannel.sync
from jchannel._bridge.crossing import Operation, wait_blocking
from jchannel._bridge.handles import ServerHandle
from jchannel._bridge.methods import ThreadMethods
from jchannel._bridge.streams import ThreadStreams
from jchannel._core.peer import PeerChannel
from jchannel.testing.clock import KitPortal
from jchannel.testing.facade import ThreadPage
from jchannel.testing.faults import check_seconds
from jchannel.testing.kit import EMPTY_CODE, Kit

__all__ = ["SyncKit"]


class _ThreadServer(jchannel.sync.Server):
    """The blocking facade's server, in the trio of a kit."""

    def __init__(self, portal: KitPortal, handle: ServerHandle) -> None:
        super().__init__()
        self._handle = handle
        self._portal = portal

    def start(self) -> Self:
        """As the facade's."""
        return wait_blocking(self._handle.start(self._portal, self))

    def __enter__(self) -> Self:
        """As the facade's."""
        return wait_blocking(self._handle.enter(self._portal, self))


class SyncKit(Kit):
    """Everything for a test of a program that uses ``jchannel.sync``, for the time of a ``with`` block.

    The server and the channels are those of the blocking facade. The methods of a page's handler are plain ones and run
    in worker threads. trio runs in a private thread, without sockets, and ends with the block.

    The time of the timeouts stands still until the test moves it with ``advance``. As a test that calls the page waits
    for the answer, it is a method of the page that moves it: ``def slow(self): kit.advance(3600)``.

    Args:
        static: As that of ``jchannel.sync.start``.
        heartbeat: As that of ``jchannel.sync.start``.
        origins: As that of ``jchannel.sync.start``.
        tracebacks: As that of ``jchannel.sync.start``.
        limits: As that of ``jchannel.sync.start``.

    Attributes:
        server: The server, a ``jchannel.sync.Server``, started; it is there from the block's beginning.
    """

    server: jchannel.sync.Server
    _block = "with"

    def __enter__(self) -> Self:
        """Starts the server. Raises what ``jchannel.sync.start`` raises, and ``StateError`` the second time."""
        portal, handle = self._enter()
        self.server = _ThreadServer(portal, handle)
        try:
            self.server.start()
        except BaseException:
            self._end(portal)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the pages, the server and the kit's thread."""
        try:
            for operation in self._ending(self.server.handle):
                wait_blocking(operation)
        finally:
            self._end(self._entered)

    def open_page(
        self,
        handler: object = None,
        *,
        on_open: Callable[[PeerChannel, str], Any] | None = None,
        client: str | None = None,
    ) -> ThreadPage:
        """Connects a scripted page to the server, until the kit's block is left.

        Args:
            handler: As that of ``jchannel.testing.open_page``; its methods run in worker threads.
            on_open: As that of ``jchannel.testing.open_page``; it runs in a worker thread.
            client: As that of ``jchannel.testing.open_page``.

        Raises:
            RefusedError: Another page is connected.
            StateError: The kit is not entered, or the server not started.
        """
        return wait_blocking(
            self._opening_page(
                ThreadPage,
                self.server.handle,
                handler,
                on_open=on_open,
                client=client,
                methods=ThreadMethods(),
                streams=ThreadStreams(),
            )
        )

    def open_pair(
        self,
        page_handler: object = None,
        *,
        handler: object = None,
        code: str = EMPTY_CODE,
        on_open: Callable[[PeerChannel, str], Any] | None = None,
    ) -> tuple[jchannel.sync.Channel, ThreadPage]:
        """Connects a scripted page, and opens a channel.

        Args:
            page_handler: The object that handles calls from Python: it plays the page's JavaScript.
            handler: The channel's handler, which handles calls from the page.
            code: The channel's code. The page does not run it.
            on_open: As that of ``open_page``.

        Returns:
            The channel, open, a ``jchannel.sync.Channel``; and the page.

        Raises:
            What ``open_page`` and ``Channel.open`` raise.
        """
        page = self.open_page(page_handler, on_open=on_open)
        channel = jchannel.sync.Channel(self.server, code)
        channel.handler = handler
        channel.open()
        return channel, page

    def advance(self, seconds: float) -> None:
        """Moves the kit's time, from one thing that is due to the next. Any thread may do it, one at a time.

        Args:
            seconds: How far.

        Raises:
            TypeError, ValueError: It is not a finite number of seconds.
            StateError: The kit is not entered.

        When it returns, what was due in trio has happened. Threads that it has woken go on by themselves.
        """
        portal = self._entered
        end = portal.time + check_seconds(seconds, "the time to advance by")
        wait_blocking(Operation(portal, portal.settle))
        while not wait_blocking(Operation(portal, partial(portal.step, end))):
            pass

    def _end(self, portal: KitPortal) -> None:
        portal.end_soon(lambda: None)
        portal.join()

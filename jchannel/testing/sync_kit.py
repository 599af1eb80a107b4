"""The kit for tests of programs that use the blocking facade."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

import jchannel.sync
from jchannel._bridge.call import wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.methods import ThreadMethods
from jchannel._core.threads import IS_WATCHED
from jchannel.testing.clock import KitPortal
from jchannel.testing.facade import ThreadPage
from jchannel.testing.faults import check_seconds
from jchannel.testing.kit import Kit, choose_code
from jchannel.trio import PeerChannel

__all__ = ["SyncKit"]


class SyncKit(Kit):
    """Everything for a test of a program that uses ``jchannel.sync``, for the time of a ``with`` block.

    The server and the channels are those of the blocking facade. The methods of a page's handler are plain ones and run
    in worker threads. trio runs in a private thread, without sockets, and ends with the block.

    The time of the timeouts stands still until the test moves it with ``advance``. A test that calls the page waits for
    the answer, so a method of the page moves the time: ``def slow(self): kit.advance(3600)``. What it waits for and can
    never come is an ``AtRestError`` after a while.

    Args:
        static: A folder of static files to serve; ``None`` for a plain page.
        heartbeat: Seconds between two beats of the page, and the most that its answer may take.
        origins: Origins of pages that may connect. The pages of the kit need none.
        tracebacks: Whether the page receives the traceback of an exception that a Python handler raised.
        limits: The limits of what a page controls; ``None`` for the defaults.
        default: Called with a value that cannot be sent as it is; returns what is sent in its place, as for
            ``jchannel.start``.
        nan: What becomes of NaN and the infinities outside of arrays: ``"refuse"``, ``"null"`` or ``"keep"``, as for
            ``jchannel.start``.
        patience: Seconds of real time. When nothing has happened for so long and something of the kit's is awaited, it
            raises an ``AtRestError``; ``None`` to wait for ever.

    Attributes:
        server: The server, a ``jchannel.sync.Server``, started; it is there from the block's beginning.
    """

    server: jchannel.sync.Server
    _block = "with"

    def __enter__(self) -> Self:
        """Start the server. Raise what ``jchannel.sync.start`` raises, and ``StateError`` the second time."""
        handle = self._enter(None, "`kit.advance({due:g})`, in a method of the page, lets it happen")
        self.server = jchannel.sync.Server(notebook=False)
        self.server._handle = handle
        try:
            self.server.start()
        except BaseException:
            self._end(self._entered)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the pages, the server and the kit's thread."""
        try:
            for operation in self._ending():
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
        """Connect a scripted page to the server, until the kit's block is left.

        Args:
            handler: The object that handles calls from Python: it plays the page's JavaScript. Its methods run in
                worker threads.
            on_open: Plays the code of channels, in a worker thread: called with each channel that is opened and its
                code. It may set the channel's ``handler``, and returns what opening the channel returns.
            client: The page's name, by which the server recognises it; ``None`` for a random one.

        Raises:
            RefusedError: Another page is connected.
            StateError: The kit is not entered, or the server not started.
        """
        return wait_blocking(
            self._opening_page(
                ThreadPage,
                handler,
                on_open=on_open,
                client=client,
                methods=ThreadMethods(),
            )
        )

    def open_pair(
        self,
        page_handler: object = None,
        *,
        handler: object = None,
        code: str | None = None,
        module: str | None = None,
        on_open: Callable[[PeerChannel, str], Any] | None = None,
    ) -> tuple[jchannel.sync.Channel, ThreadPage]:
        """Connect a scripted page, and open a channel.

        Args:
            page_handler: The object that handles calls from Python: it plays the page's JavaScript.
            handler: The channel's handler, which handles calls from the page.
            code: The channel's code; ``None`` for one that does nothing. The page does not run it.
            module: The channel's module, in the place of code. The page does not run it either.
            on_open: Plays the code of channels, as in ``open_page``.

        Returns:
            The channel, open, a ``jchannel.sync.Channel``; and the page.

        Raises:
            What ``open_page`` and ``Channel.open`` raise.
        """
        page = self.open_page(page_handler, on_open=on_open)
        channel = jchannel.sync.Channel._make(self.server, choose_code(code, module), module, handler)
        channel.open()
        return channel, page

    def advance(self, seconds: float) -> None:
        """Move the kit's time, from one thing that is due to the next. Any thread may do it, one at a time.

        Args:
            seconds: How far.

        Raises:
            TypeError, ValueError: It is not a finite number of seconds.
            StateError: The kit is not entered.

        When it returns, what was due in trio has happened, and what jchannel reads in threads for a stream has come.
        Threads that it has woken continue by themselves.
        """
        portal = self._entered
        end = portal.time + check_seconds(seconds, "the time to advance by")
        # A source that moves the time does not wait for its own thread.
        settle = portal.settle if IS_WATCHED.get() else portal.settle_threads
        wait_blocking(TaskJob(portal, settle))
        while not wait_blocking(TaskJob(portal, partial(portal.step, end, settle))):
            pass

    def _end(self, portal: KitPortal) -> None:
        portal.end_soon(lambda: None)
        portal.join()

"""The asyncio facade's server: its methods return Tasks on the caller's running loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from jchannel._assembly import PageKind
from jchannel._bridge.call import in_task, running_loop
from jchannel._bridge.faces import ServerFace
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.portal import portal_of
from jchannel._bridge.watch import Listening, LoopWatch, check_callback
from jchannel._core.limits import Limits
from jchannel._core.watch import PageStatus
from jchannel._protocol.messages import Door
from jchannel._protocol.values import Default, Nan
from jchannel._tracebacks import trimmed
from jchannel.channel import Channel

__all__ = ["Server", "start"]


def __dir__() -> list[str]:
    return __all__


class Server(ServerFace):
    """A server that one page at a time can connect to.

    Making one starts nothing. It is started with ``start`` or with ``async with``; ``jchannel.start`` does both.

    In a trio-asyncio loop it runs in that loop's trio, and ends with the loop. From any other loop it runs in a thread
    of jchannel's own, and answers also while the loop is busy or after it has ended, until it is stopped.

    Every method that returns an ``asyncio.Task`` makes its request at once. The Task is one of the loop that runs in
    the caller's thread. Without a running loop, the method raises a ``RuntimeError`` that points to ``jchannel.sync``.

    Args:
        host: The name or address to listen on. ``localhost`` means the loopback addresses of IPv4 and of IPv6.
        port: The port; 0 for any free one; ``None`` for 8889 or, where that is taken, a free one.
        url: The URL under which pages reach the server, where a proxy is between, such as
            ``https://example.com/proxy/8889``.
        heartbeat: Seconds between two beats of the page, and the most that its answer may take.
        static: A folder of static files to serve, the client's script inserted into its pages; ``None`` for a plain
            page.
        open_browser: Whether to open the page in the user's browser.
        page: ``"headless"`` for a page that the server gives itself, in a Chromium without a window: a notebook that no
            browser shows needs one (``docs/hosts.md``). Starting the server waits until it is connected, at most a
            minute.
            ``None`` for none, or for that of the environment variable ``JCHANNEL_PAGE``.
        origins: Origins of pages that may connect, such as ``https://hub.example.com``, beside those of this machine
            and of the server itself. ``null`` is that of pages of files, and of every site's sandboxed frames. They all
            need the token. These pages, and no others, may also show the server's pages in frames; those of ``null``
            may not, as no browser can tell whose they are.
        tracebacks: Whether the page gets the traceback of an exception that a Python handler raised, or only its type
            and message.
        limits: The limits of what a peer controls; ``None`` for the defaults.
        notebook: Whether to connect the notebook's page where this runs in a notebook's kernel; ``None`` for yes,
            unless ``open_browser``, ``page`` or ``static`` is given: then the page is another one. Where it runs in a
            program that shows its cells in no browser, such as papermill, what waits for a page raises ``StateError``
            at once (``docs/hosts.md``).
        share_interpreter: Whether busy Python code is made to share the interpreter with jchannel's thread while the
            server runs; ``None`` for yes in a notebook's kernel, and no everywhere else. It shortens the process's
            switch interval from the default of 5 ms to 0.2 ms: beside a script with steps of 1 ms that writes a little
            after each an echo takes 0.7 ms with it and up to 18 s without, and three computing threads lose 7 %
            (``benchmarks/busy.py``). When the last server has ended, the switch interval is put back. A loop that never
            rests needs none of it: while it awaits something of jchannel's, it is stopped for 0.5 ms in 5, and less
            often the longer it waits.
        ssl_context: Lets the server speak TLS, with the certificate of this context (``docs/security.md``). Its URLs
            are of ``https`` then. ``None`` for plain HTTP.
        default: Called with a value that cannot be sent as it is, such as a date or a data frame; returns what is sent
            in its place, as that of ``json.dumps`` does, or raises. It is called where the value is passed or returned,
            and must not call the page. ``None`` refuses such values, with the line that makes each travel.
        nan: What becomes of NaN and the infinities outside of arrays, which JSON has no form for, in what either side
            sends: ``"refuse"``, ``"null"`` for a ``null`` in the place of each, or ``"keep"``, to let them travel.
        door: In a notebook, the only way by which its page is to connect: ``"port"``, directly; ``"proxy"``, one of the
            page's own origin, such as jupyter-server-proxy; or ``"comm"``, over the kernel's own messages, which reach
            the page where no port can be reached, and need ``jchannel[widget]``. ``None`` for the best that there
            is. ``statistics().door`` is the one that is in use.

    The arguments are checked when the server is started, but for ``default`` and ``nan``, which are checked at once.

    A server that is dropped while it runs, and all channels with it, is stopped when Python collects it, with a
    ``ResourceWarning`` that names it.
    """

    @trimmed
    def start(self) -> asyncio.Task[Self]:
        """Start the server. One that was stopped can be started again.

        Returns:
            A Task whose result is the server itself, listening.

        Raises:
            RuntimeError: No loop is running.

        The Task raises ``OSError`` when the port is taken or the host is not this machine's, with a message that names
        it, or no Chromium is found for its page, ``TypeError`` or ``ValueError`` when an argument of the constructor is
        not of its kind, and ``StateError`` when the server is started already, or its Chromium has ended at once.
        Cancelling it stops the server again.
        """
        task = in_task(self._handle.start(portal_of(running_loop()), self), "server.start")
        # Called before those who await the Task continue, in the context of the cell that has started the server.
        task.add_done_callback(self._meet_notebook)
        return task

    def _start_again(self) -> asyncio.Task[Self]:
        """Give the server to a cell that has started it before, started. Otherwise as ``start``."""
        task = in_task(self._handle.enter(portal_of(running_loop()), self), "server.start")
        task.add_done_callback(self._show_again)
        return task

    @trimmed
    def stop(self) -> asyncio.Task[None]:
        """Stop the server: end its channels, say goodbye to the page, and wait until all has ended.

        Stopping a server that is not started does nothing.

        Returns:
            A Task that ends when the server has.

        Raises:
            RuntimeError: No loop is running.

        The Task raises ``ClosedError``, with its cause, when an error of jchannel's own had ended the server.
        Cancelling it stops the waiting. The server ends all the same.
        """
        return in_task(self._handle.stop(), "server.stop")

    @trimmed
    def open(
        self,
        code: str | None = None,
        timeout: float | None = 3,
        *,
        module: str | None = None,
        handler: object = None,
        default: Default | None = None,
        nan: Nan | None = None,
    ) -> asyncio.Task[Channel]:
        """Make a channel and open it.

        Args:
            code: JavaScript that evaluates to the initialization function. It receives the page's side of the channel.
            timeout: Seconds as ``int`` or ``float`` for the whole, waiting for a page included; ``None`` for no limit.
            module: In the place of code, a module whose default export is the initialization function, such as
                ``"./channel.js"``: the page imports it as a script of its own would, relative to its address. A strict
                Content Security Policy allows that, and code only with ``unsafe-eval``.
            handler: The object that handles calls from the page, which may come while the channel is being opened.
                ``Channel.handler`` can be set at any time, too.
            default: As that of the server, for this channel; ``None`` for the server's.
            nan: As that of the server, for this channel; ``None`` for the server's.

        Returns:
            A Task whose result is the channel, open. It raises what the Task of ``Channel.open`` raises, and cancelling
            it closes the channel.

        Raises:
            RuntimeError: No loop is running.
            TypeError, ValueError: The code or the module is not one, there are both or neither, or the timeout is not
                one.
        """
        channel = Channel._make(self, code, module, handler, default=default, nan=nan)
        return in_task(channel._enter(timeout), "server.open")  # noqa: SLF001 (the same)

    @trimmed
    def wait_page(self, timeout: float | None = None) -> asyncio.Task[None]:
        """Wait until a page is connected.

        Args:
            timeout: Seconds as ``int`` or ``float``; ``None`` for no limit.

        Returns:
            A Task that ends when a page is connected.

        Raises:
            RuntimeError: No loop is running.
            TypeError, ValueError: The timeout is not one.

        The Task raises ``TimeoutError`` when the time runs out, and ``ClosedError`` when the server is not started or
        was stopped meanwhile. Cancelling it does nothing else.
        """
        running_loop()
        return in_task(self._handle.wait_page(timeout), "server.wait_page")

    def watch(self) -> AsyncIterator[PageStatus]:
        """Iterate over the states of the page, the present one first: one has come, is lost, is back.

        It is the state, and no list of events: who is slow gets the newest one, and ``pages`` tells how many he has
        missed. It holds nothing, and need not be closed. It ends when the server is stopped.

        Raises:
            ClosedError: The server has not been started.

        Cancelling it does nothing else.
        """
        return LoopWatch(self._handle.server.board, self._handle.portal)

    def listen(self, callback: Callable[[PageStatus], object]) -> Listening:
        """Call a function with each state of the page, the present one first: for code without a task.

        Args:
            callback: Called on the present loop with the state, one call after the other. It is the newest state, and
                no list of events: what comes while a call runs is left out, but for the last. An exception that it
                raises is logged, and ends nothing.

        Returns:
            What ends it, with ``close`` or a ``with`` block. It ends with the server, too.

        Raises:
            ClosedError: The server has not been started.
            TypeError: The function is not callable.
            RuntimeError: No loop is running.
        """
        check_callback(callback)
        board = self._handle.server.board
        return Listening(callback, board, self._handle.portal, LoopMailbox.of(running_loop()))

    @trimmed
    def move_to_newest_page(self, timeout: float | None = 10) -> asyncio.Task[None]:
        """Let the next page that connects take over from the one that is connected, and wait for that.

        In a notebook that page is the one that shows the cell in which this is called, and this connects it. The open
        channels are opened in it, as after a reload. The old page is notified.

        Args:
            timeout: Seconds as ``int`` or ``float``; ``None`` for no limit.

        Returns:
            A Task that ends when another page is connected.

        Raises:
            RuntimeError: No loop is running.
            TypeError, ValueError: The timeout is not one.

        The Task raises ``TimeoutError`` when the time runs out (the page that was connected still is), and
        ``ClosedError`` when the server is not started or was stopped meanwhile. Cancelling it leaves everything as it
        is.
        """
        running_loop()
        task = in_task(self._handle.move_to_newest_page(timeout), "server.move_to_newest_page")
        self._show_newest_page_the_way()
        return task

    @trimmed
    async def __aenter__(self) -> Self:
        """Start the server, unless it is started already. Otherwise like ``start``."""
        await in_task(self._handle.enter(portal_of(running_loop()), self), "server.start")
        self._meet_notebook()
        return self

    @trimmed
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the server. Otherwise like ``stop``."""
        await self.stop()


@trimmed
def start(
    host: str = "localhost",
    port: int | None = None,
    url: str | None = None,
    heartbeat: float = 15,
    *,
    static: str | Path | None = None,
    open_browser: bool = False,
    page: PageKind | None = None,
    origins: Iterable[str] = (),
    tracebacks: bool = False,
    limits: Limits | None = None,
    notebook: bool | None = None,
    share_interpreter: bool | None = None,
    ssl_context: ssl.SSLContext | None = None,
    default: Default | None = None,
    nan: Nan = "refuse",
    door: Door | None = None,
) -> asyncio.Task[Server]:
    """Make a server and start it.

    Parameters are those of ``Server``.

    In a notebook, a cell that is run again is given the server that it has started before, with its page and its
    channels, if that still runs and the arguments are the same (and ``open_browser`` is not set). The cell says so.

    Returns:
        A Task whose result is the server, listening. It raises what the Task of ``Server.start`` raises.

    Raises:
        RuntimeError: No loop is running.
    """
    server = Server(
        host,
        port,
        url=url,
        static=static,
        open_browser=open_browser,
        page=page,
        heartbeat=heartbeat,
        origins=origins,
        tracebacks=tracebacks,
        limits=limits,
        notebook=notebook,
        share_interpreter=share_interpreter,
        ssl_context=ssl_context,
        default=default,
        nan=nan,
        door=door,
    )
    running_loop()
    former = server._find_former()  # noqa: SLF001 (of its own class)
    return server.start() if former is None else former._start_again()  # noqa: SLF001 (the same)

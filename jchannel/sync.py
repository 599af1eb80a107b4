"""The blocking facade: its methods wait and return the value. For scripts, the plain REPL and busy cells.

Everything runs in jchannel's own trio thread. An interrupt (``KeyboardInterrupt``) during a wait cancels the request
and leaves everything else working.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jchannel._assembly import PageKind
from jchannel._bridge.call import wait_blocking
from jchannel._bridge.faces import ChannelFace, ServerFace
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.methods import ThreadMethods
from jchannel._bridge.portal import open_thread_portal
from jchannel._bridge.requests import Requests
from jchannel._bridge.watch import Listening, check_callback
from jchannel._core.channel import BLOCK_LEFT
from jchannel._core.failures import OnFailure
from jchannel._core.latest import Latest
from jchannel._core.limits import Limits
from jchannel._core.watch import ChannelStatus, PageStatus
from jchannel._protocol.messages import Door
from jchannel._protocol.values import Default, Nan
from jchannel._streams.blocking import BlockingRecords, ByteStream
from jchannel._streams.progress import Progress
from jchannel._tracebacks import trimmed

__all__ = ["BlockingCalls", "BlockingRecords", "ByteStream", "Channel", "Server", "start"]


def __dir__() -> list[str]:
    return __all__


class Server(ServerFace):
    """A server that one page at a time can connect to. Parameters are those of ``jchannel.server.Server``.

    Making one starts nothing. It is started with ``start`` or with ``with``; ``jchannel.sync.start`` does both.
    """

    @trimmed
    def start(self) -> Self:
        """Start the server. One that was stopped can be started again.

        Returns:
            The server itself, listening.

        Raises:
            OSError: The port is taken, or the host is not this machine's. The message names it.
            TypeError, ValueError: An argument of the constructor is not of its kind.
            StateError: The server is started already.

        An interrupt stops the server again.
        """
        wait_blocking(self._handle.start(open_thread_portal(), self))
        self._meet_notebook()
        return self

    def _start_again(self) -> Self:
        """Give the server to a cell that has started it before, started. Otherwise as ``start``."""
        wait_blocking(self._handle.enter(open_thread_portal(), self))
        self._show_again()
        return self

    @trimmed
    def stop(self) -> None:
        """Stop the server: end its channels, say goodbye to the page, and wait until all has ended.

        Stopping a server that is not started does nothing.

        Raises:
            ClosedError: An error of jchannel's own had ended the server. It is the cause.

        An interrupt stops the waiting. The server ends all the same.
        """
        wait_blocking(self._handle.stop())

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
    ) -> Channel:
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
            The channel, open.

        Raises:
            TypeError, ValueError: The code or the module is not one, or there are both or neither.
            What ``Channel.open`` raises.

        An interrupt closes the channel.
        """
        channel = Channel._make(self, code, module, handler, default=default, nan=nan)
        channel.open(timeout)
        return channel

    @trimmed
    def wait_page(self, timeout: float | None = None) -> None:
        """Wait until a page is connected.

        Args:
            timeout: Seconds as ``int`` or ``float``; ``None`` for no limit.

        Raises:
            TimeoutError: The time ran out.
            ClosedError: The server is not started, or was stopped meanwhile.
            TypeError, ValueError: The timeout is not one.

        An interrupt does nothing else.
        """
        wait_blocking(self._handle.wait_page(timeout))

    def listen(self, callback: Callable[[PageStatus], object]) -> Listening:
        """Call a function with each state of the page, the present one first: for code without a task.

        Args:
            callback: Called in a worker thread with the state, one call after the other. It is the newest state, and
                no list of events: what comes while a call runs is left out, but for the last. An exception that it
                raises is logged, and ends nothing.

        Returns:
            What ends it, with ``close`` or a ``with`` block. It ends with the server, too.

        Raises:
            ClosedError: The server has not been started.
            TypeError: The function is not callable.
        """
        check_callback(callback)
        threads = self._handle.server.streams.threads
        return Listening(callback, self._handle.server.board, self._handle.portal, threads)

    @trimmed
    def move_to_newest_page(self, timeout: float | None = 10) -> None:
        """Let the next page that connects take over from the one that is connected, and wait for that.

        In a notebook that page is the one that shows the cell in which this is called, and this connects it. The open
        channels are opened in it, as after a reload. The old page is notified.

        Args:
            timeout: Seconds as ``int`` or ``float``; ``None`` for no limit.

        Raises:
            TimeoutError: The time ran out. The page that was connected still is.
            ClosedError: The server is not started or was stopped meanwhile.
            TypeError, ValueError: The timeout is not one.

        An interrupt leaves everything as it is.
        """
        wait_blocking(self._handle.move_to_newest_page(timeout), meanwhile=self._show_newest_page_the_way)

    @trimmed
    def __enter__(self) -> Self:
        """Start the server, unless it is started already. Otherwise like ``start``."""
        wait_blocking(self._handle.enter(open_thread_portal(), self))
        self._meet_notebook()
        return self

    @trimmed
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the server. Otherwise like ``stop``."""
        self.stop()


class BlockingCalls:
    """The requests of a channel, as methods that wait and return the value. ``channel.sync`` is one.

    With it, a cell or a function that does not await calls the page while it runs, on the same channel::

        for epoch in range(100):
            loss = train(epoch)
            channel.sync.call("draw", epoch, loss)

    While one of its methods waits in the thread of an asyncio loop, that loop is blocked. If the page, before it
    answers, calls a method of the handler that runs on the loop, both wait for each other until the time runs out. The
    ``TimeoutError`` says so, and names the method. Mark such a method with ``@jchannel.background``, await the call, or
    make it from another thread.
    """

    def __init__(self, handle: ChannelHandle) -> None:
        self._handle = handle
        self._requests = Requests(handle, waits=True)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} of a channel {self._handle.describe()}>"

    @trimmed
    def close(self, timeout: float | None = 3) -> None:
        """Close the channel, on both sides. Calls under way in either direction end.

        Closing a closed channel does nothing.

        Args:
            timeout: Seconds as ``int`` or ``float`` for the page to take note; ``None`` for no limit.

        Raises:
            TimeoutError: The time ran out.
            TypeError, ValueError: The timeout is not one.

        An interrupt stops the waiting. The channel is closed all the same.
        """
        wait_blocking(self._handle.close(timeout))

    @trimmed
    def echo(self, *args: object, timeout: float | None = 3) -> list[Any]:
        """Send arguments to the page and receive them back. It is there for debugging and tests.

        Args and exceptions are those of ``call``.

        Returns:
            The arguments, as a list.
        """
        return wait_blocking(self._requests.echo(args, timeout))

    @trimmed
    def call(self, name: str, *args: object, timeout: float | None = 3) -> Any:
        """Call a method of the page's handler.

        Args:
            name: The method's name.
            *args: The arguments: JSON values, with bytes and arrays anywhere inside.
            timeout: Seconds as ``int`` or ``float`` for the whole request, waiting for a page included; ``None`` for
                no limit.

        Returns:
            What the method returned; a ``ByteStream`` if that is a stream.

        Raises:
            RuntimeError: This is the thread that trio runs in: call this in another one.
            TimeoutError: The time ran out. The message says what was waited for.
            TypeError, ValueError: An argument cannot be sent as it is, or the timeout is not one. Nothing was sent.
            FrontendError: The method raised, or there is no such method.
            ClosedError: The channel is closed, or was closed meanwhile, on either side.
            PageLostError: The connection was lost after the request had been sent. It may have run.

        An interrupt, and a time that runs out, cancel the call in the page.
        """
        return wait_blocking(self._requests.call(name, args, timeout))

    @trimmed
    def post(self, name: str, *args: object, timeout: float | None = 3, on_failure: OnFailure | None = None) -> None:
        """Call a method of the page's handler without waiting for the answer.

        The posts and calls of a thread leave in the order in which they are made. What the method returns is dropped.

        Args:
            name: The method's name.
            *args: The arguments, as those of ``call``. They may be changed afterwards.
            timeout: As that of ``call``: while no page is there, a post waits for one that long.
            on_failure: Called once in a worker thread with the error if the post fails: those of ``call``. An exception
                that it raises is logged. ``None`` for the log: the first failure of its kind with the line that has
                posted it, and those that follow within seconds in one record.

        Raises:
            BufferFullError: Posts of ``Limits.send_buffer_bytes`` together have no answer yet. Nothing was sent.
            TypeError, ValueError: As with ``call``. Nothing was sent.

        It never waits, in any thread. That the channel is closed is a failure like the others, as a closing or an
        opening may be under way.
        """
        self._requests.post(name, args, timeout, on_failure)

    @contextmanager
    def open_latest(
        self, name: str, *, timeout: float | None = 3, on_failure: OnFailure | None = None
    ) -> Iterator[Latest]:
        """Keep a method of the page up to date with the newest of many values, for the time of a ``with`` block.

        For what changes faster than the page takes it, such as a sensor or a training loop: ``latest.set(value)`` never
        waits, one call is under way at a time, and the next one has the value that is the newest then. It works in any
        thread::

            with channel.open_latest("draw") as latest:
                for step in range(100_000):
                    latest.set(step, train(step))

        Args:
            name: The method's name. It is called with the newest value.
            timeout: Seconds for each call, from when it is sent; and at the end of the block for the last value;
                ``None`` for no limit.
            on_failure: As that of ``post``: called with the error of each call that fails, because the method has
                raised or its time is over. A failed call ends nothing: the next value is sent. A call that is lost with
                its page is none.

        Raises:
            ClosedError: The channel is not open.
            TypeError, ValueError: An argument is not of its kind.

        While no page is there the newest value waits for one, without a limit. Each page that comes gets the newest
        value, also one that another page has had already. Values have no order with calls and posts.

        Leaving the block waits until the last value has arrived. What keeps it from arriving in time is told as the
        failure of a call is, and not raised. A block that raises does not wait for that: it cancels the call that is
        under way, and waits until it has ended, at most ``Limits.cancel_seconds``. So does an interrupt.
        """
        jobs = self._requests.open_latest(name, timeout, on_failure)
        latest = wait_blocking(jobs.begin())
        try:
            yield latest
            wait_blocking(jobs.finish())
        finally:
            wait_blocking(jobs.abandon())

    @trimmed
    def call_with_stream(
        self, name: str, stream: object, *args: object, timeout: float | None = 3, progress: Progress | None = None
    ) -> Any:
        """Call a method of the page's handler with a byte stream as its first argument.

        Args:
            name: The method's name. The method receives the stream as its side's ``MetaGenerator``.
            stream: The source of the stream: bytes; an iterable of bytes-like objects, a binary file or a
                ``pathlib.Path``, which are read in worker threads; or a ``ByteStream``. It is closed in the end, but
                for a file that was open already.
            *args: The other arguments, as those of ``call``.
            timeout: Seconds as ``int`` or ``float`` without progress: in which no part of the stream is read and no
                answer comes; ``None`` for no limit.
            progress: Called in worker threads, one call after the other, with the number of bytes read of the source,
                and the total or ``None``: about ten times a second, at the beginning and at the end. The source is read
                up to 1 MiB ahead of the page. An exception from it ends the stream.

        Returns:
            What the method returned; a ``ByteStream`` if that is a stream.

        Raises:
            TypeError, ValueError: The stream is none of these, an async iterable in particular; ``progress`` is no
                plain callable; or what ``call`` raises. Nothing was sent.
            OSError: It is a path that cannot be opened. Nothing was sent.

        The rest is as with ``call``. When a source raises, its reader receives the error, and no call fails by that
        alone.
        """
        return wait_blocking(self._requests.call_with_stream(name, stream, args, timeout, progress))

    @trimmed
    def pipe(self, stream: object, timeout: float | None = 3, *, progress: Progress | None = None) -> ByteStream:
        """Send a byte stream to the page and receive it back. It is there for debugging and tests.

        Args, exceptions and interrupts are those of ``call_with_stream``.

        Returns:
            The same bytes, as a ``ByteStream``. ``with`` closes it where it is not read to its end.
        """
        piped: ByteStream = wait_blocking(self._requests.pipe(stream, timeout, progress))
        return piped


class Channel(ChannelFace, BlockingCalls):
    """A channel between Python and whichever page is connected, whose methods wait and return the value.

    Like a ``jchannel.channel.Channel``, it outlives a page, and can be opened again after it was closed.

    Args:
        server: The server, of this module.
        code: JavaScript that evaluates to the initialization function. It receives the page's side of the channel.

    The methods of ``handler`` run in worker threads, also while this program waits or computes, and several at once
    when the page calls several. Async ones run in trio where they are marked with ``@jchannel.background``, and are
    refused where they are not. When the page sends a stream, the method receives a ``ByteStream`` as its first
    argument. A method that returns an iterator (such as a generator or a ``ByteStream``), a ``pathlib.Path`` or a
    binary file answers with a stream of its bytes.

    Raises:
        TypeError: The server is not a ``jchannel.sync.Server``, or the code is not a str.
    """

    def __init__(self, server: ServerFace, code: str) -> None:
        ChannelFace.__init__(self, server, code)

    def _set_up(self, handle: ChannelHandle) -> None:
        super()._set_up(handle)
        BlockingCalls.__init__(self, handle)

    @trimmed
    def open(self, timeout: float | None = 3) -> Any:
        """Open the channel: run its code's initialization function in the page.

        Args:
            timeout: Seconds as ``int`` or ``float`` for the whole, waiting for a page included; ``None`` for no limit.

        Returns:
            What the initialization function returned.

        Raises:
            TimeoutError: The time ran out.
            StateError: It is open already.
            FrontendError: The code is not that of a function, the module cannot be imported, or the function raised.
            ClosedError: The server is not started, or the channel was closed meanwhile.
            TypeError, ValueError: The timeout is not one, or the code is larger than the connection carries at once.

        An interrupt closes the channel.
        """
        return wait_blocking(self._handle.open(ThreadMethods(), timeout))

    def listen(self, callback: Callable[[ChannelStatus], object]) -> Listening:
        """Call a function with each state of the channel, the present one first: for code without a task.

        Args:
            callback: Called in a worker thread with the state, one call after the other. It is the newest state, and
                no list of events: what comes while a call runs is left out, but for the last. An exception that it
                raises is logged, and ends nothing.

        Returns:
            What ends it, with ``close`` or a ``with`` block. It ends with the server, too.

        Raises:
            ClosedError: The channel has not been opened.
            TypeError: The function is not callable.
        """
        check_callback(callback)
        threads = self._handle.channel.server.streams.threads
        return Listening(callback, self._handle.channel.board, self._handle.portal, threads)

    @trimmed
    def __enter__(self) -> Self:
        """Open the channel, with ``context_timeout``, unless it is open already. Otherwise like ``open``."""
        return wait_blocking(self._handle.enter(ThreadMethods(), self.context_timeout, self))

    @trimmed
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the channel, with ``context_timeout``. Otherwise like ``close``."""
        wait_blocking(self._handle.close(self.context_timeout, BLOCK_LEFT))


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
) -> Server:
    """Make a server and start it. Parameters and exceptions are those of ``Server`` and ``Server.start``.

    In a notebook, a cell that is run again is given the server that it has started before, as by ``jchannel.start``.

    A script leaves the server's ``with`` block, or calls ``stop``, before it ends. A page whose server has gone without
    a word takes it for lost, and tries for ten minutes to come back.
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
    former = server._find_former()  # noqa: SLF001 (of its own class)
    return server.start() if former is None else former._start_again()  # noqa: SLF001 (the same)

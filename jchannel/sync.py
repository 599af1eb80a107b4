"""The blocking facade: its methods wait and return the value. For scripts, the plain REPL and busy cells.

Everything runs in jchannel's own trio thread. An interrupt (``KeyboardInterrupt``) during a wait cancels the request
and leaves everything else working.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jchannel._bridge.call import wait_blocking
from jchannel._bridge.faces import ChannelFace, ServerFace
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.methods import ThreadMethods
from jchannel._bridge.portal import open_thread_portal
from jchannel._bridge.requests import Requests
from jchannel._bridge.streams import ThreadStreams
from jchannel._core.limits import Limits
from jchannel._streams.blocking import BlockingRecords, ByteStream
from jchannel._streams.progress import Progress
from jchannel._tracebacks import trimmed

__all__ = ["BlockingCalls", "BlockingRecords", "ByteStream", "Channel", "Server", "start"]


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

        Returns:
            The channel, open.

        Raises:
            TypeError, ValueError: The code or the module is not one, or there are both or neither.
            What ``Channel.open`` raises.

        An interrupt closes the channel.
        """
        channel = Channel._make(self, code, module, handler)
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
        self._requests = Requests(handle, ThreadStreams(), waits=True)

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
                and the total or ``None``. An exception from it ends the stream.

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

    @trimmed
    def __enter__(self) -> Self:
        """Open the channel, with ``context_timeout``, unless it is open already. Otherwise like ``open``."""
        return wait_blocking(self._handle.enter(ThreadMethods(), self.context_timeout, self))

    @trimmed
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the channel, with ``context_timeout``. Otherwise like ``close``."""
        self.close(self.context_timeout)


@trimmed
def start(
    host: str = "localhost",
    port: int | None = None,
    url: str | None = None,
    heartbeat: float = 15,
    *,
    static: str | Path | None = None,
    open_browser: bool = False,
    origins: Iterable[str] = (),
    tracebacks: bool = False,
    limits: Limits | None = None,
    notebook: bool | None = None,
    share_interpreter: bool | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> Server:
    """Make a server and start it. Parameters and exceptions are those of ``Server`` and ``Server.start``."""
    server = Server(
        host,
        port,
        url=url,
        static=static,
        open_browser=open_browser,
        heartbeat=heartbeat,
        origins=origins,
        tracebacks=tracebacks,
        limits=limits,
        notebook=notebook,
        share_interpreter=share_interpreter,
        ssl_context=ssl_context,
    )
    return server.start()

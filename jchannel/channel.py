"""The asyncio facade's channel: its methods return Tasks on the caller's running loop."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from jchannel._bridge.call import in_task, running_loop
from jchannel._bridge.faces import ChannelFace
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.methods import LoopMethods
from jchannel._bridge.requests import Requests
from jchannel._bridge.streams import LoopStreams
from jchannel._streams.progress import Progress
from jchannel._streams.reader import MetaGenerator
from jchannel._tracebacks import trimmed
from jchannel.sync import BlockingCalls

__all__ = ["Channel"]


class Channel(ChannelFace):
    """A channel between Python and whichever page is connected to a server.

    It is opened with ``open``, with ``async with``, or by ``Server.open``, which also takes its handler, or a module in
    the place of code. It outlives a page: when a page comes back after a reload, a crash or a lost network, the channel
    is opened in it again before anything else is sent, and calls made meanwhile wait for that, within their timeouts. A
    channel that was closed can be opened again.

    Every method makes its request at once, in the order of the calls, and returns an ``asyncio.Task`` on the loop that
    runs in the caller's thread. Cancelling the Task cancels the request, and the Task ends when the request has ended.
    A Task that fails and that nobody awaits is logged once, with its name, such as ``channel.call('draw')``. Without a
    running loop, every method raises a ``RuntimeError`` that points to ``channel.sync``.

    Args:
        server: The server.
        code: JavaScript that evaluates to the initialization function, such as
            ``"(channel) => { channel.handler = {add: (a, b) => a + b}; }"``. It receives the page's side of the
            channel.

    The methods of ``handler`` run on the loop in which the channel was opened last, sync ones and async ones. When the
    page sends a stream, the method receives a ``MetaGenerator`` as its first argument. A method that returns an async
    iterable (such as an async generator), a ``pathlib.Path`` or a binary file answers with a stream of its bytes.
    Methods that are marked with ``@jchannel.background`` run beside the loop, and answer while a cell computes.

    Raises:
        TypeError: The server is not a ``jchannel.server.Server``, or the code is not a str.
    """

    def _set_up(self, handle: ChannelHandle) -> None:
        super()._set_up(handle)
        self._requests = Requests(self._handle, LoopStreams(), waits=False)
        self._sync = BlockingCalls(self._handle)

    @property
    def sync(self) -> BlockingCalls:
        """The blocking calls of this channel, for code that cannot await: a busy cell, a library's callback, a thread.

        Its methods are those of this channel, and wait and return the value. Streams are ``ByteStream`` objects, which
        are ordinary iterators. An interrupt of the kernel ends the wait, and cancels the call in the page.
        """
        return self._sync

    @trimmed
    def open(self, timeout: float | None = 3) -> asyncio.Task[Any]:
        """Open the channel: run its code's initialization function in the page.

        Args:
            timeout: Seconds as ``int`` or ``float`` for the whole, waiting for a page included; ``None`` for no limit.

        Returns:
            A Task whose result is what the initialization function returned.

        Raises:
            RuntimeError: No loop is running.
            TypeError, ValueError: The timeout is not one.

        The Task raises ``TimeoutError`` when the time runs out, ``StateError`` when the channel is open already,
        ``FrontendError`` when the code is not that of a function, the module cannot be imported, or the function
        raised, ``ClosedError`` when the server is not started or the channel was closed meanwhile, and ``ValueError``
        when the code is larger than the connection carries at once. Cancelling it closes the channel.
        """
        return in_task(self._handle.open(self._make_methods(), timeout), "channel.open")

    @trimmed
    def close(self, timeout: float | None = 3) -> asyncio.Task[None]:
        """Close the channel, on both sides. Calls under way in either direction end.

        Closing a closed channel does nothing.

        Args:
            timeout: Seconds as ``int`` or ``float`` for the page to take note and for running handler methods to end;
                ``None`` for no limit.

        Returns:
            A Task that ends when the closure is complete.

        Raises:
            RuntimeError: No loop is running.
            TypeError, ValueError: The timeout is not one.

        The Task raises ``TimeoutError`` when the time runs out. Cancelling it stops the waiting. The channel is closed
        all the same.
        """
        return in_task(self._handle.close(timeout), "channel.close")

    @trimmed
    def echo(self, *args: object, timeout: float | None = 3) -> asyncio.Task[list[Any]]:
        """Send arguments to the page and receive them back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call``.

        Returns:
            A Task whose result is the arguments, as a list.
        """
        loop = running_loop()
        return in_task(self._requests.echo(args, timeout), "channel.echo", loop)

    @trimmed
    def call(self, name: str, *args: object, timeout: float | None = 3) -> asyncio.Task[Any]:
        """Call a method of the page's handler.

        Args:
            name: The method's name.
            *args: The arguments: JSON values, with bytes and arrays anywhere inside. They may be changed afterwards.
            timeout: Seconds as ``int`` or ``float`` for the whole request, waiting for a page included; ``None`` for
                no limit.

        Returns:
            A Task whose result is what the method returned; a ``MetaGenerator`` if that is a stream.

        Raises:
            RuntimeError: No loop is running.
            TypeError, ValueError: An argument cannot be sent as it is, the name is not a str, or the timeout is not
                one. Nothing was sent.

        The Task raises ``TimeoutError`` when the time runs out, with a message that says what was waited for,
        ``FrontendError`` when the method raised or there is no such method, ``ClosedError`` when the channel is closed
        or was closed meanwhile, ``PageLostError`` when the connection was lost after the request had been sent (it may
        have run), and ``ValueError`` when the request is larger than the connection carries at once. Cancelling it, and
        a time that runs out, cancel the call in the page, and wait until it has ended there, at most
        ``Limits.cancel_seconds``.
        """
        loop = running_loop()
        return in_task(self._requests.call(name, args, timeout), f"channel.call({name!r})", loop)

    @trimmed
    def call_with_stream(
        self, name: str, stream: object, *args: object, timeout: float | None = 3, progress: Progress | None = None
    ) -> asyncio.Task[Any]:
        """Call a method of the page's handler with a byte stream as its first argument.

        Args:
            name: The method's name. The method receives the stream as its side's ``MetaGenerator``.
            stream: The source of the stream: an async iterable of bytes-like objects, such as an async generator, which
                runs on the present loop; bytes; a sync iterable of bytes-like objects, a binary file or a
                ``pathlib.Path``, which are read in worker threads. It is closed in the end, but for a file that was
                open already.
            *args: The other arguments, as those of ``call``.
            timeout: Seconds as ``int`` or ``float`` without progress: in which no part of the stream is read and no
                answer comes; ``None`` for no limit.
            progress: Called on the present loop with the number of bytes read of the source, and the total or ``None``.
                An exception from it ends the stream.

        Returns:
            A Task whose result is what the method returned; a ``MetaGenerator`` if that is a stream.

        Raises:
            RuntimeError: No loop is running.
            TypeError, ValueError: The stream is none of these, ``progress`` is no plain callable, or what ``call``
                raises. Nothing was sent.

        The Task raises ``OSError`` when the stream is a path that cannot be opened, and otherwise what that of ``call``
        raises. When a source raises, its reader receives the error, and no call fails by that alone. Cancelling the
        Task closes the source; otherwise it is like cancelling ``call``.
        """
        loop = running_loop()
        job = self._requests.call_with_stream(name, stream, args, timeout, progress)
        return in_task(job, f"channel.call_with_stream({name!r})", loop)

    @trimmed
    def pipe(
        self, stream: object, timeout: float | None = 3, *, progress: Progress | None = None
    ) -> asyncio.Task[MetaGenerator]:
        """Send a byte stream to the page and receive it back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call_with_stream``.

        Returns:
            A Task whose result is the same bytes, as a ``MetaGenerator``. ``async with`` closes it where it is not read
            to its end.
        """
        loop = running_loop()
        return in_task(self._requests.pipe(stream, timeout, progress), "channel.pipe", loop)

    @trimmed
    async def __aenter__(self) -> Self:
        """Open the channel, with ``context_timeout``, unless it is open already. Otherwise like ``open``."""
        return await in_task(self._enter(self.context_timeout), "channel.open")

    @trimmed
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the channel, with ``context_timeout``. Otherwise like ``close``."""
        await self.close(self.context_timeout)

    def _enter(self, timeout: float | None) -> TaskJob[Self]:
        """Return the job that opens the channel unless it is open, and returns it."""
        return self._handle.enter(self._make_methods(), timeout, self)

    def _make_methods(self) -> LoopMethods:
        return LoopMethods(running_loop(), self._handle.portal)

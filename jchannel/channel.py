"""The asyncio facade's channel: its methods return Tasks on the caller's running loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from jchannel._bridge.call import in_task, running_loop, wait_in_loop
from jchannel._bridge.faces import ChannelFace
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.methods import LoopMethods
from jchannel._bridge.requests import Requests
from jchannel._bridge.watch import Listening, LoopWatch, check_callback
from jchannel._core.channel import BLOCK_LEFT
from jchannel._core.failures import OnFailure
from jchannel._core.latest import Latest
from jchannel._core.watch import ChannelStatus
from jchannel._streams.progress import Progress
from jchannel._streams.reader import MetaGenerator
from jchannel._tracebacks import trimmed, trimmed_context
from jchannel.sync import BlockingCalls

__all__ = ["Channel"]


def __dir__() -> list[str]:
    return __all__


class Channel(ChannelFace):
    """A channel between Python and whichever page is connected to a server.

    It is opened with ``open``, with ``async with``, or by ``Server.open``, which also takes its handler, or a module in
    the place of code. It outlives a page: when a page comes back after a reload, a crash or a lost network, the channel
    is opened in it again before anything else is sent, and calls made meanwhile wait for that, within their timeouts. A
    channel that was closed can be opened again.

    Every method that makes a request makes it at once, in the order of the calls, and returns an ``asyncio.Task`` on
    the loop that runs in the caller's thread; ``post`` makes one without a Task. Cancelling the Task cancels the
    request, and the Task ends when the request has ended. A Task that fails and that nobody awaits is logged, with its
    name, such as ``channel.call('draw')``, and the line that has made it; those that follow within seconds are counted
    and told together. Without a running loop, these methods raise a ``RuntimeError`` that points to ``channel.sync``.

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
        self._requests = Requests(self._handle, waits=False)
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
    def post(self, name: str, *args: object, timeout: float | None = 3, on_failure: OnFailure | None = None) -> None:
        """Call a method of the page's handler without waiting for the answer.

        Posts and calls leave in the order in which they are made, also from a cell that never awaits. What the method
        returns is dropped.

        Args:
            name: The method's name.
            *args: The arguments, as those of ``call``. They may be changed afterwards.
            timeout: As that of ``call``: while no page is there, a post waits for one that long.
            on_failure: Called once on the present loop with the error if the post fails: those of the Task of ``call``.
                An exception that it raises is logged. ``None`` for the log: the first failure of its kind with the line
                that has posted it, and those that follow within seconds in one record.

        Raises:
            RuntimeError: No loop is running: use ``channel.sync.post``.
            BufferFullError: Posts of ``Limits.send_buffer_bytes`` together have no answer yet. Nothing was sent.
            TypeError, ValueError: As with ``call``. Nothing was sent.

        It never waits. That the channel is closed is a failure like the others, as a closing or an opening may be under
        way.
        """
        self._requests.post(name, args, timeout, on_failure)

    @trimmed_context
    @asynccontextmanager
    async def open_latest(
        self, name: str, *, timeout: float | None = 3, on_failure: OnFailure | None = None
    ) -> AsyncIterator[Latest]:
        """Keep a method of the page up to date with the newest of many values, for the time of an ``async with`` block.

        For what changes faster than the page takes it, such as a sensor or a training loop: ``latest.set(value)`` never
        waits, one call is under way at a time, and the next one has the value that is the newest then. It works in any
        thread, and in a cell that never awaits::

            async with channel.open_latest("draw") as latest:
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
        failure of a call is, and not raised. A block that is cancelled or raises does not wait for that: it cancels the
        call that is under way, and waits until it has ended, at most ``Limits.cancel_seconds``.
        """
        jobs = self._requests.open_latest(name, timeout, on_failure)
        latest = await wait_in_loop(jobs.begin())
        try:
            yield latest
            await wait_in_loop(jobs.finish())
        finally:
            await wait_in_loop(jobs.abandon())

    def watch(self) -> AsyncIterator[ChannelStatus]:
        """Iterate over the states of the channel, the present one first: open, waiting for a page, open again.

        It is the state, and no list of events: who is slow gets the newest one, and ``openings`` tells how many he has
        missed. It holds nothing, and need not be closed. It ends when the server is stopped.

        Raises:
            ClosedError: The channel has not been opened.

        Cancelling it does nothing else.
        """
        return LoopWatch(self._handle.channel.board, self._handle.portal)

    def listen(self, callback: Callable[[ChannelStatus], object]) -> Listening:
        """Call a function with each state of the channel, the present one first: for code without a task.

        Args:
            callback: Called on the present loop with the state, one call after the other. It is the newest state, and
                no list of events: what comes while a call runs is left out, but for the last. An exception that it
                raises is logged, and ends nothing.

        Returns:
            What ends it, with ``close`` or a ``with`` block. It ends with the server, too.

        Raises:
            ClosedError: The channel has not been opened.
            TypeError: The function is not callable.
            RuntimeError: No loop is running.
        """
        check_callback(callback)
        board = self._handle.channel.board
        return Listening(callback, board, self._handle.portal, LoopMailbox.of(running_loop()))

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
            progress: Called on the present loop with the number of bytes read of the source, and the total or ``None``:
                about ten times a second, at the beginning and at the end. The source is read up to 1 MiB ahead of the
                page. An exception from it ends the stream.

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
        await in_task(self._handle.close(self.context_timeout, BLOCK_LEFT), "channel.close")

    def _enter(self, timeout: float | None) -> TaskJob[Self]:
        """Return the job that opens the channel unless it is open, and returns it."""
        return self._handle.enter(self._make_methods(), timeout, self)

    def _make_methods(self) -> LoopMethods:
        return LoopMethods(running_loop(), self._handle.portal)

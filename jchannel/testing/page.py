"""The scripted page: a frontend that a test plays in Python, connected to its server in memory."""

from __future__ import annotations

import inspect
import secrets
import sys
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import trio

from jchannel._core.arguments import check_timeout
from jchannel._core.channel_streams import Give, give
from jchannel._core.handlers import Invoke, MethodCancelledError, invoke
from jchannel._core.incoming import IncomingStream
from jchannel._core.nursery import open_flat_nursery
from jchannel._core.peer import OnOpen, Peer, PeerChannel, PeerHooks, open_peer
from jchannel._core.session import Session
from jchannel._core.transport import Link
from jchannel._protocol.messages import Request
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import StateError
from jchannel.testing.faults import Direction, FaultyLink
from jchannel.testing.network import Connection, MemoryListener, MemoryStream
from jchannel.testing.script import JavaScriptError, RecordedCall, Script

__all__ = ["Page", "hold_page"]


class Page:
    """A page that a test plays. ``open_page`` makes them.

    Its handler is a Python object in the place of the JavaScript object that the page's code would make. What the
    handler returns, Python receives, and what it raises becomes a ``FrontendError``.

    Attributes:
        client: The name by which the server knows the page again when it comes back.
        calls: The calls that have come, the oldest first.
        to_page: What happens to what goes to the page: faults of this direction alone.
        to_python: What happens to what the page sends.
    """

    def __init__(
        self,
        url: str,
        listener: MemoryListener,
        nursery: trio.Nursery,
        handler: object,
        *,
        on_open: OnOpen | None,
        client: str | None,
        run_method: Invoke,
        give_stream: Give,
    ) -> None:
        self.client = secrets.token_urlsafe(12) if client is None else client
        self.calls: list[RecordedCall] = []
        passing = trio.lowlevel.ParkingLot()
        self.to_page = Direction("page", passing)
        self.to_python = Direction("python", passing)
        self._url = url
        self._listener = listener
        self._nursery = nursery
        self._handler = handler
        self._on_open = on_open
        self._script = Script(run_method)
        self._give_stream = give_stream
        self._peer: Peer
        self._lost = True
        self._over = trio.Event()
        self._over.set()
        self._staying = trio.CancelScope()
        self._connections: list[Connection] = []
        # What an open channel has made of its code, by its number, for a page that comes back without a reload.
        self._kept: dict[int, tuple[PeerChannel, Any]] = {}
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.client!r}, {state}>"

    # What it is

    @property
    def connected(self) -> bool:
        """Whether it is connected, as far as it knows."""
        return not self._lost and self._peer.connected

    @property
    def why_ended(self) -> str:
        """Why its last connection has ended, in words; empty while it is there."""
        return self._peer.why_ended

    @property
    def channels(self) -> list[PeerChannel]:
        """The channels that are open in it, in the order of their opening. Each has the ``code`` it was opened with."""
        return list(self._peer.channels.values())

    # What it answers

    def answer(self, name: str, value: object) -> None:
        """Has calls of a method answered with a value from now on, whatever the handler has.

        Args:
            name: The method's name.
            value: What it returns; an async iterable, a path or a binary file is a stream, for one call.

        Raises:
            TypeError: The name is not a str.
        """
        self._script.set(name, "answer", value)

    def fail(self, name: str, error: Exception) -> None:
        """Has calls of a method raise from now on, whatever the handler has.

        Args:
            name: The method's name.
            error: The error, such as ``JavaScriptError("RangeError", "too far")``.

        Raises:
            TypeError: The name is not a str, or the error not an exception.
        """
        if not isinstance(error, Exception):
            raise TypeError(f"error must be an exception, such as a JavaScriptError, and not {error!r}")
        self._script.set(name, "fail", error)

    def hang(self, name: str | None = None) -> None:
        """Has calls of a method never answered from now on. They end when they are cancelled, or with the connection.

        Args:
            name: The method's name; ``None`` for every method.

        Raises:
            TypeError: The name is not a str.
        """
        self._script.set(name, "hang", None)

    def restore(self, name: str | None = None) -> None:
        """Leaves new calls of a method to the handler again.

        Args:
            name: The method's name; ``None`` for every method.
        """
        self._script.restore(name)

    async def wait_call(self, name: str | None = None, timeout: float | None = 60) -> RecordedCall:
        """Waits until the page has been called, and gives the call. Each call is given once, the oldest first.

        Args:
            name: The method's name; ``None`` for any.
            timeout: Seconds; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out. The message has the names of the calls that have come.
            TypeError, ValueError: The timeout is not one.

        Cancelling it does nothing else.
        """
        limit = check_timeout(timeout)
        with trio.move_on_after(limit):
            await trio.lowlevel.checkpoint()
            while (call := self._next_call(name)) is None:
                await self._changed.park()
            return call
        what = "the page was not called" if name is None else f"{name!r} was not called in the page"
        come = ", ".join(repr(call.name) for call in self.calls) or "none"
        raise trio.TooSlowError(f"{what} within {limit:g} s; the calls that have come: {come}")

    async def wait_ended(self, call: RecordedCall) -> None:
        """Waits until a call has been answered, has failed or was cancelled. Cancelling it does nothing else."""
        await trio.lowlevel.checkpoint()
        while call.state == "running":
            await self._changed.park()

    # What it asks

    async def wait_channel(self) -> PeerChannel:
        """Waits until the server has opened a channel, and gives the first that is open.

        Raises:
            PageLostError: The page is not connected, or was lost meanwhile.

        Cancelling it does nothing else.
        """
        return await self._peer.wait_channel()

    async def call(self, name: str, *args: object, timeout: float | None = 3) -> Any:
        """Calls a method of the Python handler of the first open channel, as ``PeerChannel.call``.

        ``Page.channels`` has the others. Waiting for a channel is not limited by the timeout.
        """
        return await (await self.wait_channel()).call(name, *args, timeout=timeout)

    async def call_with_stream(self, name: str, stream: object, *args: object, timeout: float | None = 3) -> Any:
        """As ``call``, with a stream, as ``PeerChannel.call_with_stream``."""
        return await (await self.wait_channel()).call_with_stream(name, stream, *args, timeout=timeout)

    async def echo(self, *args: object, timeout: float | None = 3) -> list[Any]:
        """As ``PeerChannel.echo``, on the first open channel."""
        return await (await self.wait_channel()).echo(*args, timeout=timeout)

    async def pipe(self, stream: object, timeout: float | None = 3) -> MetaGenerator:
        """As ``PeerChannel.pipe``, on the first open channel."""
        return await (await self.wait_channel()).pipe(stream, timeout)

    # What happens to it

    def lose(self) -> None:
        """Breaks the page's connections now, without a word. What is under way is lost.

        Python notices at once, when its tasks run: after ``wait_lost`` it has. Requests that are under way raise
        ``PageLostError``; later ones wait for the page to come back, within their timeouts. It does not by itself.
        """
        self._lost = True
        for connection in self._connections:
            connection.break_off()

    async def reconnect(self) -> None:
        """Connects the page again as the same page, which was not reloaded: its channels are as they were.

        Their code does not run again. The server opens its channels in it before anything else is sent.

        Raises:
            StateError: The page is connected.
            RefusedError: The server does not take it: it is closed, or another page has come meanwhile.
            trio.TooSlowError: Nothing passes: the page is held.
            ConnectionRefusedError: The server is closed.

        Cancelling it leaves the page not connected.
        """
        if self.connected:
            raise StateError("the page is connected: lose() breaks its connection, reload() loads it anew")
        await self._connect()

    async def reload(self) -> None:
        """Loads the page anew: it loses its connection and all it knew, and the server opens its channels again.

        Exceptions and cancellation are those of ``reconnect``.
        """
        self.lose()
        self._kept.clear()
        await self._connect()

    async def close(self) -> None:
        """Closes the connection on purpose, with a goodbye, and waits until it has ended. A page may ``reconnect``.

        A page that is held or delayed is lost instead. Cancelling it stops the waiting.
        """
        self.leave()
        await self.wait_lost()

    async def wait_lost(self) -> None:
        """Waits until the page's connections have ended on both sides, whoever ended them.

        Cancelling it does nothing else.
        """
        await self._over.wait()
        while not all(connection.released for connection in self._connections):
            await self.to_page.wait_changed()

    def hold(self) -> None:
        """Lets nothing pass between page and Python from now on, as a network that hangs. As ``Direction.hold``, twice.

        Python notices when the page does not answer a ping: after ``heartbeat`` seconds twice at most. For a page that
        is there and does not answer, there is ``hang``.
        """
        self.to_page.hold()
        self.to_python.hold()

    def release(self) -> None:
        """Lets everything pass again, what has been held first."""
        self.to_page.release()
        self.to_python.release()

    def delay(self, seconds: float) -> None:
        """Has all that is sent from now on, in both directions, arrive that much later.

        Args:
            seconds: The delay in each direction; 0 for none. With more than half of ``heartbeat`` a ping is answered
                too late, and Python gives the page up.

        Raises:
            TypeError, ValueError: It is not a finite number of seconds.
        """
        self.to_page.set_delay(seconds)
        self.to_python.set_delay(seconds)

    def stop_reading(self) -> None:
        """Has the page read nothing from now on, while what it sends arrives.

        What Python sends waits: 64 KiB in the network, and ``Limits.send_buffer_bytes`` before new requests wait, too.
        A page that does not read answers no ping either: Python gives it up after ``heartbeat`` seconds twice at most.
        """
        self.to_page.hold()

    def resume_reading(self) -> None:
        """Has the page read again."""
        self.to_page.release()

    def leave(self) -> None:
        """As ``close``, without waiting."""
        if self.to_page.slows or self.to_python.slows:
            self.lose()
        self._lost = True
        self._staying.cancel()

    # For the connection

    async def _connect(self) -> None:
        await self._over.wait()
        await self._nursery.start(self._stay_connected)

    async def _stay_connected(self, task_status: trio.TaskStatus[None]) -> None:
        self._over = trio.Event()
        self._staying = trio.CancelScope()
        try:
            async with open_peer(
                self._url,
                self._handler,
                on_open=self._open_channel,
                client=self.client,
                connect=self._open_stream,
                hooks=_PageHooks(self),
            ) as self._peer:
                self._lost = False
                task_status.started()
                with self._staying:
                    await self._peer.wait_ended()
        finally:
            self.lose()
            self._over.set()

    async def _open_stream(self) -> MemoryStream:
        await trio.lowlevel.checkpoint()
        self._connections = [connection for connection in self._connections if not connection.released]
        connection = self._listener.connect(self.to_python, self.to_page)
        self._connections.append(connection)
        return connection.client

    async def _open_channel(self, channel: PeerChannel, code: str) -> Any:
        if channel.number in self._kept:
            before, value = self._kept[channel.number]
            channel.handler = before.handler
        else:
            value = None if self._on_open is None else self._on_open(channel, code)
            value = await value if inspect.isawaitable(value) else value
        self._kept[channel.number] = channel, value
        return value

    # For the hooks

    def wrap_link(self, link: Link) -> Link:
        """As ``PeerHooks.wrap_link``."""
        return FaultyLink(link, self.to_python, self.to_page)

    def give_stream(self, stream: IncomingStream, limit: float) -> Any:
        """As ``PeerHooks.give_stream``."""
        return self._give_stream(stream, limit)

    async def run_method(self, channel: PeerChannel, handler: object, name: str, args: Sequence[Any]) -> Any:
        """As ``PeerHooks.run_method``. Records the call."""
        call = RecordedCall(name, tuple(args), channel.number)
        self.calls.append(call)
        self._changed.unpark_all()
        state: Literal["answered", "failed", "cancelled"] = "cancelled"
        try:
            value = await self._script.run(handler, name, args)
            state = "answered"
        except Exception as error:
            state = "failed"
            if isinstance(error, JavaScriptError) and error.name == "AbortError":
                # What the client makes of one that is not the call's own.
                raise MethodCancelledError(str(error)) from error
            raise
        else:
            return value
        finally:
            call.state = state
            self._changed.unpark_all()

    def _next_call(self, name: str | None) -> RecordedCall | None:
        for call in self.calls:
            if not call.given and name in (None, call.name):
                call.given = True
                return call
        return None


class _PageSession(Session):
    """A session whose errors have stacks, as those of JavaScript have."""

    def answer_error(self, request: Request, kind: str, name: str, message: str, stack: str | None = None) -> None:
        """As the session's. It is called while the error is handled."""
        error = sys.exception()
        if kind == "exception" and error is not None:
            own = error.stack if isinstance(error, JavaScriptError) else None
            stack = "".join(traceback.format_exception(error)) if own is None else own
        super().answer_error(request, kind, name, message, stack)


class _PageHooks(PeerHooks):
    """The page's ways of being a peer."""

    session_type = _PageSession

    def __init__(self, page: Page) -> None:
        self._page = page

    def wrap_link(self, link: Link) -> Link:
        """As the peer's."""
        return self._page.wrap_link(link)

    async def run_method(self, channel: PeerChannel, handler: object, name: str, args: Sequence[Any]) -> Any:
        """As the peer's."""
        return await self._page.run_method(channel, handler, name, args)

    def give_stream(self, stream: IncomingStream, limit: float) -> Any:
        """As the peer's."""
        return self._page.give_stream(stream, limit)


@asynccontextmanager
async def hold_page(
    url: str,
    listener: MemoryListener,
    handler: object,
    *,
    on_open: OnOpen | None,
    client: str | None,
    run_method: Invoke = invoke,
    give_stream: Give = give,
) -> AsyncIterator[Page]:
    """Keeps a page connected for the time of an ``async with`` block.

    Args:
        url: The server's page URL.
        listener: The listener of the server.
        handler: As that of ``open_page``.
        on_open: As that of ``open_page``.
        client: As that of ``open_page``.
        run_method: Runs the handler's methods: for the faces in which they run elsewhere.
        give_stream: Makes what they get of a stream.
    """
    async with open_flat_nursery() as nursery:
        page = Page(
            url,
            listener,
            nursery,
            handler,
            on_open=on_open,
            client=client,
            run_method=run_method,
            give_stream=give_stream,
        )
        await page.reconnect()
        try:
            yield page
        finally:
            page.leave()

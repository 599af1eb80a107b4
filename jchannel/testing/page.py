"""The scripted page: a frontend that a test plays in Python, connected to its server in memory."""

from __future__ import annotations

import inspect
import math
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Literal, final

import outcome
import trio

from jchannel._core import peer as core_peer
from jchannel._core.arguments import PIPE, check_timeout, pack_call, pack_echo
from jchannel._core.handlers import MethodCancelledError, Methods
from jchannel._core.incoming import read_in_trio
from jchannel._core.invocation import CURRENT, Invocation
from jchannel._core.nursery import open_flat_nursery
from jchannel._core.outbox import ConvertStream
from jchannel._core.request import Request, Watcher
from jchannel._core.transport import Link
from jchannel._guarded import text_of
from jchannel._protocol import messages
from jchannel._protocol.values import PLAIN, Conversion
from jchannel._sealed import NoPublicConstructor
from jchannel._streams.reader import MetaGenerator
from jchannel._streams.sources import check_source
from jchannel.errors import PageLostError, RefusedError, StateError, UnreachableError
from jchannel.testing.explore import EXPLORATION
from jchannel.testing.faults import Direction, FaultyLink
from jchannel.testing.line import RequestLine, Turn
from jchannel.testing.network import Connection, MemoryListener, MemoryStream
from jchannel.testing.record import CallRecord
from jchannel.testing.script import JavaScriptError, RecordedCall, Script
from jchannel.trio import OnOpen, PeerChannel

__all__ = ["Page", "begin_request", "hold_page", "pack_pipe"]


@final
class Page(metaclass=NoPublicConstructor):
    """A page that a test plays. ``open_page`` makes them.

    Its handler is a Python object in the place of the JavaScript object that the page's code would make. Python
    receives what the handler returns, and a ``FrontendError`` for what it raises.

    Attributes:
        client: The name by which the server recognises the page when it comes back.
        calls: The calls that the page has received, the oldest first.
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
        methods: Methods,
        convert_stream: ConvertStream,
    ) -> None:
        self.client: str = secrets.token_urlsafe(12) if client is None else client
        self._record = CallRecord()
        self.calls: list[RecordedCall] = self._record.calls
        passing = trio.lowlevel.ParkingLot()
        self.to_page: Direction = Direction("page", passing)
        self.to_python: Direction = Direction("python", passing)
        self._exploration = EXPLORATION.get()
        self.to_page._exploration = self.to_python._exploration = self._exploration
        self._url = url
        self._listener = listener
        self._nursery = nursery
        self._handler = handler
        self._on_open = on_open
        self._script = Script(methods)
        self._methods = _PageMethods(self._run_method, methods)
        self._convert_stream = convert_stream
        self._peer: core_peer.Peer
        self._lost = True
        self._over = trio.Event()
        self._over.set()
        self._staying = trio.CancelScope()
        self._connections: list[Connection] = []
        # What an open channel has made of its code, by its number, for a page that comes back without a reload.
        self._kept: dict[int, tuple[PeerChannel, Any]] = {}
        self._line = RequestLine(self._find_channel, self._wait_core_channel)

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.client!r}, {state}>"

    # What it is

    @property
    def connected(self) -> bool:
        """Whether it is connected, as far as it knows."""
        return not self._lost and self._peer.session.alive

    @property
    def _may_get_lost(self) -> bool:
        """Whether it is lost now and then, and comes back in its own time."""
        return self._exploration is not None and self._exploration._loses

    @property
    def why_ended(self) -> str:
        """Why its last connection has ended, in words; empty while it is connected."""
        return self._peer.session.why_ended

    @property
    def channels(self) -> list[PeerChannel]:
        """The channels that are open in it, in the order of their opening. Each has the ``code`` it was opened with."""
        return [PeerChannel.of(channel) for channel in self._peer.channels.values()]

    # What it answers

    def answer(self, name: str, value: object) -> None:
        """Answer calls of a method with a value from now on, whatever the handler has.

        Args:
            name: The method's name.
            value: What it returns; an async iterable, a path or a binary file is a stream, for one call.

        Raises:
            TypeError: The name is not a str.
        """
        self._script.set(name, "answer", value)

    def fail(self, name: str, error: Exception) -> None:
        """Raise an error in calls of a method from now on, whatever the handler has.

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
        """Never answer calls of a method from now on. They end when they are cancelled, or with the connection.

        Args:
            name: The method's name; ``None`` for every method.

        Raises:
            TypeError: The name is not a str.
        """
        self._script.set(name, "hang", None)

    def restore(self, name: str | None = None) -> None:
        """Leave new calls of a method to the handler again.

        Args:
            name: The method's name; ``None`` for every method.
        """
        self._script.restore(name)

    async def wait_call(self, name: str | None = None, timeout: float | None = 60) -> RecordedCall:
        """Wait until the page has been called, and return the call. Each call is returned once, the oldest first.

        Of several who wait, the first one gets the first call.

        Args:
            name: The method's name; ``None`` for any.
            timeout: Seconds; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out. The message has the names of the calls that the page has received.
            TypeError, ValueError: The timeout is not one.

        Cancelling it does nothing else.
        """
        return await self._record.wait(self._record.expect(name), timeout)

    async def wait_ended(self, call: RecordedCall, timeout: float | None = 60) -> None:
        """Wait until a call has been answered, has failed or was cancelled.

        Args:
            call: The call.
            timeout: Seconds; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out.
            TypeError, ValueError: The timeout is not one.

        Cancelling it does nothing else.
        """
        await self._record.wait_ended(call, timeout)

    # What it requests

    async def wait_channel(self, timeout: float | None = 60) -> PeerChannel:
        """Wait until the server has opened a channel, and return the first that is open.

        Args:
            timeout: Seconds; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out.
            PageLostError: The page is not connected, or was lost meanwhile.
            TypeError, ValueError: The timeout is not one.

        Cancelling it does nothing else.
        """
        return PeerChannel.of(await self._wait_core_channel(timeout))

    def call(self, name: str, *args: object, timeout: float | None = 3) -> Coroutine[Any, Any, Any]:
        """Call a method of the Python handler of the first open channel, as ``PeerChannel.call`` does.

        As in JavaScript the call is made at once, and what is returned waits for its outcome: calls begin in the order
        in which they are made, also those of ``nursery.start_soon(page.call, …)``, and also where they wait for a
        channel. For that they have 60 s beside their timeout. ``Page.channels`` has the other channels.
        """
        return self._request(self._make_call(name, args), timeout)

    def call_with_stream(
        self, name: str, stream: object, *args: object, timeout: float | None = 3
    ) -> Coroutine[Any, Any, Any]:
        """Call a method of the Python handler with a byte stream, as ``PeerChannel.call_with_stream`` does.

        It is made at once, as ``call``, and leaves when its source has shown whether it is short.
        """
        return self._request(self._make_call(name, args), timeout, partial(check_source, stream))

    def echo(self, *args: object, timeout: float | None = 3) -> Coroutine[Any, Any, list[Any]]:
        """Send arguments to Python and receive them back, as ``PeerChannel.echo`` does. It is made at once."""
        return self._request(self._make_echo(args), timeout)

    def pipe(self, stream: object, timeout: float | None = 3) -> Coroutine[Any, Any, MetaGenerator]:
        """Send a byte stream to Python and receive it back, as ``PeerChannel.pipe`` does. It is made at once."""
        return self._request(pack_pipe, timeout, partial(check_source, stream))

    # What happens to it

    def lose(self) -> None:
        """Break the page's connections now, without a word. What is under way is lost.

        Python notices as soon as its tasks run; ``wait_lost`` waits for that. Requests that are under way raise
        ``PageLostError``; later ones wait for the page to come back, within their timeouts. It does not by itself.
        """
        self._lost = True
        for connection in self._connections:
            connection.break_off()

    async def reconnect(self) -> None:
        """Connect the page again as the same page, which was not reloaded: its channels are as they were.

        Their code does not run again. The server opens its channels in it before anything else is sent.

        Raises:
            StateError: The page is connected.
            RefusedError: The server refuses it: it is closed, or another page has connected meanwhile.
            trio.TooSlowError: Nothing passes: the page is held.
            UnreachableError: The server is closed.

        Cancelling it leaves the page not connected.
        """
        if self.connected:
            raise StateError("the page is connected: lose() breaks its connection, reload() loads it anew")
        await self._connect()

    async def reload(self) -> None:
        """Load the page anew: it loses its connection and all it knew, and the server opens its channels again.

        Exceptions and cancellation are those of ``reconnect``.
        """
        self.lose()
        self._kept.clear()
        await self._connect()

    async def close(self) -> None:
        """Close the connection on purpose, with a goodbye, and wait until it has ended. The page may ``reconnect``.

        A page that is held or delayed is lost instead. Cancelling it stops the waiting.
        """
        self._leave()
        await self.wait_lost(None)

    async def wait_lost(self, timeout: float | None = 60) -> None:
        """Wait until the page's connections have ended on both sides, whoever ended them.

        Args:
            timeout: Seconds; ``None`` for no limit.

        Raises:
            trio.TooSlowError: The time ran out.
            TypeError, ValueError: The timeout is not one.

        Cancelling it does nothing else.
        """
        limit = check_timeout(timeout)
        with trio.move_on_after(limit) as scope:
            await self._over.wait()
            while not all(connection.released for connection in self._connections):
                await self.to_page._wait_changed()
        if scope.cancelled_caught:
            state = "is connected" if self.connected else "has connections left"
            raise trio.TooSlowError(f"the page was not lost within {limit:g} s: it {state}")

    def hold(self) -> None:
        """Let nothing pass between page and Python from now on, in either direction: a network that hangs.

        Python notices when the page does not answer a beat: after at most twice ``heartbeat`` seconds. For a page that
        is connected and does not answer, there is ``hang``.
        """
        self.to_page.hold()
        self.to_python.hold()

    def release(self) -> None:
        """Let everything pass again, what has been held first."""
        self.to_page.release()
        self.to_python.release()

    def delay(self, seconds: float) -> None:
        """Delay all that is sent from now on, in both directions.

        Args:
            seconds: The delay in each direction; 0 for none. With more than half of ``heartbeat`` a beat is answered
                too late, and Python ends the connection.

        Raises:
            TypeError, ValueError: It is not a finite number of seconds.
        """
        self.to_page.set_delay(seconds)
        self.to_python.set_delay(seconds)

    def stop_reading(self) -> None:
        """Let the page read nothing from now on, while what it sends arrives.

        What Python sends waits: 64 KiB in the network, and ``Limits.send_buffer_bytes`` before new requests wait, too.
        A page that does not read answers no beat either: Python ends the connection after at most twice ``heartbeat``
        seconds.
        """
        self.to_page.hold()

    def resume_reading(self) -> None:
        """Let the page read again."""
        self.to_page.release()

    def _leave(self) -> None:
        """Close the connection as ``close`` does, without waiting."""
        if self.to_page._slows or self.to_python._slows:
            self.lose()
        self._lost = True
        self._staying.cancel()

    # For its requests

    def _request(
        self,
        pack: Callable[[], messages.Request],
        timeout: float | None,
        check: Callable[[], object] | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Make a request now, and return what waits for its outcome, which what cannot be sent is, too."""
        turn = outcome.capture(self._stand, pack, timeout, check)
        return self._wait_outcome(turn)

    def _stand(
        self, pack: Callable[[], messages.Request], timeout: float | None, check: Callable[[], object] | None
    ) -> Turn:
        begin = partial(
            begin_request,
            message=pack(),
            limit=check_timeout(timeout),
            source=None if check is None else check(),
            parent=CURRENT.get(),
            outer_deadline=trio.current_effective_deadline(),
        )
        return self._line.stand(begin)

    async def _wait_outcome(self, turn: outcome.Outcome[Turn]) -> Any:
        return await self._line.wait(turn.unwrap())

    def _find_channel(self) -> core_peer.PeerChannel | None:
        return next(iter(self._peer.channels.values()), None) if self.connected else None

    def _make_call(self, name: str, args: tuple[object, ...]) -> Callable[[], messages.Request]:
        return partial(pack_call, name, args, self._find_conversion())

    def _make_echo(self, args: tuple[object, ...]) -> Callable[[], messages.Request]:
        return partial(pack_echo, args, self._find_conversion())

    def _find_conversion(self) -> Conversion:
        """Return that of the first open channel. Safe in any thread."""
        return next((channel.conversion for channel in list(self._peer.channels.values())), PLAIN)

    async def _wait_core_channel(self, timeout: float | None = 60) -> core_peer.PeerChannel:
        limit = check_timeout(timeout)
        with trio.move_on_after(limit):
            return await self._peer.wait_channel()
        raise trio.TooSlowError(f"no channel was opened in the page within {limit:g} s")

    # For the connection

    async def _connect(self) -> None:
        await self._over.wait()
        await self._nursery.start(self._stay_connected)

    async def _stay_connected(self, task_status: trio.TaskStatus[None]) -> None:
        self._over = trio.Event()
        self._staying = trio.CancelScope()
        try:
            async with core_peer.open_peer(self._url, self._options(), connect=self._open_stream) as self._peer:
                self._lost = False
                task_status.started()
                with self._staying:
                    await self._peer.session.wait_ended()
        finally:
            self.lose()
            self._over.set()

    async def _open_stream(self) -> MemoryStream:
        await trio.lowlevel.checkpoint()
        self._connections = [connection for connection in self._connections if not connection.released]
        connection = self._listener.connect(self.to_python, self.to_page)
        self._connections.append(connection)
        return connection.client

    def _options(self) -> core_peer.PeerOptions:
        return core_peer.PeerOptions(
            handler=self._handler,
            on_open=self._open_channel,
            client=self.client,
            methods=self._methods,
            convert_stream=self._convert_stream,
            tracebacks=True,
            wrap_link=self._wrap_link,
        )

    def _wrap_link(self, link: Link) -> Link:
        return FaultyLink(link, self.to_python, self.to_page)

    async def _open_channel(self, core: core_peer.PeerChannel, code: str) -> Any:
        channel = PeerChannel.of(core)
        if channel.number in self._kept:
            before, value = self._kept[channel.number]
            channel.handler = before.handler
        else:
            value = None if self._on_open is None else self._on_open(channel, code)
            value = await value if inspect.isawaitable(value) else value
        self._kept[channel.number] = channel, value
        return value

    async def _run_method(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Record a call, and answer it."""
        call = RecordedCall(name, tuple(args), invocation.request.channel)
        self._record.add(call)
        self._note(f"the page runs {name!r}")
        state: Literal["answered", "failed", "cancelled"] = "cancelled"
        try:
            value = await self._answer(invocation, handler, name, args)
            state = "answered"
        except Exception as error:
            state = "failed"
            if isinstance(error, JavaScriptError) and error.name == "AbortError":
                # As in the client, when an AbortError is not that of the call's own signal.
                raise MethodCancelledError(text_of(error)) from error
            raise
        else:
            return value
        finally:
            self._record.end(call, state)
            self._note(f"the page has {state} {name!r}")

    async def _answer(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        try:
            return await self._script.run(invocation, handler, name, args)
        finally:
            if self._exploration is not None:
                await self._exploration._delay_answer()

    def _note(self, text: str) -> None:
        if self._exploration is not None:
            self._exploration.note(text)

    async def _get_lost(self, losing: trio.CancelScope) -> None:
        """Be lost now and then, and come back, until that is cancelled."""
        exploration = self._exploration
        assert exploration is not None
        with losing:
            for _ in range(exploration._draw_losses()):
                await exploration._pass_some_time()
                exploration.note("the page is lost")
                self.lose()
                await self.wait_lost(None)
                await exploration._pass_some_time()
                reloads = exploration._draw_reload()
                # The program may have its own way with the page, or with the server.
                with suppress(StateError, RefusedError, UnreachableError, PageLostError, trio.TooSlowError):
                    await (self.reload() if reloads else self.reconnect())
                    exploration.note("the page is back, loaded anew" if reloads else "the page is back, as it was")


#: Runs the method that answers a request, like ``Methods.run``.
RunMethod = Callable[[Invocation, object, str, Sequence[Any]], Any]


class _PageMethods(Methods):
    """Runs the methods of a page's handler as the page's script says. Errors have stacks, like those of JavaScript.

    Args:
        run_method: Runs a method.
        inner: Runs those that the script leaves to the handler.
    """

    def __init__(self, run_method: RunMethod, inner: Methods) -> None:
        self.invocation_type = inner.invocation_type
        self.contains_exits = inner.contains_exits
        self._run_method = run_method

    async def run(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Run the method that answers a request, and return its result."""
        return await self._run_method(invocation, handler, name, args)

    def format_stack(self, error: Exception) -> str:
        """Return the stack of an exception that a method raised, or the one that the test has written."""
        own = error.stack if isinstance(error, JavaScriptError) else None
        return super().format_stack(error) if own is None else own


def begin_request(
    channel: core_peer.PeerChannel,
    *,
    message: messages.Request,
    limit: float,
    source: object,
    parent: Invocation | None,
    outer_deadline: float = math.inf,
    watcher: Watcher | None = None,
) -> Request:
    """Make a request in a channel of a page. The arguments are those of ``Outbox.start``."""
    return channel.outbox.start(
        message, limit, source=source, parent=parent, outer_deadline=outer_deadline, watcher=watcher
    )


def pack_pipe() -> messages.Request:
    """Return the message of a pipe."""
    return PIPE


@asynccontextmanager
async def hold_page(
    url: str,
    listener: MemoryListener,
    handler: object,
    *,
    on_open: OnOpen | None,
    client: str | None,
    methods: Methods | None = None,
    convert_stream: ConvertStream = read_in_trio,
) -> AsyncIterator[Page]:
    """Keep a page connected for the time of an ``async with`` block.

    Args:
        url: The server's page URL.
        listener: The listener of the server.
        handler: The object that handles calls from Python.
        on_open: Plays the code of channels; ``None`` for nothing.
        client: The page's name; ``None`` for a random one.
        methods: Runs the handler's methods, for the faces in which they do not run in trio; ``None`` for in trio.
        convert_stream: Makes what the methods receive of an incoming stream.
    """
    async with open_flat_nursery() as nursery:
        page = Page.create(
            url,
            listener,
            nursery,
            handler,
            on_open=on_open,
            client=client,
            methods=Methods() if methods is None else methods,
            convert_stream=convert_stream,
        )
        await page.reconnect()
        losing = trio.CancelScope()
        if page._may_get_lost:
            nursery.start_soon(page._get_lost, losing)
        try:
            yield page
        finally:
            losing.cancel()
            page._leave()

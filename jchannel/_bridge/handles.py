"""Handles: a server and a channel of the core, as the facades hold them from outside of trio.

What a facade's method does in trio is here, for the asyncio facade and the blocking one alike; how it is waited for is
not. Methods check at once what can be checked at once, and give an operation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, TypeVar

from jchannel._bridge.crossing import Operation
from jchannel._bridge.incoming import Arrivals
from jchannel._bridge.methods import Methods, ThreadMethods
from jchannel._bridge.owner import Owner
from jchannel._bridge.portal import Portal, open_thread_portal
from jchannel._core.arguments import check_timeout
from jchannel._core.channel import Channel
from jchannel._core.incoming import IncomingStream
from jchannel._core.server import Server
from jchannel._notebook.figures import CHANNEL, SERVER
from jchannel._notebook.output import NotebookFrontend
from jchannel._notebook.panel import Panel, render
from jchannel.errors import ClosedError, StateError

__all__ = ["ChannelHandle", "ServerHandle"]

_NOT_STARTED: Final = "the server is not started: start it first"
_NOT_OPENED: Final = "the channel is closed: it has not been opened: call open() first"

R = TypeVar("R")
F = TypeVar("F")


async def _do_nothing() -> None:
    """Nothing."""


class _Made:
    """What an operation has opened.

    Attributes:
        owner: Its owner; ``None`` when the operation has opened nothing.
    """

    def __init__(self) -> None:
        self.owner: Owner[Any] | None = None

    async def undo(self) -> None:
        """Closes it again."""
        if self.owner is not None:
            self.owner.stop()
            await self.owner.wait_ended()


class ServerHandle:
    """A server that can be started and stopped.

    Args:
        open_server: Makes the context manager of a server of the core.

    Attributes:
        frontend: What connects a notebook's page to the server, where there is a notebook.
    """

    def __init__(self, open_server: Callable[[], AbstractAsyncContextManager[Server]]) -> None:
        self.frontend: NotebookFrontend | None = None
        self._open_server = open_server
        self._portal: Portal | None = None
        self._owner: Owner[Server] | None = None

    @property
    def portal(self) -> Portal:
        """The way to the server. Before it is started, a way to hear that it is not."""
        return self._portal or open_thread_portal()

    @property
    def server(self) -> Server:
        """The server of the core. Outside of trio, it may be looked at and not be called.

        Raises:
            ClosedError: The server has not been started.
        """
        if self._owner is None or self._owner.value is None:
            raise ClosedError(_NOT_STARTED)
        return self._owner.value

    @property
    def running(self) -> Server | None:
        """The server of the core while it is running. Outside of trio, it may be looked at and not be called."""
        return self._owner.value if self._owner is not None and not self._owner.stopping else None

    def describe(self) -> str:
        """Its address and state, for a ``repr``. Nothing secret is in it."""
        owner = self._owner
        if owner is None or owner.value is None:
            return "not started"
        connected = "page connected" if owner.value.session else "no page connected"
        return f"at {owner.value.url}, {'stopped' if owner.stopping else connected}"

    def render(self) -> str:
        """Its panel, as HTML."""
        server = None if self._owner is None else self._owner.value
        return (
            render(Panel(SERVER, "", "not started", "off")) if server is None else server.claims.panels.render(server)
        )

    def render_panel(self, channel: ChannelHandle) -> str:
        """The panel of one of its channels, as HTML."""
        server = None if self._owner is None else self._owner.value
        return render(channel.panel()) if server is None else server.claims.panels.render(channel)

    def start(self, portal: Portal, facade: F) -> Operation[F]:
        """Starts the server, in the portal's trio.

        Gives the facade. Raises ``StateError`` when it is started already, and what ``open_server`` raises. Cancelling
        it closes the server.
        """

        def begin() -> Awaitable[F]:
            if self._is_started:
                raise StateError("the server is started already: stop it before you start it again")
            return self._start(facade, made)

        made = _Made()
        return Operation(self._choose_portal(portal), begin, made.undo)

    def enter(self, portal: Portal, facade: F) -> Operation[F]:
        """Starts the server unless it is started. Otherwise as ``start``."""

        async def wait_open() -> F:
            return facade

        def begin() -> Awaitable[F]:
            return self.begin(lambda _: wait_open()) if self._is_started else self._start(facade, made)

        made = _Made()
        return Operation(self._choose_portal(portal), begin, made.undo)

    def stop(self) -> Operation[None]:
        """Stops the server and ends its channels. Does nothing when it is not started.

        Raises ``ClosedError`` when an error of the library has ended it. Cancelling it stops the waiting only.
        """

        def begin() -> Awaitable[None]:
            if self._owner is None:
                return _do_nothing()
            self._owner.stop()
            return self._owner.wait_ended()

        return Operation(self.portal, begin)

    def ask_for_page(self) -> None:
        """Where no page is connected, has the notebook connect its own. Called in the thread that makes a request."""
        if self.frontend is not None:
            self.frontend.show_if_alone()

    def move_to_newest_page(self, timeout: float | None) -> Operation[None]:
        """As the core's ``move_to_newest_page``. The next page may take over from the moment this begins."""
        check_timeout(timeout)
        return Operation(self.portal, lambda: self.begin(lambda server: server.begin_move_to_newest_page(timeout)))

    def wait_page(self, timeout: float | None) -> Operation[None]:
        """As the core's ``wait_page``."""
        check_timeout(timeout)
        self.ask_for_page()
        return Operation(self.portal, lambda: self.begin(lambda server: server.wait_page(timeout)))

    # In trio

    @property
    def owner(self) -> Owner[Server]:
        """The server's owner, which lives.

        Raises:
            ClosedError: The server is not started.
        """
        if self._owner is None:
            raise ClosedError(_NOT_STARTED)
        if self._owner.stopping:
            raise ClosedError("the server is closed")
        return self._owner

    def begin(self, ask: Callable[[Server], Awaitable[R]]) -> Awaitable[R]:
        """Asks the server for something, as ``Owner.begin`` does.

        Raises:
            ClosedError: The server is not started.
        """
        return self.owner.begin(ask)

    @property
    def _is_started(self) -> bool:
        return self._owner is not None and not self._owner.stopping

    def _choose_portal(self, portal: Portal) -> Portal:
        # One that lives, or is still closing, can only be dealt with where it is.
        if self._portal is None or self._portal.ended or self._owner is None or self._owner.ended:
            self._portal = portal
        return self._portal

    def _start(self, facade: F, made: _Made) -> Awaitable[F]:
        previous, owner = self._owner, Owner(self._open_server(), "the server")
        self._owner = made.owner = owner

        async def run() -> None:
            if previous is not None:
                with suppress(ClosedError):  # Those who stopped it have heard why.
                    await previous.wait_ended()
            await owner.run()

        async def wait() -> F:
            await owner.wait_open()
            return facade

        self.portal.start_soon(run)
        return wait()


class ChannelHandle:
    """A channel that can be opened and closed. ``Calls`` makes its requests.

    Args:
        server: Its server.
        code: JavaScript that evaluates to the initialization function.

    Attributes:
        handler: The object that handles calls from the page, or ``None``.

    Raises:
        TypeError: The code is not a str.
    """

    def __init__(self, server: ServerHandle, code: str) -> None:
        if not isinstance(code, str):
            raise TypeError(f"the code of a channel must be a str of JavaScript, and not {code!r}")
        self.handler: object = None
        self._server = server
        self._code = code
        self._context_timeout: float | None = 3
        self._methods: Methods = ThreadMethods()
        self._owner: Owner[Channel] | None = None

    @property
    def context_timeout(self) -> float | None:
        """The timeout in seconds for opening and closing as a context manager.

        Raises:
            TypeError, ValueError: When it is set to what is not a timeout.
        """
        return self._context_timeout

    @context_timeout.setter
    def context_timeout(self, timeout: float | None) -> None:
        check_timeout(timeout)
        self._context_timeout = timeout

    @property
    def portal(self) -> Portal:
        """The way to the channel's server."""
        return self._server.portal

    @property
    def channel(self) -> Channel:
        """The channel of the core. Outside of trio, it may be looked at and not be called.

        Raises:
            ClosedError: The channel has not been opened.
        """
        owner = self._owner
        if owner is None or owner.value is None:
            raise ClosedError(_NOT_OPENED)
        return owner.value

    def describe(self) -> str:
        """Its state and server, for a ``repr``."""
        owner = self._owner
        is_open = owner is not None and owner.value is not None and owner.value.is_open
        return f"{'open' if is_open else 'closed'}, server {self._server.describe()}"

    def render(self) -> str:
        """Its panel, as HTML. It follows the channel when it is closed and opened again."""
        return self._server.render_panel(self)

    def panel(self) -> Panel:
        """What its panel says now. It can be asked in any thread, and never waits."""
        owner = self._owner
        if owner is None or owner.value is None:
            return Panel(CHANNEL, "", "not opened", "off")
        return owner.value.panel()

    def open(self, methods: Methods, timeout: float | None) -> Operation[Any]:
        """As the core's ``open``. ``methods`` runs the handler's methods from now on."""
        check_timeout(timeout)
        self._server.ask_for_page()
        made = _Made()
        return Operation(
            self.portal, lambda: self._open(methods, lambda channel: channel.begin_open(timeout), made), made.undo
        )

    def enter(self, methods: Methods, timeout: float | None, facade: F) -> Operation[F]:
        """Opens the channel unless it is open. Gives the facade."""
        check_timeout(timeout)
        self._server.ask_for_page()

        async def wait(opening: Awaitable[Any] | None) -> F:
            if opening is not None:
                await opening
            return facade

        def ask(channel: Channel) -> Awaitable[F]:
            if channel.is_open:
                made.owner = None
                return wait(None)
            return wait(channel.begin_open(timeout))

        made = _Made()
        return Operation(self.portal, lambda: self._open(methods, ask, made), made.undo)

    def close(self, timeout: float | None) -> Operation[None]:
        """As the core's ``close``. Does nothing when the channel is not open, or its server not started."""
        check_timeout(timeout)

        def close(owner: Owner[Channel] | None) -> Awaitable[None]:
            if owner is None:
                return _do_nothing()
            return owner.begin(lambda channel: _close(owner, channel, channel.begin_close(timeout)))

        def begin() -> Awaitable[None]:
            try:
                return self._server.begin(lambda _: close(self._owner))
            except ClosedError:
                return _do_nothing()

        return Operation(self.portal, begin)

    def ask(self, ask: Callable[[Channel], Awaitable[R]]) -> Operation[R]:
        """Asks the channel of the core for something, as ``Owner.begin`` does. Streams come as ``Arrivals``.

        Raises ``ClosedError`` when the channel has not been opened.
        """

        def find_owner() -> Owner[Channel]:
            if self._owner is None:
                raise ClosedError(_NOT_OPENED)
            return self._owner

        def begin() -> Awaitable[R]:
            # A channel that has been there once needs no server to say that it is closed, and why.
            if self._owner is not None and self._owner.value is not None:
                return self._owner.begin(ask)
            return self._server.begin(lambda _: find_owner().begin(ask))

        self._server.ask_for_page()
        return Operation(self.portal, begin)

    # In trio

    @property
    def methods(self) -> Methods:
        """What runs the handler's methods. Before the channel was opened, none is run."""
        return self._methods

    def _open(self, methods: Methods, ask: Callable[[Channel], Awaitable[R]], made: _Made) -> Awaitable[R]:
        def start(server: Server) -> Awaitable[R]:
            self._methods = methods
            owner = self._owner
            if owner is None or owner.stopping:
                manager = server.hold_channel(self._code, run_method=self._run_method, give_stream=self._give_stream)
                owner = self._owner = Owner(manager, "the channel", self._server.owner)
                self._server.owner.start_child(owner)
            made.owner = owner
            return owner.begin(lambda channel: _begin_opening(owner, channel, ask))

        return self._server.begin(start)

    async def _run_method(self, _: object, name: str, args: Sequence[Any]) -> Any:
        return await self._methods.run(self.handler, name, args)

    def _give_stream(self, stream: IncomingStream, limit: float) -> Arrivals:
        return Arrivals(stream, limit, self.portal)


def _begin_opening(owner: Owner[Channel], channel: Channel, ask: Callable[[Channel], Awaitable[R]]) -> Awaitable[R]:
    try:
        return _finish_opening(owner, channel, ask(channel))
    except BaseException:
        _drop_unless_open(owner, channel)
        raise


async def _finish_opening(owner: Owner[Channel], channel: Channel, opening: Awaitable[R]) -> R:
    try:
        return await opening
    except BaseException:
        _drop_unless_open(owner, channel)
        raise


def _drop_unless_open(owner: Owner[Channel], channel: Channel) -> None:
    """Stops the owner of a channel that is not open. It may have been opened again already."""
    if not channel.is_open:
        owner.stop()


async def _close(owner: Owner[Channel], channel: Channel, closing: Awaitable[None]) -> None:
    """Waits until a channel is closed, and its owner has ended."""
    try:
        await closing
    finally:
        _drop_unless_open(owner, channel)
    if owner.stopping:
        await owner.wait_ended()

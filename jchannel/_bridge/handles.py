"""Handles: a server and a channel of the core, as the facades hold them from outside of trio.

What a facade's method does in trio is here, for the asyncio facade and the blocking one alike; how it is waited for is
not. Methods check at once what can be checked at once, and return a job.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from jchannel._assembly import Assembly
from jchannel._bridge.interpreter import share_interpreter, stop_sharing_interpreter
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.methods import BridgedMethods, ThreadMethods
from jchannel._bridge.owner import Owner
from jchannel._bridge.portal import Portal, open_thread_portal
from jchannel._bridge.streams import BridgedStream
from jchannel._core.arguments import check_code, check_timeout
from jchannel._core.channel import CLOSED, ChannelState, Opening, ServerChannel
from jchannel._core.incoming import IncomingStream
from jchannel._core.limits import Limits
from jchannel._core.posts import PostRoom
from jchannel._core.server import Server
from jchannel._notebook.elements import Place
from jchannel._notebook.figures import CHANNEL, SERVER, ChannelPanel, ServerPanel
from jchannel._notebook.hearing import Hearing
from jchannel._notebook.panel import Panel
from jchannel._protocol.values import PLAIN, Conversion
from jchannel.errors import ClosedError, StateError

__all__ = ["ChannelHandle", "ServerHandle"]

_NOT_STARTED: Final = "the server is not started: start it first"
_NOT_OPENED: Final = "the channel is closed: it has not been opened: call open() first"

F = TypeVar("F")


def _find_no_place() -> None:
    """Return ``None``: where there is no notebook, no cell can show anything."""


async def _do_nothing() -> None:
    """Return at once."""


class _Start:
    """One start of a server, as a job that can be undone. What others have started stays.

    Args:
        handle: The server.
    """

    def __init__(self, handle: ServerHandle) -> None:
        self._handle = handle
        self._owner: Owner[Assembly] | None = None

    def begin(self, facade: F) -> Awaitable[F]:
        """Start the server, and return what is awaited until it is open."""
        self._owner = self._handle.start_now()
        return _return_after(self._owner.wait_open(), facade)

    def begin_unless_started(self, facade: F) -> Awaitable[F]:
        """Start the server unless it is started, and return what is awaited until it is open."""
        owner = self._handle.started_owner
        return self.begin(facade) if owner is None else _return_after(owner.wait_settled(), facade)

    async def undo(self) -> None:
        """Stop the server, if this has started it."""
        if self._owner is not None:
            self._owner.stop()
            await self._owner.wait_ended()


async def _keep_open(owner: Owner[Assembly], *, shares_interpreter: bool) -> None:
    # No method of the handle's: what runs in trio must not keep a server that its user has dropped.
    if shares_interpreter:
        share_interpreter()
    try:
        await owner.run()
    finally:
        if shares_interpreter:
            stop_sharing_interpreter()


class ServerHandle:
    """A server that can be started and stopped.

    One that is collected while it is started is stopped, with a ``ResourceWarning``.

    Args:
        assemble: Puts a new server together, each time it is started.
        shares_interpreter: Whether busy threads are made to share the interpreter with trio's while it runs.
        portal: The way to the trio that it always runs in; ``None`` for that of whoever starts it.
        conversion: What becomes of values that JSON has no form for, in channels that have no conversion of their own.

    Attributes:
        conversion: As above.
        current_portal: The way to the trio in which it was started last, or ``None``.
        on_page_wanted: The hook for a request that waits for a page: called in the thread that makes it.
        make_place: Returns the present cell of a notebook as a place for the element of a channel, or ``None``.
        hearing: What may keep the page from being heard while somebody waits for it; ``None`` for nothing.
    """

    def __init__(
        self,
        assemble: Callable[[], Assembly],
        *,
        shares_interpreter: bool = False,
        portal: Portal | None = None,
        conversion: Conversion = PLAIN,
    ) -> None:
        self.conversion = conversion
        self.on_page_wanted: Callable[[], None] | None = None
        self.make_place: Callable[[], Place | None] = _find_no_place
        self.hearing: Hearing | None = None
        self._assemble = assemble
        self._shares_interpreter = shares_interpreter
        self._only_portal = portal
        self.current_portal = portal
        self._assembly: Assembly | None = None
        self._owner: Owner[Assembly] | None = None

    def __del__(self) -> None:
        if not self._is_started or sys.is_finalizing():
            return
        assert self._owner is not None
        text = f"a jchannel server was dropped without being stopped, and is stopped now: {self.describe()}"
        try:
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)
        finally:
            # Never at once: this may be trio's thread, between any two lines of trio.
            self.portal.post_later(self._owner.stop)

    @property
    def portal(self) -> Portal:
        """The way to the server. Before it is started, and in a forked process, a way to hear that it is not."""
        return open_thread_portal() if self.current_portal is None or self.is_forked else self.current_portal

    @property
    def assembly(self) -> Assembly | None:
        """The server with its frontends, once it has been started. Outside of trio, it may be looked at only."""
        return None if self._owner is None else self._owner.value

    @property
    def server(self) -> Server:
        """The server of the core. Outside of trio, it may be looked at and not be called.

        Raises:
            ClosedError: The server has not been started.
        """
        assembly = self.assembly
        if assembly is None:
            raise ClosedError(_NOT_STARTED)
        return assembly.server

    @property
    def is_running(self) -> bool:
        """Whether the server is started, and has not been told to stop. Safe in any thread."""
        return self.assembly is not None and self._is_started

    def describe(self) -> str:
        """Return its address and state, for a ``repr``. Nothing secret is in it."""
        if self.assembly is None:
            return "not started"
        server = self.assembly.server
        connected = "page connected" if server.session else "no page connected"
        return f"at {server.url}, {connected if self.is_running else 'stopped'}"

    def panel(self) -> Panel:
        """Return the contents of its panel, also when it was stopped and started again. Safe in any thread."""
        assembly = self.assembly
        return Panel(SERVER, "", "not started", "off") if assembly is None else ServerPanel(assembly.server).panel()

    def want_page(self) -> None:
        """Call the hook for a request that waits for a page. Called in the thread that makes it."""
        if self.on_page_wanted is not None:
            self.on_page_wanted()

    # Jobs

    def start(self, portal: Portal, facade: F) -> TaskJob[F]:
        """Start the server, in the portal's trio, and return the facade.

        Raises ``StateError`` when it is started already, and what opening it raises. Cancelling it closes the server.
        """
        start = _Start(self)
        return TaskJob(self._choose_portal(portal), partial(start.begin, facade), start.undo)

    def enter(self, portal: Portal, facade: F) -> TaskJob[F]:
        """Start the server unless it is started, and return the facade. Otherwise as ``start``."""
        start = _Start(self)
        return TaskJob(self._choose_portal(portal), partial(start.begin_unless_started, facade), start.undo)

    def stop(self) -> TaskJob[None]:
        """Stop the server and end its channels. Does nothing when it is not started.

        Raises ``ClosedError`` when an error of the library has ended it. Cancelling it stops the waiting only.
        """
        return TaskJob(self.portal, self._begin_stop, certain=True)

    def wait_page(self, timeout: float | None) -> TaskJob[None]:
        """Wait until a page is connected."""
        check_timeout(timeout)
        self.want_page()
        needs_page = self.assembly is not None and self.assembly.server.session is None
        begin = partial(self._begin_wait_page, timeout)
        return TaskJob(self.portal, begin, hearing=self.hearing, needs_page=needs_page)

    def move_to_newest_page(self, timeout: float | None) -> TaskJob[None]:
        """Let the next page take over, from the moment this begins, and wait for it."""
        return TaskJob(self.portal, partial(self._begin_move, check_timeout(timeout)), hearing=self.hearing)

    # In trio

    def find_server(self) -> Server:
        """Return the server, which is started or being started.

        Raises:
            ClosedError: It is not, or has been closed.
        """
        if self._assembly is None:
            raise ClosedError(_NOT_STARTED)
        server = self._assembly.server
        if not self._is_started:
            server.check_open()
            raise ClosedError("the server is closed")
        return server

    @property
    def _is_started(self) -> bool:
        return self._owner is not None and not self._owner.stopping and not self.is_forked

    @property
    def is_forked(self) -> bool:
        """Whether the server that was started last is that of the process that this one was forked from."""
        return self._assembly is not None and self._assembly.server.forked

    def _choose_portal(self, portal: Portal) -> Portal:
        # One that lives, or is still closing, can only be dealt with where it is.
        if self.current_portal is None or self.current_portal.ended or self._owner is None or self._owner.ended:
            self.current_portal = self._only_portal or portal
        return self.current_portal

    @property
    def started_owner(self) -> Owner[Assembly] | None:
        """What keeps the server open, while it is started."""
        return self._owner if self._is_started else None

    def start_now(self) -> Owner[Assembly]:
        """Start the server, and return what keeps it open.

        Raises:
            StateError: It is started already.
            TypeError, ValueError: An option is not of its kind.
        """
        if self._is_started:
            raise StateError("the server is started already: stop it before you start it again")
        assembly = self._assemble()
        # In a forked process the end of the parent's would be waited for in vain.
        owner = Owner(assembly.open(), "the server", None if self.is_forked else self._owner)
        self._assembly, self._owner = assembly, owner
        self.portal.start_soon(partial(_keep_open, owner, shares_interpreter=self._shares_interpreter))
        return owner

    def _begin_stop(self) -> Awaitable[None]:
        if self._owner is None or self.is_forked:
            return _do_nothing()
        self._owner.stop()
        return self._owner.wait_ended()

    def _begin_wait_page(self, timeout: float | None) -> Awaitable[None]:
        return self.find_server().wait_page(timeout)

    def _begin_move(self, limit: float) -> Awaitable[None]:
        server = self.find_server()
        return server.wait_newest_page(*server.begin_move_to_newest_page(), limit)


class _Open:
    """One opening of a channel, as a job that can be undone. What others have opened stays.

    Args:
        handle: The channel.
        methods: Runs the handler's methods from then on.
        limit: Seconds for the whole, waiting for a page included.
    """

    def __init__(self, handle: ChannelHandle, methods: BridgedMethods, limit: float) -> None:
        self._handle = handle
        self._methods = methods
        self._limit = limit
        self._place = handle.server.make_place()
        self._opened: tuple[ServerChannel, Opening] | None = None

    def begin(self) -> Awaitable[Any]:
        """Open the channel, and return what is awaited until it is open."""
        channel, opening = self._opened = self._handle.open_now(self._methods, self._place)
        return channel.wait_open(opening, self._limit)

    def begin_unless_open(self, facade: F) -> Awaitable[F]:
        """Open the channel unless it is open, and return what is awaited until it is."""
        core = self._handle.core
        if core is not None and core.state is not ChannelState.CLOSED:
            return _return(facade)
        return _return_after(self.begin(), facade)

    async def undo(self) -> None:
        """Close the channel, if this has opened it and it is still the same opening."""
        if self._opened is not None:
            channel, opening = self._opened
            if not opening.closed.is_set():
                await channel.wait_closed(channel.shut("opening it was given up"), math.inf, opening)


class ChannelHandle:
    """A channel that can be opened and closed. ``Requests`` makes its requests.

    Args:
        server: Its server.
        code: JavaScript that evaluates to the initialization function.
        module: The module of the page whose default export it is, in the place of code.
        handler: The object that handles calls from the page, or ``None``.
        conversion: What becomes of values that JSON has no form for; ``None`` for the server's.

    Attributes:
        server: As above.
        conversion: As above.
        core: The channel of the core, once it has been opened. Outside of trio, it may be looked at only.
        methods: Runs the handler's methods. Before the channel was opened, none is run.
        post_room: The room for its posts.

    Raises:
        TypeError: The code or the module is not a str, or there are both or neither.
        ValueError: The module is empty.
    """

    def __init__(
        self,
        server: ServerHandle,
        code: str | None,
        *,
        module: str | None = None,
        handler: object = None,
        conversion: Conversion | None = None,
    ) -> None:
        check_code(code, module)
        self.server = server
        self.conversion: Conversion = server.conversion if conversion is None else conversion
        self.methods: BridgedMethods = ThreadMethods()
        self._handler = handler
        self._code = code
        self._module = module
        self._place: Place | None = None
        self.core: ServerChannel | None = None
        self.post_room: PostRoom = PostRoom()

    @property
    def handler(self) -> object:
        """The object that handles calls from the page, or ``None``."""
        return self._handler

    @handler.setter
    def handler(self, handler: object) -> None:
        self._handler = handler
        if self.core is not None:
            self.core.handler = handler

    @property
    def portal(self) -> Portal:
        """The way to the channel's server."""
        return self.server.portal

    @property
    def channel(self) -> ServerChannel:
        """The channel of the core. Outside of trio, it may be looked at and not be called.

        Raises:
            ClosedError: The channel has not been opened.
        """
        if self.core is None:
            raise ClosedError(_NOT_OPENED)
        return self.core

    def show(self) -> None:
        """Show the channel's element in the present cell of a notebook. Elsewhere it does nothing.

        Raises:
            ClosedError: The channel is not open.
        """
        core = self.core
        number = None if core is None else core.number
        if core is None or number is None:
            raise ClosedError("the channel is closed, and shows nothing: call open() first")
        place = self.server.make_place()
        if place is not None:
            self._place = place
            place.hold(core)
            place.show(number)

    @property
    def limits(self) -> Limits:
        """The limits of its server, or the defaults as long as it has not been opened. Safe in any thread."""
        return Limits() if self.core is None else self.core.server.limits

    def describe(self) -> str:
        """Return its state and server, for a ``repr``."""
        is_open = self.core is not None and self.core.state is not ChannelState.CLOSED
        return f"{'open' if is_open else 'closed'}, server {self.server.describe()}"

    def panel(self) -> Panel:
        """Return the contents of its panel, also when it was closed and opened again. Safe in any thread."""
        core = self.core
        return Panel(CHANNEL, "", "not opened", "off") if core is None else ChannelPanel(core.server, core).panel()

    # Jobs

    def open(self, methods: BridgedMethods, timeout: float | None) -> TaskJob[Any]:
        """Open the channel, and return what its initialization function returned.

        Args:
            methods: Runs the handler's methods from now on.
            timeout: Seconds for the whole, waiting for a page included; ``None`` for no limit.
        """
        limit = check_timeout(timeout)
        self.server.want_page()
        opening = _Open(self, methods, limit)
        return TaskJob(self.portal, opening.begin, opening.undo, hearing=self.server.hearing, needs_page=True)

    def enter(self, methods: BridgedMethods, timeout: float | None, facade: F) -> TaskJob[F]:
        """Open the channel unless it is open, and return the facade."""
        limit = check_timeout(timeout)
        self.server.want_page()
        opening = _Open(self, methods, limit)
        begin = partial(opening.begin_unless_open, facade)
        is_closed = self.core is None or self.core.state is ChannelState.CLOSED
        return TaskJob(self.portal, begin, opening.undo, hearing=self.server.hearing, needs_page=is_closed)

    def close(self, timeout: float | None, why: str = CLOSED) -> TaskJob[None]:
        """Close the channel. Does nothing when it is not open, or its server not started."""
        begin = partial(self._begin_close, check_timeout(timeout), why)
        return TaskJob(self.portal, begin, certain=True, hearing=self.server.hearing)

    # In trio

    def refuse_request(self) -> NoReturn:
        """Refuse a request, because the channel has not been opened.

        Raises:
            ClosedError: It has not been opened, or its server not been started.
        """
        self.server.find_server()
        raise ClosedError(_NOT_OPENED)

    def open_now(self, methods: BridgedMethods, place: Place | None) -> tuple[ServerChannel, Opening]:
        """Begin to open the channel, and return it and the opening.

        Args:
            methods: Runs the handler's methods from then on.
            place: Where its element is shown, if its code asks for one; ``None`` where that is not a notebook.

        Raises:
            ClosedError: The server is not started.
            StateError: The channel is open already.
            ValueError: The code is larger than the connection takes at once.
        """
        server = self.server.find_server()
        channel = self.core
        if channel is None or channel.server is not server:
            channel = self.core = ServerChannel(
                server,
                self._code,
                module=self._module,
                handler=self._handler,
                convert_stream=partial(_bridge_stream, self.portal, self.server.hearing),
                conversion=self.conversion,
            )
        channel.handler = self._handler  # It may have been set meanwhile, when there was no channel to set it in.
        opening = channel.begin_open()
        self._place = place
        if place is not None:
            place.hold(channel)
        self.methods = methods
        channel.dispatcher.methods = methods
        server.start_soon(channel.hold, opening)
        return channel, opening

    def _begin_close(self, limit: float, why: str) -> Awaitable[None]:
        if self.core is None or self.server.is_forked:
            return _do_nothing()
        opening = self.core.opening
        return self.core.wait_closed(self.core.shut(why), limit, opening)


def _bridge_stream(portal: Portal, hearing: Hearing | None, stream: IncomingStream, limit: float) -> BridgedStream:
    return BridgedStream(stream, limit, portal, hearing)


async def _return(value: F) -> F:
    return value


async def _return_after(rest: Awaitable[object], value: F) -> F:
    await rest
    return value

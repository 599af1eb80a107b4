"""What the kits for the two facades have in common: a trio whose time stands still, and pages in memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from jchannel._assembly import Assembly, ServerOptions
from jchannel._bridge.handles import ServerHandle
from jchannel._bridge.jobs import Job, TaskJob
from jchannel._bridge.methods import BridgedMethods
from jchannel._bridge.owner import Owner
from jchannel._bridge.streams import BridgedStream
from jchannel._core.incoming import IncomingStream
from jchannel._core.invocation import current_invocation
from jchannel._core.limits import Limits
from jchannel._protocol.values import Conversion, Default, Nan
from jchannel.errors import StateError
from jchannel.testing.clock import KitPortal
from jchannel.testing.facade import FacadePage
from jchannel.testing.faults import check_seconds
from jchannel.testing.jobs import KitJob
from jchannel.testing.network import MemoryListener
from jchannel.testing.page import Page, hold_page
from jchannel.testing.rest import Ask, RestWatch
from jchannel.trio import PeerChannel

__all__ = ["Kit", "choose_code"]

P = TypeVar("P", bound=FacadePage)

#: The least patience, in seconds: as often the kit looks.
_LEAST_PATIENCE: Final = 0.01


def choose_code(code: str | None, module: str | None) -> str | None:
    """Return the code of a pair's channel: one that does nothing, where the test sets neither code nor a module."""
    return "(channel) => {}" if code is None and module is None else code


class Kit:
    """What the kits have in common.

    The arguments are those of ``jchannel.start``, and a ``patience``.
    """

    #: How it is entered.
    _block = ""

    def __init__(
        self,
        *,
        static: str | Path | None = None,
        heartbeat: float = 15,
        origins: Iterable[str] = (),
        tracebacks: bool = False,
        limits: Limits | None = None,
        default: Default | None = None,
        nan: Nan = "refuse",
        patience: float | None = 5,
    ) -> None:
        seconds = math.inf if patience is None else check_seconds(patience, "patience")
        self._patience = max(_LEAST_PATIENCE, seconds)
        conversion = Conversion(default, nan)
        self._options = ServerOptions(
            static=static,
            heartbeat=heartbeat,
            origins=origins,
            tracebacks=tracebacks,
            limits=limits,
            conversion=conversion,
        )
        self._conversion = conversion
        self._portal: KitPortal | None = None
        self._handle: ServerHandle
        self._listener: MemoryListener
        self._pages: list[FacadePage] = []

    @property
    def time(self) -> float:
        """The seconds that have passed in the kit: those by which the test has advanced it.

        Raises:
            StateError: The kit is not entered.
        """
        return self._entered.time

    @property
    def _entered(self) -> KitPortal:
        if self._portal is None:
            raise StateError(f"the kit is not entered: use it in a block, with `{self._block}`")
        return self._portal

    def _enter(self, ask: Ask | None, advice: str) -> ServerHandle:
        if self._portal is not None:
            raise StateError("the kit is entered already, or was left: make one for each test")
        make_watch = partial(RestWatch, thread=threading.get_ident(), ask=ask, patience=self._patience, advice=advice)
        self._portal = KitPortal(make_watch)
        self._handle = ServerHandle(self._assemble, portal=self._portal, conversion=self._conversion)
        return self._handle

    def _assemble(self) -> Assembly:
        self._listener = MemoryListener()
        return Assembly(replace(self._options, listeners=[self._listener]))

    def _opening_page(
        self,
        face: type[P],
        handler: object,
        *,
        on_open: Callable[[PeerChannel, str], Any] | None,
        client: str | None,
        methods: BridgedMethods,
    ) -> KitJob[P]:
        """Return the job that connects a page."""
        opening = _PageOpening(self, face, handler, on_open=on_open, client=client, methods=methods)
        return KitJob(self._entered, opening.begin, lambda: "kit.open_page()", opening.undo)

    def _ending(self) -> list[Job[None]]:
        """Return the jobs that end all but the trio itself, one after the other."""
        portal = self._entered
        leaving = [page._leave() for page in self._pages]
        return [TaskJob(portal, portal.let_time_pass), *leaving, self._handle.stop()]


class _PageOpening(Generic[P]):
    """The connecting of a page, in trio.

    Args:
        kit: The kit.
        face: The class of the object that the test holds for the page.
        handler: The object that handles calls from Python.
        on_open: Plays the code of channels, where the page's methods run.
        client: The page's name; ``None`` for a random one.
        methods: Runs the handler's methods.
    """

    def __init__(
        self,
        kit: Kit,
        face: type[P],
        handler: object,
        *,
        on_open: Callable[[PeerChannel, str], Any] | None,
        client: str | None,
        methods: BridgedMethods,
    ) -> None:
        self._kit = kit
        self._face = face
        self._handler = handler
        self._on_open = on_open
        self._client = client
        self._methods = methods
        self._page: P | None = None

    def begin(self) -> Awaitable[P]:
        """Begin to connect the page, and return what waits for it."""
        portal = self._kit._entered
        page = hold_page(
            self._kit._handle.server.page_url,
            self._kit._listener,
            self._handler,
            on_open=None if self._on_open is None else self._play,
            client=self._client,
            methods=self._methods,
            convert_stream=self._bridge_stream,
        )
        owner = Owner(page, "the page")
        portal.start_soon(owner.run)
        return self._wait_open(portal, owner)

    async def undo(self) -> None:
        """Let the page leave again, and wait for that."""
        assert self._page is not None
        await self._page._wait_left()

    async def _wait_open(self, portal: KitPortal, owner: Owner[Page]) -> P:
        page = self._page = self._face(portal, owner, await owner.wait_open())
        self._kit._pages.append(page)
        return page

    async def _play(self, channel: PeerChannel, code: str) -> Any:
        """Call the test's ``on_open`` where the page's methods run."""
        invocation = current_invocation()
        assert invocation is not None
        return await self._methods.run(invocation, _Player(self._on_open), "on_open", (channel, code))

    def _bridge_stream(self, stream: IncomingStream, limit: float) -> object:
        return self._face._read(BridgedStream(stream, limit, self._kit._entered))


class _Player:
    """The code of channels as an object with a method, which runs where the page's methods do."""

    def __init__(self, on_open: object) -> None:
        self.on_open = on_open

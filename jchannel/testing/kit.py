"""What the kits for the two facades have in common: a trio whose time stands still, and pages in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from jchannel._bridge.crossing import Operation
from jchannel._bridge.handles import ServerHandle
from jchannel._bridge.incoming import Arrivals
from jchannel._bridge.methods import Methods
from jchannel._bridge.owner import Owner
from jchannel._bridge.streams import Streams
from jchannel._core.incoming import IncomingStream
from jchannel._core.limits import Limits
from jchannel._core.peer import PeerChannel
from jchannel.errors import StateError
from jchannel.testing.clock import KitPortal
from jchannel.testing.facade import FacadePage
from jchannel.testing.page import Page, hold_page
from jchannel.testing.server import listener_of, open_server

__all__ = ["EMPTY_CODE", "Kit"]

#: The code of a channel that the page, which runs none, is asked to open.
EMPTY_CODE = "(channel) => {}"

P = TypeVar("P", bound=FacadePage)


class Kit:
    """What the kits have in common.

    The arguments are those of ``jchannel.start``.
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
    ) -> None:
        self._open_server = partial(
            open_server, static=static, heartbeat=heartbeat, origins=origins, tracebacks=tracebacks, limits=limits
        )
        self._portal: KitPortal | None = None
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

    def _enter(self) -> tuple[KitPortal, ServerHandle]:
        if self._portal is not None:
            raise StateError("the kit is entered already, or was left: make one for each test")
        self._portal = KitPortal()
        return self._portal, ServerHandle(self._open_server)

    def _opening_page(
        self,
        face: Callable[[KitPortal, Owner[Page], Page, Streams], P],
        handle: ServerHandle,
        handler: object,
        *,
        on_open: Callable[[PeerChannel, str], Any] | None,
        client: str | None,
        methods: Methods,
        streams: Streams,
    ) -> Operation[P]:
        """What connects a page."""
        portal = self._entered
        pages: list[P] = []

        async def play(channel: PeerChannel, code: str) -> Any:
            return await methods.run(_Player(on_open), "on_open", (channel, code))

        def give_stream(stream: IncomingStream, limit: float) -> object:
            return streams.give(Arrivals(stream, limit, portal))

        async def connect(owner: Owner[Page]) -> P:
            page = face(portal, owner, await owner.wait_open(), streams)
            self._pages.append(page)
            pages.append(page)
            return page

        def begin() -> Awaitable[P]:
            server = handle.server
            page = hold_page(
                server.page_url,
                listener_of(server),
                handler,
                on_open=None if on_open is None else play,
                client=client,
                run_method=methods.run,
                give_stream=give_stream,
            )
            owner = Owner(page, "the page")
            portal.start_soon(owner.run)
            return connect(owner)

        async def undo() -> None:
            await pages[0].leave().begin()

        return Operation(portal, begin, undo)

    def _ending(self, handle: ServerHandle) -> list[Operation[None]]:
        """What ends all but the trio itself, one after the other."""
        portal = self._entered
        leaving = [page.leave() for page in self._pages]
        return [Operation(portal, portal.let_time_pass), *leaving, handle.stop()]


class _Player:
    """The code of channels as an object with a method, which runs where the page's methods do."""

    def __init__(self, on_open: object) -> None:
        self.on_open = on_open

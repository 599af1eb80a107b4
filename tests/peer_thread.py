"""The far side of the facades' tests: a Python peer in a thread of its own, with a page's handler to call."""

import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import trio

from jchannel._core.handlers import MethodCancelledError
from jchannel.trio import Peer, PeerChannel, open_peer, time_left

__all__ = ["PagePeer", "PeerThread"]

TIMEOUT = 20.0
"""Seconds that whatever is waited for may take: a guard and no assertion."""


class PagePeer:
    """The handler of the peer, in place of a page's.

    Attributes:
        received: The arguments of the calls of `record`, in their order.
        hanging: Set while `hang` runs.
        ended: Set when `hang` has been cancelled.
    """

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.hanging = threading.Event()
        self.ended = threading.Event()

    def add(self, left: float, right: float) -> float:
        return left + right

    def record(self, value: Any) -> None:
        self.received.append(value)

    def fail(self) -> None:
        raise LookupError("not in the page")

    def give_up(self) -> None:
        raise MethodCancelledError("its program cancelled it")

    def left(self) -> float:
        return time_left()

    async def hang(self) -> None:
        self.hanging.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()


class PeerThread:
    """A peer that is connected as long as the context manager is entered.

    Args:
        url: The server's page URL.
        on_open: Gives what opening a channel gives.
        ssl_context: That of `open_peer`.

    Attributes:
        page: Its handler.
    """

    def __init__(
        self,
        url: str,
        on_open: Callable[[PeerChannel, str], Any] | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._ssl_context = ssl_context
        self.page = PagePeer()
        self._url = url
        self._on_open = on_open
        self._connected = threading.Event()
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken
        self._peer: Peer
        self._thread = threading.Thread(target=trio.run, args=(self._live,), name="peer")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._connected.wait(TIMEOUT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Closes the connection, and waits for that."""
        if self._thread.is_alive():
            with contextlib.suppress(trio.RunFinishedError):  # It may be going by itself.
                trio.from_thread.run_sync(self._scope.cancel, trio_token=self._token)
        self._thread.join(TIMEOUT)

    def call(self, name: str, *args: object) -> Any:
        """Calls a method of the Python handler of the first open channel, and waits for the result."""
        return self.run(self._call, name, *args)

    def run(self, function: Callable[..., Awaitable[Any]], *args: object) -> Any:
        """Runs a trio function in the peer's thread, and waits for the result."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def abort_call(self, name: str, begun: threading.Event) -> None:
        """Calls a method, waits until it has begun, cancels the call, and waits until that has ended."""

        async def abort() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._call, name)
                await trio.to_thread.run_sync(begun.wait, TIMEOUT)
                nursery.cancel_scope.cancel()

        self.run(abort)

    async def _call(self, name: str, *args: object) -> Any:
        channel = await self._peer.wait_channel()
        return await channel.call(name, *args, timeout=TIMEOUT)

    async def _live(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with open_peer(self._url, self.page, on_open=self._on_open, ssl_context=self._ssl_context) as self._peer:
            self._connected.set()
            # Not its block is cancelled, which would cut the goodbye short, but the waiting in it.
            with self._scope:
                await self._peer.wait_ended()

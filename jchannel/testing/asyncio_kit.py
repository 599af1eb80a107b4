"""The kit for tests of programs that use the asyncio facade."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import outcome
import trio

from jchannel._bridge.call import running_loop, wait_in_loop
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox
from jchannel._bridge.methods import LoopInvocation, LoopMethods
from jchannel._core.invocation import Invocation
from jchannel.channel import Channel
from jchannel.server import Server
from jchannel.testing.clock import KitPortal
from jchannel.testing.facade import LoopPage
from jchannel.testing.faults import check_seconds
from jchannel.testing.jobs import KitJob
from jchannel.testing.kit import Kit, choose_code
from jchannel.testing.rest import loop_rests
from jchannel.trio import PeerChannel

__all__ = ["AsyncioKit"]

#: How many times the loop runs what is ready before it counts as quiet.
_PASSES = 10


class _PageInvocation(LoopInvocation):
    """One whose method enters a line when it has ended, as answers are sent in the order in which they are there."""

    _methods: _PageMethods

    def _end(self, result: outcome.Outcome[Any] | None) -> None:
        self._methods.portal.post(partial(self._methods.ended.append, self))
        super()._end(result)


class _PageMethods(LoopMethods):
    """The facade's, without its timer: the kit ends before its loop does. Methods are answered in the order of a page.

    Attributes:
        ended: Those that have ended, and are answered in this order.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, portal: KitPortal) -> None:
        super().__init__(loop, portal)
        self.ended: deque[Invocation] = deque()
        self._answered = trio.lowlevel.ParkingLot()

    def _watch_loop(self) -> None:
        pass

    async def _wait_to_the_end(self, invocation: LoopInvocation) -> None:
        await invocation.wait_ended()

    async def run(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        try:
            return await super().run(invocation, handler, name, args)
        finally:
            await self._wait_turn(invocation)

    async def _wait_turn(self, invocation: Invocation) -> None:
        """Wait until those that have ended before are answered: trio wakes what waits for them in any order."""
        try:
            while invocation in self.ended and (first := self.ended[0]) is not invocation:
                if first.answered:  # It was left to itself when it was cancelled, and has ended since.
                    self.ended.popleft()
                else:
                    await self._answered.park()
        finally:
            if invocation in self.ended:
                self.ended.remove(invocation)
            self._answered.unpark_all()


_PageMethods.invocation_type = _PageInvocation


def _ask_loop(loop: asyncio.AbstractEventLoop, mailbox: LoopMailbox, answer: Callable[[bool], None]) -> None:
    """Ask a loop whether it has nothing to do. One that is closed never answers."""
    with suppress(LoopClosedError):
        # In its next pass, when it has read its own wake-up and made what that found.
        mailbox.post(lambda: loop.call_soon(lambda: answer(loop_rests(loop))))


class AsyncioKit(Kit):
    """Everything for a test of a program that uses jchannel with asyncio, for the time of an ``async with`` block.

    The server and the channels are those of the facade, and their methods return Tasks on the test's loop. The methods
    of a page's handler run on that loop, too, as Tasks if they are async, so that they share the test's objects without
    locks. trio runs in a private thread, without sockets, and ends with the block.

    The time of the timeouts stands still until the test moves it: ``await kit.advance(3600)`` is an hour. asyncio's own
    time is not the kit's: wait in the page with ``kit.sleep``, and not with ``asyncio.sleep``. What is awaited and can
    only come when the test moves the time, or never, is an ``AtRestError`` after a while.

    Args:
        static: A folder of static files to serve; ``None`` for a plain page.
        heartbeat: Seconds between two beats of the page, and the most that its answer may take.
        origins: Origins of pages that may connect. The pages of the kit need none.
        tracebacks: Whether the page receives the traceback of an exception that a Python handler raised.
        limits: The limits of what a page controls; ``None`` for the defaults.
        default: Called with a value that cannot be sent as it is; returns what is sent in its place, as for
            ``jchannel.start``.
        nan: What becomes of NaN and the infinities outside of arrays: ``"refuse"``, ``"null"`` or ``"keep"``, as for
            ``jchannel.start``.
        patience: Seconds of real time. When nothing has happened for so long and something of the kit's is awaited, it
            raises an ``AtRestError``; ``None`` to wait for ever.

    Attributes:
        server: The server, a ``jchannel.server.Server``, started; it is there from the block's beginning.
    """

    server: Server
    _block = "async with"

    async def __aenter__(self) -> Self:
        """Start the server. Raise what the Task of ``jchannel.start`` raises, and ``StateError`` the second time."""
        loop = running_loop()  # Before there is a thread: where no loop runs, as under trio, none is left.
        handle = self._enter(
            partial(_ask_loop, loop, LoopMailbox.of(loop)), "`await kit.advance({due:g})` lets it happen"
        )
        self.server = Server(notebook=False)
        self.server._handle = handle
        try:
            await self.server.start()
        except BaseException:
            await self._end(self._entered)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the pages, the server and the kit's thread."""
        try:
            for operation in self._ending():
                await wait_in_loop(operation)
        finally:
            await self._end(self._entered)

    async def open_page(
        self,
        handler: object = None,
        *,
        on_open: Callable[[PeerChannel, str], Any] | None = None,
        client: str | None = None,
    ) -> LoopPage:
        """Connect a scripted page to the server, until the kit's block is left.

        Args:
            handler: The object that handles calls from Python: it plays the page's JavaScript. Its methods run on the
                present loop.
            on_open: Plays the code of channels, on the present loop: called with each channel that is opened and its
                code, sync or async. It may set the channel's ``handler``, and returns what opening the channel returns.
            client: The page's name, by which the server recognises it; ``None`` for a random one.

        Raises:
            RefusedError: Another page is connected.
            StateError: The kit is not entered, or the server not started.

        Cancelling it leaves no page.
        """
        return await wait_in_loop(
            self._opening_page(
                LoopPage,
                handler,
                on_open=on_open,
                client=client,
                methods=_PageMethods(running_loop(), self._entered),
            )
        )

    async def open_pair(
        self,
        page_handler: object = None,
        *,
        handler: object = None,
        code: str | None = None,
        module: str | None = None,
        on_open: Callable[[PeerChannel, str], Any] | None = None,
    ) -> tuple[Channel, LoopPage]:
        """Connect a scripted page, and open a channel.

        Args:
            page_handler: The object that handles calls from Python: it plays the page's JavaScript.
            handler: The channel's handler, which handles calls from the page.
            code: The channel's code; ``None`` for one that does nothing. The page does not run it.
            module: The channel's module, in the place of code. The page does not run it either.
            on_open: Plays the code of channels, as in ``open_page``.

        Returns:
            The channel, open, a ``jchannel.channel.Channel``; and the page.

        Exceptions and cancellation are those of ``open_page`` and ``Channel.open``.
        """
        page = await self.open_page(page_handler, on_open=on_open)
        channel = Channel._make(self.server, choose_code(code, module), module, handler)
        await channel.open()
        return channel, page

    async def advance(self, seconds: float) -> None:
        """Move the kit's time, from one thing that is due to the next, and wait each time until all of it has happened.

        Args:
            seconds: How far.

        Raises:
            TypeError, ValueError: It is not a finite number of seconds.
            StateError: The kit is not entered.

        When it returns, trio and the loop wait: what was due has happened, and Tasks that wait for it have ended.
        Files and iterators that jchannel reads in threads for a stream are waited for. Code that waits for anything
        else (a thread of its own, ``asyncio.sleep``) is not.

        Cancelling it leaves the time where it is.
        """
        portal = self._entered
        end = portal.time + check_seconds(seconds, "the time to advance by")
        await self._settle(portal)
        while not await wait_in_loop(TaskJob(portal, partial(portal.step, end, portal.settle_threads))):
            await self._settle(portal)
        await self._settle(portal)

    async def sleep(self, seconds: float) -> None:
        """Wait until the kit's time has been moved that far: for the methods of a page's handler.

        Args:
            seconds: How long.

        Raises:
            TypeError, ValueError: It is not a finite number of seconds.
            StateError: The kit is not entered, or was left meanwhile.
        """
        sleep = partial(trio.sleep, check_seconds(seconds, "the time to sleep"))
        await wait_in_loop(KitJob(self._entered, sleep, lambda: f"kit.sleep({seconds:g})"))

    async def _settle(self, portal: KitPortal) -> None:
        """Wait until neither trio nor the loop has anything to do that the other has requested."""
        quiet = False
        while not quiet:
            # Counted before: what trio has posted to the loop before it rested may have posted something to trio again.
            posted = portal.posted + 1
            await wait_in_loop(TaskJob(portal, portal.settle_threads))
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            quiet = portal.posted == posted

    async def _end(self, portal: KitPortal) -> None:
        loop = running_loop()
        ended = loop.create_future()
        mailbox = LoopMailbox.of(loop)
        portal.end_soon(lambda: mailbox.post(lambda: ended.set_result(None)))
        cancelled = False
        while not ended.done():
            # What ends in trio may wait for the loop, so the thread is joined after this.
            try:
                await asyncio.shield(ended)
            except asyncio.CancelledError:
                cancelled = True
        portal.join()
        if cancelled:
            raise asyncio.CancelledError

"""The trio of a kit for the facades: a thread of its own, and a clock that stands still until a test moves it.

trio must not jump ahead while a loop or a thread computes, so only the test moves the clock, from deadline to deadline:
one jump of an hour would end a call and its answer after 10 s at once, in any order.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable

import trio
import trio.testing

from jchannel._bridge.mailbox import Work
from jchannel._bridge.portal import Portal
from jchannel._core.threads import WATCH
from jchannel._guarded import repr_of
from jchannel.testing.hold import TimeHold
from jchannel.testing.rest import RestWatch

__all__ = ["KitPortal"]


class KitPortal(Portal):
    """The way into a trio whose time a test moves. ``end_soon`` ends it, and its thread.

    Args:
        make_watch: Makes what ends the waits that nothing will end; ``None`` for nothing.

    Attributes:
        posted: The number of times that something was sent into it from outside.
        hold: What its trio waits for in threads.
    """

    def __init__(self, make_watch: Callable[[KitPortal], RestWatch] | None = None) -> None:
        super().__init__()
        self.posted: int = 0
        self.hold: TimeHold = TimeHold()
        self._watch = None if make_watch is None else make_watch(self)
        self._clock = trio.testing.MockClock()
        self._on_end: Callable[[], object] = lambda: None
        # A daemon, so that a program that never leaves its kit can end.
        self._own_thread = threading.Thread(target=self._run_trio, name="jchannel testing", daemon=True)
        self._own_thread.start()

    @property
    def time(self) -> float:
        """The seconds that have passed."""
        return self._clock.current_time()

    @property
    def time_passes(self) -> bool:
        """Whether time passes by itself: the kit is being left."""
        return self._clock.rate > 0

    def post_later(self, work: Work) -> None:
        """Run work in trio, but never at once in trio's own thread, and count it. Safe in any thread."""
        self.posted += 1
        super().post_later(work)

    def end_soon(self, on_end: Callable[[], object]) -> None:
        """Cancel all that runs in it, and end it. Does not wait.

        Args:
            on_end: Called in its thread, just before that ends.
        """
        self._on_end = on_end
        self.post(self._cancel)

    def join(self) -> None:
        """Wait until its thread has ended."""
        self._own_thread.join()

    # In trio

    async def let_time_pass(self) -> None:
        """Let time pass at its usual rate, for what has not ended yet."""
        self._clock.rate = 1
        await trio.lowlevel.checkpoint()

    async def run_until_cancelled(self) -> None:
        """Run what comes through the portal."""
        WATCH.set(self.hold)
        if self._watch is not None:
            trio.lowlevel.spawn_system_task(self._watch.run, name="jchannel.testing: looks for rest")
        await super().run_until_cancelled()

    async def settle(self) -> None:
        """Wait until all tasks wait for time, or for something outside of trio."""
        await trio.testing.wait_all_tasks_blocked()

    async def settle_threads(self) -> None:
        """Wait until all tasks wait for time, or for something outside of trio that is no thread of the library's."""
        await self.settle()
        while self.hold.working:
            await self.hold.wait_idle()
            await self.settle()

    async def step(self, end: float, settle: Callable[[], Awaitable[None]]) -> bool:
        """Move time to the next deadline, but not beyond ``end``, and wait until all tasks wait again.

        Args:
            end: The time.
            settle: Waits for that.

        Returns:
            Whether the time is ``end``.
        """
        wait = trio.lowlevel.current_statistics().seconds_to_next_deadline
        rest = end - trio.current_time()
        self._clock.jump(max(0.0, min(rest, wait)))
        await settle()
        return rest <= wait

    def _cancel(self) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()

    def _run_trio(self) -> None:
        failure = None
        try:
            trio.run(self.run_until_cancelled, clock=self._clock)
        except BaseException as error:  # noqa: BLE001 (nobody else would hear of it)
            failure = error
        why = "the kit of jchannel.testing was left" if failure is None else f"the kit has failed: {repr_of(failure)}"
        self.end(why, failure)
        self._on_end()

"""Rest: what a kit does when nothing will happen any more, and something is waited for.

The time of a kit stands still until its test moves it. A test that waits for what only time could bring would wait for
ever, and learn nothing. So a task in the kit's trio looks whether anything happens at all, in real time.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import outcome
import trio
import trio.testing

import jchannel
from jchannel._bridge.call import Call
from jchannel._bridge.pauses import LoopPauses
from jchannel._bridge.streams import BridgedStream
from jchannel._core.request import CANCELLED, Request
from jchannel.testing.hold import PATIENCE
from jchannel.testing.jobs import KitJob

if TYPE_CHECKING:
    from jchannel.testing.clock import KitPortal

__all__ = ["AtRestError", "RestWatch", "loop_rests"]

#: How often it is looked, in real seconds. What was cancelled is over when nothing happens: it waits for the far side,
#: for ``Limits.cancel_seconds`` of a time that stands still.
_TICK: Final = 0.5

#: The frames of a thread that are not its user's.
_PACKAGE: Final = Path(jchannel.__file__).parent

#: A timer of a loop that is later than this, in real seconds, is nothing that a test waits for.
_LONG: Final = 3600

#: Says whether the test's loop has nothing to do. It calls what it is given, in another thread.
Ask: TypeAlias = Callable[[Callable[[bool], None]], None]


class AtRestError(RuntimeError):
    """Something is awaited in a kit, and nothing will happen any more: only the test could let it.

    The message names what is awaited, the kit's time, and when the next thing is due. ``AsyncioKit`` and ``SyncKit``
    raise it in all that is awaited of them, when nothing has happened for ``patience`` seconds of real time.
    """


class RestWatch(trio.abc.Instrument):
    """Ends what is waited for in a kit when nothing will happen any more. ``run`` runs in the kit's trio.

    Args:
        portal: The way to the kit's trio.
        thread: The test's own thread.
        ask: Asks whether the loop in it has nothing to do; ``None`` where there is none.
        patience: Real seconds without anything happening; infinity for no end.
        advice: What the test can do, in words.
    """

    def __init__(self, portal: KitPortal, thread: int, ask: Ask | None, patience: float, advice: str) -> None:
        self._portal = portal
        self._thread = thread
        self._ask = ask
        self._patience = patience
        self._advice = advice
        self._own_task: trio.lowlevel.Task | None = None
        self._happened = 0

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Note that something happens: a task that goes on, as trio tells instruments."""
        if task is not self._own_task:
            self._happened += 1

    async def run(self) -> None:
        """Look, until the kit is left."""
        self._own_task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)
        tick = min(_TICK, self._patience)
        quiet = 0.0
        while not self._portal.time_passes:
            before = self._happened
            await trio.testing.wait_all_tasks_blocked(tick)
            quiet = tick + (quiet if self._happened == before else 0.0)
            await self._look(quiet)

    async def _look(self, quiet: float) -> None:
        """End what is over, when nothing has happened for so many seconds."""
        hold = self._portal.hold
        if hold.working:
            if quiet >= PATIENCE:
                hold.give_up()
            return
        # What was ended here may still have to come to its end in trio.
        waits = [call for call in self._portal.running if call._outcome is None]
        cancelled = [call for call in waits if call._cancelled]
        if not waits or (quiet < self._patience and not cancelled):
            return
        rests = await self._all_rests({call.thread for call in waits})
        if rests and quiet >= self._patience:
            self._end(waits, quiet)
        elif cancelled and (rests or quiet >= PATIENCE):
            self._end(cancelled, quiet)

    async def _all_rests(self, waiting: set[int | None]) -> bool:
        """Return whether nothing will happen any more, but for what the test does.

        Args:
            waiting: The threads that wait for calls.
        """
        if not self._portal.hold.threads <= waiting:
            return False
        if self._thread in waiting or self._ask is None:
            return self._thread in waiting
        happened, posted = self._happened, self._portal.posted
        answers: list[bool] = []
        answered = trio.Event()

        def answer(rests: bool) -> None:  # noqa: FBT001 (it is the answer)
            answers.append(rests)
            self._portal.post(answered.set)

        self._ask(answer)
        await answered.wait()
        if self._portal.posted != posted + 1:
            return False
        self._happened = happened  # Only to ask and to answer.
        return answers == [True]

    def _end(self, calls: Iterable[Call[Any]], quiet: float) -> None:
        ended = [call for call in calls if call._outcome is None]
        names = sorted(map(_describe, ended))
        due = trio.lowlevel.current_statistics().seconds_to_next_deadline
        text = (
            f"nothing has happened for {quiet:g} s, and nothing will: the time of the kit stands still at "
            f"{trio.current_time():g} s, and what is next is due in {due:g} s; {self._advice.format(due=due)}. "
            f"What is awaited: {'; '.join(names)}"
        )
        for call in ended:
            running = call._running
            assert running is not None
            call._outcome = outcome.Error(AtRestError(text))  # What it is cancelled with does not count any more.
            running.cancel()
            if isinstance(running, Request):
                running.settle(CANCELLED)  # It would wait for the far side.
            call._notify()


def _describe(call: Call[Any]) -> str:
    """Return what a call is, how far, and where a thread waits for it, in words."""
    job, running = call._job, call._running
    state = f" ({running.state.value})" if isinstance(running, Request) else ""
    if isinstance(job, KitJob):
        what = job.describe()
    elif call.name:
        what = call.name
    elif isinstance(running, Request):
        what = running.what
    else:
        what = "the next bytes of a stream" if isinstance(job, BridgedStream) else "something of jchannel's"
    return f"{what}{state}{_find_line(call.thread)}"


def _find_line(thread: int | None) -> str:
    """Return the line of the user's code in which a thread waits, in words; nothing where none does."""
    frame = None if thread is None else sys._current_frames().get(thread)
    while frame is not None and Path(frame.f_code.co_filename).is_relative_to(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return ""
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f", in {Path(file).name}:{line}: `{linecache.getline(file, line).strip()}`"


def loop_rests(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a loop has nothing to do, no timer but jchannel's, and no thread that works for it. Called in it.

    asyncio has no question for that. The attributes are those of its own loops; another loop rests when it answers.
    """
    timers: Iterable[asyncio.TimerHandle] = getattr(loop, "_scheduled", ())
    late = loop.time() + _LONG
    if getattr(loop, "_ready", ()) or any(
        not timer.cancelled() and timer.when() <= late and not _looks_at_loop(timer) for timer in timers
    ):
        return False
    executor = getattr(loop, "_default_executor", None)  # That of `asyncio.to_thread`.
    idle: int = getattr(getattr(executor, "_idle_semaphore", None), "_value", 0)
    return len(getattr(executor, "_threads", ())) <= idle


def _looks_at_loop(timer: asyncio.TimerHandle) -> bool:
    """Return whether a timer is jchannel's own, which lets nothing happen."""
    return isinstance(getattr(getattr(timer, "_callback", None), "__self__", None), LoopPauses)

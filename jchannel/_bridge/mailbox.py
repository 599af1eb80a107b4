"""Mailboxes: work for trio, or for an asyncio loop, from any thread: in order, and one wake-up however much waits."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

import trio

from jchannel._bridge.pauses import LoopPauses
from jchannel._bridge.steps import Steps
from jchannel._guarded import WIRE, is_logged, log

if TYPE_CHECKING:
    from jchannel._bridge.call import Call

__all__ = ["LOOP_CHECK_SECONDS", "LoopClosedError", "LoopMailbox", "Mailbox", "TrioMailbox", "Work"]

#: A loop that is closed tells nobody. Whoever waits for one looks at it once in this many seconds.
LOOP_CHECK_SECONDS: Final = 1.0

#: Seconds for which a timer keeps what a loop keeps; then it is set again. Loops over the event loops of GUIs count in
#: milliseconds that have 31 bits.
_KEEP_SECONDS: Final = 86_400.0

#: What is done in the other thread. It must not wait.
Work: TypeAlias = Callable[[], object]


class Mailbox(ABC):
    """Takes work from any thread, and runs it in one.

    No lock is needed: a deque's two ends are safe to use at once, and of the flag and the deque the one that is read
    last by one side is written first by the other. At worst there is one wake-up too many.
    """

    #: Pauses the thread where it never rests, while it waits for trio; ``None`` where it is not to be paused.
    pauses: LoopPauses | None = None

    def __init__(self) -> None:
        self._waiting: deque[Work] = deque()
        self._woken = False

    def post(self, work: Work) -> None:
        """Run work in the mailbox's thread. Safe in any thread.

        Raises:
            What ``_wake`` raises. The work still waits then, and other work that is posted may wake it.
        """
        self._waiting.append(work)
        if not self._woken:
            self._rouse()

    def run(self) -> None:
        """Run what waits now. Called in the mailbox's thread.

        What is posted meanwhile has its own wake-up, so that a flood of it cannot keep the thread.
        """
        self._woken = False
        try:
            if self.pauses is not None:
                self.pauses.has_arrived = True
                if not self.pauses.looks:
                    self.pauses.look_soon()
            for _ in range(len(self._waiting)):
                try:
                    work = self._waiting.popleft()
                except IndexError:  # Run within one of these works, the mailbox was emptied already.
                    return
                try:
                    work()
                except Exception as error:  # noqa: BLE001 (it is for the subclass to say)
                    self._fail(error)
        finally:
            # An interrupt may come between any two lines, and what waits must not wait for ever.
            if self._waiting and not self._woken:
                self._rouse()

    def _rouse(self) -> None:
        """Wake the mailbox's thread. An interrupt of this leaves it to who posts next: nobody else would."""
        try:
            self._woken = True
            self._wake()
        except BaseException:
            self._woken = False
            raise

    def _fail(self, error: Exception) -> None:
        """Handle an error that a piece of work has raised: the others wait until whoever runs them has heard of it."""
        raise error

    @abstractmethod
    def _wake(self) -> None:
        """Make the mailbox's thread call ``run`` soon."""


class TrioMailbox(Mailbox):
    """The mailbox of a run of trio. Before that has begun there is nothing to wake: its first act is to look here.

    Attributes:
        why_ended: Why its trio has ended; empty before.
    """

    _token: trio.lowlevel.TrioToken | None = None

    def __init__(self) -> None:
        super().__init__()
        self.why_ended: str = ""
        self._thread: int | None = None
        self._steps: Steps | None = None

    @property
    def is_here(self) -> bool:
        """Whether the present thread is the one that trio runs in, or makes a step of its: it cannot wait for trio."""
        return self._thread == threading.get_ident() or (self._steps is not None and self._steps.borrowed_here)

    def post(self, work: Work) -> None:
        """Run work in trio: at once, when this is its thread. Safe in any thread, and never fails."""
        if self._thread == threading.get_ident() or self.why_ended:
            # What others have posted before is run before it. Of a trio that has ended, nothing is left to run it in.
            self._waiting.append(work)
            self.run()
        else:
            self.post_later(work)

    def post_later(self, work: Work) -> None:
        """Run work in trio, but never at once in trio's own thread. Safe in any thread, and never fails."""
        self._waiting.append(work)
        if not self._woken:
            self._rouse()
        if self.why_ended:  # It may have ended in the middle of this.
            self.run()

    def _fail(self, error: Exception) -> None:
        """Log it. A bulkhead: it would end trio, and with it all that runs there."""
        log(logging.ERROR, "an error of jchannel has ended what was to be done in trio", error=error)

    def submit(self, call: Call[Any]) -> bool:
        """Start a call in trio, after those that were submitted before. Safe in any thread, and never fails.

        Returns:
            Whether it waits for trio's thread, which lends steps and had none to lend: it may wait for the interpreter.
        """
        if not call.starts_anywhere or not self.borrow_step():
            self.post(call.start)
            return self._steps is not None
        failure = None
        try:
            call.start()
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            failure = error
        finally:
            self.give_step_back()
        if failure is not None:  # Handlers of the log are not for a step.
            self._fail(failure)
        return False

    def borrow_step(self) -> bool:
        """Borrow a step of trio's, and return whether there was one to be had. Then ``give_step_back``.

        There is none while work waits: what this thread has posted comes first. And there is none where the program
        logs single messages: its log handlers, which may wait for whatever they like, would run in the step.
        """
        steps = self._steps
        return steps is not None and not self._waiting and not self.why_ended and not is_logged(WIRE) and steps.borrow()

    def give_step_back(self) -> None:
        """Give back a step that was borrowed."""
        assert self._steps is not None
        self._steps.give_back()

    def leave_step_after_fork(self) -> None:
        """Leave, in a forked process, the step that was being made."""
        if self._steps is not None:
            self._steps.leave_after_fork()

    def _wake(self) -> None:
        if self._token is not None:
            try:  # noqa: SIM105 (a context manager would cost more than the call)
                self._token.run_sync_soon(self.run)
            except trio.RunFinishedError:  # Its end is about to be told, and who tells it looks here last.
                pass


class LoopClosedError(Exception):
    """The asyncio loop has been closed: what was posted will never run."""


#: Tasks that a loop keeps until it is closed. A timer of the loop's is all that refers to it for good.
Kept: TypeAlias = "set[asyncio.Task[Any]]"


def _keep(loop: asyncio.AbstractEventLoop, kept: Kept) -> None:
    loop.call_later(_KEEP_SECONDS, _keep, loop, kept)


class LoopMailbox(Mailbox):
    """The mailbox of an asyncio loop. ``LoopMailbox.of`` gives the loop's one, so that all who post share wake-ups.

    Attributes:
        pauses: Pauses the loop where it never rests, while it waits for trio.
    """

    _mailboxes: ClassVar[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopMailbox]] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.pauses: LoopPauses = LoopPauses(loop)
        # Not the loop itself: it is the key under which this mailbox is kept, and would keep itself alive.
        self._loop = weakref.ref(loop)
        self._kept: weakref.ref[Kept] | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> LoopMailbox:
        """Return the mailbox of a loop. Called in the loop's thread."""
        try:
            return cls._mailboxes[loop]
        except KeyError:
            return cls._mailboxes.setdefault(loop, cls(loop))

    @property
    def kept(self) -> Kept:
        """The set that keeps Tasks of the loop until it is closed. Called in the loop's thread."""
        kept = None if self._kept is None else self._kept()
        if kept is None:
            kept = set()
            loop = self._loop()
            assert loop is not None
            _keep(loop, kept)
            self._kept = weakref.ref(kept)
        return kept

    @property
    def closed(self) -> bool:
        """Whether the loop has been closed."""
        loop = self._loop()
        return loop is None or loop.is_closed()

    def _wake(self) -> None:
        loop = self._loop()
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self.run)
            except RuntimeError:
                if not loop.is_closed():
                    raise
            else:
                return
        self._waiting.clear()  # It holds the loop and what ran in it.
        raise LoopClosedError("the asyncio loop is closed")

"""Portals: the way into a run of trio, for calls that are made elsewhere.

There is one portal for the process's own trio thread, and one for each trio-asyncio loop in which the facade is used.
trio-asyncio is recognised and never imported: importing it changes asyncio for the whole process. This is the only
module that knows it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import trio

from jchannel._bridge.interpreter import forget_sharers
from jchannel._bridge.mailbox import TrioMailbox
from jchannel._bridge.steps import Steps
from jchannel._core.forked import FORKED
from jchannel._guarded import log, repr_of
from jchannel.errors import StateError

if TYPE_CHECKING:
    from jchannel._bridge.call import Call

__all__ = ["Portal", "open_thread_portal", "portal_of"]


class Portal(TrioMailbox):
    """A way into one run of trio, with the calls that are under way there: it ends them when that trio ends.

    Args:
        steps: Lends the steps of that trio, of which it is an instrument; ``None`` where none are lent.
        loop: The asyncio loop that is one with that trio, so that what ends the one ends the other, or ``None``.

    Attributes:
        running: The calls that have been started and have no outcome. Changed in trio only.
        loop: Refers to the loop, or ``None``.
        start_soon: Starts a task that lives no longer than the portal. Called in trio.
    """

    _all: ClassVar[weakref.WeakSet[Portal]] = weakref.WeakSet()

    def __init__(self, steps: Steps | None = None, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__()
        self._all.add(self)
        self._steps = steps
        self.running: set[Call[Any]] = set()
        self.loop: weakref.ref[asyncio.AbstractEventLoop] | None = None if loop is None else weakref.ref(loop)
        self._nursery: trio.Nursery | None = None
        self.start_soon: Callable[..., object]
        self._failure: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether its trio has ended."""
        return bool(self.why_ended)

    async def run_until_cancelled(self) -> None:
        """Run what comes through the portal, in the present task's run of trio."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.start_soon = nursery.start_soon
            self._thread = threading.get_ident()
            self._token = trio.lowlevel.current_trio_token()
            self.run()
            await trio.sleep_forever()

    def end(self, why: str, failure: BaseException | None = None) -> None:
        """End every call that is under way, and those that will be made, with a ``StateError`` that says why."""
        self._failure = failure
        self.why_ended = why
        self._thread = None
        while self.running:
            self.running.pop().lose(self.explain_end())
        self.run()

    @classmethod
    def end_all(cls, why: str) -> None:
        """End every portal of a forked process that has not ended."""
        for portal in list(cls._all):
            portal.leave_step_after_fork()
            if not portal.ended:
                portal.end(why)

    def explain_end(self) -> StateError:
        """Return a new error that says why its trio has ended: they are raised in several threads."""
        error = StateError(self.why_ended)
        error.__cause__ = self._failure
        return error


_lock = threading.Lock()
_thread_portal: Portal | None = None
_loop_portals: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Portal]] = weakref.WeakKeyDictionary()


def open_thread_portal() -> Portal:
    """Return the portal of the process's trio thread, which is started when there is none."""
    global _thread_portal  # noqa: PLW0603 (there is one for the process)
    with _lock:
        if _thread_portal is None or _thread_portal.ended:
            steps = Steps()
            portal = Portal(steps)
            # A daemon, so that a program ends when its own code does.
            threading.Thread(target=_run_trio, args=(portal, steps), name="jchannel trio", daemon=True).start()
            _thread_portal = portal
        return _thread_portal


def _run_trio(portal: Portal, steps: Steps) -> None:
    failure = None
    log(logging.DEBUG, "jchannel's trio thread has started")
    try:
        trio.run(portal.run_until_cancelled, instruments=[steps])
    except BaseException as error:  # noqa: BLE001 (nobody else would hear of it)
        failure = error
    portal.end(f"jchannel's trio thread has ended with an error: {repr_of(failure)}", failure)


def portal_of(loop: asyncio.AbstractEventLoop) -> Portal:
    """Return the portal for calls from a running asyncio loop: its own trio where it has one, or the trio thread.

    Called in the loop's thread.
    """
    trio_asyncio = sys.modules.get("trio_asyncio")
    if trio_asyncio is None or not isinstance(loop, trio_asyncio.TrioEventLoop):
        return open_thread_portal()
    portal = _loop_portals.get(loop)
    if portal is None:
        portal = _loop_portals[loop] = Portal(loop=loop)
        loop.run_trio_task(_live_in_loop, portal)
    return portal


async def _live_in_loop(portal: Portal) -> None:
    try:
        await portal.run_until_cancelled()
    finally:
        portal.end("the trio-asyncio loop that the server lived in has ended")


def _end_after_fork() -> None:
    """End the portals in a forked process: their threads are not there, and a lock may be held by one that is not."""
    global _lock, _thread_portal  # noqa: PLW0603 (there is one for the process)
    _lock = threading.Lock()
    forget_sharers()
    _thread_portal = None
    Portal.end_all(FORKED)


if hasattr(os, "register_at_fork"):  # pragma: no branch (Windows has no fork)
    os.register_at_fork(after_in_child=_end_after_fork)

"""Jobs: what a call of a facade does in trio. Requests are jobs (``requests``), and so are other async functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import outcome
import trio

from jchannel._bridge.portal import Portal
from jchannel._core.exits import is_exit
from jchannel._core.request import CANCELLED as REQUEST_CANCELLED
from jchannel._core.request import Request

if TYPE_CHECKING:
    from jchannel._bridge.call import Call
    from jchannel._notebook.hearing import Hearing

__all__ = ["CANCELLED", "Job", "Running", "TaskJob", "start_task"]

T = TypeVar("T")

#: The outcome of a job that was cancelled. It is known by its identity, and not unwrapped.
CANCELLED: Final = REQUEST_CANCELLED

#: What a job that has been started is cancelled by. Its outcome comes all the same.
Running: TypeAlias = Request | trio.CancelScope


class Job(ABC, Generic[T]):
    """Something to be done in trio.

    Attributes:
        portal: The way into the trio in which it is done.
        undo: Undoes it in trio, when it has succeeded and whoever waited for it was cancelled in the same moment;
            ``None`` where nothing is left to be undone.
        certain: Whether it begins even if whoever waits for it was cancelled before.
        starts_anywhere: Whether ``start`` may be called in any thread, in a step that it borrows.
        hearing: What may keep the page from being heard while somebody waits for its outcome; ``None`` for nothing.
        needs_page: Whether its outcome can come from the page only.
    """

    portal: Portal
    undo: Callable[[], Awaitable[None]] | None = None
    certain = False
    starts_anywhere = False
    hearing: Hearing | None = None
    needs_page = False

    @abstractmethod
    def start(self, call: Call[T]) -> Running:
        """Start it. Called in trio, in the order of submission; it does not wait.

        Args:
            call: Gets the outcome, in trio, maybe before this returns.

        Raises:
            Exception: It cannot be started. Nothing is called then.
        """

    def note_unheard(self, result: outcome.Outcome[T]) -> None:
        """Take note of the outcome of a job that nobody waits for. By default it is dropped. Called in any thread."""


class TaskJob(Job[T]):
    """An async function, in a task of its own.

    Args:
        portal: As the job's.
        begin: Does what cannot wait, in the order of submission, and returns what is awaited for the rest.
        undo: As the job's.
        certain: As the job's. Cancelling it stops what is awaited, and not what ``begin`` has done.
        hearing: As the job's.
        needs_page: As the job's.
    """

    def __init__(
        self,
        portal: Portal,
        begin: Callable[[], Awaitable[T]],
        undo: Callable[[], Awaitable[None]] | None = None,
        *,
        certain: bool = False,
        hearing: Hearing | None = None,
        needs_page: bool = False,
    ) -> None:
        self.portal = portal
        self.undo = undo
        self.certain = certain
        self.hearing = hearing
        self.needs_page = needs_page
        self._begin = begin

    def start(self, call: Call[T]) -> Running:
        """Begin it, and start the task that does the rest."""
        return start_task(self.portal, self._begin(), call)


def start_task(portal: Portal, rest: Awaitable[T], call: Call[T]) -> Running:
    """Start the task that awaits the rest of a job, in trio. Return what cancels it."""
    scope = trio.CancelScope()
    portal.start_soon(_run, rest, scope, call)
    return scope


async def _run(rest: Awaitable[Any], scope: trio.CancelScope, call: Call[Any]) -> None:
    # When it is cancelled from outside of its scope, the portal is ending, and says so to all who wait.
    result: outcome.Outcome[Any] = CANCELLED
    with scope:
        try:
            result = outcome.Value(await rest)
        except BaseException as error:
            # What is meant for the user's program comes from code of its own, which ran in a thread, or in trio.
            if not isinstance(error, Exception) and not is_exit(error):
                raise
            result = outcome.Error(error)
    call.finish(result)

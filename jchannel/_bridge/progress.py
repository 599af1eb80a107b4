"""Telling the user's ``progress`` where its owner lives, and not in the trio thread, which it would hold up.

It is told the latest state: what came while it was busy is left out. An exception of it ends the stream when the
next bytes come, or at the stream's end.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial

import trio

from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox, Work
from jchannel._bridge.portal import Portal
from jchannel._streams.progress import Progress
from jchannel.errors import StateError

__all__ = ["LoopProgress", "ThreadProgress"]

logger = logging.getLogger("jchannel")


class _CarriedProgress(ABC):
    """A progress, called in trio, that tells the user's.

    Args:
        progress: The user's.
        portal: The way to trio.
    """

    def __init__(self, progress: Progress, portal: Portal) -> None:
        self._progress = progress
        self._portal = portal
        self._latest: tuple[int, int | None] | None = None
        self._closing = False
        self._closed = False
        self._telling = False
        self._error: Exception | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Has the user's told. Raises what it has raised before."""
        self._raise_error()
        self._latest = done, total
        self._tell_soon()

    def close(self) -> None:
        """Has the user's closed, where it can be. Raises what it has raised before."""
        self._closing = self._closed = True
        self._tell_soon()
        self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _tell_soon(self) -> None:
        if self._telling or (self._latest is None and not self._closing):
            return
        self._telling = True
        latest, self._latest = self._latest, None
        closing, self._closing = self._closing, False
        self._carry(partial(self._tell, latest, closing=closing))

    def _told(self, error: Exception | None) -> None:
        self._telling = False
        if error is not None and self._closed:
            logger.error("the progress of a stream that has ended raised", exc_info=error)
        else:
            self._error = self._error or error
        self._tell_soon()

    @abstractmethod
    def _carry(self, work: Work) -> None:
        """Has work done where the user's progress lives. Called in trio."""

    # Where the user's progress lives

    def _tell(self, latest: tuple[int, int | None] | None, *, closing: bool) -> None:
        error: Exception | None = None
        try:
            self._call(latest, closing=closing)
        except Exception as raised:  # noqa: BLE001 (it is raised in trio)
            error = raised
        except BaseException as raised:
            error = StateError(f"progress has ended with {type(raised).__name__}, which is meant for its own program")
            raise
        finally:
            self._portal.post(partial(self._told, error))

    def _call(self, latest: tuple[int, int | None] | None, *, closing: bool) -> None:
        try:
            if latest is not None:
                self._progress(*latest)
        finally:
            close = getattr(self._progress, "close", None)
            if closing and callable(close):
                close()


class LoopProgress(_CarriedProgress):
    """A progress that is told on an asyncio loop.

    Args:
        progress: The user's.
        portal: The way to trio.
        mailbox: The way to the loop.
    """

    def __init__(self, progress: Progress, portal: Portal, mailbox: LoopMailbox) -> None:
        super().__init__(progress, portal)
        self._mailbox = mailbox

    def _carry(self, work: Work) -> None:
        try:
            self._mailbox.post(work)
        except LoopClosedError:
            self._told(None)  # There is nobody to be told.


class ThreadProgress(_CarriedProgress):
    """A progress that is told in worker threads, one after the other."""

    def _carry(self, work: Work) -> None:
        async def run() -> None:
            await trio.to_thread.run_sync(_run_to_its_end, work)

        self._portal.start_soon(run)


def _run_to_its_end(work: Work) -> None:
    with suppress(BaseException):  # In trio it would end more than the stream, which hears of it.
        work()

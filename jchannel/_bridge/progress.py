"""Calling the user's ``progress`` where its owner lives, and not in the trio thread, which it would block.

It receives the latest state: what came while it was busy is left out. An exception of it ends the stream when the
next bytes come, or at the stream's end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox, Work
from jchannel._bridge.portal import Portal
from jchannel._core.exits import explain_exit
from jchannel._core.threads import TrioThreads
from jchannel._guarded import log
from jchannel._streams.progress import Progress
from jchannel.errors import StateError

__all__ = ["BridgedProgress"]


class BridgedProgress:
    """A progress that trio calls, and that calls the user's: on an asyncio loop, or in worker threads, one by one.

    Args:
        progress: The user's.
        portal: The way to trio.
        mailbox: The way to the loop; ``None`` for worker threads.
        find_threads: Returns the worker threads. Called in trio.
    """

    def __init__(
        self,
        progress: Progress,
        portal: Portal,
        mailbox: LoopMailbox | None,
        find_threads: Callable[[], TrioThreads],
    ) -> None:
        self._progress = progress
        self._portal = portal
        self._mailbox = mailbox
        self._find_threads = find_threads
        self._latest: tuple[int, int | None] | None = None
        self._closing = False
        self._closed = False
        self._calling = False
        self._error: Exception | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Call the user's soon. Raises what it has raised before."""
        self._raise_error()
        self._latest = done, total
        self._call_soon()

    def close(self) -> None:
        """Close the user's soon, where it can be. Raises what it has raised before."""
        self._closing = self._closed = True
        self._call_soon()
        self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _call_soon(self) -> None:
        if self._calling or (self._latest is None and not self._closing):
            return
        self._calling = True
        latest, self._latest = self._latest, None
        closing, self._closing = self._closing, False
        self._run_there(partial(self._call_user, latest, closing=closing))

    def _called(self, error: Exception | None) -> None:
        self._calling = False
        if error is not None and self._closed:
            log(logging.ERROR, "the progress of a stream that has ended raised", error=error)
        else:
            self._error = self._error or error
        self._call_soon()

    def _run_there(self, work: Work) -> None:
        """Run work where the user's progress lives. Called in trio."""
        if self._mailbox is None:
            self._portal.start_soon(self._run_in_thread, work)
            return
        try:
            self._mailbox.post(work)
        except LoopClosedError:
            self._called(None)  # Nobody is left to be called.

    async def _run_in_thread(self, work: Work) -> None:
        try:
            await self._find_threads().run_users(_run_to_its_end, work)
        except StateError as error:
            self._called(error)

    # Where the user's progress lives

    def _call_user(self, latest: tuple[int, int | None] | None, *, closing: bool) -> None:
        error: Exception | None = None
        try:
            self._call_now(latest, closing=closing)
        except Exception as raised:  # noqa: BLE001 (it is raised in trio)
            error = raised
        except BaseException as raised:
            error = explain_exit("progress", raised)
            raise
        finally:
            self._portal.post(partial(self._called, error))

    def _call_now(self, latest: tuple[int, int | None] | None, *, closing: bool) -> None:
        try:
            if latest is not None:
                self._progress(*latest)
        finally:
            close = getattr(self._progress, "close", None)
            if closing and callable(close):
                close()


def _run_to_its_end(work: Work) -> None:
    with suppress(BaseException):  # In trio it would end more than the stream, which hears of it.
        work()

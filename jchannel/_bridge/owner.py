"""Owners: tasks of trio that keep something open until they are told to stop. A facade's server has one."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import trio

from jchannel._core.nursery import copy_error
from jchannel._guarded import log, repr_of
from jchannel.errors import ClosedError

__all__ = ["Owner"]

T = TypeVar("T")


class Owner(Generic[T]):
    """Keeps what an async context manager opens open, in a task of its own. Everything here is called in trio.

    Args:
        manager: The context manager.
        what: What it opens, in messages for people.
        previous: The owner of what was open before it, whose end it waits for; ``None`` for the first.

    Attributes:
        value: What the context manager has returned, once it was entered. Safe in any thread.
        stopping: Whether it has been told to stop, or has ended. Safe in any thread.
    """

    def __init__(self, manager: AbstractAsyncContextManager[T], what: str, previous: Owner[Any] | None = None) -> None:
        self.value: T | None = None
        self.stopping: bool = False
        self._manager = manager
        self._what = what
        self._previous = previous
        self._error: Exception | None = None
        self._scope = trio.CancelScope()
        self._settled = trio.Event()
        self._stop = trio.Event()
        self._ended = trio.Event()

    @property
    def ended(self) -> bool:
        """Whether its task has ended. Safe in any thread."""
        return self._ended.is_set()

    async def run(self) -> None:
        """Keep it open. Errors do not come out of here: those who wait for it get them.

        Cancelling it closes it.
        """
        try:
            if self._previous is not None:
                previous, self._previous = self._previous, None
                await previous.wait_closed()
            with self._scope:
                async with self._manager as self.value:
                    self._settled.set()
                    await self._stop.wait()
        except Exception as error:  # noqa: BLE001 (a bulkhead)
            self._error = error
            if self.value is not None:
                log(logging.ERROR, "%s has ended with an error of jchannel", self._what, error=error)
        finally:
            self.stopping = True
            self._settled.set()
            self._ended.set()

    async def wait_open(self) -> T:
        """Wait until it is open, and return what was opened. Cancelling it closes it again, and waits for that.

        Raises:
            What opening it raised.
            ClosedError: It was stopped before.
        """
        # One wait, not two: a cancellation between them would neither close it nor return it to be undone.
        try:
            return await self.wait_settled()
        except trio.Cancelled:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._ended.wait()
            raise

    async def wait_settled(self) -> T:
        """Wait until it is open, and return what was opened. Cancelling it does nothing else.

        Raises:
            What opening it raised: a new one for each who waits.
            ClosedError: It was stopped before.
        """
        await self._settled.wait()
        if self.value is None:
            if self._error is not None:
                raise copy_error(self._error)
            raise ClosedError(f"{self._what} was stopped before it was open")
        return self.value

    def stop(self) -> None:
        """Close it soon. Does not wait."""
        self.stopping = True
        self._stop.set()

    async def wait_closed(self) -> None:
        """Wait until it has ended, whatever has ended it. Cancelling it does nothing else."""
        await self._ended.wait()

    async def wait_ended(self) -> None:
        """Wait until it has ended. Cancelling it does nothing else.

        Raises:
            ClosedError: It ended with an error of the library, which is the cause.
        """
        await self._ended.wait()
        if self.value is not None and self._error is not None:
            raise ClosedError(f"{self._what} has ended with an error: {repr_of(self._error)}") from self._error

"""Owners: tasks of trio that keep a server or a channel open until they are told to stop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import trio

from jchannel._core.nursery import open_flat_nursery
from jchannel.errors import ClosedError

__all__ = ["Owner"]

logger = logging.getLogger("jchannel")

T = TypeVar("T")
R = TypeVar("R")


class Owner(Generic[T]):
    """Keeps what an async context manager gives open, in a task of its own. Everything here is called in trio.

    Args:
        manager: The context manager.
        what: What it gives, in messages for people.
        parent: The owner of what it depends on.

    Attributes:
        value: What the context manager gave, once it was entered; it stays after the end.
        stopping: Whether it has been told to stop, or has ended.
        error: What ended it, when it was not told to.
    """

    def __init__(self, manager: AbstractAsyncContextManager[T], what: str, parent: Owner[Any] | None = None) -> None:
        self.value: T | None = None
        self.stopping = False
        self.error: Exception | None = None
        self._manager = manager
        self._what = what
        self._parent = parent
        self._children: set[Owner[Any]] = set()
        self._nursery: trio.Nursery
        self._scope = trio.CancelScope()
        self._breaking = False
        self._turns: list[_Turn[T, Any]] = []
        self._settled = trio.Event()
        self._stop = trio.Event()
        self._ended = trio.Event()

    @property
    def ended(self) -> bool:
        """Whether its task has ended."""
        return self._ended.is_set()

    async def run(self) -> None:
        """Keeps it open. Errors do not come out of here: those who wait for it get them.

        Cancelling it closes it.
        """
        try:
            with self._scope:
                async with open_flat_nursery() as self._nursery:
                    await self._hold()
                    for child in self._children:
                        child.stop()
        except Exception as error:
            self.error = error
            if self.value is not None:
                logger.exception("%s has ended with an error of jchannel", self._what)
        finally:
            self.stopping = True
            self._settled.set()
            self._ended.set()
            if self._parent is not None:
                self._parent._children.discard(self)  # noqa: SLF001 (another of its own kind)

    def start_child(self, child: Owner[Any]) -> None:
        """Starts the task of an owner that depends on this one, which is open. It is stopped after this one's end."""
        self._children.add(child)
        self._nursery.start_soon(child.run)

    def begin(self, ask: Callable[[T], Awaitable[R]]) -> Awaitable[R]:
        """Asks the value for something, now or as soon as it is there. The order of these calls is that of the asking.

        Args:
            ask: Does what cannot wait, and gives what is awaited for the rest.

        Returns:
            What is to be awaited, at once: the rest.

        Raises:
            What ``ask`` raises; and awaiting the rest, ``ClosedError`` with its cause when there will be no value, or
            the value was lost meanwhile.
        """
        if self.value is not None:
            return self._rest(ask(self.value))
        turn = _Turn(ask)
        self._turns.append(turn)
        return self._wait_turn(turn)

    async def wait_open(self) -> T:
        """Waits until it is open. Cancelling it closes it again, and waits for that.

        Raises:
            What entering the context manager raised.
        """
        try:
            await self._settled.wait()
        except trio.Cancelled:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._ended.wait()
            raise
        if self.value is None:
            raise self.error or self._explain()
        return self.value

    def stop(self) -> None:
        """Closes it soon. Does not wait."""
        self.stopping = True
        self._stop.set()

    async def wait_ended(self) -> None:
        """Waits until it has ended. Cancelling it does nothing else.

        Raises:
            ClosedError: It ended with an error of the library, which is the cause.
        """
        await self._ended.wait()
        if self.value is not None and self.error is not None:
            raise self._explain()

    async def _hold(self) -> None:
        async with self._manager as value:
            try:
                self.value = value
                for turn in self._turns:
                    turn.begin(value)
                self._turns.clear()
                self._settled.set()
                await self._stop.wait()
            except trio.Cancelled:
                # Something inside the context manager has failed, or all of trio is ending.
                self._breaking = True
                raise
            finally:
                self.stopping = True

    async def _wait_turn(self, turn: _Turn[T, R]) -> R:
        if turn.rest is None:
            try:
                await self._settled.wait()
            except trio.Cancelled:
                self._turns.remove(turn)
                raise
        if turn.rest is None:
            raise self._explain()
        return await self._rest(turn.rest)

    async def _rest(self, rest: Awaitable[R]) -> R:
        try:
            return await rest
        except ClosedError:
            # The value says only that it is closed. Why, is known when what broke has ended.
            broken = self._find_breaking()
            if broken is None:
                raise
            await broken.wait_ended()
            raise

    def _find_breaking(self) -> Owner[Any] | None:
        owner: Owner[Any] | None = self
        while owner is not None and not owner._breaking:  # noqa: SLF001 (another of its own kind)
            owner = owner._parent  # noqa: SLF001 (another of its own kind)
        return owner

    def _explain(self) -> ClosedError:
        if self.error is None:
            return ClosedError(f"{self._what} was stopped before it was open")
        error = ClosedError(f"{self._what} has ended with an error: {self.error!r}")
        error.__cause__ = self.error
        return error


class _Turn(Generic[T, R]):
    """Something asked for before there was a value to ask."""

    def __init__(self, ask: Callable[[T], Awaitable[R]]) -> None:
        self._ask = ask
        self.rest: Awaitable[R] | None = None

    def begin(self, value: T) -> None:
        try:
            self.rest = self._ask(value)
        except Exception as error:  # noqa: BLE001 (it is raised where it is waited for)
            self.rest = _raise(error)


async def _raise(error: Exception) -> Any:
    raise error

"""The kernel's nursery: trio tasks that outlive the cell that started them, and end with the kernel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

__all__ = ["KernelNursery", "current_nursery", "set_current"]


class KernelNursery:
    """Owns the trio tasks that cells start. Cells find it under the name ``nursery``.

    It can be given to what takes a nursery for its tasks, such as ``trio.serve_listeners(handler_nursery=nursery)``.
    Unlike in another nursery, a task that fails neither ends its siblings nor the kernel: its traceback is shown under
    the cell that started it. When the kernel is shut down or restarted, every task is cancelled and waited for.

    Args:
        nursery: What the tasks run in.
        report: Shows what a task has failed with. Called in the task's context.
    """

    def __init__(self, nursery: trio.Nursery, report: Callable[[BaseException], None]) -> None:
        self._nursery = nursery
        self._report = report
        self._scopes: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        count = len(self._scopes)
        return f"<{type(self).__module__}.{type(self).__qualname__} with {count} {'task' if count == 1 else 'tasks'}>"

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: object, name: object = None) -> None:
        """Starts a trio task, and does not wait for it.

        Args:
            function: An async function of trio.
            *args: Its arguments.
            name: The task's name; ``None`` for the function's.
        """
        self._nursery.start_soon(self._run, function, args, name=name or function)

    async def start(self, function: Callable[..., Awaitable[object]], *args: object, name: object = None) -> Any:
        """Starts a trio task, and waits until it says that it has begun, as ``trio.Nursery.start`` does.

        Args:
            function: An async function of trio that calls ``task_status.started()``.
            *args: Its arguments.
            name: The task's name; ``None`` for the function's.

        Returns:
            What the task gave to ``task_status.started``.

        Raises:
            RuntimeError: It ended without having said so.
            What the function raises before it has said so.

        Cancelling it cancels a task that has not begun.
        """
        return await self._nursery.start(self._run_started, function, args, name=name or function)

    def cancel(self) -> None:
        """Cancels the tasks that are running now. The nursery can still be used."""
        for scope in list(self._scopes):
            scope.cancel()

    async def _run(self, function: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await function(*args)
            except BaseException as error:  # noqa: BLE001 (what is a cancellation is raised again)
                self._show(error)
            finally:
                self._scopes.discard(scope)

    async def _run_started(
        self, function: Callable[..., Awaitable[object]], args: tuple[object, ...], *, task_status: Any
    ) -> None:
        status = _Status(task_status)
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await function(*args, task_status=status)
            except BaseException as error:
                if not status.begun:
                    raise
                self._show(error)
            finally:
                self._scopes.discard(scope)

    def _show(self, error: BaseException) -> None:
        """Reports an error, all but the cancellations in it, which go on their way."""
        cancelled: BaseException | None
        failed: BaseException | None
        if isinstance(error, BaseExceptionGroup):
            cancelled, failed = error.split(trio.Cancelled)
        else:
            cancelled, failed = (error, None) if isinstance(error, trio.Cancelled) else (None, error)
        if failed is not None:
            self._report(failed)
        if cancelled is not None:
            raise cancelled


class _Status:
    """A task's status that remembers whether the task has begun."""

    def __init__(self, status: Any) -> None:
        self._status = status
        self.begun = False

    def started(self, value: Any = None) -> None:
        self._status.started(value)
        self.begun = True


_current: KernelNursery | None = None


def current_nursery() -> KernelNursery:
    """The nursery of the kernel that this process is.

    Raises:
        RuntimeError: It is no trio kernel.
    """
    if _current is None:
        raise RuntimeError(
            "this is not the trio kernel: install it with `python -m jchannel kernel install`, and choose it for the "
            "notebook"
        )
    return _current


def set_current(nursery: KernelNursery | None) -> None:
    """Sets what ``current_nursery`` gives."""
    global _current  # noqa: PLW0603 (a process is one kernel)
    _current = nursery

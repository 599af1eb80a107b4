"""The kernel's nursery: trio tasks that outlive the cell that started them, and end with the kernel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

__all__ = ["KernelNursery", "current_nursery", "set_current"]


class KernelNursery:
    """The owner of the trio tasks that cells start. Cells know it as ``nursery``.

    It can be passed to what expects a nursery for its tasks, such as ``trio.serve_listeners(handler_nursery=nursery)``.
    Unlike in another nursery, a task that fails neither ends its siblings nor the kernel: its traceback is shown under
    the cell that started it. When the kernel is shut down or restarted, every task is cancelled and waited for.

    Args:
        nursery: The nursery in which the tasks run.
        report: Called with the error of a task that fails, in the task's context.
    """

    def __init__(self, nursery: trio.Nursery, report: Callable[[BaseException], None]) -> None:
        self._nursery = nursery
        self._report = report
        self._scopes: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        count = len(self._scopes)
        return f"<{type(self).__module__}.{type(self).__qualname__} with {count} {'task' if count == 1 else 'tasks'}>"

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: object, name: object = None) -> None:
        """Start a trio task, and do not wait for it.

        Args:
            function: An async function of trio.
            *args: Its arguments.
            name: The task's name; ``None`` for the function's.
        """
        self._nursery.start_soon(self._run, function, args, name=name or function)

    async def start(self, function: Callable[..., Awaitable[object]], *args: object, name: object = None) -> Any:
        """Start a trio task, and wait until it reports that it has started, as ``trio.Nursery.start`` does.

        Args:
            function: An async function of trio that calls ``task_status.started()``.
            *args: Its arguments.
            name: The task's name; ``None`` for the function's.

        Returns:
            The value that the task passed to ``task_status.started``.

        Raises:
            RuntimeError: It ended before it reported that.
            What the function raises before it reports that.

        Cancelling it cancels a task that has not started.
        """
        return await self._nursery.start(self._run_started, function, args, name=name or function)

    def cancel(self) -> None:
        """Cancel the tasks that are running now. The nursery can still be used."""
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
                if not status.has_started:
                    raise
                self._show(error)
            finally:
                self._scopes.discard(scope)

    def _show(self, error: BaseException) -> None:
        """Report an error, and raise the cancellations in it again."""
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
    """A task's status that remembers whether the task has started."""

    def __init__(self, status: Any) -> None:
        self._status = status
        self.has_started = False

    def started(self, value: Any = None) -> None:
        self._status.started(value)
        self.has_started = True


_current: KernelNursery | None = None


def current_nursery() -> KernelNursery:
    """Return the nursery of the trio kernel that runs in this process.

    Raises:
        RuntimeError: This process is not a trio kernel.
    """
    if _current is None:
        raise RuntimeError(
            "this is not the trio kernel: install it with `python -m jchannel kernel install`, and choose it for the "
            "notebook"
        )
    return _current


def set_current(nursery: KernelNursery | None) -> None:
    """Set what ``current_nursery`` returns."""
    global _current  # noqa: PLW0603 (a process is one kernel)
    _current = nursery

"""Nurseries and closing that lose no exception: a single failure leaves as itself, and cleaning up replaces none."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import trio

__all__ = ["aclose_now", "copy_error", "open_flat_nursery", "split_cancelled"]


@asynccontextmanager
async def open_flat_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery. A failure that is alone in it leaves it as itself and not inside an exception group.

    Several failures leave it as a group, as trio's own nurseries do. Cancellations beside a failure do not count: what
    cancelled them does so one level higher, too.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        failures = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)] or leaves[:1]
        if len(failures) > 1:
            raise
        # The failure keeps the context that it had: the group, which contains the failure itself, adds nothing.
        context = failures[0].__context__
        try:
            raise failures[0]
        finally:
            failures[0].__context__ = context


async def aclose_now(resource: trio.abc.AsyncResource) -> None:
    """Close a resource at once, without any farewell. For ``finally`` blocks.

    A cancellation from outside does not reach it: ``Cancelled`` would replace an exception that is on its way out, and
    the scope would then swallow it.
    """
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(resource)


def copy_error(error: Exception) -> Exception:
    """Return a copy of an error that is raised more than once, so that it does not collect the tracebacks of all.

    A class of the user's may not be one that can be copied: then it is the error itself.
    """
    try:
        copied = copy.copy(error)
        copied.__cause__ = error.__cause__
    except Exception:  # noqa: BLE001 (the error to be raised is the first one)
        return error
    return copied


def split_cancelled(group: BaseExceptionGroup[BaseException]) -> tuple[BaseException, Exception]:
    """Split the group that leaves a user's nursery which was cancelled, and in which something raised besides.

    Returns:
        The cancellation, to be raised again, and the failures.

    Raises:
        The group: It contains what is meant for the program, such as ``KeyboardInterrupt``.
    """
    cancelled, failures = group.split(trio.Cancelled)
    if cancelled is None or not isinstance(failures, ExceptionGroup):
        raise group
    return cancelled, failures


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error

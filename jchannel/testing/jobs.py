"""The jobs of a kit that wait for as long as its test lets them: each can say what it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.portal import Portal

__all__ = ["KitJob"]

T = TypeVar("T")


class KitJob(TaskJob[T]):
    """A job of the kit's that may wait for as long as its test lets it.

    Args:
        portal: As that of ``TaskJob``.
        begin: As that of ``TaskJob``.
        describe: Returns what it is, in words.
        undo: As that of ``TaskJob``.
    """

    def __init__(
        self,
        portal: Portal,
        begin: Callable[[], Awaitable[T]],
        describe: Callable[[], str],
        undo: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(portal, begin, undo)
        self.describe = describe

"""Who is told of what trio waits for in threads: trio itself knows of none, and counts as idle meanwhile."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Final, Protocol, TypeVar, TypeVarTuple

import trio

__all__ = ["IS_WATCHED", "WATCH", "ThreadWatch"]

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class ThreadWatch(Protocol):
    """Is told of what trio waits for in threads: reads and writes, and handler methods and a ``progress`` apart.

    Attributes:
        short_runs_here: Whether what is short runs in trio's own thread, so that no other decides when it ends.
    """

    short_runs_here: bool

    def begin(self) -> object:
        """Note that trio begins to wait for a thread, and return what ``end`` is called with."""
        ...

    def end(self, wait: object) -> None:
        """Note that trio waits no more."""

    def wrap(self, function: Callable[[*_Args], _Result]) -> Callable[[*_Args], _Result]:
        """Return what calls a function of the user's in a thread, and is known to."""
        ...


#: The watch of the present run of trio, or ``None``. The kit for tests has one, which lets no time pass meanwhile.
WATCH: Final[trio.lowlevel.RunVar[ThreadWatch | None]] = trio.lowlevel.RunVar("jchannel's thread watch", None)

#: Whether the present thread is one that trio waits for, as its watch knows.
IS_WATCHED: Final = contextvars.ContextVar("IS_WATCHED", default=False)

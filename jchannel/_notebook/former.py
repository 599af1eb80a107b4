"""Cells that are run again: which server a cell has started, with which arguments, when it was run before."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final, Generic, TypeVar

from jchannel._notebook.elements import Cell

__all__ = ["Formers"]

S = TypeVar("S")


@dataclass(slots=True)
class _Start:
    """One start of a server, or the last time that it was given again."""

    cell: Cell
    arguments: dict[str, Any]


class Formers(Generic[S]):
    """The servers that cells have started. They are kept by whoever uses them, and not here.

    Args:
        is_running: Returns whether a server is started.
    """

    def __init__(self, is_running: Callable[[S], bool]) -> None:
        self._is_running = is_running
        self._starts: Final[weakref.WeakKeyDictionary[S, _Start]] = weakref.WeakKeyDictionary()

    def note(self, server: S, cell: Cell, arguments: dict[str, Any]) -> None:
        """Note that a cell starts a server."""
        self._starts[server] = _Start(cell, arguments)

    def find(self, kind: type[S], cell: Cell, arguments: dict[str, Any]) -> S | None:
        """Return the server that a cell has started with the same arguments when it was run before, if it still runs.

        A cell that starts several has each of them once in a run.
        """
        for server, start in list(self._starts.items()):
            again = start.cell.place == cell.place and start.cell.execution != cell.execution
            if again and type(server) is kind and self._is_running(server) and _same(start.arguments, arguments):
                start.cell = cell
                return server
        return None


def _same(arguments: dict[str, Any], others: dict[str, Any]) -> bool:
    """Return whether arguments are the same. A cell that defines a function and is run again has a new one."""
    return all(_code_of(value) == _code_of(others[name]) for name, value in arguments.items())


def _code_of(value: object) -> object:
    return value.__code__ if isinstance(value, FunctionType) and value.__closure__ is None else value

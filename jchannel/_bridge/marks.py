"""``@jchannel.background``: marks handler methods that run outside of the loop, and so even while a cell is running.

This module imports nothing from the project, and neither trio nor asyncio.
"""

from __future__ import annotations

import enum
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

__all__ = ["Place", "background", "find_place"]

F = TypeVar("F")

_MARK: Final = "_jchannel_background"

#: Whether any method has ever been marked.
in_use = False


class Place(enum.Enum):
    """The place where a marked method runs."""

    THREAD = "in a worker thread"
    TRIO = "in trio"


def background(method: F) -> F:
    """Mark a method of a handler, so that it answers the page even while a cell is running.

    A marked plain method runs in a worker thread; if the page calls several, they run at the same time. A marked
    ``async def`` method runs in jchannel's trio thread: it may await only trio, and must not block. Under a
    trio-asyncio loop, trio has no thread of its own, and a marked method waits for the cell like any other.
    ::

        class Handler:
            stopped = False

            @jchannel.background
            def stop(self):
                self.stopped = True

    If the page sends a stream, it is the first argument of the method: a ``ByteStream`` for a plain method, which reads
    it with ``for``, and a ``MetaGenerator`` for trio for an ``async def`` method. To answer with a stream, a plain
    method returns an iterator (such as a generator), a ``ByteStream``, a ``pathlib.Path`` or a binary file; an ``async
    def`` method returns an async iterable for trio, a path or a file.

    A marked method calls the page with ``channel.sync``. An ``async def`` method does so in another thread, as in
    ``await trio.to_thread.run_sync(channel.sync.call, "draw")``.

    If the page cancels the call, or the channel is closed, an ``async def`` method is cancelled. A thread cannot be
    cancelled: a plain method continues, its result is dropped, and the stream that it reads ends with ``ClosedError``.
    A long method should call ``trio.from_thread.check_cancelled()`` from time to time, which raises if its call was
    cancelled.

    The mark is for the handlers of ``jchannel`` and of ``jchannel.sync``. In the latter, plain methods run in worker
    threads in any case. ``jchannel.trio`` ignores it: there, all methods run in trio.

    Args:
        method: A function or an ``async def`` function, also as a ``staticmethod`` or ``classmethod``; or another
            callable (a bound method, a ``functools.partial``) that becomes an attribute of the handler.

    Returns:
        The same object, marked; or a wrapper that calls it, if it cannot carry the mark.

    Raises:
        TypeError: ``method`` is a class or an async generator function, or is not callable.
    """
    return cast("F", _mark(method))


def _mark(method: object) -> object:
    if isinstance(method, staticmethod | classmethod):
        return type(method)(_mark(method.__func__))  # type: ignore[arg-type]
    if isinstance(method, type):
        raise TypeError(f"@jchannel.background marks the methods of a handler, and not a class, as {method!r} is")
    if not callable(method):
        raise TypeError(f"@jchannel.background marks what can be called, and not {method!r}")
    if _is_kind(inspect.isasyncgenfunction, method):
        raise TypeError(
            f"@jchannel.background cannot mark {method!r}, which is an async generator: mark an async def method that "
            "returns one, or a plain generator"
        )
    marked = method if isinstance(method, types.FunctionType | functools.partial) else _Marked(method)
    global in_use  # noqa: PLW0603 (there is one for the process)
    in_use = True
    vars(marked)[_MARK] = Place.TRIO if _is_kind(inspect.iscoroutinefunction, method) else Place.THREAD
    return marked


def find_place(handler: object, name: str) -> Place | None:
    """Return where a marked method of a handler runs; ``None`` if it does not exist or is not marked.

    This runs no code of the handler, which belongs to another thread. So anything that its ``__getattr__`` returns
    counts as not marked.
    """
    if not in_use:  # The lookup would be a tenth of the work of a call.
        return None
    found = handler.get(name) if type(handler) is dict else inspect.getattr_static(handler, name, None)
    if isinstance(found, types.MemberDescriptorType):  # An attribute in `__slots__`.
        found = getattr(handler, name, None)
    if isinstance(found, staticmethod | classmethod | types.MethodType):
        found = found.__func__
    place = getattr(found, "__dict__", {}).get(_MARK)
    return place if isinstance(place, Place) else None


class _Marked:
    """A wrapper for a callable that cannot carry the mark itself."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<background {self._function!r}>"

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


def _is_kind(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Return whether a function is of a kind, or a callable's class has such a ``__call__``."""
    return kind(function) or kind(getattr(type(function), "__call__", None))  # noqa: B004 (this needs the method)

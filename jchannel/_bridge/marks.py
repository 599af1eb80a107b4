"""``@jchannel.background``: the mark of handler methods that run beside the loop, and so while a cell computes.

This module imports nothing of the project, and neither trio nor asyncio.
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

#: Whether anything has ever been marked.
_in_use = False


class Place(enum.Enum):
    """Where a marked method runs."""

    THREAD = "in a worker thread"
    TRIO = "in trio"


def background(method: F) -> F:
    """Marks a method of a handler: it answers the page while a cell computes.

    A plain method that is marked runs in a worker thread, and several at once when the page calls several. An ``async
    def`` method that is marked runs in jchannel's trio thread: it awaits trio, and nothing in it may block. Under a
    trio-asyncio loop, trio has no thread of its own, and a marked method waits for a cell as every other does.
    ::

        class Handler:
            stopped = False

            @jchannel.background
            def stop(self):
                self.stopped = True

    When the page sends a stream, the method gets it as its first argument: a plain one a ``ByteStream``, which is read
    with ``for``, an ``async def`` one a ``MetaGenerator`` for trio. A plain one answers with a stream by returning an
    iterator (a generator does), a ``ByteStream``, a ``pathlib.Path`` or a binary file; an ``async def`` one by
    returning an async iterable for trio, a path or a file.

    A method that is marked calls the page with ``channel.sync``; an ``async def`` one in another thread, as with
    ``await trio.to_thread.run_sync(channel.sync.call, "draw")``.

    When the page cancels the call, or the channel is closed, an ``async def`` method is cancelled. A thread cannot be:
    a plain method runs on, its result is dropped, and the stream it reads ends with ``ClosedError``. One that takes
    long calls ``trio.from_thread.check_cancelled()`` from time to time, which ends it when its call was cancelled.

    The mark is for the handlers of ``jchannel`` and of ``jchannel.sync``, where plain methods run in worker threads
    without it, too. ``jchannel.trio`` does not look at it: all methods run in trio there.

    Args:
        method: A function or an ``async def`` function, also as a ``staticmethod`` or ``classmethod``; or something
            else that can be called (a bound method, a ``functools.partial``), to be an attribute of the handler.

    Returns:
        The same, marked; of what carries no mark by itself, something that calls it.

    Raises:
        TypeError: It is a class, an async generator function, or nothing that can be called.
    """
    return cast("F", _mark(method))


def _mark(method: object) -> object:
    if isinstance(method, staticmethod | classmethod):
        return type(method)(_mark(method.__func__))  # type: ignore[arg-type]
    if isinstance(method, type):
        raise TypeError(f"@jchannel.background marks the methods of a handler, and not a class, as {method!r} is")
    if not callable(method):
        raise TypeError(f"@jchannel.background marks what can be called, and not {method!r}")
    if _is(inspect.isasyncgenfunction, method):
        raise TypeError(
            f"@jchannel.background cannot mark {method!r}, which is an async generator: mark an async def method that "
            "returns one, or a plain generator"
        )
    marked = method if isinstance(method, types.FunctionType | functools.partial) else _Marked(method)
    global _in_use  # noqa: PLW0603 (there is one for the process)
    _in_use = True
    vars(marked)[_MARK] = Place.TRIO if _is(inspect.iscoroutinefunction, method) else Place.THREAD
    return marked


def find_place(handler: object, name: str) -> Place | None:
    """Where the method of a handler runs that is marked; ``None`` when there is none, or it is not marked.

    Runs no code of the handler, which belongs to another thread. So what its ``__getattr__`` gives is not marked.
    """
    if not _in_use:  # To look is a tenth of the work of a call.
        return None
    found = inspect.getattr_static(handler, name, None)
    if isinstance(found, types.MemberDescriptorType):  # An attribute in `__slots__`.
        found = getattr(handler, name, None)
    if isinstance(found, staticmethod | classmethod | types.MethodType):
        found = found.__func__
    place = getattr(found, "__dict__", {}).get(_MARK)
    return place if isinstance(place, Place) else None


class _Marked:
    """Something that can be called, and cannot carry the mark by itself."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"<background {self._function!r}>"

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


def _is(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Whether a function is of a kind, or the class of what can be called has such a ``__call__``."""
    return kind(function) or kind(getattr(type(function), "__call__", None))  # noqa: B004 (what it is, is asked)

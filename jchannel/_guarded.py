"""Using what is the program's where its errors must end nothing: an object as text, and the log.

``str``, ``repr`` and a traceback run code of the object's class, and logging runs the program's handlers, filters,
formatters and factories. Each may raise anything, in the middle of the library's own handling of an error. Here that
costs the text or the record, and what was lost is said in words. This module imports nothing from the project.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, TypeGuard, TypeVar

__all__ = ["is_a", "is_interrupt", "log", "name_of", "repr_of", "stack_of", "text_of", "without_locals"]

_T = TypeVar("_T")
_E = TypeVar("_E", bound=BaseException)

#: The name of a class itself: a metaclass may have its own ``__name__``.
_NAME: Final[Any] = type.__dict__["__name__"]

#: Whether a log handler runs, or what one has started, such as a call of the page that shows the record there.
_LOGGING: Final[ContextVar[bool]] = ContextVar("_LOGGING", default=False)


def is_interrupt(error: BaseException) -> bool:
    """Return whether an exception is an interrupt, which Python raises in whatever the main thread runs just then."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def is_a(value: object, kind: type[_T]) -> TypeGuard[_T]:
    """Return whether an object is of a class, by its type alone: ``isinstance`` asks its ``__class__``, too."""
    return issubclass(type(value), kind)


def name_of(value: object) -> str:
    """Return the name of the class of an object."""
    return str.__str__(_NAME.__get__(type(value)))


def text_of(value: object) -> str:
    """Return an object as ``str`` does; where that fails, what an exception was made with, and why it failed."""
    text, failure = _attempt(str, value)
    if failure is None:
        return text
    # Most exceptions that break their `__str__` have said all they know to the constructor.
    made_with = _attempt(BaseException.__str__, value)[0] if isinstance(value, BaseException) else ""
    why = f"its __str__ raised {failure}"
    return f"{made_with} ({why})" if made_with else f"({why})"


def repr_of(value: object) -> str:
    """Return an object as ``repr`` does; where that fails, the name of its class, and why it failed."""
    text, failure = _attempt(repr, value)
    return text if failure is None else f"<{name_of(value)}, whose __repr__ raised {failure}>"


def stack_of(error: BaseException) -> str:
    """Return the traceback of an exception as Python prints it; where that fails, its class and text."""
    text, failure = _attempt(_format_exception, error)
    return text if failure is None else f"{name_of(error)}: {text_of(error)}\n(its traceback raised {failure})\n"


def without_locals(error: _E) -> _E:
    """Return an exception after its tracebacks, and those of its causes, have lost their local variables.

    For errors of the library's own, and those of others that it translates: in the frames of a connection are the heads
    of requests, with tokens and tickets, and some formatters and error reporters show local variables. The lines stay;
    the frames that are still running, which cannot be emptied, are left out.
    """
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        BaseException.with_traceback(one, _empty_frames(one.__traceback__))
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
    return error


def _empty_frames(stack: TracebackType | None) -> TracebackType | None:
    rest = entry = stack
    while entry is not None:
        try:
            entry.tb_frame.clear()
        except RuntimeError:  # It is running: it has caught the exception, or called what has.
            rest = entry.tb_next
        entry = entry.tb_next
    return rest


def log(level: int, message: str, *args: object, error: BaseException | None = None, name: str = "jchannel") -> None:
    """Log a message, whatever the program's logging does. What cannot be logged is printed to ``sys.stderr``.

    What a log handler causes is not logged, but printed: a handler that calls the page, which fails, would otherwise be
    called for that again, for ever.

    Args:
        level: The level, such as ``logging.ERROR``.
        message: The message, as ``logging`` formats it.
        args: Its arguments: the library's own, or texts made by the functions here.
        error: The exception whose traceback goes with it, or ``None``.
        name: The name of the logger.
    """
    if _LOGGING.get():
        _print(message, args, error, "It was not logged, because a log handler has caused it.")
        return
    token = _LOGGING.set(True)
    try:
        logging.getLogger(name).log(level, message, *args, exc_info=error, stacklevel=2)
    except BaseException as raised:
        if is_interrupt(raised):
            raise
        _print(message, args, error, f"It was not logged, because the program's logging raised:\n{stack_of(raised)}")
    finally:
        _LOGGING.reset(token)


def _attempt(show: Callable[[Any], str], value: object) -> tuple[str, str | None]:
    """Return what an object is shown as, and the name of the exception that this raised, if it raised one."""
    try:
        # Exactly a str: a class of the user's may be one, with its own idea of a slice.
        return str.__str__(show(value)), None
    except BaseException as error:
        if is_interrupt(error):
            raise
        return "", name_of(error)


def _format_exception(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _print(message: str, args: tuple[object, ...], error: BaseException | None, why: str) -> None:
    text = message % args if args else message
    stack = "" if error is None else stack_of(error)
    try:
        if sys.stderr is not None:
            sys.stderr.write(f"jchannel: {text}\n{stack}{why.rstrip()}\n")
    except BaseException as raised:
        if is_interrupt(raised):
            raise

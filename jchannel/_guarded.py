"""Using what is the program's where its errors must end nothing: an object as text, and the log.

``str``, ``repr`` and a traceback run code of the object's class, and logging runs the program's handlers, filters,
formatters and factories. Each may raise anything, in the middle of the library's own handling of an error. Here that
costs the text or the record, and what was lost is said in words. This module imports nothing from the project but how
secrets are hidden.
"""

from __future__ import annotations

import inspect
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any, Final, TypeGuard, TypeVar

from jchannel._secret import HIDDEN, Secret, SecretBytes

__all__ = [
    "LOGGERS",
    "WIRE",
    "is_a",
    "is_async",
    "is_caused_by_log",
    "is_interrupt",
    "is_logged",
    "log",
    "name_of",
    "repr_of",
    "stack_of",
    "text_of",
    "without_locals",
]

#: The logger of each module that logs, by the module's own name; ``docs/logging.md`` says what each is for.
LOGGERS: Final[Mapping[str, str]] = {
    "acceptor": "jchannel.access",
    "auth": "jchannel.access",
    "greeting": "jchannel.access",
    "upgrade": "jchannel.access",
    "visitors": "jchannel.access",
    "http_server": "jchannel.http",
    "server_carrier": "jchannel.http",
    "site": "jchannel.http",
    "_assembly": "jchannel.server",
    "server": "jchannel.server",
    "headless": "jchannel.server",
    "owner": "jchannel.server",
    "mailbox": "jchannel.server",
    "portal": "jchannel.server",
    "session": "jchannel.session",
    "channel": "jchannel.channel",
    "dispatcher": "jchannel.call",
    "failures": "jchannel.call",
    "methods": "jchannel.call",
    "outbox": "jchannel.call",
    "request": "jchannel.call",
    "deadlines": "jchannel.call",
    "outgoing": "jchannel.stream",
    "progress": "jchannel.stream",
    "watch": "jchannel.channel",
    "peer": "jchannel.peer",
    "comm_link": "jchannel.notebook",
    "tap": "jchannel.notebook",
    "output": "jchannel.notebook",
}

#: The logger of single messages.
WIRE: Final = "jchannel.wire"

#: The most characters of a text in a record: the far side has written some of them.
_MOST_CHARACTERS: Final = 1_000

#: What could end a record's line and begin another, or change the direction of what a terminal shows of it.
_CONTROLS: Final = {
    code: ascii(chr(code))[1:-1]
    for first, last in ((0, 0x1F), (0x7F, 0x9F), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069))
    for code in range(first, last + 1)
}

_T = TypeVar("_T")
_E = TypeVar("_E", bound=BaseException)

#: The name of a class itself: a metaclass may have its own ``__name__``.
_NAME: Final[Any] = type.__dict__["__name__"]

#: Whether a log handler runs, or what one has started, such as a call of the page that shows the record there.
_LOGGING: Final[ContextVar[bool]] = ContextVar("_LOGGING", default=False)


def is_caused_by_log(context: Context) -> bool:
    """Return whether what has this context was caused by a log handler: what it logs is printed, and not counted."""
    return context.get(_LOGGING, False)


def is_interrupt(error: BaseException) -> bool:
    """Return whether an exception is an interrupt, which Python raises in whatever the main thread runs just then."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def is_a(value: object, kind: type[_T]) -> TypeGuard[_T]:
    """Return whether an object is of a class, by its type alone: ``isinstance`` asks its ``__class__``, too."""
    return issubclass(type(value), kind)


def name_of(value: object) -> str:
    """Return the name of the class of an object."""
    return str.__str__(_NAME.__get__(type(value)))


def is_async(function: object) -> bool:
    """Return whether calling this gives a coroutine: of a function, a method, and an object that can be called."""
    called = inspect.getattr_static(type(function), "__call__", None)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


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


def is_logged(name: str, level: int = logging.DEBUG) -> bool:
    """Return whether the program wants the records of a logger at a level: for what would be made in vain."""
    logger = _found.get(name)
    if logger is None:
        logger = _found[name] = logging.getLogger(name)
    try:
        return logger.isEnabledFor(level)
    except Exception:  # noqa: BLE001 (a class of loggers of the program's own)
        return False


#: Looking one up takes a lock, and the records of single messages are asked for at every message.
_found: Final[dict[str, logging.Logger]] = {}


def log(level: int, message: str, *args: object, error: BaseException | None = None, name: str | None = None) -> None:
    """Log a message, whatever the program's logging does. What cannot be logged is printed to ``sys.stderr``.

    It is one line, whatever its arguments are: the far side may have written them.

    What a log handler causes is not logged, but printed where it is a warning or worse: a handler that calls the page,
    which fails, would otherwise be called for that again, for ever.

    Args:
        level: The level, such as ``logging.ERROR``.
        message: The message, as ``logging`` formats it.
        args: Its arguments: the library's own, texts made by the functions here, or exceptions.
        error: The exception whose traceback goes with it, or ``None``.
        name: The name of the logger; ``None`` for that of the module which calls this.
    """
    if name is None:
        module = sys._getframe(1).f_globals["__name__"]  # noqa: SLF001 (as ``logging`` finds its callers)
        name = LOGGERS.get(module.rpartition(".")[2], "jchannel")
    if level < logging.WARNING and (_LOGGING.get() or not is_logged(name, level)):
        return
    args = tuple(map(_clean, args))
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


class _Line:
    """An exception as an argument of a record: on one line, by ``%s`` as by ``%r``."""

    def __init__(self, error: BaseException) -> None:
        self._text, self._repr = _clean_text(text_of(error)), _clean_text(repr_of(error))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._repr


def _clean(arg: object) -> object:
    """Return an argument of a record so that it is one line without secrets."""
    if isinstance(arg, Secret | SecretBytes):
        return HIDDEN
    if isinstance(arg, BaseException):
        return _Line(arg)
    return _clean_text(arg) if isinstance(arg, str) else arg


def _clean_text(text: str) -> str:
    text = text.translate(_CONTROLS)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


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

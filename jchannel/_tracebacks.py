"""The user's own line: tracebacks that end in it, and where it called into this package.

What went wrong far away, or took too long, is said by the error itself. Its traceback would lead through the task, the
thread and the queue in which the outcome came, in IPython with five lines of each. ``__tracebackhide__`` hides frames
from pytest, but IPython always shows the last one. So the frames of the library, of which nothing is to be learned, are
taken out.

Errors that show a fault of the library's keep all of them.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import CodeType, TracebackType
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeVar

from jchannel.errors import ProtocolError, RemoteError, StateError

__all__ = ["Place", "find_caller", "trim", "trimmed", "trimmed_context"]

#: What a request comes to: where it was raised says nothing. An interrupt comes wherever the library waits.
_OUTCOMES: Final = (StateError, RemoteError, ProtocolError, TimeoutError, KeyboardInterrupt)

#: What is refused, mostly: the line that refuses it stays.
_REFUSALS: Final = (TypeError, ValueError, OSError, RuntimeError)

#: The packages that an error passes on its way to the user's line.
_PASSED: Final = frozenset({"jchannel", "outcome", "trio", "asyncio", "contextlib"})

#: What lies between the user's line and this: the package itself, and what makes its context managers.
_SKIPPED: Final = {"jchannel", "contextlib"}

#: The most characters that are shown of a line of the user's.
_MOST_OF_A_LINE: Final = 80

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


def trim(error: BaseException) -> None:
    """Take the library's frames out of the traceback of an error which is on its way to the user's code."""
    kind = type(error)
    # Streams know no async library, and so this does not import one.
    is_outcome = issubclass(kind, _OUTCOMES) or (kind.__module__, kind.__name__) == ("trio", "TooSlowError")
    if not is_outcome and not issubclass(kind, _REFUSALS):
        return
    entries = []
    entry = error.__traceback__
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    kept = [entry for entry in entries if not _is_passed(entry)]
    if not is_outcome and kept[-1:] != entries[-1:]:
        kept += entries[-1:]
    stack: TracebackType | None = None
    for entry in reversed(kept):
        stack = TracebackType(stack, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    BaseException.with_traceback(error, stack)


def trimmed(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let the errors of a function, sync or async, come to the user's code without the library's frames."""
    # A bare `raise` adds no frame: neither that of the wrapper nor those below it are in the traceback any more.
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except (Exception, KeyboardInterrupt) as error:
                trim(error)
                raise

        return call  # type: ignore[return-value]

    @functools.wraps(function)
    def call_now(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            trim(error)
            raise

    return call_now


def trimmed_context(
    make: Callable[_P, AbstractAsyncContextManager[_T]],
) -> Callable[_P, AbstractAsyncContextManager[_T]]:
    """Do as ``trimmed`` for what entering and leaving an async context manager raises."""

    @functools.wraps(make)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> AbstractAsyncContextManager[_T]:
        return _Trimmed(make(*args, **kwargs))

    return wrapped


class _Trimmed(AbstractAsyncContextManager[_T], Generic[_T]):
    """An async context manager whose errors are trimmed."""

    def __init__(self, manager: AbstractAsyncContextManager[_T]) -> None:
        self._manager = manager

    @trimmed
    async def __aenter__(self) -> _T:
        return await self._manager.__aenter__()

    @trimmed
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, traceback)


def _is_passed(entry: TracebackType) -> bool:
    name = entry.tb_frame.f_globals.get("__name__")
    return isinstance(name, str) and name.partition(".")[0] in _PASSED


class Place(NamedTuple):
    """A line of the user's, which is looked for only when it is shown.

    Attributes:
        code: The code that it is in.
        instruction: The instruction in that code.
    """

    code: CodeType
    instruction: int

    def __str__(self) -> str:
        name, line = self.code.co_filename, self.line
        text = linecache.getline(name, line).strip()
        if len(text) > _MOST_OF_A_LINE:
            text = f"{text[:_MOST_OF_A_LINE]}…"
        return f"{name}:{line}" + (f" ({text})" if text else "")

    @property
    def line(self) -> int:
        """The number of the line."""
        found = self.code.co_firstlineno
        for start, end, line in self.code.co_lines():
            if start <= self.instruction < end and line is not None:
                found = line
        return found


def find_caller() -> Place | None:
    """Return the place outside of this package that has called into it; ``None`` where there is none."""
    frame = sys._getframe(1)  # noqa: SLF001 (as ``logging`` finds its callers)
    while True:
        module = frame.f_globals.get("__name__")
        if not isinstance(module, str) or module.partition(".")[0] not in _SKIPPED:
            return Place(frame.f_code, frame.f_lasti)
        if frame.f_back is None:
            return None
        frame = frame.f_back

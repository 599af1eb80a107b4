"""What a scripted page answers, and the record of what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import trio

from jchannel._core.endpoint import check_name
from jchannel._core.handlers import Invoke
from jchannel._core.invocation import time_left

__all__ = ["JavaScriptError", "RecordedCall", "Script"]


class JavaScriptError(Exception):
    """An error that a scripted page raises as JavaScript would. Python gets a ``FrontendError`` with these attributes.

    Args:
        name: The name of the error's class, such as ``RangeError``. An ``AbortError`` is what JavaScript has when its
            own program has cancelled the method: Python gets a ``RemoteCancelledError``.
        message: The message.
        stack: The stack, as the browser writes it; ``None`` for the Python traceback of the page's method.

    Attributes:
        name: As above.
        stack: As above.

    Raises:
        TypeError: The name is not a str.
    """

    name: str
    stack: str | None

    def __new__(cls, name: str, message: str = "", stack: str | None = None) -> Self:
        """Makes one of a class of that name: it is the class's name that travels."""
        check_name(name)
        named: type[Self] = type(name, (cls,), {"__module__": cls.__module__})
        error: Self = super().__new__(named, message)
        error.name = name
        error.stack = stack
        return error

    def __init__(self, name: str, message: str = "", stack: str | None = None) -> None:  # noqa: ARG002 (__new__ has them)
        super().__init__(message)

    def __reduce__(self) -> tuple[type[JavaScriptError], tuple[str, str, str | None]]:
        return JavaScriptError, (self.name, str(self), self.stack)


@dataclass(eq=False)
class RecordedCall:
    """A call that a scripted page has got.

    Attributes:
        name: The method's name.
        args: The arguments; of a call with a stream, that is the first, as a ``MetaGenerator``.
        channel: The number of its channel.
        time_left: The seconds that the caller gave it, when it came; infinity for no limit.
        state: ``running``, ``answered``, ``failed`` when its method raised or there is none, or ``cancelled`` when the
            call was cancelled, its time was over, or the connection or the channel has ended.
    """

    name: str
    args: tuple[Any, ...]
    channel: int
    time_left: float = field(default_factory=time_left)
    state: Literal["running", "answered", "failed", "cancelled"] = "running"
    #: Whether ``wait_call`` has given it.
    given: bool = field(default=False, repr=False)


class Script:
    """What is answered instead of by the handler.

    Args:
        run_method: Runs the handler's methods.
    """

    def __init__(self, run_method: Invoke) -> None:
        self._run_method = run_method
        self._acts: dict[str | None, _Act] = {}

    def set(self, name: str | None, kind: Literal["answer", "fail", "hang"], what: object) -> None:
        """Sets what comes of calls of a method; ``None`` for every method that has nothing of its own."""
        if name is not None:
            check_name(name)
        self._acts[name] = _Act(kind, what)

    def restore(self, name: str | None) -> None:
        """Leaves a method to the handler; ``None`` for all."""
        if name is None:
            self._acts.clear()
        else:
            self._acts.pop(name, None)

    async def run(self, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Does what is set for a method, or runs it. As ``Invoke``."""
        act = self._acts.get(name) or self._acts.get(None)
        if act is None:
            return await self._run_method(handler, name, args)
        await trio.lowlevel.checkpoint()
        if act.kind == "hang":
            await trio.sleep_forever()
        if isinstance(act.what, Exception) and act.kind == "fail":
            raise act.what
        return act.what


@dataclass(frozen=True, slots=True)
class _Act:
    kind: Literal["answer", "fail", "hang"]
    what: Any

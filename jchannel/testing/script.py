"""What a scripted page answers, and the record of the calls that it received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import trio

from jchannel._core.arguments import check_name
from jchannel._core.handlers import Methods
from jchannel._core.invocation import Invocation, time_left

__all__ = ["JavaScriptError", "RecordedCall", "Script"]


class JavaScriptError(Exception):
    """An error of JavaScript that a scripted page raises. Python receives a ``FrontendError`` with its attributes.

    Args:
        name: The name of the error's class, such as ``RangeError``. An ``AbortError`` stands for a method that the
            page's own program has cancelled: Python receives a ``RemoteCancelledError``.
        message: The message.
        stack: The stack, as a browser writes it; ``None`` for the Python traceback of the page's method.

    Attributes:
        name: As above.
        stack: As above.

    Raises:
        TypeError: The name is not a str.
    """

    name: str
    stack: str | None

    def __new__(cls, name: str, message: str = "", stack: str | None = None) -> Self:
        """Make an error of a class of that name, as the name of the class is sent."""
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
    """A call that a scripted page has received.

    Attributes:
        name: The method's name.
        args: The arguments. In a call with a stream the first is the stream, as a ``MetaGenerator``.
        channel: The number of its channel.
        time_left: The seconds that were left of its time when it arrived; infinity for no limit.
        state: ``running``, ``answered``, ``failed`` when its method raised or there is none, or ``cancelled`` when the
            call was cancelled, its time was over, or the connection or the channel has ended.
    """

    name: str
    args: tuple[Any, ...]
    channel: int
    time_left: float = field(default_factory=time_left)
    state: Literal["running", "answered", "failed", "cancelled"] = "running"
    #: Whether ``wait_call`` has returned it.
    _given: bool = field(default=False, repr=False)


class Script:
    """The answers that the test has set, in the place of the handler's.

    Args:
        methods: Runs the handler's methods.
    """

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._acts: dict[str | None, _Act] = {}

    def set(self, name: str | None, kind: Literal["answer", "fail", "hang"], what: object) -> None:
        """Set the outcome of calls of a method; ``None`` for every method that has no other setting."""
        if name is not None:
            check_name(name)
        self._acts[name] = _Act(kind, what)

    def restore(self, name: str | None) -> None:
        """Leave a method to the handler; ``None`` for all."""
        if name is None:
            self._acts.clear()
        else:
            self._acts.pop(name, None)

    async def run(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:
        """Return or raise what is set for a method, or run it."""
        act = self._acts.get(name) or self._acts.get(None)
        if act is None:
            return await self._methods.run(invocation, handler, name, args)
        if act.kind == "hang":
            await trio.sleep_forever()
        # No checkpoint: what a page answers at once, it answers in the order of the calls.
        if isinstance(act.what, Exception) and act.kind == "fail":
            raise act.what
        return act.what


@dataclass(frozen=True, slots=True)
class _Act:
    kind: Literal["answer", "fail", "hang"]
    what: Any

"""Finding the method of a handler that the far side asks for, and running it.

The far side may call a handler's public methods and nothing else; where the handler is a dict, the functions in it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from jchannel._core.invocation import Invocation
from jchannel._guarded import stack_of

__all__ = ["MethodCancelledError", "Methods", "NothingToCallError", "find_method"]


class NothingToCallError(Exception):
    """There is no method of that name to call. ``kind`` is the wire's word for why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class MethodCancelledError(Exception):
    """The method was cancelled by its own program, and not by who called it."""


def find_method(handler: Any, name: str) -> Callable[..., Any]:
    """Find the method of a handler that the far side may call.

    Args:
        handler: The channel's handler, or ``None`` where there is none.
        name: The method's name, as the far side gave it.

    Raises:
        NothingToCallError: There is no handler; the name is private; there is no such attribute; or it is not a method.
    """
    if handler is None:
        raise NothingToCallError("handler", f"cannot call {name!r}: the channel has no handler; set channel.handler")
    if name.startswith("_"):
        raise NothingToCallError("private", f"cannot call {name!r}: names that begin with an underscore are private")
    is_mapping = issubclass(type(handler), Mapping) and not _defines(type(handler), name)
    # A property is looked at on the class: reading it on the handler would run its code for whoever asks.
    is_property = not is_mapping and isinstance(
        getattr(type(handler), name, None), property | functools.cached_property
    )
    found = None
    if is_mapping:
        found = handler.get(name, _MISSING)
    elif not is_property:
        found = getattr(handler, name, _MISSING)
    what = "function" if is_mapping else "method"
    if found is _MISSING:
        raise NothingToCallError("method", f"cannot call {name!r}: the handler has no such {what}{_suggest(handler)}")
    if not callable(found):
        kind = "a property" if is_property else f"of type {type(found).__name__}"
        raise NothingToCallError("callable", f"cannot call {name!r}: it is {kind} and not a {what}")
    return cast("Callable[..., Any]", found)


#: Where the classes of mappings are from whose methods are nobody's to call.
_MAPPINGS: Final = {"builtins", "collections", "collections.abc", "_collections_abc", "typing"}


def _defines(kind: type, name: str) -> bool:
    """Return whether the class of a mapping has an attribute of its own, which other mappings do not have."""
    return any(name in vars(base) for base in kind.__mro__ if base.__module__ not in _MAPPINGS)


class Methods:
    """Runs the methods of handlers in trio, each in the task of its invocation.

    The bridge has others, which run them on an asyncio loop or in worker threads.
    """

    #: Whether what is meant for the user's program, such as ``SystemExit``, ends no more than the request or stream
    #: that it came from, because that program runs elsewhere.
    contains_exits: bool = False

    #: The class of the invocations of the methods that it runs.
    invocation_type: type[Invocation] = Invocation

    def begin(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> bool:  # noqa: ARG002 (the others')
        """Send a method on its way to where it runs, if that is not in trio.

        It needs no task then before something has to be waited for. Called in the step in which the call has arrived.
        It does not wait, and runs no code of the user's. The call brings no stream. Args are those of ``run``.

        Returns:
            Whether it has begun. ``run`` waits for it then, where there is a task, and otherwise a task begins with it.
        """
        return False

    async def run(self, invocation: Invocation, handler: object, name: str, args: Sequence[Any]) -> Any:  # noqa: ARG002 (the others')
        """Run the method that answers a request, and return its result.

        Cancelling it cancels an async method; a sync one cannot be cancelled.

        Args:
            invocation: The request.
            handler: The handler, or ``None``.
            name: The method's name.
            args: Its arguments.

        Raises:
            NothingToCallError: There is nothing to call under that name.
            What the method raises.
        """
        result = find_method(handler, name)(*args)
        return await result if inspect.isawaitable(result) else result

    def format_stack(self, error: Exception) -> str:
        """Return the stack of an exception that a method raised, for a far side that may see it."""
        return stack_of(error)


_MISSING = object()


def _suggest(handler: object) -> str:
    """Return the names that could have been meant: of functions of the class, for which no code has to run, or keys."""
    if issubclass(type(handler), Mapping):
        names = [
            str.__str__(name)
            for name in cast("Mapping[object, Any]", handler)
            if isinstance(name, str) and name[:1] not in ("", "_")
        ]
    else:
        names = [name for name, _ in inspect.getmembers_static(type(handler), inspect.isfunction) if name[0] != "_"]
    return f"; it has {', '.join(names)}" if names else ""

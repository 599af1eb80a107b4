"""Exceptions that are meant for the user's program, such as ``SystemExit``, and what they become where it is elsewhere.

In ``jchannel.trio`` they leave the block that owns the channel. A facade's channels live in trio's own thread, where
they would end every server of the process: there they become errors of the request or stream that they came from.
"""

from __future__ import annotations

import trio

from jchannel._guarded import is_a, is_interrupt, name_of
from jchannel.errors import StateError

__all__ = ["contain", "explain_exit", "is_closing", "is_exit"]

_USUAL = Exception, trio.Cancelled, GeneratorExit


def is_exit(error: BaseException) -> bool:
    """Return whether an exception ends more than the code that raised it. An interrupt is the program's everywhere."""
    if is_a(error, BaseExceptionGroup):
        # A coroutine that is closed gets a bare GeneratorExit; one in a group has come out of a user's nursery.
        return any(is_a(member, GeneratorExit) or is_exit(member) for member in error.exceptions)
    return not issubclass(type(error), _USUAL) and not is_interrupt(error)


def is_closing(error: BaseException) -> bool:
    """Return whether an exception is what a nursery within an async generator makes of the generator's being closed."""
    return is_a(error, BaseExceptionGroup) and error.split(GeneratorExit)[1] is None


def contain(error: BaseException, what: str, *, contains: bool = True) -> BaseException:
    """Return an exception as it ends what it came from: a ``StateError`` for one that would end more.

    Args:
        error: The exception. It is the cause of the ``StateError``.
        what: What it came from, as the beginning of a sentence.
        contains: Whether that is to be done here.
    """
    return explain_exit(what, error) if contains and is_exit(error) else error


def explain_exit(what: str, error: BaseException) -> StateError:
    """Return the ``StateError`` that such an exception becomes."""
    explained = StateError(f"{what} has ended with {name_of(error)}, which is meant for its own program")
    explained.__cause__ = error
    return explained

"""The exceptions that every face of jchannel raises, each named after who is to blame.

The caller's own mistakes are ``TypeError`` and ``ValueError``; a time that ran out is ``trio.TooSlowError`` in trio and
``TimeoutError`` in the facades. Everything else is here. This module imports nothing of the project.
"""

from __future__ import annotations

__all__ = [
    "ClosedError",
    "FrontendError",
    "KernelError",
    "PageLostError",
    "ProtocolError",
    "RefusedError",
    "RemoteCancelledError",
    "RemoteError",
    "StateError",
]


class StateError(Exception):
    """What was asked cannot be done in the present state of the server, the channel or the connection."""


class ClosedError(StateError):
    """The server or the channel is not open: it was closed on this side or by its own program on the other."""


class PageLostError(StateError):
    """The connection was lost while a request was under way. The request may have run; it is not sent again."""


class RemoteCancelledError(StateError):
    """The far side's own program cancelled the code that was to answer the call. Nobody on this side did.

    A JavaScript method has thrown an ``AbortError`` that was not the call's own, or a Python method's Task was
    cancelled. The code may have run in part.
    """


class RefusedError(StateError):
    """The server refused the connection, or ended it on purpose.

    Attributes:
        reason: The reason in one word, as the wire has it: ``token``, ``origin``, ``version``, ``taken``,
            ``replaced``, ``protocol`` or ``closed``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class ProtocolError(Exception):
    """The peer sent what the protocol does not allow. The connection ends with it."""


class RemoteError(Exception):
    """The far side answered a request with an error.

    Attributes:
        kind: What went wrong, in one word: ``exception`` when the code that was asked for raised; ``handler``,
            ``method``, ``callable`` or ``private`` when there was nothing to call; ``value`` when its result cannot be
            sent; ``channel``, ``busy`` or ``ended`` when the far side could not run it or ended it.
        name: The name of the exception's type on the far side, such as ``RangeError``.
        message: The exception's message.
        stack: The stack on the far side, or ``None`` where it was not sent.
    """

    def __init__(self, kind: str, name: str, message: str, stack: str | None = None) -> None:
        super().__init__(f"{name}: {message}" if name else message)
        self.kind = kind
        self.name = name
        self.message = message
        self.stack = stack

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str, str, str | None]]:
        return type(self), (self.kind, self.name, self.message, self.stack)


class FrontendError(RemoteError):
    """The page answered with an error: its handler raised, or it has nothing to call under that name."""


class KernelError(RemoteError):
    """Python, as seen by the Python peer, answered with an error: its handler raised, or has no such method."""

"""The exceptions of all of jchannel's APIs, named after the cause.

A caller's mistake raises ``TypeError`` or ``ValueError``; a timeout raises ``trio.TooSlowError`` in trio and
``TimeoutError`` in the facades. All other exceptions are here. This module imports nothing from the project.
"""

from __future__ import annotations

__all__ = [
    "BufferFullError",
    "ClosedError",
    "FrontendError",
    "KernelError",
    "PageLostError",
    "ProtocolError",
    "RefusedError",
    "RemoteCancelledError",
    "RemoteError",
    "StateError",
    "UnreachableError",
]


def __dir__() -> list[str]:
    return __all__


class StateError(Exception):
    """The operation is not possible in the current state of the server, the channel or the connection."""


class ClosedError(StateError):
    """The server or the channel is not open: it was closed on this side, or by the program on the far side."""


class BufferFullError(StateError):
    """What is posted is more than the far side takes: so much is under way already that this was not sent.

    Nothing else is lost by it. ``Limits.send_buffer_bytes`` is the limit.
    """


class PageLostError(StateError):
    """The connection was lost during a request. The request may have run; it is not sent again."""


class RemoteCancelledError(StateError):
    """The program on the far side cancelled the code that was answering the call. Nobody on this side did.

    A JavaScript method threw an ``AbortError`` that was not the call's own, or the Task of a Python method was
    cancelled. The code may have run in part.
    """


class UnreachableError(StateError, OSError):
    """No connection to the server could be made, and nothing has been said to it.

    The name in its URL is not known, nothing listens there, the way there is cut, a proxy cannot reach it, or its
    certificate is not trusted. The message says which; the operating system's own error is the cause, where it is one.
    """


class RefusedError(StateError):
    """The server refused the connection, or closed it on purpose.

    Attributes:
        reason: The reason in one word, as in the protocol: ``token``, ``origin``, ``version``, ``taken``,
            ``replaced``, ``protocol`` or ``closed``; ``forbidden`` where it was refused without words.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class ProtocolError(Exception):
    """The far side violated the protocol, or does not speak it: it is no jchannel server. This ends the connection."""


class RemoteError(Exception):
    """The far side answered a request with an error.

    Attributes:
        kind: The kind of error, in one word: ``exception`` if the requested code raised; ``handler``, ``method``,
            ``callable`` or ``private`` if there was nothing to call; ``value`` if the result cannot be sent;
            ``channel``, ``busy`` or ``ended`` if the far side could not run the code or stopped it.
        name: The name of the exception's type on the far side, such as ``RangeError``.
        message: The exception's message.
        stack: The stack on the far side, or ``None`` if it was not sent.
    """

    def __init__(self, kind: str, name: str, message: str, stack: str | None = None) -> None:
        super().__init__(f"{name}: {message}" if name else message)
        self.kind = kind
        self.name = name
        self.message = message
        self.stack = stack

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str, str, str | None], dict[str, list[str]] | None]:
        notes: list[str] = getattr(self, "__notes__", [])
        return type(self), (self.kind, self.name, self.message, self.stack), {"__notes__": [*notes]} if notes else None


class FrontendError(RemoteError):
    """The page answered with an error: its handler raised, or has no such method."""


class KernelError(RemoteError):
    """Python answered the Python peer with an error: its handler raised, or has no such method."""

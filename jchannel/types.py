"""The types that every face of jchannel shares."""

from __future__ import annotations

from jchannel._streams.reader import MetaGenerator
from jchannel.errors import (
    BufferFullError,
    ClosedError,
    FrontendError,
    KernelError,
    PageLostError,
    ProtocolError,
    RefusedError,
    RemoteCancelledError,
    RemoteError,
    StateError,
    UnreachableError,
)

__all__ = [
    "BufferFullError",
    "ClosedError",
    "FrontendError",
    "KernelError",
    "MetaGenerator",
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

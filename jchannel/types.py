"""The types that every face of jchannel shares."""

from __future__ import annotations

from jchannel.errors import (
    ClosedError,
    FrontendError,
    KernelError,
    PageLostError,
    ProtocolError,
    RefusedError,
    RemoteError,
    StateError,
)

__all__ = [
    "ClosedError",
    "FrontendError",
    "KernelError",
    "PageLostError",
    "ProtocolError",
    "RefusedError",
    "RemoteError",
    "StateError",
]

"""A channel between one Python process and one page of JavaScript.

This is the asyncio facade, for notebooks and asyncio code. ``jchannel.trio`` is the core and the face for trio;
``jchannel.sync`` waits and returns values, for scripts. What is imported from here is loaded when it is first used:
``import jchannel`` alone loads neither trio nor asyncio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

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

if TYPE_CHECKING:
    from jchannel._bridge.marks import background
    from jchannel._bridge.watch import Listening
    from jchannel._core.invocation import time_left
    from jchannel._core.latest import Latest
    from jchannel._core.limits import Limits
    from jchannel._streams.progress import tqdm_progress
    from jchannel._streams.reader import MetaGenerator
    from jchannel.channel import Channel
    from jchannel.server import Server, start

__all__ = [
    "BufferFullError",
    "Channel",
    "ClosedError",
    "FrontendError",
    "KernelError",
    "Latest",
    "Limits",
    "Listening",
    "MetaGenerator",
    "PageLostError",
    "ProtocolError",
    "RefusedError",
    "RemoteCancelledError",
    "RemoteError",
    "Server",
    "StateError",
    "UnreachableError",
    "background",
    "start",
    "time_left",
    "tqdm_progress",
]

_HOMES: Final = {
    "Channel": "jchannel.channel",
    "Latest": "jchannel._core.latest",
    "Limits": "jchannel._core.limits",
    "Listening": "jchannel._bridge.watch",
    "MetaGenerator": "jchannel._streams.reader",
    "Server": "jchannel.server",
    "background": "jchannel._bridge.marks",
    "start": "jchannel.server",
    "time_left": "jchannel._core.invocation",
    "tqdm_progress": "jchannel._streams.progress",
}

_MODULES: Final = ("channel", "errors", "kernel", "server", "sync", "testing", "trio", "types")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    if name in _MODULES:
        return importlib.import_module(f"jchannel.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES]

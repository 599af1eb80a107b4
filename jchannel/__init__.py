"""A channel between one Python process and one page of JavaScript.

This is the asyncio facade, for notebooks and asyncio code. ``jchannel.trio`` is the core and the face for trio;
``jchannel.sync`` waits and returns values, for scripts. What is imported from here is loaded when it is first used:
``import jchannel`` alone loads neither trio nor asyncio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from jchannel.errors import (
    ClosedError,
    FrontendError,
    KernelError,
    PageLostError,
    ProtocolError,
    RefusedError,
    RemoteCancelledError,
    RemoteError,
    StateError,
)

if TYPE_CHECKING:
    from jchannel.channel import Channel
    from jchannel.marks import background
    from jchannel.metagenerator import MetaGenerator
    from jchannel.progress import tqdm_progress
    from jchannel.server import Server, start
    from jchannel.trio.limits import Limits
    from jchannel.trio.running_call import time_left

__all__ = [
    "Channel",
    "ClosedError",
    "FrontendError",
    "KernelError",
    "Limits",
    "MetaGenerator",
    "PageLostError",
    "ProtocolError",
    "RefusedError",
    "RemoteCancelledError",
    "RemoteError",
    "Server",
    "StateError",
    "background",
    "start",
    "time_left",
    "tqdm_progress",
]

_HOMES: Final = {
    "Channel": "jchannel.channel",
    "Limits": "jchannel.trio.limits",
    "MetaGenerator": "jchannel.metagenerator",
    "Server": "jchannel.server",
    "background": "jchannel.marks",
    "start": "jchannel.server",
    "time_left": "jchannel.trio.running_call",
    "tqdm_progress": "jchannel.progress",
}

_MODULES: Final = ("channel", "errors", "server", "sync", "testing", "trio", "types")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value
    if name in _MODULES:
        return importlib.import_module(f"jchannel.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})

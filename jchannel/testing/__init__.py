"""A kit for test suites: channels connected in memory to a page that the test plays, with faults on demand.

Tests in trio use ``open_pair``, ``open_server`` and ``open_page``, tests with asyncio ``AsyncioKit``, and tests of
``jchannel.sync`` ``SyncKit``. docs/testing.md has examples.
"""

from __future__ import annotations

from jchannel.testing.asyncio_kit import AsyncioKit
from jchannel.testing.explore import Exploration, explore
from jchannel.testing.facade import LoopPage, ThreadPage
from jchannel.testing.faults import Direction, Fault
from jchannel.testing.page import Page
from jchannel.testing.rest import AtRestError
from jchannel.testing.script import JavaScriptError, RecordedCall
from jchannel.testing.server import open_page, open_pair, open_server
from jchannel.testing.sync_kit import SyncKit

__all__ = [
    "AsyncioKit",
    "AtRestError",
    "Direction",
    "Exploration",
    "Fault",
    "JavaScriptError",
    "LoopPage",
    "Page",
    "RecordedCall",
    "SyncKit",
    "ThreadPage",
    "explore",
    "open_page",
    "open_pair",
    "open_server",
]


def __dir__() -> list[str]:
    return __all__

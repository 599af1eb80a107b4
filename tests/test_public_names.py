"""The names that users see: of every public module, and of every class whose objects they hold.

They are written out, so that a new one is noticed: each is a promise. What is there for the library alone has a name
that begins with an underscore, or is a function of a private module.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Iterable
from typing import Any

import pytest

import jchannel.kernel
import jchannel.sync
import jchannel.testing
import jchannel.trio
from jchannel._bridge.call import CallTask
from jchannel._streams.cursors import RecordBatches, Records
from jchannel.testing.facade import FacadeDirection
from tests.conftest import FreshPython

MODULES = {
    "jchannel": """
        BufferFullError Channel ClosedError FrontendError KernelError Latest Limits Listening MetaGenerator
        PageLostError ProtocolError RefusedError RemoteCancelledError RemoteError Server StateError UnreachableError
        background start time_left tqdm_progress
    """,
    "jchannel.channel": "Channel",
    "jchannel.errors": """
        BufferFullError ClosedError FrontendError KernelError PageLostError ProtocolError RefusedError
        RemoteCancelledError RemoteError StateError UnreachableError
    """,
    "jchannel.kernel": "KernelNursery current_nursery",
    "jchannel.server": "Server start",
    "jchannel.sync": "BlockingCalls BlockingRecords ByteStream Channel Server start",
    "jchannel.testing": """
        AsyncioKit AtRestError Direction Exploration Fault JavaScriptError LoopPage Page RecordedCall SyncKit ThreadPage
        explore open_page open_pair open_server
    """,
    "jchannel.trio": """
        CallNode CallTotals Channel ChannelStatistics ChannelStatus ChannelTree Latest LatestStatistics Limits Link
        LinkClosed OnFailure OnOpen PageNode PageStatus Peer PeerChannel Server ServerStatistics ServerTree SocketTotals
        StreamNode open_peer open_server time_left
    """,
    "jchannel.types": """
        BufferFullError ClosedError FrontendError KernelError MetaGenerator PageLostError ProtocolError RefusedError
        RemoteCancelledError RemoteError StateError UnreachableError
    """,
}

#: The public modules within the package.
SUBMODULES = [name.partition(".")[2] for name in MODULES if "." in name]

_FACADE_SERVER = """
    issue_browser_url listen move_to_newest_page open page_url start statistics stop token tree url wait_page
"""
_FACADE_CHANNEL = """
    call call_with_stream close context_timeout echo handler listen open open_latest pipe post show statistics tree
"""
_FACADE_PAGE = """
    answer call call_with_stream calls client close codes connected delay echo fail hang hold lose pipe reconnect
    release reload restore resume_reading stop_reading wait_call wait_ended wait_lost why_ended
"""
_READING = "batches_by_separator by_limit by_separator bytes_received join lines total write_to"
_CHANNEL_STATISTICS = """
    calls_made calls_served idle incoming_streams outgoing_streams pending_requests running_requests
    stream_bytes_received stream_bytes_sent streams waiting_requests
"""

CLASSES: dict[type, str] = {
    # trio
    jchannel.trio.Server: """
        hold_channel issue_browser_url move_to_newest_page open_channel page_url serve_link statistics token tree url
        wait_page watch
    """,
    jchannel.trio.Link: "aclose expect flush moved receive send send_nowait",
    jchannel.trio.Channel: """
        call call_with_stream close code context_timeout echo handler is_open module open open_latest pipe post
        statistics tree watch
    """,
    jchannel.trio.Peer: "channels connected wait_channel wait_ended why_ended",
    jchannel.trio.PeerChannel: """
        call call_with_stream code echo handler module number open_latest pipe post statistics tree
    """,
    # asyncio
    jchannel.Server: f"{_FACADE_SERVER} watch",
    jchannel.Channel: f"{_FACADE_CHANNEL} sync watch",
    # Blocking
    jchannel.sync.Server: _FACADE_SERVER,
    jchannel.sync.Channel: _FACADE_CHANNEL,
    jchannel.sync.BlockingCalls: "call call_with_stream close echo open_latest pipe post",
    # What has become of the page and of a channel
    jchannel.Listening: "close",
    jchannel.trio.ChannelStatus: "is_open openings state why",
    jchannel.trio.PageStatus: "connected page pages why",
    # The newest value
    jchannel.Latest: "set statistics",
    jchannel.trio.LatestStatistics: "failed sent skipped values",
    # Streams
    jchannel.MetaGenerator: f"{_READING} aclose",
    jchannel.sync.ByteStream: f"{_READING} close",
    Records: "aclose",
    RecordBatches: "aclose",
    jchannel.sync.BlockingRecords: "close",
    # The kit
    jchannel.testing.Page: """
        answer call call_with_stream channels close connected delay echo fail hang hold lose pipe reconnect release
        reload restore resume_reading stop_reading wait_call wait_channel wait_ended wait_lost why_ended
    """,
    jchannel.testing.LoopPage: _FACADE_PAGE,
    jchannel.testing.ThreadPage: _FACADE_PAGE,
    jchannel.testing.AsyncioKit: "advance open_page open_pair sleep time",
    jchannel.testing.SyncKit: "advance open_page open_pair time",
    jchannel.testing.Direction: "drop duplicate hold release reorder set_delay",
    FacadeDirection: "drop duplicate hold release reorder set_delay",
    jchannel.testing.Exploration: "cancel_somewhere note",
    jchannel.testing.Fault: "done",
    jchannel.testing.RecordedCall: "state",
    # The trio kernel
    jchannel.kernel.KernelNursery: "cancel start start_soon",
    # Data
    jchannel.Limits: """
        cancel_seconds channels claim_seconds cleanup_seconds close_seconds connections frame_bytes handshake_seconds
        head_bytes http_streams idle_seconds running_bytes running_requests send_buffer_bytes stranger_bytes strangers
        stream_bytes streams thread_seconds waiting_threads
    """,
    jchannel.trio.CallTotals: "answered cancelled failed",
    jchannel.trio.SocketTotals: """
        bytes_received bytes_sent frames_received frames_sent messages_received messages_sent
    """,
    jchannel.trio.ChannelStatistics: _CHANNEL_STATISTICS,
    jchannel.trio.ServerStatistics: f"""
        {_CHANNEL_STATISTICS} channels connected_seconds connections door door_reason page page_connected round_trip
        socket
    """,
    jchannel.trio.CallNode: "number parent seconds state time_left what",
    jchannel.trio.StreamNode: "bytes outgoing seconds state total what",
    jchannel.trio.ChannelTree: "calls_made calls_served far_side lines number state streams",
    jchannel.trio.PageNode: "name round_trip seconds state waiting_bytes",
    jchannel.trio.ServerTree: "channels connections lines page url",
}

#: What makes those that cannot be constructed.
MAKERS: dict[type, str] = {
    jchannel.trio.Server: "open_server",
    jchannel.trio.Channel: "Server.open_channel",
    jchannel.trio.Peer: "open_peer",
    jchannel.trio.PeerChannel: "Peer.channels",
    jchannel.Latest: "Channel.open_latest",
    jchannel.testing.Page: "open_page",
    jchannel.testing.Exploration: "explore",
}

FINAL = {
    *MAKERS,
    jchannel.MetaGenerator,
    jchannel.sync.ByteStream,
    Records,
    RecordBatches,
    jchannel.sync.BlockingRecords,
}


def public(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("_"))


def name_of(thing: object) -> str:
    return f"{thing.__module__}.{thing.__qualname__}" if isinstance(thing, type) else str(thing)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_these_names(module: str) -> None:
    names = importlib.import_module(module)
    assert sorted(names.__all__) == sorted(MODULES[module].split())
    for name in names.__all__:
        assert hasattr(names, name)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_shows_its_names_and_nothing_that_it_imports(module: str) -> None:
    shown = dir(importlib.import_module(module))
    assert sorted(shown) == sorted(
        MODULES[module].split() if module != "jchannel" else [*jchannel.__all__, *SUBMODULES]
    )


def test_the_package_shows_its_names_and_modules_before_they_are_used(fresh_python: FreshPython) -> None:
    shown = fresh_python("import jchannel; print(*dir(jchannel))").split()
    assert shown == sorted([*jchannel.__all__, *SUBMODULES])
    for name in SUBMODULES:
        assert getattr(jchannel, name) is importlib.import_module(f"jchannel.{name}")


@pytest.mark.parametrize("cls", CLASSES, ids=name_of)
def test_a_class_has_these_names(cls: type) -> None:
    assert public(dir(cls)) == sorted(CLASSES[cls].split())


def test_every_public_class_is_looked_at() -> None:
    classes = {
        thing
        for module in MODULES
        for name in importlib.import_module(module).__all__
        if inspect.isclass(thing := getattr(importlib.import_module(module), name))
    }
    assert {cls for cls in classes if not issubclass(cls, Exception)} <= set(CLASSES)


def test_exceptions_have_what_exceptions_have() -> None:
    exceptions = {
        thing
        for module in ("jchannel.errors", "jchannel.testing")
        for name in importlib.import_module(module).__all__
        if inspect.isclass(thing := getattr(importlib.import_module(module), name)) and issubclass(thing, Exception)
    }
    assert len(exceptions) == 13
    for cls in exceptions:
        assert public(dir(cls)) == public(dir(OSError if issubclass(cls, OSError) else Exception))


def test_a_task_of_a_call_has_what_tasks_have() -> None:
    # What only the log needs, and is to be hidden.
    not_hidden_yet = {"failed_unheard", "log_failure"}
    assert set(public(dir(CallTask))) - not_hidden_yet == set(public(dir(asyncio.Task)))


async def test_the_objects_of_the_kit_have_these_attributes() -> None:
    async with jchannel.testing.open_pair() as (channel, page):
        assert public(vars(channel)) == []
        assert public(vars(page)) == ["calls", "client", "to_page", "to_python"]
        direction, fault = page.to_page, page.to_page.drop("result")
        assert public(vars(direction)) == ["delay", "held"]
        assert public(vars(fault)) == ["hits"]


def test_the_objects_of_the_blocking_facade_have_these_attributes() -> None:
    with jchannel.testing.SyncKit() as kit:
        channel, page = kit.open_pair()
        assert public(vars(kit)) == ["server"]
        assert public(vars(kit.server)) == []
        assert public(vars(channel)) == []
        assert public(vars(page)) == ["to_page", "to_python"]


def test_the_objects_of_the_asyncio_facade_have_these_attributes() -> None:
    async def program() -> None:
        async with jchannel.testing.AsyncioKit() as kit:
            channel, page = await kit.open_pair()
            assert public(vars(kit)) == ["server"]
            assert public(vars(kit.server)) == []
            assert public(vars(channel)) == []
            assert public(vars(channel.sync)) == []
            assert public(vars(page)) == ["to_page", "to_python"]

    asyncio.run(program())


@pytest.mark.parametrize("cls", MAKERS, ids=name_of)
def test_what_something_else_makes_cannot_be_constructed(cls: Any) -> None:
    with pytest.raises(TypeError, match=f"{cls.__qualname__} has no public constructor"):
        cls()
    with pytest.raises(TypeError, match="its docstring says what makes it"):
        cls(None)
    assert f"``{MAKERS[cls]}``" in cls.__doc__


def test_these_classes_are_final() -> None:
    assert {cls for cls in CLASSES if getattr(cls, "__final__", False)} == FINAL

"""Handles, looked at in moments that no facade's user can hold on to."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from jchannel._assembly import Assembly, ServerOptions
from jchannel._bridge.handles import ChannelHandle, ServerHandle
from jchannel._bridge.portal import Portal
from jchannel.errors import ClosedError
from tests.core.memory import MemoryListener


@asynccontextmanager
async def open_handle() -> AsyncIterator[ServerHandle]:
    """A handle, in the test's own trio, of a server that is not started."""
    portal = Portal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(portal.run_until_cancelled)
        await trio.testing.wait_all_tasks_blocked()
        yield ServerHandle(lambda: Assembly(ServerOptions(listeners=[MemoryListener()])), portal=portal)
        nursery.cancel_scope.cancel()


async def test_a_server_that_has_been_told_to_stop_is_closed_before_it_has_ended() -> None:
    async with open_handle() as handle:
        owner = handle.start_now()
        await owner.wait_open()
        owner.stop()
        with pytest.raises(ClosedError, match=r"^the server is closed$"):
            handle.find_server()
        await owner.wait_ended()


async def test_a_request_of_a_channel_that_has_not_been_opened_is_refused() -> None:
    async with open_handle() as handle:
        await handle.start_now().wait_open()
        with pytest.raises(ClosedError, match="it has not been opened"):
            ChannelHandle(handle, "code").refuse_request()


async def test_closing_a_channel_that_has_not_been_opened_does_nothing() -> None:
    async with open_handle() as handle:
        channel = ChannelHandle(handle, "code")
        await channel._begin_close(math.inf, "it was closed")
        assert channel.core is None


async def test_a_request_of_a_channel_whose_server_has_not_been_started_is_refused() -> None:
    async with open_handle() as handle:
        with pytest.raises(ClosedError, match="the server is not started"):
            ChannelHandle(handle, "code").refuse_request()


def test_origins_that_can_be_read_once_are_there_for_each_start() -> None:
    options = ServerOptions(origins=iter(["https://example.com"]))
    assert [list(options.origins), list(options.origins)] == [["https://example.com"]] * 2

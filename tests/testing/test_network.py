"""The network in memory: trio's own conformance checks, and what a test can do to it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from jchannel.testing.network import (
    CAPACITY,
    MemoryListener,
    MemoryReceiveStream,
    MemorySendStream,
    MemoryStream,
    Transit,
    connect_streams,
)


async def make_pair() -> tuple[MemoryStream, MemoryStream]:
    connection = connect_streams()
    return connection.client, connection.server


async def make_clogged_pair() -> tuple[MemoryStream, MemoryStream]:
    client, server = await make_pair()
    await client.send_all(bytes(CAPACITY))
    await server.send_all(bytes(CAPACITY))
    return client, server


async def test_without_waiting_as_much_is_sent_as_there_is_room_for() -> None:
    send, receive = await make_one_way()
    assert send.send_some_nowait(bytes(CAPACITY - 1)) == CAPACITY - 1
    assert send.send_some_nowait(memoryview(b"abc")) == 1
    assert send.send_some_nowait(b"bc") == 0
    assert len(await receive.receive_some(CAPACITY)) == CAPACITY - 1
    assert await receive.receive_some() == b"a"
    await receive.aclose()
    assert send.send_some_nowait(b"bc") == 0


async def make_one_way() -> tuple[MemorySendStream, MemoryReceiveStream]:
    client, server = await make_pair()
    return client.send_stream, server.receive_stream


async def make_clogged_one_way() -> tuple[MemorySendStream, MemoryReceiveStream]:
    send, receive = await make_one_way()
    await send.send_all(bytes(CAPACITY))
    return send, receive


async def test_one_direction_is_a_stream_as_trio_defines_it() -> None:
    await trio.testing.check_one_way_stream(make_one_way, make_clogged_one_way)


async def test_a_connection_is_a_stream_as_trio_defines_it() -> None:
    await trio.testing.check_half_closeable_stream(make_pair, make_clogged_pair)


async def test_what_is_delayed_arrives_that_much_later_and_in_order(autojump_clock: trio.testing.MockClock) -> None:
    transit = Transit()
    connection = connect_streams(to_server=transit)
    transit.delay = 5
    await connection.client.send_all(b"first")
    transit.delay = 1
    await connection.client.send_all(b"second")
    start = trio.current_time()
    assert await connection.server.receive_some() == b"first"
    assert trio.current_time() - start == 5
    assert await connection.server.receive_some() == b"second"
    assert trio.current_time() - start == 5


async def test_what_is_held_waits_until_it_is_released(autojump_clock: trio.testing.MockClock) -> None:
    transit = Transit()
    connection = connect_streams(to_server=transit)
    transit.held = True
    await connection.client.send_all(b"data")
    await connection.client.aclose()
    with trio.move_on_after(3600) as timer:
        await connection.server.receive_some()
    assert timer.cancelled_caught
    transit.held = False
    transit._notify()
    assert await connection.server.receive_some() == b"data"
    assert await connection.server.receive_some() == b""


async def test_a_connection_that_breaks_loses_what_is_under_way() -> None:
    connection = connect_streams()
    await connection.client.send_all(b"lost")
    connection.break_off()
    for stream in (connection.client, connection.server):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"more")


async def test_a_sender_waits_while_much_is_under_way() -> None:
    connection = connect_streams()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.client.send_all, bytes(CAPACITY + 1))
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert len(await connection.server.receive_some()) == CAPACITY
        assert await connection.server.receive_some() == b"\x00"


async def test_a_part_can_be_received() -> None:
    connection = connect_streams()
    await connection.client.send_all(b"abc")
    assert await connection.server.receive_some(2) == b"ab"
    assert await connection.server.receive_some(2) == b"c"
    with pytest.raises(ValueError, match="at least 1"):
        await connection.server.receive_some(0)


async def test_one_task_at_a_time_uses_an_end() -> None:
    client, server = await make_clogged_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.wait_send_all_might_not_block)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="sending"):
            await client.send_all(b"")
        await server.receive_some()


async def test_a_listener_gives_the_connections_until_it_is_closed() -> None:
    listener = MemoryListener()
    connection = listener.connect()
    assert await listener.accept() is connection.server
    await listener.aclose()
    with pytest.raises(ConnectionRefusedError, match="closed"):
        listener.connect()


async def test_a_connection_is_released_when_who_accepted_it_has_closed_it() -> None:
    connection = connect_streams()
    await connection.client.aclose()
    assert not connection.released
    await connection.server.aclose()
    assert connection.released


async def test_who_was_not_accepted_finds_the_connection_broken() -> None:
    listener = MemoryListener()
    connection = listener.connect()
    await listener.aclose()
    await listener.aclose()
    assert connection.released
    with pytest.raises(trio.BrokenResourceError):
        await connection.client.send_all(b"hello")

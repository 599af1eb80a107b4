"""The outbox, in moments that its users cannot hold on to."""

import math
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._core.arguments import pack_call
from jchannel._core.outgoing import INLINE_BYTES
from jchannel._core.request import Request
from jchannel._core.room import Room
from tests.core.internals import channel_core, count_entries, session_of, start_call, start_pipe
from tests.core.memory import open_memory_server


async def test_a_request_that_is_cancelled_in_the_moment_its_stream_is_ready_is_not_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    requests: list[Request] = []
    closed = trio.Event()

    async def give() -> AsyncIterator[bytes]:
        try:
            yield bytes(INLINE_BYTES + 1)
            # The task that waited for the piece has been woken, and has not run yet.
            requests[0].cancel()
            await trio.sleep_forever()
        finally:
            closed.set()

    async with open_memory_server() as memory, memory.open_peer(), memory.server.open_channel("code") as channel:
        requests.append(start_pipe(channel, give()))
        await closed.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert requests[0].id is None
        assert count_entries(channel) == (0, 0, 0, 0)


async def test_requests_that_another_thread_makes_while_trio_waits_are_sent_in_their_order() -> None:
    received: list[int] = []

    class Page:
        def record(self, number: int) -> int:
            received.append(number)
            return -number

    async with open_memory_server() as memory, memory.open_peer(Page()), memory.server.open_channel("code") as channel:
        outbox = channel_core(channel).outbox
        await trio.testing.wait_all_tasks_blocked()

        def make() -> list[Request]:
            return [outbox.start(pack_call("record", (number,)), math.inf, parent=None) for number in range(3)]

        requests = await trio.to_thread.run_sync(make)
        assert [await request.wait() for request in requests] == [0, -1, -2]
    assert received == [0, 1, 2]


async def test_requests_in_line_are_not_sent_by_another_thread_that_makes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    send = Request.send

    def note(request: Request, *args: Any, **more: Any) -> None:
        threads.append(threading.get_ident())
        send(request, *args, **more)

    class Page:
        def record(self, number: int) -> int:
            return -number

    async with open_memory_server() as memory, memory.open_peer(Page()), memory.server.open_channel("code") as channel:
        outbox = channel_core(channel).outbox
        monkeypatch.setattr(Request, "send", note)
        with monkeypatch.context() as full:
            full.setattr(Room, "free", False)
            first = start_call(channel, "record", 0)
        # There is room again, and nobody has looked at the line yet.
        second = await trio.to_thread.run_sync(lambda: outbox.start(pack_call("record", (1,)), math.inf, parent=None))
        assert [await first.wait(), await second.wait()] == [0, -1]
    assert set(threads) == {threading.get_ident()}


async def test_an_error_in_a_step_of_another_thread_ends_the_session_in_trio() -> None:
    async with open_memory_server() as memory, memory.open_peer():
        session = session_of(memory.server)
        assert session is not None
        await trio.to_thread.run_sync(session.break_off, ZeroDivisionError())
        await session.wait_ended()
        assert "an error of jchannel" in session.why_ended

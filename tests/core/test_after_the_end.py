"""What comes in after the end of its session: nothing of it begins, as nobody would end it."""

from __future__ import annotations

from typing import NoReturn

import pytest
import trio
import trio.testing

from jchannel._core import peer as core_peer
from jchannel._core.channel import ServerChannel
from jchannel._core.greeting import greet
from jchannel._core.session import Session
from jchannel._core.transport import Link
from jchannel._protocol.connection import Connection
from jchannel._protocol.frames import encode_frame
from jchannel._protocol.messages import Beat, Call, Goodbye, Message, Open, Result, StreamInfo, encode
from jchannel._protocol.values import Packed
from jchannel.trio import Channel, Server
from tests.core.internals import (
    count_entries,
    count_in_server,
    lose,
    peer_session,
    receive_frames,
    session_of,
    start_call,
)
from tests.core.memory import open_memory_server


class Handler:
    """The server's. It notes what has begun."""

    def __init__(self) -> None:
        self.begun: list[object] = []

    async def hang(self, stream: object = None) -> None:
        self.begun.append(stream)
        await trio.sleep_forever()


@pytest.mark.parametrize("on_purpose", [False, True])
async def test_no_call_begins_that_arrives_after_its_page_is_lost(
    autojump_clock: trio.testing.MockClock, *, on_purpose: bool
) -> None:
    handler = Handler()
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("code", handler=handler) as channel:
            nursery.start_soon(channel.open, None)
            async with memory.open_page() as page:
                opening = await page.expect(Open)
                await page.send(Result(opening.id, Packed("null")))
                await trio.testing.wait_all_tasks_blocked()
                session = session_of(memory.server)
                assert session is not None
                # The reader of the session has been woken by the frame, and goes on after the end.
                first = Call(1, opening.channel, "hang", Packed("[]"))
                second = Call(2, opening.channel, "hang", Packed("[]"), StreamInfo(1))
                await page.send(first, second)
                if on_purpose:
                    session.end("closed", "on purpose")
                else:
                    lose(session)
                await session.wait_ended()
                await trio.testing.wait_all_tasks_blocked()
                assert handler.begun == []
                assert count_entries(channel) == (0, 0, 0, 0)
                assert count_in_server(memory.server) == (0, 0, 0)
                assert memory.server.statistics().idle


async def test_a_goodbye_that_comes_with_the_welcome_says_why_the_session_ends(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def greet_and_hear_goodbye(link: Link, client: str) -> tuple[Connection, list[Message]]:
        connection, early = await greet(link, client)
        return connection, [*early, *connection.receive(encode_frame([encode(Goodbye("closed", "it was a mistake"))]))]

    monkeypatch.setattr(core_peer, "greet", greet_and_hear_goodbye)
    async with open_memory_server() as memory, memory.open_peer() as peer:
        await peer.wait_ended()
        assert peer_session(peer).why_ended == "the server has closed the connection: it was a mistake"


async def test_nothing_of_a_frame_is_handled_behind_what_has_ended_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_memory_server() as memory, memory.open_peer():
        session = session_of(memory.server)
        assert session is not None
        handled: list[object] = []

        def end(message: object) -> None:
            handled.append(message)
            session.end("closed", "on purpose")

        monkeypatch.setattr(session, "_handle", end)
        receive_frames(session, '[{"type":"beat"},{"type":"beat"}]')
        assert handled == [Beat()]


async def test_an_error_in_queueing_ends_the_session_and_what_was_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_memory_server() as memory, memory.open_peer(), memory.server.open_channel("code") as channel:
        session = session_of(memory.server)
        assert session is not None
        request = start_call(channel, "nothing")
        assert request.sent

        def fail(_: object) -> NoReturn:
            raise ZeroDivisionError

        monkeypatch.setattr(session._connection, "send", fail)
        request.cancel()
        assert request.done
        assert session.ending
        await session.wait_ended()


async def test_a_page_whose_session_ends_while_its_channels_open_gets_no_further_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attached: list[object] = []

    def attach(self: ServerChannel, session: Session) -> None:
        attached.append(self)
        session.end("closed", "on purpose")

    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        for _ in range(2):
            channel = await nursery.start(_hold_channel, memory.server)
            nursery.start_soon(channel.open, None)
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.setattr(ServerChannel, "attach", attach)
        async with memory.open_peer() as peer:
            await trio.testing.wait_all_tasks_blocked()
            assert not peer.connected
        assert len(attached) == 1
        nursery.cancel_scope.cancel()


async def _hold_channel(server: Server, *, task_status: trio.TaskStatus[Channel]) -> None:
    async with server.hold_channel("code") as channel:
        task_status.started(channel)
        await trio.sleep_forever()

"""Interrupts in a program of trio's: they come where the program waits, and not within a step of a session."""

from __future__ import annotations

import signal

import pytest
import trio
import trio.testing

from jchannel._core.outbox import Outbox
from jchannel._protocol.connection import Connection
from tests.core.memory import open_memory_server


class Handler:
    def __init__(self) -> None:
        self.protected: list[bool] = []

    def note(self) -> None:
        self.protected.append(trio.lowlevel.currently_ki_protected())


def test_an_interrupt_waits_for_the_end_of_a_step_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: set[bool] = set()
    receive, start = Connection.receive, Outbox.start

    def note_and_receive(connection: Connection, frame: str | bytes) -> object:
        steps.add(trio.lowlevel.currently_ki_protected())
        return receive(connection, frame)

    def note_and_start(outbox: Outbox, *args: object, **options: object) -> object:
        steps.add(trio.lowlevel.currently_ki_protected())
        return start(outbox, *args, **options)  # type: ignore[arg-type]

    async def main() -> None:
        handler = Handler()
        async with (
            open_memory_server() as memory,
            memory.open_peer(handler),
            memory.server.open_channel("code") as channel,
        ):
            await channel.call("note")
            # A method is the program's.
            assert handler.protected == [False]

    monkeypatch.setattr(Connection, "receive", note_and_receive)
    monkeypatch.setattr(Outbox, "start", note_and_start)
    trio.run(main)


def test_an_interrupt_of_a_call_cancels_it_and_leaves_the_session_as_it_was() -> None:
    class Page:
        async def hang(self) -> None:
            await trio.to_thread.run_sync(signal.raise_signal, signal.SIGINT)
            await trio.sleep_forever()

    async def main() -> None:
        async with open_memory_server() as memory, memory.open_peer(Page()) as peer:
            async with memory.server.open_channel("code") as channel:
                with pytest.raises(KeyboardInterrupt):
                    await channel.call("hang", timeout=None)
                await trio.testing.wait_all_tasks_blocked()
                assert await channel.echo(1) == [1]
                assert peer.why_ended == ""

    trio.run(main)

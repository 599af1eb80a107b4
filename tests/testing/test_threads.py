"""Threads in which the kit's channels read and write: no time passes while they work."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

import jchannel.testing.hold
import jchannel.testing.rest
from jchannel._streams.blocking import ByteStream
from jchannel._streams.reader import MetaGenerator
from jchannel.testing import AsyncioKit, SyncKit, open_pair


class Frontend:
    """Plays the JavaScript."""

    async def save(self, stream: MetaGenerator) -> int:
        return len(await stream.join())


class ThreadFrontend:
    """Plays the JavaScript, in threads."""

    def save(self, stream: ByteStream) -> int:
        return len(stream.join())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jchannel.testing.hold, "PATIENCE", 0.02)
    monkeypatch.setattr(jchannel.testing.rest, "PATIENCE", 0.02)


def test_time_does_not_jump_while_a_thread_reads_or_writes(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(1_000))

    class File(io.BytesIO):
        """One that is not known to be short."""

    async def main() -> None:
        async with open_pair(Frontend()) as (channel, _):
            assert await channel.call_with_stream("save", tmp_path / "in") == 1_000
            assert await channel.call_with_stream("save", iter([bytes(10)])) == 10
            assert await channel.call_with_stream("save", File(bytes(20))) == 20
            async with await channel.pipe(tmp_path / "in") as stream:
                assert await stream.write_to(tmp_path / "out") == 1_000
            assert trio.current_time() < 3

    for _ in range(5):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_time_stands_still_until_the_last_thread_is_through(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(bytes(1_000))
    over = threading.Event()

    def source() -> Iterator[bytes]:
        over.wait()
        yield b"data"

    async with open_pair(Frontend()) as (channel, _), trio.open_nursery() as nursery:
        nursery.start_soon(channel.call_with_stream, "save", source())
        assert await channel.call_with_stream("save", tmp_path / "in") == 1_000
        over.set()
    assert trio.current_time() < 3


@pytest.mark.usefixtures("impatient")
async def test_a_thread_that_waits_itself_does_not_hold_time_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    over = threading.Event()

    def source() -> Iterator[bytes]:
        yield bytes(100_000)
        over.wait()

    async with open_pair(Frontend()) as (channel, _):
        why = "not answered within 3 s without progress, and has been cancelled; its stream waits for its source"
        with pytest.raises(trio.TooSlowError, match=why):
            await channel.call_with_stream("save", source())
        over.set()


@pytest.mark.usefixtures("impatient")
async def test_a_stream_that_does_not_open_is_not_blamed_on_the_page(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with open_pair(Frontend()) as (channel, _):
        with pytest.raises(trio.TooSlowError, match="without progress: its stream is being opened still"):
            await channel.call_with_stream("save", pipe)
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))  # The thread ends.


def test_the_time_of_a_kit_waits_for_threads(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(1_000))

    async def main() -> None:
        async with AsyncioKit() as kit:
            channel, _ = await kit.open_pair(Frontend())
            task = channel.call_with_stream("save", tmp_path / "in")
            await kit.advance(100)
            assert await task == 1_000

    asyncio.run(main())


@pytest.mark.usefixtures("impatient")
def test_the_time_of_a_kit_does_not_wait_for_ever() -> None:
    over = threading.Event()

    def source() -> Iterator[bytes]:
        yield b""
        over.wait()

    async def main() -> None:
        async with AsyncioKit(patience=0.05) as kit:
            channel, _ = await kit.open_pair(Frontend())
            task = channel.call_with_stream("save", source())
            await kit.advance(4)
            with pytest.raises(TimeoutError, match="its stream waits for its source"):
                await task
            over.set()

    asyncio.run(main())


def test_a_source_may_move_the_time() -> None:
    with SyncKit() as kit:

        def source() -> Iterator[bytes]:
            yield b"first"
            kit.advance(2)
            yield b"second"

        channel, _ = kit.open_pair(ThreadFrontend())
        assert channel.call_with_stream("save", source()) == len(b"firstsecond")
        assert kit.time == 2

"""Many that wait for each other in threads: what may wait for ever never keeps a thread from whoever it waits for."""

from __future__ import annotations

import asyncio
import os
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import trio

import jchannel
import jchannel.sync
from jchannel.errors import FrontendError, KernelError, StateError
from jchannel.testing import SyncKit
from jchannel.trio import Channel, Limits, PeerChannel
from tests.core.memory import open_memory_server
from tests.peer_thread import TIMEOUT, PeerThread

CODE = "(channel) => {}"

#: More than any pool of threads has by default.
MANY = 60


class Page:
    """A page's handler, whose methods call back."""

    channel: PeerChannel

    async def ask(self, number: int) -> int:
        answer: int = await self.channel.call("double", number, timeout=TIMEOUT)
        return answer

    async def start(self, count: int) -> list[int]:
        """Calls a method of Python's many times at once, each of which calls back."""
        answers: list[int] = []

        async def call(number: int) -> None:
            answers.append(await self.channel.call("through_the_page", number, timeout=TIMEOUT))

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(call, number)
        return sorted(answers)


class Handler:
    """The Python handler, whose methods wait for the page, or for each other."""

    def __init__(self, channel: jchannel.sync.Channel | jchannel.channel.Channel) -> None:
        self.call = channel.call if isinstance(channel, jchannel.sync.Channel) else channel.sync.call
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.all = threading.Barrier(MANY)

    @jchannel.background
    def through_the_page(self, number: int) -> int:
        # All of them wait before any goes on.
        self.all.wait(TIMEOUT)
        answer: int = self.call("ask", number, timeout=TIMEOUT)
        return answer

    @jchannel.background
    def double(self, number: int) -> int:
        return 2 * number

    @jchannel.background
    def hold(self) -> None:
        self.begun.release()
        assert self.go_on.wait(TIMEOUT)

    @jchannel.background
    def give(self) -> Iterator[bytes]:
        self.begun.release()
        assert self.go_on.wait(TIMEOUT)
        yield b"done"


class CallingPeer(PeerThread):
    """A peer whose channels have a `Page`."""

    def __init__(self, url: str) -> None:
        super().__init__(url, self._set_handler)

    def _set_handler(self, channel: PeerChannel, _: str) -> None:
        channel.handler = page = Page()
        page.channel = channel


def test_more_methods_than_a_pool_has_threads_may_call_back_at_once() -> None:
    with jchannel.sync.start(port=0) as server, CallingPeer(server.page_url), server.open(CODE) as channel:
        channel.handler = Handler(channel)
        answers = channel.call("start", MANY, timeout=TIMEOUT)
    assert answers == [2 * number for number in range(MANY)]


def test_more_marked_methods_than_a_pool_has_threads_may_call_back_at_once() -> None:
    async def program() -> list[int]:
        async with jchannel.Server(port=0) as server:
            with CallingPeer(server.page_url):
                async with jchannel.channel.Channel(server, CODE) as channel:
                    channel.handler = Handler(channel)
                    answers: list[int] = await channel.call("start", MANY, timeout=TIMEOUT)
                    return answers

    assert asyncio.run(program()) == [2 * number for number in range(MANY)]


def test_more_slow_sources_than_a_pool_has_threads_keep_nothing_else_waiting(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("on the disk")
    go_on = threading.Event()

    def slow(begun: threading.Semaphore) -> Iterator[bytes]:
        begun.release()
        assert go_on.wait(TIMEOUT)
        yield b"done"

    def pipe(source: object) -> bytes:
        with channel.pipe(source, TIMEOUT) as stream:
            return stream.join()

    begun = threading.Semaphore(0)
    with (
        jchannel.sync.start(port=0, static=tmp_path) as server,
        CallingPeer(server.page_url),
        server.open(CODE) as channel,
        ThreadPoolExecutor(MANY) as pool,
    ):
        slow_ones = [pool.submit(pipe, slow(begun)) for _ in range(MANY - 5)]
        for _ in slow_ones:
            assert begun.acquire(timeout=TIMEOUT)
        assert pipe(tmp_path / "file.txt") == b"on the disk"
        with (tmp_path / "file.txt").open("rb") as file:
            assert pipe(file) == b"on the disk"
        with channel.pipe(b"to the disk", TIMEOUT) as stream:
            stream.write_to(tmp_path / "written")
        assert (tmp_path / "written").read_bytes() == b"to the disk"
        with urllib.request.urlopen(f"{server.url}/file.txt", timeout=TIMEOUT) as response:  # noqa: S310 (the server's)
            assert response.read() == b"on the disk"
        go_on.set()
        assert {future.result() for future in slow_ones} == {b"done"}


async def test_more_slow_sources_than_a_pool_has_threads_keep_nothing_else_waiting_in_trio(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("on the disk")
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow() -> Iterator[bytes]:
        begun.release()
        assert go_on.wait(TIMEOUT)
        yield b"done"

    async def pipe(channel: Channel, source: object) -> None:
        async with await channel.pipe(source, TIMEOUT) as stream:
            read.append(await stream.join())

    read: list[bytes] = []
    async with open_memory_server() as memory, memory.open_peer():
        async with memory.server.open_channel("code") as channel, trio.open_nursery() as nursery:
            for _ in range(MANY):
                nursery.start_soon(pipe, channel, slow())
            for _ in range(MANY):
                await trio.to_thread.run_sync(begun.acquire)
            await pipe(channel, tmp_path / "file.txt")
            async with await channel.pipe(b"to the disk", TIMEOUT) as stream:
                await stream.write_to(tmp_path / "written")
            go_on.set()
    assert read == [b"on the disk", *[b"done"] * MANY]
    assert (tmp_path / "written").read_bytes() == b"to the disk"


def test_pipes_that_nobody_writes_to_keep_nothing_else_waiting(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(MANY)]
    for path in paths:
        os.mkfifo(path)

    def pipe(source: object) -> bytes:
        with channel.pipe(source, TIMEOUT) as stream:
            return stream.join()

    with (
        jchannel.sync.start(port=0) as server,
        CallingPeer(server.page_url),
        server.open(CODE) as channel,
        ThreadPoolExecutor(MANY) as pool,
    ):
        waiting = [pool.submit(pipe, path) for path in paths]
        assert pipe(Path(__file__)) == Path(__file__).read_bytes()
        for path in paths:
            path.write_bytes(b"written")
        assert {future.result() for future in waiting} == {b"written"}


WORDS = r"2 threads wait already, as many as Limits\.waiting_threads allows"


@pytest.mark.parametrize("name", ["hold", "give"])
def test_one_more_than_the_limit_is_answered_with_its_name(name: str) -> None:
    limits = Limits(waiting_threads=2, thread_seconds=0.01)
    with jchannel.sync.start(port=0, limits=limits) as server, CallingPeer(server.page_url) as page:
        with server.open(CODE) as channel, ThreadPoolExecutor(2) as pool:
            channel.handler = handler = Handler(channel)
            held = [pool.submit(page.call, "hold") for _ in range(2)]
            for _ in held:
                assert handler.begun.acquire(timeout=TIMEOUT)
            with pytest.raises(KernelError, match=WORDS) as caught:
                page.call(name)
            assert caught.value.kind == "busy"
            handler.go_on.set()
            assert [future.result() for future in held] == [None, None]
            assert page.call("double", 2) == 4


def test_more_short_methods_at_once_than_threads_may_wait_take_turns() -> None:
    limits = Limits(waiting_threads=2)
    with jchannel.sync.start(port=0, limits=limits) as server, CallingPeer(server.page_url) as page:
        with server.open(CODE) as channel, ThreadPoolExecutor(MANY) as pool:
            channel.handler = Handler(channel)
            answers = list(pool.map(partial(page.call, "double"), range(MANY)))
    assert answers == [2 * number for number in range(MANY)]


def test_one_more_source_than_the_limit_breaks_with_its_name() -> None:
    limits = Limits(waiting_threads=2)
    with jchannel.sync.start(port=0, limits=limits) as server, CallingPeer(server.page_url) as page:
        with server.open(CODE) as channel, ThreadPoolExecutor(2) as pool:
            channel.handler = handler = Handler(channel)
            held = [pool.submit(page.call, "hold") for _ in range(2)]
            for _ in held:
                assert handler.begun.acquire(timeout=TIMEOUT)
            with channel.pipe([bytes(100_000)], TIMEOUT) as stream:
                with pytest.raises((FrontendError, StateError), match=WORDS):
                    stream.join()
            handler.go_on.set()
            assert [future.result() for future in held] == [None, None]


def test_the_page_of_the_kit_has_as_many_threads() -> None:
    class Meeting:
        def __init__(self) -> None:
            self.all = threading.Barrier(MANY)

        def meet(self) -> bool:
            return self.all.wait(TIMEOUT) >= 0

    with SyncKit() as kit, ThreadPoolExecutor(MANY) as pool:
        channel, _ = kit.open_pair(Meeting())
        assert all(pool.map(lambda _: channel.call("meet", timeout=None), range(MANY)))

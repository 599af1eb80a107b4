"""Sources that run on an asyncio loop, with the core left out: the test reads them in the bridge's trio."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import pytest
import trio

from jchannel._bridge import loop_source as module
from jchannel._bridge.call import in_task, wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.loop_source import GATHERED_BYTES, LoopSource
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.portal import open_thread_portal
from jchannel._streams.sources import READ_SIZE
from jchannel.errors import StateError
from tests.peer_thread import TIMEOUT

T = TypeVar("T")


def source_of(stream: AsyncIterable[object]) -> LoopSource:
    mailbox = LoopMailbox.of(asyncio.get_running_loop())
    return LoopSource(stream, mailbox, open_thread_portal(), contextvars.copy_context())


async def in_trio(function: Callable[[], Awaitable[T]]) -> T:
    return await in_task(TaskJob(open_thread_portal(), function), "")


async def read(source: LoopSource) -> list[bytes]:
    async def read_all() -> list[bytes]:
        return [piece async for piece in source]

    return await in_trio(read_all)


async def reaches(state: Callable[[], bool]) -> None:
    """Lets the loop run until a state is there that it comes to by itself."""
    while not state():  # noqa: ASYNC110 (nothing says when it is there)
        await asyncio.sleep(0)


def no_task_is_left() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


class Counting:
    """An endless async generator that counts, and says when it has ended."""

    def __init__(self, size: int = 100_000) -> None:
        self.given = 0
        self.ended = False
        self.hanging = threading.Event()
        self.pieces = self._make(size)

    async def _make(self, size: int) -> AsyncIterator[bytes]:
        try:
            while True:
                self.given += 1
                yield bytes(size)
        finally:
            await asyncio.sleep(0)
            self.ended = True


class Hanging:
    """An async iterator that hangs, then gives an item all the same when it is cancelled."""

    def __init__(self) -> None:
        self.hanging = threading.Event()
        self.closed = 0

    def __aiter__(self) -> "Hanging":
        return self

    async def __anext__(self) -> bytes:
        self.hanging.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return b"late"

    async def aclose(self) -> None:
        self.closed += 1


def test_small_items_come_together_and_large_ones_alone() -> None:
    async def items() -> AsyncIterator[object]:
        for _ in range(10):
            yield bytearray(b"ab")
        yield b""
        yield bytes(READ_SIZE)
        yield bytes(3)

    async def program() -> None:
        source = source_of(items())
        # All is gathered before the first is taken: trio is held up until the Task has ended.
        held = threading.Event()

        async def read_late() -> list[bytes]:
            source._start()
            await trio.to_thread.run_sync(held.wait, TIMEOUT)
            return [piece async for piece in source]

        reading = asyncio.ensure_future(in_trio(read_late))
        await reaches(lambda: source._over)
        held.set()
        assert await reading == [b"ab" * 10, bytes(READ_SIZE), bytes(3)]
        assert no_task_is_left()

    asyncio.run(program())


def test_a_source_is_read_ahead_up_to_a_bound_and_goes_on() -> None:
    async def program() -> None:
        counting = Counting()
        source = source_of(counting.pieces)
        first = await in_trio(source.__anext__)
        await reaches(lambda: source._loop_waits)
        given = counting.given
        assert given * 100_000 < GATHERED_BYTES + len(first) + 100_001
        taken = len(first)
        while taken <= given * 100_000:
            taken += len(await in_trio(source.__anext__))
        assert counting.given > given
        await in_trio(source.aclose)
        assert counting.ended
        assert no_task_is_left()

    asyncio.run(program())


def test_a_source_that_never_waits_leaves_the_loop_time() -> None:
    async def nothing() -> AsyncIterator[bytes]:
        while True:
            yield b""

    async def program() -> None:
        source = source_of(nothing())
        reading = asyncio.ensure_future(read(source))
        await reaches(lambda: source._started)
        for _ in range(3):
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await in_trio(source.aclose)
        assert no_task_is_left()

    asyncio.run(program())


def test_closing_waits_for_the_finally_also_where_it_has_no_room() -> None:
    async def program() -> None:
        counting = Counting()
        source = source_of(counting.pieces)
        await in_trio(source.__anext__)
        await reaches(lambda: source._loop_waits)
        await in_trio(source.aclose)
        assert counting.ended
        # Again, it does nothing.
        await in_trio(source.aclose)

    asyncio.run(program())


def test_closing_cancels_an_iterator_that_waits_and_takes_nothing_more() -> None:
    async def program() -> None:
        hanging = Hanging()
        source = source_of(hanging)
        reading = asyncio.ensure_future(read(source))
        assert await asyncio.to_thread(hanging.hanging.wait, TIMEOUT)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await in_trio(source.aclose)
        assert hanging.closed == 1
        assert no_task_is_left()

    asyncio.run(program())


def test_closing_what_was_never_read_closes_the_iterator() -> None:
    async def program() -> None:
        hanging = Hanging()
        await in_trio(source_of(hanging).aclose)
        assert hanging.closed == 1
        assert not hanging.hanging.is_set()
        assert no_task_is_left()

    asyncio.run(program())


def test_an_iterator_without_aclose_is_left_alone() -> None:
    class Plain:
        def __init__(self) -> None:
            self.items = [b"a", b"b"]

        def __aiter__(self) -> "Plain":
            return self

        async def __anext__(self) -> bytes:
            if not self.items:
                raise StopAsyncIteration
            return self.items.pop(0)

    async def program() -> None:
        assert b"".join(await read(source_of(Plain()))) == b"ab"

    asyncio.run(program())


def test_an_error_comes_after_the_items_before_it_and_closing_does_not_repeat_it() -> None:
    async def fail() -> AsyncIterator[bytes]:
        yield b"before"
        raise LookupError("in the source")

    async def program() -> None:
        source = source_of(fail())
        assert await in_trio(source.__anext__) == b"before"
        with pytest.raises(LookupError, match="in the source"):
            await in_trio(source.__anext__)
        await in_trio(source.aclose)

    asyncio.run(program())


def test_an_item_that_is_not_bytes_is_an_error() -> None:
    async def numbers() -> AsyncIterator[object]:
        yield 5

    async def program() -> None:
        with pytest.raises(TypeError, match="int is none"):
            await read(source_of(numbers()))
        assert no_task_is_left()

    asyncio.run(program())


def test_an_error_of_closing_is_raised_by_closing() -> None:
    async def careless() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            raise LookupError("in the end")

    async def program() -> None:
        source = source_of(careless())
        await in_trio(source.__anext__)
        with pytest.raises(LookupError, match="in the end"):
            await in_trio(source.aclose)

    asyncio.run(program())


def test_a_source_that_its_own_program_cancels_is_an_error() -> None:
    async def give_up() -> AsyncIterator[bytes]:
        yield b""
        raise asyncio.CancelledError

    async def program() -> None:
        with pytest.raises(StateError, match="cancelled in Python, by its own program"):
            await read(source_of(give_up()))

    asyncio.run(program())


def test_the_reader_of_a_source_that_exits_hears_of_it() -> None:
    async def leave() -> AsyncIterator[bytes]:
        yield b""
        raise SystemExit(3)

    async def make() -> LoopSource:
        return source_of(leave())

    loop = asyncio.new_event_loop()
    source = loop.run_until_complete(make())
    heard: list[str] = []

    def read_blocking() -> None:
        try:
            wait_blocking(TaskJob(open_thread_portal(), source.__anext__))
        except StateError as error:
            heard.append(str(error))

    thread = threading.Thread(target=read_blocking)
    thread.start()
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))
    thread.join()
    loop.close()
    assert heard == ["the source of the stream has ended with SystemExit, which is meant for its own program"]


def test_the_reader_of_a_source_for_which_the_loop_makes_no_task_hears_of_it() -> None:
    async def give() -> AsyncIterator[bytes]:
        yield b"never"

    def fail(loop: asyncio.AbstractEventLoop, *_: Any, **__: Any) -> Any:
        loop.set_task_factory(None)
        raise LookupError("no more tasks")

    async def program() -> None:
        source = source_of(give())
        reading = asyncio.get_running_loop().create_task(read(source))
        asyncio.get_running_loop().set_task_factory(fail)
        with pytest.raises(LookupError, match="no more tasks"):
            await reading

    asyncio.run(program())


class TestALoopThatIsClosed:
    def make(self, stream: AsyncIterable[object]) -> tuple[asyncio.AbstractEventLoop, LoopSource]:
        async def program() -> LoopSource:
            return source_of(stream)

        loop = asyncio.new_event_loop()
        return loop, loop.run_until_complete(program())

    def wait(self, function: Callable[[], Awaitable[Any]]) -> Any:
        return wait_blocking(TaskJob(open_thread_portal(), function))

    def test_before_the_first_read_is_an_error(self) -> None:
        loop, source = self.make(Counting().pieces)
        loop.close()
        with pytest.raises(StateError, match="loop on which the source of the stream runs is closed"):
            self.wait(source.__anext__)
        self.wait(source.aclose)

    def test_under_a_read_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LOOP_CHECK_SECONDS", 0.01)
        loop, source = self.make(Counting().pieces)
        waiting = threading.Event()
        wait = source._wait

        async def wait_and_say() -> bool:
            waiting.set()
            return await wait()

        monkeypatch.setattr(source, "_wait", wait_and_say)

        def close() -> None:
            assert waiting.wait(TIMEOUT)
            loop.close()

        thread = threading.Thread(target=close)
        thread.start()
        with pytest.raises(StateError, match="is closed"):
            self.wait(source.__anext__)
        thread.join()
        self.wait(source.aclose)

    def test_under_closing_ends_the_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LOOP_CHECK_SECONDS", 0.01)
        loop, source = self.make(Counting().pieces)
        waiting = threading.Event()
        wait = source._wait

        async def wait_and_say() -> bool:
            waiting.set()
            return await wait()

        monkeypatch.setattr(source, "_wait", wait_and_say)

        def close() -> None:
            assert waiting.wait(TIMEOUT)
            loop.close()

        thread = threading.Thread(target=close)
        thread.start()
        self.wait(source.aclose)
        thread.join()

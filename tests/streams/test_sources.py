"""What may be sent as a stream, and how it is read."""

import array
import contextvars
import io
import os
import tarfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, TypeVarTuple

import numpy as np
import pytest
import trio
import trio.lowlevel
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_one_way_pair

from jchannel._core.limits import Limits
from jchannel._core.threads import TrioThreads
from jchannel._streams.sources import READ_SIZE, Source, _FileSource, _Opening, check_source, open_source
from jchannel.errors import StateError

Args = TypeVarTuple("Args")
Result = TypeVar("Result")

BIG = bytes(range(256)) * (READ_SIZE // 256) + b"the end"


async def open_here(stream: object) -> Source:
    return await open_source(check_source(stream), TrioThreads(Limits()))


async def read_all(stream: object) -> list[bytes]:
    """The pieces of a stream, opened, read and closed as the core does it."""
    source = await open_here(stream)
    try:
        return [piece async for piece in source]
    finally:
        await source.aclose()


async def expect(source: Source, data: bytes, error: type[Exception], message: str) -> None:
    """Some bytes, and then an error, which comes again."""
    read = b""
    while len(read) < len(data):
        read += await anext(source)
    assert read == data
    for _ in range(2):
        with pytest.raises(error, match=message):
            await anext(source)


async def generate(*items: object) -> AsyncIterator[object]:
    for item in items:
        yield item


BYTES_LIKE = [b"abc", bytearray(b"abc"), memoryview(b"abc"), array.array("B", b"abc"), np.frombuffer(b"abc", np.uint8)]


@pytest.mark.parametrize("stream", BYTES_LIKE)
async def test_a_bytes_like_object_is_a_stream(stream: object) -> None:
    assert await read_all(stream) == [b"abc"]


@pytest.mark.parametrize("size", [0, 1, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 3 * READ_SIZE])
async def test_bytes_come_in_pieces_that_are_neither_empty_nor_too_large(size: int) -> None:
    data = (BIG * 3)[:size]
    pieces = await read_all(data)
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces[:-1]] == [READ_SIZE] * (-(-size // READ_SIZE) - 1 if size else 0)
    assert b"" not in pieces


async def test_bytes_are_as_many_as_they_are() -> None:
    source = await open_here(b"abc")
    assert source.total == 3


async def test_a_buffer_is_sent_as_it_is_when_it_is_checked() -> None:
    buffer = bytearray(b"old")
    checked = check_source(buffer)
    buffer[:] = b"new"
    assert await read_all(checked) == [b"old"]


async def test_an_async_iterable_is_a_stream() -> None:
    assert await read_all(generate(*BYTES_LIKE)) == [b"abc"] * 5


async def test_empty_items_are_left_out() -> None:
    assert await read_all(generate(b"", b"a", b"", b"b", b"")) == [b"a", b"b"]
    assert await read_all([b"", b""]) == []


async def test_large_items_are_cut() -> None:
    assert await read_all(generate(BIG, b"x")) == [BIG[:READ_SIZE], b"the end", b"x"]
    assert await read_all([BIG]) == [BIG[:READ_SIZE], b"the end"]


async def test_an_item_is_sent_as_it_is_when_it_comes() -> None:
    async def reuse() -> AsyncIterator[bytearray]:
        buffer = bytearray(1)
        for number in range(3):
            buffer[0] = number
            yield buffer

    assert await read_all(reuse()) == [b"\0", b"\1", b"\2"]


async def test_an_async_iterable_need_not_be_closable() -> None:
    class Plain:
        def __init__(self) -> None:
            self.left = [b"a", b"b"]

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert await read_all(Plain()) == [b"a", b"b"]


async def test_a_trio_receive_stream_is_closed_at_the_end() -> None:
    send, receive = memory_stream_one_way_pair()
    await send.send_all(b"abc")
    await send.aclose()
    assert await read_all(receive) == [b"abc"]
    with pytest.raises(trio.ClosedResourceError):
        await receive.receive_some()


async def test_closing_early_runs_the_finally_of_an_async_generator() -> None:
    ended = False

    async def endless() -> AsyncIterator[bytes]:
        nonlocal ended
        try:
            while True:
                yield b"a"
        finally:
            ended = True

    source = await open_here(endless())
    assert await anext(source) == b"a"
    await source.aclose()
    await source.aclose()
    assert ended
    with pytest.raises(StateError, match=r"^the source has been closed$"):
        await anext(source)


@given(st.lists(st.binary(max_size=5)))
def test_the_items_of_an_iterable_arrive_whatever_they_are(items: list[bytes]) -> None:
    async def main() -> bytes:
        return b"".join(await read_all(iter(items)))

    assert trio.run(main) == b"".join(items)


async def test_a_sync_iterable_is_read_and_closed_in_other_threads() -> None:
    threads: list[int] = []

    def here() -> None:
        threads.append(threading.get_ident())

    class Iterable:
        def __iter__(self) -> Iterator[bytes]:
            here()
            return self.generate()

        def generate(self) -> Iterator[bytes]:
            try:
                here()
                yield b"a"
                here()
                yield b"b"
            finally:
                here()

    source = await open_here(Iterable())
    assert (await anext(source))[:1] == b"a"
    await source.aclose()
    assert len(threads) in {3, 4}
    assert threading.get_ident() not in threads


async def test_a_generator_that_was_never_read_is_closed() -> None:
    generator = (item for item in [b"a"])
    source = await open_here(generator)
    await source.aclose()
    assert next(generator, None) is None


async def test_an_iterable_is_read_ahead_no_further_than_a_chunk() -> None:
    asked = 0
    enough = threading.Event()

    def items() -> Iterator[bytes]:
        nonlocal asked
        for _ in range(100):
            asked += 1
            if asked == 6:
                enough.set()
            yield bytes(READ_SIZE // 4)

    source = await open_here(items())
    taken = len(await anext(source)) // (READ_SIZE // 4)
    # Four wait to be taken, and the thread waits with a fifth.
    await trio.to_thread.run_sync(enough.wait)
    assert asked <= taken + 5
    await source.aclose()
    assert asked <= taken + 5


async def test_an_iterable_that_was_never_read_needs_no_closing() -> None:
    source = await open_here([b"a"])
    await source.aclose()
    with pytest.raises(StateError, match=r"^the source has been closed$"):
        await anext(source)


async def test_many_small_items_come_in_few_pieces() -> None:
    ready = threading.Event()

    def items() -> Iterator[bytes]:
        yield from [b"ab"] * 1000
        ready.set()

    source = await open_here(items())
    first = await anext(source)
    await trio.to_thread.run_sync(ready.wait)
    second = await anext(source, b"")
    assert first + second == b"ab" * 1000
    await source.aclose()


async def test_an_item_is_not_held_back_until_the_next_one_comes() -> None:
    sent = threading.Semaphore(0)

    def items() -> Iterator[bytes]:
        for number in range(5):
            yield b"%d" % number
            sent.acquire()

    source = await open_here(items())
    for number in range(5):
        assert await anext(source) == b"%d" % number
        sent.release()
    assert await anext(source, None) is None
    await source.aclose()


async def test_closing_lets_an_iterable_go_that_waits_for_room() -> None:
    ended = threading.Event()

    def items() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(READ_SIZE)
        finally:
            ended.set()

    source = await open_here(items())
    await anext(source)
    await source.aclose()
    await source.aclose()
    assert ended.is_set()


class ByHand:
    """An async iterator whose method is no coroutine function: it returns an awaitable, or raises by itself."""

    def __init__(self, items: list[bytes]) -> None:
        self._items = items

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self  # What it returns can be awaited.

    def __anext__(self) -> Awaitable[bytes]:
        if not self._items:
            raise StopAsyncIteration
        return Later(self._items.pop(0))


class Later:
    """What can be awaited, and is no coroutine."""

    def __init__(self, item: bytes) -> None:
        self._item = item

    def __await__(self) -> Generator[Any, Any, bytes]:
        yield from trio.lowlevel.checkpoint().__await__()  # noqa: ASYNC105
        return self._item


async def test_an_async_iterator_may_be_written_by_hand() -> None:
    source = await open_here(ByHand([b"a", b"b"]))
    assert b"".join([piece async for piece in source]) == b"ab"
    await source.aclose()


async def test_an_iterable_of_nothing_can_be_cancelled() -> None:
    def nothing() -> Iterator[bytes]:
        while True:
            yield b""

    source = await open_here(nothing())
    with trio.move_on_after(0) as scope:
        await anext(source)
    assert scope.cancelled_caught
    await source.aclose()


async def test_an_iterable_sees_the_context_of_its_reader() -> None:
    variable: contextvars.ContextVar[bytes] = contextvars.ContextVar("variable")
    variable.set(b"abc")

    def items() -> Iterator[bytes]:
        yield variable.get()

    assert await read_all(items()) == [b"abc"]


def test_a_file_that_is_there_only_after_it_was_given_up_is_closed(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    opening = _Opening(tmp_path / "data")
    opening.give_up()
    opening.open()
    assert opening.file is not None
    assert opening.file.closed


@pytest.mark.parametrize("kind", ["iterable", "file"])
async def test_an_error_that_would_look_like_the_end_is_an_error_all_the_same(kind: str) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise StopAsyncIteration

    source = await open_here(Broken() if kind == "file" else map(Broken().read, [1]))
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^the source of a stream raised StopAsyncIteration$"):
            await anext(source)
    await source.aclose()


@pytest.mark.parametrize("make", [iter, lambda items: generate(*items)])
@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("text", "and str is none: encode it$"),
        (7, "and int is none$"),
        (None, "and NoneType is none$"),
        (np.array([None]), "and this ndarray holds Python objects$"),
    ],
)
async def test_another_item_is_refused_when_it_comes_after_those_before_it(
    make: Callable[[list[object]], object], item: object, message: str
) -> None:
    source = await open_here(make([b"a", b"b", item]))
    await expect(source, b"ab", TypeError, message)
    await source.aclose()


async def test_the_error_of_an_async_iterable_comes_again() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise ZeroDivisionError

    await expect(await open_here(broken()), b"a", ZeroDivisionError, "^$")


async def test_the_error_of_an_iterable_comes_after_the_items_before_it_and_again() -> None:
    def broken() -> Iterator[bytes]:
        yield from [b"a", b"b", b"c"]
        raise ZeroDivisionError

    source = await open_here(broken())
    await expect(source, b"abc", ZeroDivisionError, "^$")
    await source.aclose()


class Held(io.RawIOBase):
    """A file, and an iterable, that gives its one item when it is told to."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.ended = threading.Event()
        self.asked = 0

    def readable(self) -> bool:
        return True

    def read(self, _size: int = -1, /) -> bytes:
        self.asked += 1
        self.inside.set()
        self.go_on.wait()
        return b"a" if self.asked == 1 else b""

    def items(self) -> Iterator[bytes]:
        try:
            yield self.read()
        finally:
            self.ended.set()


def open_held(kind: str, threads: TrioThreads) -> tuple[Held, Awaitable[Source]]:
    """Something that makes its reader wait, as a source."""
    held = Held()
    return held, open_source(held.items() if kind == "iterable" else held, threads)


@pytest.mark.parametrize("kind", ["iterable", "file"])
async def test_a_cancelled_read_does_not_wait_for_its_thread_and_loses_nothing(kind: str) -> None:
    held, opening = open_held(kind, TrioThreads(Limits()))
    source = await opening
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, source)
        await trio.to_thread.run_sync(held.inside.wait)
        nursery.cancel_scope.cancel()
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await anext(source))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        held.go_on.set()
    assert read == [b"a"]
    assert await anext(source, None) is None
    await source.aclose()


async def test_what_a_cancelled_read_has_read_since_is_read_by_the_next_one() -> None:
    held, opening = open_held("file", TrioThreads(Limits()))
    source = await opening
    assert isinstance(source, _FileSource)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, source)
        await trio.to_thread.run_sync(held.inside.wait)
        nursery.cancel_scope.cancel()
    held.go_on.set()
    with source._lock:  # The thread holds it until it has read.
        pass
    assert await anext(source) == b"a"
    assert held.asked == 1
    await source.aclose()


@pytest.mark.parametrize("kind", ["iterable", "file"])
async def test_closing_waits_for_the_read_that_was_cancelled_and_can_be_cancelled(kind: str) -> None:
    threads = TrioThreads(Limits())
    held, opening = open_held(kind, threads)
    source = await opening
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, source)
        await trio.to_thread.run_sync(held.inside.wait)
        nursery.cancel_scope.cancel()
    with trio.move_on_after(0.001) as scope:
        await source.aclose()
    assert scope.cancelled_caught
    held.go_on.set()
    await source.aclose()
    assert kind == "file" or held.ended.is_set()
    while threads.waiting:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", ["iterable", "file"])
async def test_a_source_that_no_thread_is_left_for_fails_with_the_name_of_the_limit(kind: str) -> None:
    threads = TrioThreads(Limits(waiting_threads=1))
    first, opening = open_held("iterable", threads)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, await opening)
        await trio.to_thread.run_sync(first.inside.wait)
        source = await open_held(kind, threads)[1]
        with pytest.raises(StateError, match=r"1 threads wait already, as many as Limits\.waiting_threads allows"):
            await anext(source)
        # What is short has threads of its own.
        file = await open_source(Path(__file__), threads)
        assert await anext(file)
        await file.aclose()
        first.go_on.set()


async def test_a_generator_that_has_begun_is_closed_in_a_thread_when_nobody_reads_it() -> None:
    threads: list[int] = []

    def items() -> Iterator[bytes]:
        try:
            yield b"a"
            yield b"b"
        finally:
            threads.append(threading.get_ident())

    generator = items()
    next(generator)
    source = await open_here(generator)
    await source.aclose()
    assert len(threads) == 1
    assert threads != [threading.get_ident()]


async def test_what_a_generator_raises_when_it_is_closed_is_raised_once() -> None:
    def items() -> Iterator[bytes]:
        try:
            while True:  # However far it is read ahead, it does not end by itself.
                yield bytes(READ_SIZE)
        finally:
            raise LookupError("while it closes")

    source = await open_here(items())
    await anext(source)
    with pytest.raises(LookupError, match="while it closes"):
        await source.aclose()
    await source.aclose()


async def test_a_pipe_that_nobody_has_opened_at_its_other_end_can_be_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = TrioThreads(Limits())
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with trio.move_on_after(0.001) as scope:
        await open_source(path, threads)
    assert scope.cancelled_caught
    other = os.open(path, os.O_RDWR)  # It does not wait for a reader: the thread may not have come so far.
    while threads.waiting:
        await trio.lowlevel.checkpoint()
    os.close(other)


def test_what_has_been_opened_when_it_is_given_up_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    opening = _Opening(path)
    opening.open()
    opening.give_up()
    assert opening.file is not None
    assert opening.file.closed


async def test_a_pipe_is_read_when_somebody_writes_to_its_other_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, path.write_bytes, b"abc")
        assert await read_all(path) == [b"abc"]


@pytest.mark.parametrize("size", [0, 1, len(BIG), 2 * READ_SIZE])
async def test_a_path_is_a_stream(size: int, tmp_path: Path) -> None:
    data = (BIG * 2)[:size]
    path = tmp_path / "x"
    path.write_bytes(data)
    assert b"".join(await read_all(path)) == data
    assert b"".join(await read_all(trio.Path(path))) == data


async def test_a_path_is_opened_and_closed_in_worker_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    files: list[io.FileIO] = []
    threads: list[int] = []
    really_open = Path.open

    def note(self: Path, mode: Literal["rb"], buffering: Literal[0]) -> io.FileIO:
        threads.append(threading.get_ident())
        files.append(really_open(self, mode, buffering))
        return files[-1]

    monkeypatch.setattr(Path, "open", note)
    source = await open_here(path)
    assert source.total == 3
    assert [piece async for piece in source] == [b"abc"]
    assert [file.closed for file in files] == [False]
    await source.aclose()
    await source.aclose()
    assert [file.closed for file in files] == [True]
    assert threading.get_ident() not in threads


async def test_a_path_that_does_not_exist_is_an_error_when_it_is_opened(tmp_path: Path) -> None:
    path = check_source(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"missing"):
        await open_here(path)


async def test_a_path_whose_size_cannot_be_asked_for_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").touch()

    def fail(descriptor: int) -> NoReturn:
        raise OSError

    # An open file would be a ResourceWarning, and warnings are errors.
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)
        with pytest.raises(OSError, match=r"^$"):
            await open_here(tmp_path / "x")


async def test_a_file_object_is_read_from_where_it_is_and_left_open(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BIG)
    for buffering in (0, -1):
        with (tmp_path / "x").open("rb", buffering=buffering) as file:
            file.read(10)
            source = await open_here(file)
            assert source.total == len(BIG) - 10
            assert b"".join([piece async for piece in source]) == BIG[10:]
            await source.aclose()
            assert not file.closed


async def test_a_file_in_memory_is_a_stream() -> None:
    file = io.BytesIO(b"abcdef")
    file.seek(2)
    source = await open_here(file)
    assert source.total == 4
    assert [piece async for piece in source] == [b"cdef"]
    file.seek(9)
    assert (await open_here(file)).total == 0


async def test_the_size_of_other_files_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    (tmp_path / "empty").touch()
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "x", "x")
    with tarfile.open(tmp_path / "x.tar.gz") as archive:
        member = archive.extractfile("x")
        source = await open_here(member)
        assert source.total is None
        assert [piece async for piece in source] == [b"abc"]
    empty = await open_here(tmp_path / "empty")
    assert empty.total is None
    await empty.aclose()


async def test_a_pipe_gives_what_is_there() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as other_end:
        source = await open_here(file)
        assert source.total is None
        other_end.write(b"abc")
        assert await anext(source) == b"abc"
        other_end.write(b"def")
        assert await anext(source) == b"def"


class Reader:
    """A file that has nothing but the method read."""

    def __init__(self, *pieces: object) -> None:
        self._pieces = list(pieces)

    def read(self, size: int) -> object:
        return self._pieces.pop(0) if self._pieces else b""


async def test_an_object_with_the_method_read_is_a_file() -> None:
    assert b"".join(await read_all(Reader(b"abc", b"de"))) == b"abcde"


async def test_a_file_that_does_not_block_is_refused_when_it_has_nothing() -> None:
    with pytest.raises(BlockingIOError, match=r"has no bytes now: use a file that blocks$"):
        await read_all(Reader(None))


async def test_a_file_that_gives_text_is_refused_when_it_does() -> None:
    with pytest.raises(TypeError, match=r"and str is none: encode it$"):
        await read_all(Reader("abc"))


def endless() -> Iterator[bytes]:
    while True:
        yield b"a"


@pytest.mark.parametrize(
    "stream",
    [generate(), b"", bytearray(), [b"a"], (b"a",), {b"a"}, iter([]), Path("x"), io.BytesIO(), Reader(), endless()],
)
def test_what_may_be_a_stream_passes_the_check(stream: object) -> None:
    assert check_source(stream) is stream or check_source(stream) == stream


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("text", "and not a str: encode text, or make a pathlib.Path of the name of a file$"),
        (None, "and not None$"),
        (7, "and not 7$"),
        (endless, "and not <function endless at .*>: call it, and pass what it returns$"),
        (list, "and not <class 'list'>: call it, and pass what it returns$"),
        (Reader, "and not <class .*Reader'>: call it, and pass what it returns$"),
    ],
)
async def test_anything_else_is_refused_before_anything_is_sent(stream: object, message: str) -> None:
    with pytest.raises(TypeError, match=f"^a stream can be .* {message}"):
        check_source(stream)
    with pytest.raises(TypeError, match=f"^a stream can be .* {message}"):
        await open_here(stream)


def test_a_text_file_is_refused() -> None:
    with pytest.raises(TypeError, match=r"is a text file: open it in binary mode$"):
        check_source(io.StringIO("abc"))


def test_an_array_of_python_objects_is_refused() -> None:
    with pytest.raises(TypeError, match=r"holds Python objects$"):
        check_source(np.array([None]))

"""An incoming stream, read in every way, with nothing behind it but a list of chunks."""

import asyncio
import gc
import io
import os
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from types import coroutine
from typing import TypeVar, TypeVarTuple

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from jchannel._streams.reader import MetaGenerator
from jchannel.errors import ClosedError, StateError

Args = TypeVarTuple("Args")
Result = TypeVar("Result")

chunkings = st.lists(st.lists(st.sampled_from(b"ab\n"), min_size=1, max_size=12).map(bytes), max_size=8)


class Interruption(BaseException):
    """Stands for the cancellation of any async library."""


@coroutine
def suspend() -> Generator[None, None, None]:
    """Suspends the coroutine once. Whoever drives it goes on, or throws an interruption in."""
    yield


class Far:
    """The far side: gives its chunks, each after one suspension, and then the end or an error."""

    def __init__(self, chunks: Sequence[bytes], error: Exception | None = None) -> None:
        self.chunks = list(chunks)
        self.error = error
        self.closed = 0
        self.hops = 0
        self.abandoned = 0
        self.stream = self.make()

    def make(self, total: int | None = None) -> MetaGenerator:
        return MetaGenerator(self.receive, self.aclose, self.run_sync, total, abandon=self.abandon)

    async def receive(self) -> bytes:
        await suspend()
        if self.chunks:
            return self.chunks.pop(0)
        if self.error is not None:
            raise self.error
        return b""

    async def aclose(self) -> None:
        self.closed += 1

    async def run_sync(self, function: Callable[[*Args], Result], /, *args: *Args) -> Result:
        await suspend()
        self.hops += 1
        return function(*args)

    def abandon(self) -> None:
        self.abandoned += 1


class Task:
    """A coroutine that is driven by hand."""

    def __init__(self, coroutine: Coroutine[None, None, Result]) -> None:
        self._coroutine = coroutine

    def step(self) -> None:
        """Goes on to the next suspension."""
        self._coroutine.send(None)

    def interrupt(self) -> None:
        with pytest.raises(Interruption):
            self._coroutine.throw(Interruption())

    def finish(self) -> object:
        try:
            while True:
                self._coroutine.send(None)
        except StopIteration as end:
            return end.value


def run(coroutine: Coroutine[None, None, Result]) -> Result:
    """Drives a coroutine to its end."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result


def run_interrupted(make: Callable[[], Coroutine[None, None, Result]], places: set[int]) -> Result:
    """Drives a coroutine, interrupts it at some of its suspensions, and begins anew each time."""
    place = 0
    while True:
        running = make()
        try:
            while True:
                running.send(None)
                place += 1
                if place in places:
                    running.throw(Interruption())
        except Interruption:
            pass
        except StopIteration as end:
            result: Result = end.value
            return result


async def collect(items: AsyncIterator[Result]) -> list[Result]:
    return [item async for item in items]


def separated(data: bytes, separator: bytes) -> list[bytes]:
    *pieces, last = data.split(separator)
    return [piece + separator for piece in pieces] + ([last] if last else [])


# Every way of reading


@given(chunkings)
def test_iteration_gives_the_chunks_as_they_come(chunks: list[bytes]) -> None:
    assert run(collect(Far(chunks).stream)) == chunks


@given(chunkings)
def test_join_gives_everything(chunks: list[bytes]) -> None:
    far = Far(chunks)
    assert run(far.stream.join()) == b"".join(chunks)


def test_a_second_join_is_an_error_as_the_first_one_has_the_bytes() -> None:
    far = Far([b"abc"])
    with pytest.raises(StateError, match=r"^join\(\) has returned the rest of this stream before"):
        run(join_twice(far.stream))
    assert run(anext_or_none(far.stream)) is None
    run(far.stream.aclose())
    with pytest.raises(StateError, match=r"keep what it gave$"):
        run(far.stream.join())


async def join_twice(stream: MetaGenerator) -> None:
    assert await stream.join() == b"abc"
    await stream.join()


def test_a_join_that_was_cancelled_can_be_made_again() -> None:
    far = Far([b"abc"])
    task = Task(far.stream.join())
    task.step()
    task.interrupt()
    assert run(far.stream.join()) == b"abc"


@given(chunkings, st.integers(1, 20))
def test_by_limit_gives_slices(chunks: list[bytes], limit: int) -> None:
    data = b"".join(chunks)
    expected = [data[start : start + limit] for start in range(0, len(data), limit)]
    assert run(collect(Far(chunks).stream.by_limit(limit))) == expected


@given(chunkings, st.sampled_from(["\n", "a", b"ab", b"aa", "aba"]))
def test_by_separator_gives_what_split_finds(chunks: list[bytes], separator: str | bytes) -> None:
    expected = separated(b"".join(chunks), separator.encode() if isinstance(separator, str) else separator)
    assert run(collect(Far(chunks).stream.by_separator(separator))) == expected
    batches = run(collect(Far(chunks).stream.batches_by_separator(separator)))
    assert [record for batch in batches for record in batch] == expected
    assert [] not in batches


@given(st.lists(st.text(st.sampled_from("a\r\nß"), min_size=1, max_size=5)))
def test_lines_gives_text_without_line_ends(texts: list[str]) -> None:
    *lines, last = "".join(texts).split("\n")
    expected = [line.removesuffix("\r") for line in lines] + ([last] if last else [])
    assert run(collect(Far([text.encode() for text in texts]).stream.lines())) == expected


def test_lines_takes_an_encoding_and_what_to_do_with_errors() -> None:
    assert run(collect(Far([b"\xdf\n"]).stream.lines("latin-1"))) == ["ß"]
    assert run(collect(Far([b"\xdf\n"]).stream.lines("ascii", "replace"))) == ["\ufffd"]
    assert run(collect(Far([b"\xef\xbb\xbfa\nb"]).stream.lines("utf-8-sig"))) == ["a", "b"]


def test_a_chunk_larger_than_what_is_cut_at_a_time_loses_nothing() -> None:
    data = b"".join(b"%d\n" % number for number in range(200_000))
    assert run(collect(Far([data]).stream.by_separator())) == data.splitlines(keepends=True)
    batches = run(collect(Far([data]).stream.batches_by_separator()))
    assert b"".join(b"".join(batch) for batch in batches) == data
    assert max(len(b"".join(batch)) for batch in batches) <= 256 * 1024 + 10


def test_the_defaults_are_those_of_the_reference() -> None:
    assert run(collect(Far([bytes(10_000)]).stream.by_limit())) == [bytes(8192), bytes(1808)]
    assert run(collect(Far([b"a\nb"]).stream.by_separator())) == [b"a\n", b"b"]


def test_bad_arguments_are_refused_by_the_call_itself() -> None:
    stream = Far([]).stream
    with pytest.raises(TypeError, match=r"^limit must be"):
        stream.by_limit("8192")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^limit must be"):
        stream.by_limit(0)
    with pytest.raises(ValueError, match=r"^separator must not be empty"):
        stream.by_separator("")
    with pytest.raises(TypeError, match=r"^separator must be"):
        stream.batches_by_separator(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^limit must be"):
        stream.lines(limit=0)
    with pytest.raises(LookupError):
        stream.lines("utf-9")


# One way after another


ways: list[Callable[[MetaGenerator], AsyncIterator[object]]] = [
    aiter,
    lambda stream: stream.by_limit(3),
    lambda stream: stream.by_separator("\n"),
    lambda stream: stream.by_separator("ab"),
    lambda stream: stream.batches_by_separator("b"),
    MetaGenerator.lines,
]


def as_bytes(item: object) -> bytes:
    if isinstance(item, list):
        return b"".join(item)
    # The end of a line is not in it. These lines all have one, which the test below sees to.
    return item.encode() + b"\n" if isinstance(item, str) else bytes(item)  # type: ignore[call-overload]


@given(chunkings, st.lists(st.integers(0, len(ways) - 1)), st.sets(st.integers(1, 20)))
def test_each_way_goes_on_where_the_one_before_has_stopped_and_cancelling_loses_nothing(
    chunks: list[bytes], order: list[int], interruptions: set[int]
) -> None:
    data = b"".join(chunks) + b"\n"
    stream = Far([*chunks, b"\n"]).stream
    # The same iterators again and again, as well as new ones.
    opened = [way(stream) for way in ways]
    read = b""
    for turn, way in enumerate(order):
        iterator = opened[way] if turn % 2 else ways[way](stream)
        places = {place - turn for place in interruptions}
        item = run_interrupted(lambda iterator=iterator: anext_or_none(iterator), places)  # type: ignore[misc]
        read += b"" if item is None else as_bytes(item)
    assert read + run_interrupted(stream.join, interruptions) == data


async def anext_or_none(iterator: AsyncIterator[Result]) -> Result | None:
    return await anext(iterator, None)


def test_the_header_can_be_read_by_itself() -> None:
    async def read(stream: MetaGenerator) -> tuple[str, bytes]:
        header = await anext(stream.lines())
        return header, await stream.join()

    assert run(read(Far([b"3 of them\r", b"\na\nb\nc\n", b"d"]).stream)) == ("3 of them", b"a\nb\nc\nd")


def test_an_iterator_whose_records_were_taken_back_goes_on_with_what_is_left() -> None:
    async def read(stream: MetaGenerator) -> list[bytes]:
        records = stream.by_separator()
        return [await anext(records), await anext(stream.by_limit(1)), await anext(records), await anext(records)]

    assert run(read(Far([b"a\nbc\nd\n"]).stream)) == [b"a\n", b"b", b"c\n", b"d\n"]


@pytest.mark.parametrize("read", [MetaGenerator.join, anext, lambda stream: anext(stream.lines())])
def test_two_tasks_cannot_read_at_once(read: Callable[[MetaGenerator], Awaitable[object]]) -> None:
    async def second() -> object:
        return await read(far.stream)

    far = Far([b"abc\n"])
    task = Task(anext_or_none(far.stream.by_separator()))
    task.step()
    with pytest.raises(StateError, match=r"^the stream is being read already, by by_separator\(\) in another task: "):
        run(second())
    assert task.finish() == b"abc\n"
    assert run(far.stream.join()) == b""


# Ends


@pytest.mark.parametrize("way", ways)
def test_the_error_of_a_broken_stream_comes_after_what_came_before_it_and_again(
    way: Callable[[MetaGenerator], AsyncIterator[object]],
) -> None:
    far = Far([b"abaab\n"], OSError("broken"))
    iterator = way(far.stream)
    for _ in range(2):
        with pytest.raises(OSError, match=r"^broken$"):
            run(collect(iterator))
    with pytest.raises(OSError, match=r"^broken$"):
        run(far.stream.join())


def test_what_came_before_an_error_can_still_be_read() -> None:
    far = Far([b"a", b"b"], OSError("broken"))
    with pytest.raises(OSError, match=r"^broken$"):
        run(far.stream.join())
    assert [run(anext_or_none(far.stream)) for _ in range(2)] == [b"a", b"b"]
    with pytest.raises(OSError, match=r"^broken$"):
        run(anext_or_none(far.stream))


def test_a_record_that_is_too_long_stops_the_stream_after_those_before_it() -> None:
    far = Far([b"ab\ncd\n", b"efghi\n", b"kl\n"])
    records = far.stream.by_separator(limit=5)
    assert [run(anext_or_none(records)) for _ in range(2)] == [b"ab\n", b"cd\n"]
    assert far.closed == 0
    for read in (records, records, far.stream):
        with pytest.raises(ValueError, match=r"longer than the limit of 5 bytes: 6 bytes with its separator"):
            run(anext_or_none(read))
    assert far.closed == 1


def test_a_record_that_is_too_long_for_one_way_can_be_read_in_another_before_it_is_reached() -> None:
    far = Far([b"ab\nefghi\nkl\n"])
    assert run(anext_or_none(far.stream.by_separator(limit=5))) == b"ab\n"
    assert run(far.stream.join()) == b"efghi\nkl\n"


def test_without_a_limit_no_record_is_too_long() -> None:
    assert run(collect(Far([b"abc", b"def\n"]).stream.by_separator(limit=None))) == [b"abcdef\n"]


def test_a_line_that_cannot_be_decoded_is_an_error_at_its_place_and_is_not_lost() -> None:
    far = Far([b"a\nb\n\xff\nc\n"])
    lines = far.stream.lines()
    assert [run(anext_or_none(lines)) for _ in range(2)] == ["a", "b"]
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            run(anext_or_none(lines))
    assert run(anext_or_none(far.stream.by_separator())) == b"\xff\n"
    assert run(collect(lines)) == ["c"]


def test_closing_stops_the_source_and_reading_then_is_an_error() -> None:
    far = Far([b"a\nb\nc\n", b"d"])
    records = far.stream.by_separator()
    run(anext_or_none(records))
    run(far.stream.aclose())
    assert far.closed == 1
    for read in (far.stream, records, far.stream.by_limit()):
        with pytest.raises(ClosedError, match=r"closed on this side before it had been read to its end$"):
            run(anext_or_none(read))
    run(far.stream.aclose())
    assert far.closed == 2


def test_a_stream_that_ends_with_records_unread_has_not_been_read_to_its_end() -> None:
    far = Far([b"a\nb"])
    run(anext_or_none(far.stream.by_separator()))
    run(far.stream.aclose())
    with pytest.raises(ClosedError):
        run(far.stream.join())


def test_a_stream_that_was_read_to_its_end_stays_at_its_end() -> None:
    far = Far([b"a\nb"])
    run(collect(far.stream.lines()))
    run(far.stream.aclose())
    assert run(far.stream.join()) == b""


def test_a_broken_stream_stays_broken_when_it_is_closed() -> None:
    far = Far([], OSError("broken"))
    with pytest.raises(OSError, match=r"^broken$"):
        run(far.stream.join())
    run(far.stream.aclose())
    with pytest.raises(OSError, match=r"^broken$"):
        run(far.stream.join())


@pytest.mark.parametrize(
    ("chunks", "error"), [([b"late"], None), ([], None), ([], OSError("the far side was told to stop"))]
)
def test_whoever_waits_for_a_stream_that_is_closed_gets_an_error_whatever_comes(
    chunks: list[bytes], error: Exception | None
) -> None:
    far = Far(chunks, error)
    task = Task(far.stream.join())
    task.step()
    run(far.stream.aclose())
    with pytest.raises(ClosedError) as caught:
        task.finish()
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("way", ways[1:])
def test_closing_what_reads_closes_the_stream(way: Callable[[MetaGenerator], AsyncIterator[object]]) -> None:
    async def read() -> None:
        async with aclosing(way(far.stream)) as items:  # type: ignore[type-var]
            async for _ in items:
                break

    far = Far([b"ab\n", b"ab\n"])
    run(read())
    assert far.closed == 1


def test_leaving_the_block_closes_the_stream() -> None:
    async def read() -> None:
        async with far.stream as stream:
            async for _ in stream:
                break

    far = Far([b"a", b"b"])
    run(read())
    assert far.closed == 1


def test_breaking_out_closes_nothing_while_somebody_can_still_read() -> None:
    async def read(stream: MetaGenerator) -> bytes:
        async for _ in stream.by_separator():
            break
        return await stream.join()

    far = Far([b"a\nb\n", b"c"])
    assert run(read(far.stream)) == b"b\nc"
    assert (far.closed, far.abandoned) == (0, 0)


def test_the_source_of_a_stream_that_nobody_can_read_any_more_is_stopped() -> None:
    async def read() -> None:
        async for _ in far.make().by_separator():
            break

    far = Far([b"a\nb\n", b"c"])
    run(read())
    gc.collect()
    assert (far.closed, far.abandoned) == (0, 1)


def test_a_stream_and_its_records_are_gone_without_the_help_of_the_collector() -> None:
    far = Far([b"a\nb\n"])
    stream = far.make()
    records = stream.by_separator()
    run(anext_or_none(records))
    gone = weakref.ref(stream)
    gc.disable()
    try:
        del stream, records
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("error", [None, OSError("broken")])
def test_the_source_of_a_stream_that_has_ended_need_not_be_stopped(error: Exception | None) -> None:
    async def read() -> None:
        with suppress(OSError):
            await far.make().join()

    far = Far([b"a"], error)
    run(read())
    gc.collect()
    assert far.abandoned == 0


def test_nothing_is_abandoned_where_nobody_asked_for_it() -> None:
    far = Far([])
    far.stream = MetaGenerator(far.receive, far.aclose, far.run_sync)
    del far.stream
    with pytest.raises(TypeError):
        MetaGenerator()  # type: ignore[call-arg]


# What it says of itself


def test_bytes_received_counts_what_has_come_whether_read_or_not() -> None:
    far = Far([b"ab\ncd\n", b"e"])
    assert far.stream.bytes_received == 0
    run(anext_or_none(far.stream.by_separator()))
    assert far.stream.bytes_received == 6
    run(far.stream.join())
    assert far.stream.bytes_received == 7


def test_the_total_is_what_the_far_side_has_announced() -> None:
    assert Far([]).make(7).total == 7
    assert Far([]).stream.total is None


def test_a_stream_shows_how_far_it_has_come() -> None:
    far = Far([bytes(5000)])
    stream = far.make(5000)
    assert repr(stream) == "<MetaGenerator: 0 of 5,000 bytes received, open>"
    run(stream.join())
    assert repr(stream) == "<MetaGenerator: 5,000 of 5,000 bytes received, ended>"
    run(far.stream.aclose())
    assert repr(far.stream) == "<MetaGenerator: 0 bytes received, closed or broken>"


# Writing


@given(chunkings)
def test_write_to_writes_everything_that_is_left(chunks: list[bytes]) -> None:
    file = io.BytesIO()
    far = Far([b"first\n", *chunks])
    run(anext_or_none(far.stream.lines()))
    assert run(far.stream.write_to(file)) == len(b"".join(chunks))
    assert file.getvalue() == b"".join(chunks)
    assert not file.closed


def test_write_to_writes_large_pieces(tmp_path: Path) -> None:
    far = Far([bytes(1000)] * 3000)
    assert run(far.stream.write_to(str(tmp_path / "x"))) == 3_000_000
    assert (tmp_path / "x").read_bytes() == bytes(3_000_000)
    # Opening, three pieces of a megabyte, and the end.
    assert far.hops == 5


def test_write_to_shows_progress(tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    far = Far([b"first\n", bytes(10)])
    stream = far.make(16)
    run(anext_or_none(stream.by_separator()))
    run(stream.write_to(tmp_path / "x", progress=lambda done, total: calls.append((done, total))))
    assert calls == [(0, 10), (10, 10)]
    run(far.stream.write_to(tmp_path / "x", lambda done, total: calls.append((done, total))))
    assert calls[2:] == [(0, None)]


@pytest.mark.parametrize("broken", ["stream", "progress"])
def test_what_is_broken_leaves_nothing_under_the_path(broken: str, tmp_path: Path) -> None:
    def progress(done: int, _total: int | None) -> None:
        if broken == "progress" and done:
            raise OSError("broken")

    far = Far([b"abc"], OSError("broken") if broken == "stream" else None)
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(OSError, match=r"^broken$"):
        run(far.stream.write_to(tmp_path / "x", progress))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


@given(chunkings, st.integers(1, 15))
def test_a_cancelled_write_to_a_file_object_loses_nothing(chunks: list[bytes], place: int) -> None:
    file = io.BytesIO()
    far = Far(chunks)
    run_interrupted(lambda: far.stream.write_to(file), {place})
    assert file.getvalue() == b"".join(chunks)


def test_a_cancelled_write_to_a_path_leaves_nothing_there(tmp_path: Path) -> None:
    far = Far([b"abc", b"def"])
    task = Task(far.stream.write_to(tmp_path / "x"))
    for _ in range(3):
        task.step()
    assert len(list(tmp_path.iterdir())) == 1
    task.interrupt()
    assert list(tmp_path.iterdir()) == []
    assert run(far.stream.join()) == b"abcdef"


def test_what_a_full_disk_did_not_take_is_read_by_the_next() -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            if self.tell():
                raise OSError("full")
            return super().write(bytes(data)[:2])  # type: ignore[call-overload]

    far = Far([b"abc", b"def"])
    with pytest.raises(OSError, match=r"^full$"):
        run(far.stream.write_to(Full()))
    assert run(far.stream.join()) == b"cdef"


def test_nobody_else_can_read_while_a_stream_is_written() -> None:
    far = Far([b"abc"])
    task = Task(far.stream.write_to(io.BytesIO()))
    for _ in range(3):
        task.step()
        with pytest.raises(StateError, match=r"by write_to\(\) in another task"):
            run(far.stream.join())
    assert task.finish() == 3


def test_closing_while_a_stream_is_written_ends_the_writing(tmp_path: Path) -> None:
    far = Far([b"abc", b"def"])
    task = Task(far.stream.write_to(tmp_path / "x"))
    for _ in range(3):
        task.step()
    run(far.stream.aclose())
    with pytest.raises(ClosedError):
        task.finish()
    assert list(tmp_path.iterdir()) == []


def test_closing_while_the_last_piece_is_written_does_not_make_it_complete() -> None:
    far = Far([b"abc"])
    task = Task(far.stream.write_to(io.BytesIO()))
    for _ in range(4):
        task.step()
    run(far.stream.aclose())
    task.interrupt()
    with pytest.raises(ClosedError):
        run(far.stream.join())


def test_what_was_written_for_somebody_who_was_cancelled_is_not_read_again() -> None:
    async def run_and_interrupt(function: Callable[[*Args], Result], /, *args: *Args) -> Result:
        result = function(*args)
        if file.tell():
            raise Interruption
        return result

    file = io.BytesIO()
    far = Far([b"abc"])
    far.stream = MetaGenerator(far.receive, far.aclose, run_and_interrupt)
    with pytest.raises(Interruption):
        run(far.stream.write_to(file))
    assert file.getvalue() == b"abc"
    assert run(far.stream.join()) == b""


def test_write_to_refuses_bad_arguments_before_it_reads_anything() -> None:
    far = Far([b"abc"])
    with pytest.raises(TypeError, match=r"^a stream is written to a path or to a binary file object"):
        run(far.stream.write_to(7))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^progress must be"):
        run(far.stream.write_to(io.BytesIO(), 7))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        run(far.stream.write_to("/missing/folder/x"))
    assert run(far.stream.join()) == b"abc"


# In real loops


async def test_in_trio_files_are_written_in_worker_threads() -> None:
    class Noting(io.BytesIO):
        def write(self, data: object, /) -> int:
            threads.append(threading.get_ident())
            return super().write(data)  # type: ignore[arg-type]

    async def receive() -> bytes:
        await trio.lowlevel.checkpoint()
        return chunks.pop(0) if chunks else b""

    threads: list[int] = []
    chunks = [b"a", b"b"]
    stream = MetaGenerator(receive, trio.lowlevel.checkpoint, trio.to_thread.run_sync)
    assert await stream.write_to(Noting()) == 2
    assert threads
    assert threading.get_ident() not in threads


async def test_in_trio_a_cancelled_read_goes_on_later() -> None:
    send, receive = trio.open_memory_channel[bytes](0)
    stream = MetaGenerator(receive.receive, receive.aclose, trio.to_thread.run_sync)
    records = stream.by_separator()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(anext, records)
        await send.send(b"ab")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send.send, b"c\nd")
        assert await anext(records) == b"abc\n"


def test_in_asyncio_a_cancelled_read_goes_on_later() -> None:
    async def main() -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()

        async def aclose() -> None:
            """Nothing to close."""

        stream = MetaGenerator(queue.get, aclose, asyncio.to_thread)
        records = stream.by_separator()
        task = asyncio.ensure_future(anext(records))
        queue.put_nowait(b"ab")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        queue.put_nowait(b"c\nd")
        assert await anext(records) == b"abc\n"

    asyncio.run(main())


async def test_writing_to_a_device_opens_it_where_it_may_wait() -> None:
    async def receive() -> bytes:
        await trio.lowlevel.checkpoint()
        return chunks.pop(0)

    async def run_waiting(function: Callable[[*Args], Result], /, *args: *Args) -> Result:
        waited.append(function.__name__)
        return await trio.to_thread.run_sync(function, *args)

    chunks = [b"abc", b""]
    waited: list[str] = []
    stream = MetaGenerator(receive, trio.lowlevel.checkpoint, trio.to_thread.run_sync, run_waiting=run_waiting)
    assert await stream.write_to(os.devnull) == 3
    assert waited == ["_open", "write", "finish"]

"""Streams in the blocking facade."""

import hashlib
import io
import re
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import jchannel.sync
from jchannel._bridge.streams import BridgedStream
from jchannel.errors import ClosedError, FrontendError, KernelError, StateError
from jchannel.sync import ByteStream, Channel
from tests.peer_thread import TIMEOUT
from tests.stream_page import StreamPeer, make_bytes

CODE = "(channel) => {}"
LIMIT = 20.0


class Handler:
    """The Python handler that the page calls."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.reading = threading.Event()
        self.read: list[Exception] = []
        self.path = Path()
        self.file: io.BufferedReader

    def digest(self, stream: ByteStream, *rest: object) -> list[object]:
        assert isinstance(stream, ByteStream)
        data = stream.join()
        return [len(data), hashlib.sha256(data).hexdigest(), *rest]

    def back(self, stream: ByteStream) -> ByteStream:
        assert next(stream)
        return stream

    def give(self) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1_000)
        finally:
            self.ended.set()

    def give_path(self) -> Path:
        return self.path

    def give_file(self) -> io.BufferedReader:
        self.file = self.path.open("rb")
        return self.file

    async def give_async(self) -> AsyncIterator[bytes]:
        yield b""

    def hold(self, stream: ByteStream) -> None:
        try:
            for _ in stream:
                self.reading.set()
        except StateError as error:
            self.read.append(error)
        self.ended.set()


def chunks(count: float, ended: threading.Event | None = None) -> Iterator[bytes]:
    """A generator of the user's."""
    try:
        given = 0
        while given < count:
            given += 1
            yield bytes(1_000)
    finally:
        if ended is not None:
            ended.set()


@contextmanager
def opened() -> Iterator[tuple[Channel, StreamPeer]]:
    """An open channel, and its page."""
    with jchannel.sync.start(port=0) as server, StreamPeer(server.page_url) as peer, server.open(CODE) as channel:
        yield channel, peer


@pytest.mark.parametrize("size", [0, 1, 32_769, 5 * 2**20])
def test_bytes_arrive_whole(size: int) -> None:
    data = make_bytes(size)
    with opened() as (channel, peer):
        channel.handler = Handler()
        expected = [size, hashlib.sha256(data).hexdigest(), "rest"]
        assert channel.call_with_stream("digest", data, "rest", timeout=LIMIT) == expected
        assert peer.call_with_stream("digest", data, "rest") == expected
        with channel.pipe(data, LIMIT) as stream:
            assert stream.join() == data


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path,
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: [path.read_bytes()],
        lambda path: iter([path.read_bytes()]),
    ],
)
def test_every_kind_of_source_is_sent(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(100_000))
    with opened() as (channel, _):
        assert channel.call_with_stream("digest", make(path), timeout=LIMIT)[0] == 100_000


def test_a_result_is_an_iterator_of_its_chunks() -> None:
    with opened() as (channel, _):
        stream = channel.call("give", 3_000, timeout=LIMIT)
        assert isinstance(stream, ByteStream)
        assert sum(map(len, stream)) == stream.bytes_received == 3_000_000


def test_all_ways_of_reading(tmp_path: Path) -> None:
    text = b"one\ntwo\r\nthree\nfour\nfive"
    with opened() as (channel, _), channel.pipe(text, LIMIT) as stream:
        # It is known when the page was quick enough to send it whole.
        assert stream.total in {None, len(text)}
        assert next(stream.by_separator()) == b"one\n"
        assert next(stream.lines()) == "two"
        assert next(stream.by_limit(2)) == b"th"
        batches = stream.batches_by_separator()
        assert iter(batches) is batches
        assert next(batches) == [b"ree\n", b"four\n"]
        assert stream.write_to(tmp_path / "rest") == 4
        assert (tmp_path / "rest").read_bytes() == b"five"
        assert list(stream) == []
        assert re.fullmatch(rf"<ByteStream: {len(text)} (of {len(text)} )?bytes received, ended>", repr(stream))


def test_a_method_gives_streams(tmp_path: Path) -> None:
    with opened() as (channel, peer):
        channel.handler = handler = Handler()
        handler.path = tmp_path / "data"
        handler.path.write_bytes(bytes(50_000))
        assert peer.read("give_path") == peer.read("give_file") == bytes(50_000)
        handler.file.close()
        assert peer.read_first("give")
        assert handler.ended.wait(TIMEOUT)
        data = make_bytes(1_000_000)
        assert data.endswith(peer.call_with_stream("back", data))
        with pytest.raises(KernelError, match="an async iterable, and the worker thread"):
            peer.read("give_async")


def test_a_stream_can_be_sent_on() -> None:
    with opened() as (channel, _):
        stream = channel.call("give", 3_000, timeout=LIMIT)
        taken = len(next(stream))
        assert channel.call_with_stream("digest", stream, timeout=LIMIT)[0] == 3_000_000 - taken


@pytest.mark.parametrize("stream", ["text", 5, None, object()])
def test_what_cannot_be_sent_is_refused(stream: object) -> None:
    with opened() as (channel, _):
        with pytest.raises(TypeError):
            channel.call_with_stream("digest", stream)
        with pytest.raises(TypeError):
            channel.pipe(stream)


def test_an_async_iterable_is_refused() -> None:
    with opened() as (channel, _), pytest.raises(TypeError, match="no loop to read an async iterable in"):
        channel.pipe(Handler().give_async())


def test_errors_come_through() -> None:
    def fail() -> Iterator[bytes]:
        yield bytes(100_000)
        raise ValueError("the source has failed")

    with opened() as (channel, _):
        with pytest.raises(FrontendError, match="ValueError: the source has failed"):
            channel.call_with_stream("digest", fail(), timeout=LIMIT)
        stream = channel.call("give", 3_000, 1_000, "fail", timeout=LIMIT)
        with pytest.raises(FrontendError, match="the page's source has failed"):
            stream.join()
        stream = channel.call("give", 100, 1_000, "pause", timeout=0.2)
        with pytest.raises(TimeoutError, match=r"no part of the stream arrived within 0\.2 s"):
            list(stream.by_limit())


def test_stopping_early_stops_the_source() -> None:
    with opened() as (channel, peer):
        ended = threading.Event()
        assert channel.call_with_stream("break_off", chunks(float("inf"), ended), timeout=LIMIT) == "broken off"
        assert ended.wait(TIMEOUT)
        with channel.call("give", 10**6, timeout=LIMIT) as stream:
            for _ in stream.by_limit():
                break
        assert peer.streams.ended.wait(TIMEOUT)
        with pytest.raises(ClosedError):
            stream.join()


def test_closing_the_records_closes_the_stream() -> None:
    with opened() as (channel, peer):
        records = channel.call("give", 10**6, timeout=LIMIT).by_limit()
        next(records)
        records.close()
        assert peer.streams.ended.wait(TIMEOUT)


def test_closing_the_channel_ends_every_stream() -> None:
    with opened() as (channel, peer):
        channel.handler = handler = Handler()
        stream = channel.call("give", 100, 1_000, "pause", timeout=None)
        failed: list[BaseException] = []

        def hold() -> None:
            with pytest.raises(ClosedError) as caught:
                peer.call_with_stream("hold", chunks(float("inf")))
            failed.append(caught.value)

        thread = threading.Thread(target=hold)
        thread.start()
        assert handler.reading.wait(TIMEOUT)
        channel.close()
        thread.join()
        assert failed
        assert handler.ended.wait(TIMEOUT)
        assert isinstance(handler.read[0], ClosedError)
        with pytest.raises(ClosedError, match=r"close\(\) was called"):
            stream.join()


def test_an_interrupt_of_a_read_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = threading.Event()
    fetch = BridgedStream.fetch

    def fetch_and_say(bridged: BridgedStream) -> Awaitable[None]:
        reading.set()
        return fetch(bridged)

    monkeypatch.setattr(BridgedStream, "fetch", fetch_and_say)
    with opened() as (channel, peer):
        stream = channel.call("give", 100, 1_000, "pause", timeout=None)

        def interrupt() -> None:
            assert reading.wait(TIMEOUT)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            stream.join()
        thread.join()
        assert len(next(stream.by_limit(100_000))) == 100_000
        stream.close()
        assert peer.streams.ended.wait(TIMEOUT)


def test_progress_is_told_in_worker_threads() -> None:
    told: list[tuple[int, int | None]] = []
    places: set[str] = set()
    closed = threading.Event()

    class Progress:
        def __call__(self, done: int, total: int | None) -> None:
            told.append((done, total))
            places.add(threading.current_thread().name)

        def close(self) -> None:
            closed.set()

    with opened() as (channel, _):
        channel.call_with_stream("digest", bytes(100), timeout=LIMIT, progress=Progress())
        assert closed.wait(TIMEOUT)
        assert told[-1] == (100, 100)
        assert places.isdisjoint({"jchannel trio", threading.main_thread().name})


def test_a_progress_that_exits_ends_the_stream_alone() -> None:
    def leave(done: int, total: int | None) -> None:
        raise SystemExit

    with opened() as (channel, _):
        with pytest.raises(FrontendError, match="progress has ended with SystemExit"):
            channel.call_with_stream("digest", chunks(float("inf")), timeout=LIMIT, progress=leave)
        assert channel.echo(1) == [1]


def test_trios_own_thread_cannot_wait_for_a_stream() -> None:
    caught: list[BaseException] = []
    done = threading.Event()

    with opened() as (channel, _):
        stream = channel.call("give", 100, 1_000, "pause", timeout=None)
        next(stream.by_limit(100_000))

        def read() -> None:
            try:
                stream.join()
            except RuntimeError as error:
                caught.append(error)
            done.set()

        channel._handle.portal.post(read)
        assert done.wait(TIMEOUT)
        stream.close()
    assert "would wait for itself" in str(caught[0])

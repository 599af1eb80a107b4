"""What a user's own code raises where nobody expects it ends no more than the request that it belongs to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn

import pytest
import trio

import jchannel
import jchannel.sync
import jchannel.trio
from jchannel.errors import ClosedError, FrontendError, KernelError, RefusedError, StateError
from jchannel.trio import Limits
from tests.peer_thread import TIMEOUT
from tests.stream_page import StreamPeer

CODE = "(channel) => {}"


class ApiError(Exception):
    """The usual mistake: its ``__str__`` returns an int."""

    def __str__(self) -> str:
        return self.args[0]  # type: ignore[no-any-return]


class Leaving(Exception):  # noqa: N818 (it leaves)
    """Its ``__str__`` leaves the program."""

    def __str__(self) -> NoReturn:
        raise SystemExit(1)


class Lazy:
    """A handler that finds its methods when it is asked for them, and fails."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ApiError(500)

    def add(self, a: int, b: int) -> int:
        return a + b


class Odd:
    """A callable that answers every question about itself by an error."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise ApiError(500)

    def __call__(self) -> NoReturn:
        raise ApiError(404)


class Leaves(dict[str, bytes]):
    """A dict that leaves the program when it is looked at."""

    def items(self) -> NoReturn:
        raise SystemExit(1)


class Collected(dict[str, int]):
    """A dict that does something when it is collected: in trio's thread, where it was the result of a call."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(x=1)
        weakref.finalize(self, act)
        self._act = act

    def __del__(self) -> None:
        self._act()


class Handler:
    """The Python handler that the page calls."""

    collect: Callable[[], object]

    def add(self, a: int, b: int) -> int:
        return a + b

    def fail(self) -> NoReturn:
        raise ApiError(404)

    def fail_badly(self) -> NoReturn:
        raise Leaving

    def leave(self) -> NoReturn:
        raise SystemExit(1)

    def give_what_leaves(self) -> object:
        return Leaves({"x": b""})

    @jchannel.background
    async def give_what_is_collected(self) -> object:
        await trio.lowlevel.checkpoint()
        return Collected(self.collect)

    def give_and_leave(self) -> Iterator[bytes]:
        yield b"first"
        raise SystemExit(1)

    @jchannel.background
    async def leave_trio(self) -> None:
        await trio.lowlevel.checkpoint()
        raise SystemExit(1)

    @jchannel.background
    async def leave_a_nursery(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave)

    async def _leave(self) -> NoReturn:
        raise SystemExit(1)

    @jchannel.background
    async def give_in_trio_and_leave(self) -> AsyncIterator[bytes]:
        async def give() -> AsyncIterator[bytes]:
            yield b"first"
            raise SystemExit(1)

        await trio.lowlevel.checkpoint()
        return give()


@pytest.fixture
def peer() -> Iterator[tuple[StreamPeer, jchannel.sync.Channel]]:
    """A page, and the blocking facade's channel with it, which works in the end."""
    with jchannel.sync.start(port=0) as server, StreamPeer(server.page_url) as page, server.open(CODE) as channel:
        channel.handler = Handler()
        yield page, channel
        channel.handler = Handler()
        assert page.call("add", 2, 3) == 5
        assert b"".join(channel.pipe(b"whole", TIMEOUT)) == b"whole"
        assert server.statistics().page_connected


Peer = tuple[StreamPeer, jchannel.sync.Channel]


@pytest.fixture
def log_handler() -> Iterator[Callable[[Callable[[logging.LogRecord], object]], None]]:
    """A function that adds a handler to the root logger."""
    added: list[logging.Handler] = []

    def add(emit: Callable[[logging.LogRecord], object]) -> None:
        handler = logging.Handler()
        handler.emit = emit  # type: ignore[assignment, method-assign]
        added.append(handler)
        logging.getLogger().addHandler(handler)

    yield add
    for handler in added:
        logging.getLogger().removeHandler(handler)


LogHandler = Callable[[Callable[[logging.LogRecord], object]], None]


class TestExceptions:
    def test_one_whose_str_returns_an_int_is_the_answer_to_its_call(self, peer: Peer) -> None:
        with pytest.raises(KernelError) as caught:
            peer[0].call("fail")
        assert (caught.value.name, caught.value.message) == ("ApiError", "404 (its __str__ raised TypeError)")

    def test_one_whose_str_leaves_the_program_is_the_answer_to_its_call(self, peer: Peer) -> None:
        with pytest.raises(KernelError) as caught:
            peer[0].call("fail_badly")
        assert (caught.value.name, caught.value.message) == ("Leaving", "(its __str__ raised SystemExit)")

    def test_a_getattr_that_raises_is_the_answer_to_its_call(self, peer: Peer) -> None:
        peer[1].handler = Lazy()
        with pytest.raises(KernelError, match="ApiError: 500"):
            peer[0].call("missing")

    @pytest.mark.parametrize("name", ["leave", "leave_trio", "leave_a_nursery", "give_what_leaves"])
    def test_leaving_the_program_is_the_answer_to_its_call(self, peer: Peer, name: str) -> None:
        with pytest.raises(KernelError, match=rf"StateError: '{name}' has ended with .*, which is meant for its own"):
            peer[0].call(name)

    @pytest.mark.parametrize("name", ["give_and_leave", "give_in_trio_and_leave"])
    def test_a_source_that_leaves_the_program_breaks_its_stream(self, peer: Peer, name: str) -> None:
        with pytest.raises(KernelError, match="StateError: the source of the stream has ended with SystemExit"):
            peer[0].read(name)

    def test_a_source_with_a_broken_exception_breaks_its_stream(self, peer: Peer) -> None:
        def source() -> Iterator[bytes]:
            yield bytes(100_000)
            raise ApiError(404)

        with pytest.raises(FrontendError, match=r"KernelError: ApiError: 404 \(its __str__ raised TypeError\)"):
            peer[1].call_with_stream("digest", source(), timeout=TIMEOUT)

    def test_what_is_done_when_a_result_is_collected_ends_nothing(
        self, peer: Peer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def collect() -> NoReturn:
            stream.close()
            threads.append(threading.current_thread().name)
            raise ApiError(404)

        def note(raised: Any) -> None:
            assert raised.exc_type is ApiError
            ignored.release()

        threads: list[str] = []
        ignored = threading.Semaphore(0)
        monkeypatch.setattr("sys.unraisablehook", note)
        stream = peer[1].call("give", 1e9, timeout=TIMEOUT)
        handler = Handler()
        handler.collect = collect
        peer[1].handler = handler
        assert peer[0].call("give_what_is_collected") == {"x": 1}
        # What is raised in `__del__` and by the weak reference is ignored by Python itself.
        assert ignored.acquire(timeout=TIMEOUT)
        assert ignored.acquire(timeout=TIMEOUT)
        assert threads == ["jchannel trio"] * 2
        with pytest.raises(ClosedError):
            list(stream)

    def test_a_path_whose_fspath_leaves_the_program_fails_its_call(self, peer: Peer) -> None:
        class Path:
            def __fspath__(self) -> NoReturn:
                raise SystemExit(1)

        with pytest.raises(StateError, match="the source of the stream has ended with SystemExit"):
            peer[1].call_with_stream("digest", Path(), timeout=TIMEOUT)

    @pytest.mark.parametrize("error", [ApiError(404), SystemExit(1)])
    def test_a_progress_that_raises_breaks_its_stream(self, peer: Peer, error: BaseException) -> None:
        def progress(_done: int, _total: int | None) -> None:
            raise error

        # How far the page had come with the stream decides what it says.
        with pytest.raises(FrontendError):
            peer[1].call_with_stream("digest", [bytes(100_000)] * 100, timeout=TIMEOUT, progress=progress)

    def test_a_file_that_leaves_the_program_when_it_is_written_to_does_so_for_its_caller(self) -> None:
        class File:
            def write(self, _data: bytes) -> NoReturn:
                raise SystemExit(7)

        async def program() -> None:
            async with jchannel.Server(port=0) as server:
                with StreamPeer(server.page_url):
                    async with jchannel.channel.Channel(server, CODE) as channel:
                        stream = await channel.pipe(b"data")
                        try:
                            await stream.write_to(File())
                        except SystemExit as error:
                            codes.append(error.code)
                        assert await channel.echo(1) == [1]

        codes: list[object] = []
        asyncio.run(program())
        assert codes == [7]

    def test_options_that_leave_the_program_do_so_for_their_caller(self, peer: Peer) -> None:
        class Origins:
            def __iter__(self) -> NoReturn:
                raise SystemExit(7)

        with pytest.raises(SystemExit, match="7"):
            jchannel.sync.start(port=0, origins=Origins())


class TestLogHandlers:
    def test_one_that_raises_ends_nothing_when_a_method_raises(self, peer: Peer, log_handler: LogHandler) -> None:
        def emit(record: logging.LogRecord) -> NoReturn:
            raise RuntimeError(record.getMessage())

        log_handler(emit)
        with pytest.raises(KernelError, match="ApiError: 404"):
            peer[0].call("fail")

    def test_one_that_calls_the_page_ends_nothing(
        self, peer: Peer, log_handler: LogHandler, capfd: pytest.CaptureFixture[str]
    ) -> None:
        log_handler(lambda record: peer[1].call("record", record.getMessage()))
        with pytest.raises(KernelError, match="ApiError: 404"):
            peer[0].call("fail")
        printed = capfd.readouterr().err
        assert "jchannel: the handler method 'fail' raised\n" in printed
        assert "would wait for itself" in printed

    def test_one_that_raises_ends_nothing_when_a_page_is_refused(self, peer: Peer, log_handler: LogHandler) -> None:
        def emit(_record: logging.LogRecord) -> NoReturn:
            raise SystemExit(1)

        async def knock() -> None:
            async with jchannel.trio.open_peer(f"{peer[0]._url.partition('#')[0]}#jchannel=wrong"):
                raise AssertionError

        log_handler(emit)
        with pytest.raises(RefusedError, match="token"):
            trio.run(knock)

    def test_one_that_calls_the_page_in_a_task_is_not_called_for_its_own_calls(self, log_handler: LogHandler) -> None:
        async def program() -> None:
            async with jchannel.Server(port=0) as server:
                with StreamPeer(server.page_url):
                    async with jchannel.channel.Channel(server, CODE) as channel:
                        log_handler(lambda record: messages.append((record.getMessage(), channel.call("missing"))))
                        task = channel.call("missing")
                        with pytest.raises(FrontendError):
                            await asyncio.shield(task)
                        unheard = channel.call("missing")
                        await asyncio.wait([unheard])
                        del unheard
                        gc.collect()
                        await asyncio.wait([task for _, task in messages])
                        names = [name for name, _ in messages]
                        messages.clear()
                        gc.collect()
                        (name,) = names
                        assert name.startswith("channel.call('missing') has failed, and nobody has awaited it")
                        assert messages == []

        messages: list[tuple[str, asyncio.Task[Any]]] = []
        asyncio.run(program())


class TestSources:
    def test_one_that_never_closes_keeps_no_server_from_stopping(self, caplog: pytest.LogCaptureFixture) -> None:
        never = threading.Event()

        def source() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(1_000)
            finally:
                never.wait(TIMEOUT)

        limits = Limits(cleanup_seconds=0.01)
        with jchannel.sync.start(port=0, limits=limits) as server, StreamPeer(server.page_url) as page:
            with server.open(CODE) as channel:
                thread = threading.Thread(target=_ignore_errors, args=(channel, source()))
                thread.start()
                assert page.streams.reading.wait(TIMEOUT)
        thread.join()
        never.set()
        assert "did not close within 0.01 s (Limits.cleanup_seconds)" in caplog.text

    def test_one_that_never_closes_on_a_loop_keeps_no_server_from_stopping(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def program() -> None:
            async def source() -> AsyncIterator[bytes]:
                try:
                    while True:
                        yield bytes(1_000)
                finally:
                    await never.wait()

            never = asyncio.Event()
            server = await jchannel.start(port=0, limits=Limits(cleanup_seconds=0.01))
            with StreamPeer(server.page_url) as page:
                channel = await server.open(CODE)
                call = channel.call_with_stream("hold", source(), timeout=TIMEOUT)
                assert await asyncio.to_thread(page.streams.reading.wait, TIMEOUT)
                await server.stop()
                with pytest.raises(StateError):
                    await call
            never.set()

        asyncio.run(program())
        assert "did not close within 0.01 s (Limits.cleanup_seconds)" in caplog.text


class TestMethods:
    def test_one_that_never_ends_when_it_is_cancelled_keeps_no_server_from_stopping(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Stubborn:
            async def hold(self) -> None:
                try:
                    begun.set()
                    await asyncio.sleep(TIMEOUT)
                finally:
                    await never.wait()

        async def program() -> None:
            server = await jchannel.start(port=0, limits=Limits(cleanup_seconds=0.01))
            with StreamPeer(server.page_url) as page:
                channel = await server.open(CODE)
                channel.handler = Stubborn()
                call = asyncio.create_task(asyncio.to_thread(page.call, "hold"))
                await begun.wait()
                await server.stop()
                with pytest.raises(StateError):
                    await call
            never.set()

        begun, never = asyncio.Event(), asyncio.Event()
        asyncio.run(program())
        assert "'hold' did not end within 0.01 s (Limits.cleanup_seconds) after it was cancelled" in caplog.text


def _ignore_errors(channel: jchannel.sync.Channel, source: Iterator[bytes]) -> None:
    with contextlib.suppress(StateError):
        channel.call_with_stream("hold", source, timeout=TIMEOUT)


def test_a_callable_that_cannot_be_looked_at_fails_its_own_call_and_no_other() -> None:
    class Handler:
        odd = Odd()

        def add(self, a: int, b: int) -> int:
            return a + b

        @jchannel.background
        def marked(self) -> None:
            """Makes the library look for marks."""

    async def main() -> None:
        async with await jchannel.start(port=0) as server:
            with StreamPeer(server.page_url) as peer:
                await server.open(CODE, handler=Handler())
                with pytest.raises(KernelError):
                    await asyncio.to_thread(peer.call, "odd")
                assert await asyncio.to_thread(peer.call, "add", 2, 3) == 5

    asyncio.run(main())

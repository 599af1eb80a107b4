"""What a user's code raises in the middle of the core's own error handling ends no more than its request."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest
import trio
import trio.testing

from jchannel._core.nursery import copy_error
from jchannel.errors import FrontendError, KernelError
from jchannel.trio import Channel, Limits, PeerChannel
from tests.core.memory import open_memory_server


class ApiError(Exception):
    """The usual mistake: its ``__str__`` returns an int."""

    def __str__(self) -> str:
        return self.args[0]  # type: ignore[no-any-return]


class OddError(TypeError):
    """An error of a kind that the core catches, with a broken ``__str__``."""

    def __str__(self) -> NoReturn:
        raise LookupError

    def __reduce__(self) -> NoReturn:
        raise LookupError


class Odd(dict[str, bytes]):
    """A dict that raises when it is looked at."""

    def items(self) -> NoReturn:
        raise OddError("odd")


async def source(error: BaseException) -> AsyncIterator[bytes]:
    """A source that raises."""
    yield bytes(100_000)
    raise error


class Endless:
    """A source that does not end when it is closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closing = trio.Event()
        self._error = error

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return bytes(1_000)

    async def aclose(self) -> None:
        self.closing.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    async def _fail_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            if self._error is not None:
                raise self._error


class UnknowableError(Exception):
    """An exception that does not say what it is."""

    def __getattribute__(self, name: str) -> object:
        if name == "__class__":
            raise RuntimeError("it is a secret")
        return super().__getattribute__(name)


class Handler:
    def unknowable(self) -> NoReturn:
        raise UnknowableError("it is what it is")

    def add(self, a: int, b: int) -> int:
        return a + b

    def ignore(self, _stream: object) -> None:
        """Reads nothing."""

    def fail(self) -> NoReturn:
        raise ApiError(404)

    async def fail_in_a_nursery(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail_when_cancelled)

    async def _fail_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ApiError(404)

    def give_odd(self) -> Odd:
        return Odd({"x": b""})

    def give(self) -> AsyncIterator[bytes]:
        return source(ApiError(404))


@asynccontextmanager
async def opened(limits: Limits | None = None) -> AsyncIterator[tuple[Channel, PeerChannel]]:
    """A channel and its far side, with the same handler, which work in the end."""
    async with open_memory_server(limits=limits) as memory, memory.open_peer(Handler(), limits=limits) as peer:
        async with memory.server.open_channel("code", handler=Handler()) as channel:
            other = await peer.wait_channel()
            yield channel, other
            assert await channel.call("add", 2, 3) == await other.call("add", 2, 3) == 5


@pytest.fixture
def raising_log() -> Iterator[None]:
    """A log handler of the program's that raises."""

    def emit(record: logging.LogRecord) -> NoReturn:
        raise RuntimeError(record.getMessage())

    handler = logging.Handler()
    handler.emit = emit  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


class TestExceptions:
    async def test_a_broken_str_is_the_answer_to_its_call(self) -> None:
        async with opened() as (channel, other):
            with pytest.raises(KernelError, match=r"^ApiError: 404 ") as from_python:
                await other.call("fail")
            with pytest.raises(FrontendError, match=r"^ApiError: 404 "):
                await channel.call("fail")
        assert from_python.value.name == "ApiError"

    async def test_a_broken_str_of_what_cannot_be_sent_is_the_answer_to_its_call(self) -> None:
        async with opened() as (channel, _):
            with pytest.raises(FrontendError) as caught:
                await channel.call("give_odd")
        assert (caught.value.kind, caught.value.message) == ("value", "odd (its __str__ raised LookupError)")

    async def test_a_broken_str_of_a_source_breaks_its_stream(self) -> None:
        async with opened() as (channel, _):
            async with await channel.call("give") as stream:
                with pytest.raises(FrontendError, match=r"^ApiError: 404 "):
                    await stream.join()

    async def test_a_broken_str_of_what_opens_a_channel_fails_its_opening(self) -> None:
        def fail(_channel: PeerChannel, _code: str) -> NoReturn:
            raise ApiError(404)

        async with open_memory_server() as memory, memory.open_peer(on_open=fail):
            with pytest.raises(FrontendError, match=r"^ApiError: 404 "):
                async with memory.server.open_channel("code"):
                    raise AssertionError

    async def test_an_exception_that_cannot_be_copied_is_raised_itself(self) -> None:
        error = OddError()
        assert copy_error(error) is error


class TestLogHandlers:
    @pytest.mark.usefixtures("raising_log")
    async def test_one_that_raises_ends_nothing_when_a_method_raises(self, capsys: pytest.CaptureFixture[str]) -> None:
        async with opened() as (_, other):
            with pytest.raises(KernelError, match=r"^ApiError: 404 "):
                await other.call("fail")
        assert "jchannel: the handler method 'fail' raised\nTraceback" in capsys.readouterr().err

    @pytest.mark.usefixtures("raising_log")
    async def test_one_that_raises_ends_nothing_when_a_source_raises(self) -> None:
        async with opened() as (_, other):
            async with await other.call("give") as stream:
                with pytest.raises(KernelError, match=r"^ApiError: 404 "):
                    await stream.join()

    @pytest.mark.usefixtures("raising_log")
    async def test_one_that_raises_ends_nothing_when_a_cancelled_method_raises(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with opened() as (_, other):
            with trio.move_on_after(1):
                await other.call("fail_in_a_nursery")


async def test_an_exception_whose_class_cannot_be_asked_for_is_an_error_of_its_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened() as (channel, other):
        for side in (channel, other):
            with pytest.raises((FrontendError, KernelError), match="UnknowableError: it is what it is"):
                await side.call("unknowable")


class TestSources:
    async def test_one_that_is_closed_within_a_nursery_is_closed_and_no_more(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Nested(Endless):
            async def aclose(self) -> None:
                self.closing.set()
                raise BaseExceptionGroup("a nursery within it", [GeneratorExit()])

        source = Nested()
        async with opened() as (channel, _):
            await channel.call_with_stream("ignore", source)
            await source.closing.wait()
        assert not caplog.records

    @pytest.mark.parametrize("error", [None, ValueError("while it closes")])
    async def test_one_that_never_closes_is_left_after_the_limit(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, error: Exception | None
    ) -> None:
        endless = Endless(error)
        async with opened(Limits(cleanup_seconds=7)) as (channel, _):
            await channel.call_with_stream("ignore", endless)
            await endless.closing.wait()
            began = trio.current_time()
        assert trio.current_time() - began == 7
        assert "did not close within 7 s (Limits.cleanup_seconds)" in caplog.text
        assert ("closing the source of a stream raised" in caplog.text) is (error is not None)

    async def test_leaving_the_program_while_one_is_opened_is_the_programs(self) -> None:
        class Leaving:
            def __aiter__(self) -> AsyncIterator[bytes]:
                raise SystemExit(7)

        with pytest.raises(SystemExit, match="7"):
            async with opened() as (channel, _):
                await channel.call_with_stream("ignore", Leaving())

    async def test_leaving_the_program_while_one_closes_is_the_programs(self) -> None:
        async def leave() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1_000)
            finally:
                raise SystemExit(7)

        with pytest.raises(SystemExit, match="7"):
            async with opened() as (channel, _):
                await channel.call_with_stream("ignore", leave())

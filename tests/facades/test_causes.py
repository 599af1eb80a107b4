"""What a user's own source raises comes back from the far side as an error that has it as its cause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio.testing

import jchannel
from jchannel.errors import FrontendError
from jchannel.testing import AsyncioKit, SyncKit, open_pair


class Page:
    """Plays a page that reads what it is sent."""

    async def join(self, stream: jchannel.MetaGenerator) -> bytes:
        return await stream.join()

    async def through(self, stream: jchannel.MetaGenerator) -> AsyncIterator[bytes]:
        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in stream:
                yield chunk

        return chunks()

    def fail(self, stream: jchannel.MetaGenerator) -> None:
        raise LookupError("not there")


class ThreadPage:
    def join(self, stream: Any) -> bytes:
        return bytes(stream.join())


def failing(error: Exception) -> Iterator[bytes]:
    yield b"x" * 100_000
    raise error


async def failing_later(error: Exception) -> AsyncIterator[bytes]:
    for piece in failing(error):
        yield piece


ERROR = ValueError("no more of it")


async def test_in_trio_a_call_whose_source_has_raised(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(Page()) as (channel, _):
        with pytest.raises(FrontendError, match=r"^KernelError: ValueError: no more of it$") as caught:
            await channel.call_with_stream("join", failing_later(ERROR))
        assert caught.value.__cause__ is ERROR


async def test_in_trio_a_stream_that_is_made_of_the_source(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(Page()) as (channel, _):
        for piped in (
            await channel.pipe(failing_later(ERROR)),
            await channel.call_with_stream("through", failing_later(ERROR)),
        ):
            with pytest.raises(FrontendError, match=r"ValueError: no more of it$") as caught:
                await piped.join()
            assert caught.value.__cause__ is ERROR


async def test_an_error_of_the_page_s_own_has_no_cause(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(Page()) as (channel, _):
        with pytest.raises(FrontendError, match="not there") as caught:
            await channel.call_with_stream("fail", b"bytes")
        assert caught.value.__cause__ is None


def test_on_a_loop_it_is_the_error_that_the_source_has_raised_there() -> None:
    async def program() -> None:
        async with AsyncioKit() as kit:
            channel, _ = await kit.open_pair(Page())
            with pytest.raises(FrontendError) as caught:
                await channel.call_with_stream("join", failing_later(ERROR))
            assert caught.value.__cause__ is ERROR
            piped = await channel.pipe(failing_later(ERROR))
            with pytest.raises(FrontendError) as caught:
                await piped.join()
            assert caught.value.__cause__ is ERROR

    asyncio.run(program())


def test_in_the_blocking_facade_it_is_that_of_the_iterable() -> None:
    with SyncKit() as kit:
        channel, _ = kit.open_pair(ThreadPage())
        with pytest.raises(FrontendError) as caught:
            channel.call_with_stream("join", failing(ERROR))
        assert caught.value.__cause__ is ERROR
        with channel.pipe(failing(ERROR)) as piped, pytest.raises(FrontendError) as caught:
            piped.join()
        assert caught.value.__cause__ is ERROR

"""The loop thread of the browser tests: it always answers, with a result, with an error, or that the time is up."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from tests.browser.loop_thread import LoopThread


@contextlib.asynccontextmanager
async def resource() -> AsyncGenerator[str]:
    yield "the resource"


async def never() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise LookupError("not found")


@contextlib.asynccontextmanager
async def broken_resource() -> AsyncGenerator[str]:
    await fail()
    yield "never reached"


def test_starting_returns_the_resource() -> None:
    thread = LoopThread(resource, name="test", timeout=60)
    assert thread.start() == "the resource"
    thread.stop()


def test_a_resource_that_cannot_be_opened_raises_from_starting() -> None:
    thread = LoopThread(broken_resource, name="test", timeout=60)
    with pytest.raises(LookupError, match="not found"):
        thread.start()
    thread.stop()


# With no time at all, whatever has to wait is late: the outcome depends on no clock.
def test_blocking_work_that_takes_too_long_is_cancelled() -> None:
    thread = LoopThread(resource, name="test", timeout=0)
    thread.start()
    with pytest.raises(TimeoutError, match="test had not done in 0 s what was asked of it"):
        thread.wait_blocking(never())
    thread.stop()


async def test_trio_work_that_takes_too_long_is_cancelled() -> None:
    thread = LoopThread(resource, name="test", timeout=0)
    thread.start()
    with pytest.raises(TimeoutError, match="test had not done in 0 s what was asked of it"):
        await thread.wait_in_trio(never())
    thread.stop()


async def test_an_error_of_the_work_is_raised_in_trio() -> None:
    thread = LoopThread(resource, name="test", timeout=60)
    thread.start()
    with pytest.raises(LookupError, match="not found"):
        await thread.wait_in_trio(fail())
    thread.stop()

"""The nursery that lets a single failure out unwrapped."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from jchannel._core.nursery import open_flat_nursery


class FailureError(Exception):
    pass


async def fail(error: BaseException) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def fail_when_cancelled(error: BaseException) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise error


async def fail_when_idle(error: BaseException) -> None:
    await trio.testing.wait_all_tasks_blocked()
    raise error


async def run_together(*tasks: Callable[[], Awaitable[None]]) -> None:
    """Runs tasks in a flat nursery."""
    async with open_flat_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)


async def test_it_waits_for_its_tasks() -> None:
    done = []

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        done.append(1)

    async with open_flat_nursery() as nursery:
        nursery.start_soon(work)
    assert done == [1]


async def test_a_failure_that_is_alone_comes_out_as_itself() -> None:
    failure = FailureError()
    with pytest.raises(FailureError) as caught:
        await run_together(trio.sleep_forever, partial(fail, failure))
    assert caught.value is failure


async def test_the_block_s_own_failure_comes_out_as_itself() -> None:
    failure = FailureError()

    async def fail_in_the_block() -> None:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise failure

    with pytest.raises(FailureError) as caught:
        await fail_in_the_block()
    assert caught.value is failure


async def test_a_failure_keeps_its_context_and_its_cause() -> None:
    failure, cause, context = FailureError(), FailureError("cause"), FailureError("context")

    async def fail_again() -> None:
        await trio.lowlevel.checkpoint()
        try:
            raise context
        except FailureError:
            raise failure from cause

    with pytest.raises(FailureError) as caught:
        await run_together(fail_again)
    assert (caught.value.__cause__, caught.value.__context__) == (cause, context)


async def test_nested_nurseries_let_a_single_failure_out_unwrapped() -> None:
    async def fail_in_a_plain_nursery() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, FailureError())

    with pytest.raises(FailureError):
        await run_together(fail_in_a_plain_nursery)


async def test_several_failures_come_out_as_a_group() -> None:
    with pytest.RaisesGroup(FailureError, KeyError):
        await run_together(partial(fail_when_cancelled, KeyError()), partial(fail_when_idle, FailureError()))


async def test_a_cancellation_stays_one() -> None:
    with trio.CancelScope() as scope:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
    assert scope.cancelled_caught


async def test_a_failure_beside_a_cancellation_from_above_comes_out_alone() -> None:
    async with trio.open_nursery() as outer:

        async def run_and_see() -> None:
            with pytest.raises(FailureError):
                await run_together(partial(fail_when_cancelled, FailureError()), trio.sleep_forever)

        outer.start_soon(run_and_see)
        await trio.testing.wait_all_tasks_blocked()
        outer.cancel_scope.cancel()


async def test_an_interrupt_comes_out_as_itself() -> None:
    with pytest.raises(KeyboardInterrupt):
        await run_together(partial(fail, KeyboardInterrupt()))

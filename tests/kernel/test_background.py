"""The kernel's nursery, outside of a kernel."""

import pytest
import trio
import trio.testing

from jchannel.kernel import KernelNursery, current_nursery


async def test_the_cancellations_in_a_group_of_errors_are_no_failures() -> None:
    shown: list[BaseException] = []

    async def child() -> None:
        await trio.sleep_forever()

    async def fail() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(child)
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError("mine")

    async with trio.open_nursery() as nursery:
        owner = KernelNursery(nursery, shown.append)
        owner.start_soon(fail)
        await trio.testing.wait_all_tasks_blocked()
        owner.cancel()
    (error,) = shown
    assert isinstance(error, BaseExceptionGroup)
    assert [type(each) for each in error.exceptions] == [LookupError]


def test_outside_of_the_kernel_there_is_none() -> None:
    with pytest.raises(RuntimeError, match="this is not the trio kernel: install it with `python -m jchannel kernel"):
        current_nursery()

"""Interrupts, outside of a kernel."""

import signal

import pytest
import trio.testing

from jchannel.kernel.interrupts import Interrupts


async def test_one_that_comes_before_the_cell_goes_on_is_raised_when_it_does() -> None:
    interrupts = Interrupts()
    with interrupts.hold(None):
        interrupts.handle(signal.SIGINT, None)
        with interrupts:
            with pytest.raises(KeyboardInterrupt):
                interrupts.check()
            interrupts.check()


async def test_one_for_a_cell_that_has_ended_is_not_for_the_next() -> None:
    interrupts = Interrupts()
    interrupts.handle(signal.SIGINT, None)
    await trio.testing.wait_all_tasks_blocked()
    with interrupts.hold(None), interrupts:
        interrupts.check()
        assert interrupts.computing
    assert not interrupts.computing

"""Mailboxes."""

import asyncio
import weakref
from collections.abc import Callable
from unittest import mock

import pytest

from jchannel._bridge import mailbox as module
from jchannel._bridge.mailbox import LoopClosedError, LoopMailbox, Mailbox


class Box(Mailbox):
    """A mailbox that counts its wake-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0
        self.fails: list[BaseException] = []

    def _wake(self) -> None:
        self.wakes += 1
        if self.fails:
            raise self.fails.pop()


def test_work_runs_in_the_order_in_which_it_was_posted() -> None:
    box = Box()
    done: list[int] = []
    for number in range(5):
        box.post(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == []
    box.run()
    assert done == [0, 1, 2, 3, 4]


def test_one_wake_up_serves_all_that_waits() -> None:
    box = Box()
    for _ in range(2_000):
        box.post(int)
    assert box.wakes == 1
    box.run()
    box.post(int)
    assert box.wakes == 2


def test_work_posted_by_work_waits_for_its_own_wake_up() -> None:
    box = Box()
    done: list[int] = []
    box.post(lambda: box.post(lambda: done.append(1)))
    box.run()
    assert (done, box.wakes) == ([], 2)
    box.run()
    assert done == [1]


def test_a_mailbox_may_be_run_by_its_own_work() -> None:
    box = Box()
    done: list[int] = []
    box.post(box.run)
    box.post(lambda: done.append(1))
    box.run()
    assert done == [1]


def test_an_interrupt_of_one_work_leaves_the_others_waiting_with_a_wake_up() -> None:
    box = Box()
    done: list[int] = []
    box.post(mock.Mock(side_effect=KeyboardInterrupt))
    box.post(lambda: done.append(1))
    with pytest.raises(KeyboardInterrupt):
        box.run()
    assert box.wakes == 2
    box.run()
    assert done == [1]


def test_an_error_of_one_work_is_raised_and_leaves_the_others_waiting_with_a_wake_up() -> None:
    box = Box()
    done: list[int] = []
    box.post(mock.Mock(side_effect=ZeroDivisionError))
    box.post(lambda: done.append(1))
    with pytest.raises(ZeroDivisionError):
        box.run()
    assert (done, box.wakes) == ([], 2)
    box.run()
    assert done == [1]


def test_a_wake_up_that_fails_is_tried_again_by_the_next_post() -> None:
    box = Box()
    box.fails.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        box.post(int)
    box.post(int)
    assert box.wakes == 2


def test_all_who_post_to_a_loop_share_its_mailbox() -> None:
    async def program() -> bool:
        loop = asyncio.get_running_loop()
        return LoopMailbox.of(loop) is LoopMailbox.of(loop)

    assert asyncio.run(program())


def test_work_posted_to_a_loop_runs_in_it() -> None:
    async def program() -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        ran: asyncio.Future[asyncio.AbstractEventLoop] = loop.create_future()
        mailbox = LoopMailbox.of(loop)
        assert not mailbox.closed
        await asyncio.to_thread(mailbox.post, lambda: ran.set_result(asyncio.get_running_loop()))
        assert await ran is loop
        return loop

    assert asyncio.run(program()).is_closed()


def test_a_closed_loop_takes_nothing_more() -> None:
    async def program() -> tuple[LoopMailbox, asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        return LoopMailbox.of(loop), loop

    mailbox, loop = asyncio.run(program())
    for _ in range(2):
        with pytest.raises(LoopClosedError):
            mailbox.post(int)
    assert mailbox.closed
    assert loop.is_closed()


def test_a_loop_that_is_gone_takes_nothing_more() -> None:
    async def program() -> LoopMailbox:
        return LoopMailbox.of(asyncio.get_running_loop())

    mailbox = asyncio.run(program())
    assert mailbox.closed
    with pytest.raises(LoopClosedError):
        mailbox.post(int)


def test_another_error_of_an_open_loop_is_raised() -> None:
    async def program() -> None:
        mailbox = LoopMailbox.of(asyncio.get_running_loop())
        loop = asyncio.get_running_loop()
        failing: Callable[..., None] = mock.Mock(side_effect=RuntimeError("of its own"))
        with mock.patch.object(loop, "call_soon_threadsafe", failing), pytest.raises(RuntimeError, match="of its own"):
            mailbox.post(int)

    asyncio.run(program())


def test_what_a_loop_keeps_outlives_the_timer_that_refers_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEEP_SECONDS", 0)

    async def program() -> None:
        mailbox = LoopMailbox.of(asyncio.get_running_loop())
        kept = weakref.ref(mailbox.kept)
        for _ in range(10):
            await asyncio.sleep(0)
        assert kept() is mailbox.kept

    asyncio.run(program())


def test_no_timer_is_longer_than_the_loops_of_guis_can_count() -> None:
    # Qt and others count milliseconds in 31 bits.
    assert module._KEEP_SECONDS * 1000 < 2**31

"""A run of trio, as other threads see it."""

import threading

import trio
import trio.testing

from jchannel._core.trio_run import TrioRun


async def test_its_time_is_trios_in_every_thread(mock_clock: trio.testing.MockClock) -> None:
    run = TrioRun()
    mock_clock.jump(7)
    assert run.now() == trio.current_time() == await trio.to_thread.run_sync(run.now)


async def test_it_knows_its_own_thread() -> None:
    run = TrioRun()
    assert run.thread == threading.get_ident()
    assert run.thread != await trio.to_thread.run_sync(threading.get_ident)


async def test_a_function_runs_in_it_once_however_often_that_was_asked_for() -> None:
    run = TrioRun()
    places: list[bool] = []

    def note() -> None:
        places.append(run.thread == threading.get_ident())

    run.run_soon(note)
    run.run_soon(note)
    await trio.testing.wait_all_tasks_blocked()
    assert places == [True]

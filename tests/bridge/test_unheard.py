"""The Tasks of the asyncio facade: what is logged of one that fails, and when."""

import asyncio
import contextvars
import gc
import logging
import sys
import types
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from jchannel._bridge.call import CallTask, _let_go

cell: contextvars.ContextVar[str] = contextvars.ContextVar("cell", default="no cell")


class Recorder(logging.Handler):
    """Notes the log's messages, each with the cell in whose context it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info is None
        self.messages.append((record.getMessage().partition("; made at ")[0], cell.get()))


EXPECTED = "channel.call('draw') has failed, and nobody has awaited it: LookupError: in the page"


def run(program: Callable[[], Awaitable[None]]) -> list[tuple[str, str]]:
    """Runs a program in asyncio. Gives what was logged, and checks that asyncio itself has logged nothing."""
    recorder, of_asyncio = Recorder(), list[object]()
    logger = logging.getLogger("jchannel")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: of_asyncio.append(context))
        await program()

    logger.addHandler(recorder)
    try:
        asyncio.run(main())
    finally:
        logger.removeHandler(recorder)
    assert not of_asyncio
    return recorder.messages


async def fail() -> None:
    await asyncio.sleep(0)
    raise LookupError("in the page")


async def succeed() -> int:
    await asyncio.sleep(0)
    return 3


def start(work: Callable[[], Any] = fail) -> CallTask[Any]:
    task = CallTask(work(), asyncio.get_running_loop(), "channel.call('draw')")
    asyncio.Task.add_done_callback(task, partial(_let_go, None))  # As the call that it waits for does.
    return task


async def turn() -> None:
    """Gives the loop the time in which a Task ends, and all that comes of it."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_that_nobody_keeps_is_logged_as_soon_as_it_has_failed() -> None:
    async def program() -> None:
        cell.set("the cell")
        keeper = [start()]
        keeper[0].add_done_callback(lambda _: keeper.clear())
        cell.set("the next cell")
        await turn()
        cell.set("the last cell")

    assert run(program) == [(EXPECTED, "the cell")]


def test_one_that_is_kept_is_logged_when_it_is_let_go_of() -> None:
    async def program() -> None:
        tasks = [start()]
        await turn()
        cell.set("the next cell")
        tasks.clear()

    assert run(program) == [(EXPECTED, "no cell")]


@pytest.mark.parametrize("late", [False, True])
def test_one_that_is_awaited_is_not_logged(*, late: bool) -> None:
    async def program() -> None:
        task = start()
        if late:
            await turn()
        with pytest.raises(LookupError):
            await task

    assert run(program) == []


def test_one_that_is_gathered_is_not_logged() -> None:
    async def program() -> None:
        results = await asyncio.gather(start(), start(), return_exceptions=True)
        assert [str(result) for result in results] == ["in the page"] * 2

    assert run(program) == []


def test_one_that_is_cancelled_is_not_logged() -> None:
    async def program() -> None:
        start().cancel()
        await turn()
        gc.collect()

    assert run(program) == []


def test_one_that_succeeds_is_not_logged() -> None:
    async def program() -> None:
        assert await start(succeed) == 3
        start(succeed)
        await turn()

    assert run(program) == []


def test_one_that_a_notebook_has_shown_is_logged_once_though_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []

    async def program() -> None:
        kept.append(show(monkeypatch, start()))
        await turn()

    assert run(program) == [(EXPECTED, "no cell")]
    assert kept


def test_one_that_a_notebook_has_shown_and_that_is_awaited_is_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def program() -> None:
        results = show(monkeypatch, start())
        with pytest.raises(LookupError):
            await results[1]
        results.clear()

    assert run(program) == []


def test_outside_of_a_notebook_nothing_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def program() -> None:
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
        tasks = [start()]
        await turn()
        with pytest.raises(LookupError):
            await tasks[0]

    assert run(program) == []


def show(monkeypatch: pytest.MonkeyPatch, task: CallTask[Any]) -> dict[int, CallTask[Any]]:
    """Makes a Task the result of a notebook's first cell. Gives the notebook's results."""
    results = {1: task}
    shell = types.SimpleNamespace(user_ns={"_oh": results})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    return results


def test_one_that_is_taken_for_a_coroutine_says_that_it_is_none() -> None:
    async def program() -> None:
        task = start(succeed)
        with pytest.raises(TypeError) as caught:
            asyncio.get_running_loop().create_task(task)  # type: ignore[arg-type] # The mistake.
        assert str(caught.value) == (
            "a coroutine was expected, got <CallTask pending name=\"channel.call('draw')\", its request is on its way: "
            "await it, in a coroutine of your own where one is expected>"
        )

        async def own() -> int:
            result: int = await task
            return result

        async with asyncio.TaskGroup() as group:
            awaited = group.create_task(own())
        assert awaited.result() == 3
        assert repr(task).startswith("<CallTask finished name=")
        cancelled = start(succeed)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert repr(cancelled).startswith("<CallTask cancelled name=")

    asyncio.run(program())

"""Who waits for a page that is not heard meanwhile, and what he is told."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import trio

from jchannel._bridge.call import in_task, wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.portal import open_thread_portal
from jchannel._notebook import hearing as module
from jchannel._notebook.hearing import Hearing, find_awaited, find_hearing
from jchannel.errors import StateError
from tests.peer_thread import TIMEOUT

WHY = "marimo hands over what a page sends over the comm when no cell runs"
ADVICE = "await it in a task that outlives its cell, as asyncio.create_task() makes it"


def make_server(door: str | None) -> Any:
    """A server of the core, with a page that has come by a door; ``None`` for no page."""
    return SimpleNamespace(session=None if door is None else SimpleNamespace(door=door))


async def listen_messages(cell: Callable[[], Awaitable[object]]) -> object:
    """The Task of marimo's own, which runs a cell."""
    return await cell()


@pytest.fixture
def marimo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A marimo whose cells run in the present thread."""
    monkeypatch.setitem(sys.modules, "marimo", SimpleNamespace(running_in_notebook=lambda: True))
    lifecycle: Any = ModuleType("marimo._runtime.kernel_lifecycle")
    lifecycle.listen_messages = listen_messages
    monkeypatch.setitem(sys.modules, "marimo._runtime.kernel_lifecycle", lifecycle)


def make_hearing(door: str | None = "comm", asked: Any = None) -> Hearing:
    """How a page is heard in the present kernel."""
    hearing = find_hearing(make_server(door), asked, None)
    assert hearing is not None
    return hearing


class Hanging:
    """A job of the page's that has no answer.

    Attributes:
        cancelled: Set when it has been cancelled.
    """

    def __init__(self, hearing: Hearing, *, needs_page: bool = True) -> None:
        self.cancelled = threading.Event()
        self.job: TaskJob[Any] = TaskJob(open_thread_portal(), self._hang, hearing=hearing, needs_page=needs_page)

    def start(self) -> asyncio.Task[Any]:
        """Starts it."""
        return in_task(self.job, "channel.call('add')")

    async def _hang(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


async def turn_the_loop() -> None:
    """Lets the loop come round, more often than anything needs that is on its way."""
    for _ in range(5):
        await asyncio.sleep(0)


async def let_refusals_come() -> None:
    """Lets the loop look, what it has refused end in trio, and the errors come back."""
    await turn_the_loop()
    wait_blocking(TaskJob(open_thread_portal(), trio.lowlevel.checkpoint))
    await turn_the_loop()


async def await_it(task: asyncio.Task[Any]) -> None:
    await task


async def wait_until_cancelled(hanging: Hanging, wait: Callable[..., Awaitable[None]] = await_it) -> None:
    """A cell that waits for a call, which is not refused, until a Task beside it cancels that."""
    task = hanging.start()

    async def cancel() -> None:
        await let_refusals_come()
        assert not task.done()
        task.cancel()

    cancelling = asyncio.create_task(cancel())
    with suppress(asyncio.CancelledError):
        await wait(task)
    await cancelling


async def await_in_a_task(task: asyncio.Task[Any]) -> None:
    await asyncio.create_task(await_it(task))


async def gather(task: asyncio.Task[Any]) -> None:
    await asyncio.gather(task, asyncio.sleep(TIMEOUT))


async def gather_tasks(task: asyncio.Task[Any]) -> None:
    await asyncio.gather(await_it(task))


async def await_later(task: asyncio.Task[Any]) -> None:
    await turn_the_loop()
    async with asyncio.timeout(TIMEOUT):
        await task


@pytest.mark.usefixtures("marimo")
@pytest.mark.parametrize("wait", [await_it, await_in_a_task, gather, gather_tasks, await_later])
def test_a_call_that_the_running_cell_waits_for_fails_at_once(wait: Callable[..., Awaitable[None]]) -> None:
    hanging = Hanging(make_hearing())

    async def cell() -> None:
        task = hanging.start()
        with pytest.raises(StateError) as caught:
            await wait(task)
        assert str(caught.value).startswith("channel.call('add') cannot be answered while the cell that runs waits")
        assert f": {WHY}; {ADVICE}" in str(caught.value)
        await asyncio.to_thread(hanging.cancelled.wait, TIMEOUT)

    asyncio.run(listen_messages(cell))


async def await_in_a_group(task: asyncio.Task[Any]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(await_it(task))


async def await_as_completed(task: asyncio.Task[Any]) -> None:
    for completed in asyncio.as_completed([task]):
        await completed


async def await_as_one_of_a_set(task: asyncio.Task[Any]) -> None:
    await asyncio.wait([task])


async def await_behind_a_shield(task: asyncio.Task[Any]) -> None:
    await asyncio.shield(task)


async def await_what_had_begun_to(task: asyncio.Task[Any]) -> None:
    other = asyncio.create_task(await_it(task))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await other


@pytest.mark.usefixtures("marimo")
@pytest.mark.parametrize(
    "wait",
    [await_in_a_group, await_as_completed, await_as_one_of_a_set, await_behind_a_shield, await_what_had_begun_to],
)
def test_what_does_not_say_whom_it_waits_for_is_waited_for(wait: Callable[..., Awaitable[None]]) -> None:
    """As ``docs/notebooks.md`` lists it."""
    asyncio.run(listen_messages(partial(wait_until_cancelled, Hanging(make_hearing()), wait)))


@pytest.mark.usefixtures("marimo")
def test_a_call_that_a_task_beside_the_cell_waits_for_goes_on() -> None:
    hanging = Hanging(make_hearing())

    async def cell() -> None:
        task = hanging.start()
        other = asyncio.create_task(await_it(task))
        await let_refusals_come()
        assert not task.done()
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other

    asyncio.run(listen_messages(cell))


@pytest.mark.usefixtures("marimo")
def test_all_calls_that_the_running_cell_waits_for_at_once_fail() -> None:
    hearing = make_hearing()

    async def cell() -> None:
        tasks = [Hanging(hearing).start() for _ in range(3)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StateError] * 3

    asyncio.run(listen_messages(cell))


async def be_refused(hanging: Hanging) -> None:
    """A cell that awaits a call, and is told that it cannot."""
    with pytest.raises(StateError):
        await hanging.start()


@pytest.mark.usefixtures("marimo")
def test_who_waits_in_a_thread_beside_the_kernels_has_no_part_in_what_is_looked_for() -> None:
    hearing = make_hearing()
    beside = Hanging(hearing)
    began, refused = threading.Event(), threading.Event()

    async def wait_beside() -> None:
        task = beside.start()
        waiting = asyncio.create_task(await_it(task))
        await asyncio.sleep(0)
        began.set()
        refused.wait(TIMEOUT)  # Its loop does not come round.
        await let_refusals_come()
        assert not task.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with ThreadPoolExecutor() as pool:
        # By the sign of its coroutine it might run cells, too.
        waiting = pool.submit(asyncio.run, listen_messages(wait_beside))
        assert began.wait(TIMEOUT)
        asyncio.run(listen_messages(partial(be_refused, Hanging(hearing))))
        refused.set()
        waiting.result()


@pytest.mark.usefixtures("marimo")
def test_a_loop_that_is_closed_before_it_looks_leaves_nothing_behind() -> None:
    hearing = make_hearing()
    hanging = Hanging(hearing)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # Its Tasks are destroyed while they are pending.

    async def begin() -> None:
        waiting = asyncio.create_task(await_it(hanging.start()))
        await asyncio.sleep(0)
        loop.stop()
        await waiting

    beginning = loop.create_task(begin())
    loop.run_forever()
    loop.close()
    del beginning
    gc.collect()
    assert hanging.cancelled.wait(TIMEOUT)

    asyncio.run(listen_messages(partial(be_refused, Hanging(hearing))))


def test_a_call_that_nobody_awaits_is_not_looked_for() -> None:
    asked: list[object] = []
    hearing: Any = SimpleNamespace(look_soon=lambda task, _: asked.append(task))

    async def program() -> None:
        task = in_task(TaskJob(open_thread_portal(), trio.lowlevel.checkpoint, hearing=hearing, needs_page=True), "")
        assert asked == []
        await task
        assert asked == [task]

    asyncio.run(program())


async def answer() -> int:
    """What a job does that succeeds at once."""
    await trio.lowlevel.checkpoint()
    return 42


@pytest.mark.usefixtures("marimo")
def test_a_call_that_has_ended_before_anybody_looks_keeps_its_outcome() -> None:
    hearing = make_hearing()
    done = threading.Event()

    async def cell() -> object:
        task = in_task(TaskJob(open_thread_portal(), answer, hearing=hearing, needs_page=True), "channel.open")
        in_task(TaskJob(open_thread_portal(), settle), "")
        assert done.wait(TIMEOUT)  # Its outcome is on its way to the loop.
        hearing.look_soon(task, SimpleNamespace(refuse=lambda _: pytest.fail("it was refused")))
        await turn_the_loop()
        return await task

    async def settle() -> None:
        await trio.testing.wait_all_tasks_blocked()
        done.set()

    assert asyncio.run(listen_messages(cell)) == 42


@pytest.mark.usefixtures("marimo")
def test_a_refusal_that_comes_after_the_outcome_changes_nothing() -> None:
    hearing = make_hearing()

    async def program() -> None:
        task: Any = in_task(TaskJob(open_thread_portal(), answer, hearing=hearing, needs_page=True), "")
        assert await task == 42
        task._call.refuse(StateError("too late"))
        wait_blocking(TaskJob(open_thread_portal(), trio.lowlevel.checkpoint))
        assert task.result() == 42

    asyncio.run(program())


@pytest.mark.usefixtures("marimo")
@pytest.mark.parametrize(("door", "asked"), [("port", None), (None, None), (None, "port")])
def test_a_page_that_has_come_or_may_come_by_another_door_is_waited_for(door: Any, asked: Any) -> None:
    hearing = make_hearing(door, asked)

    asyncio.run(listen_messages(partial(wait_until_cancelled, Hanging(hearing))))

    hearing.check_blocking()
    words = "; where the page does not reach the port, "
    assert hearing.explain().startswith(words) if (door or asked) is None else hearing.explain() == ""


@pytest.mark.usefixtures("marimo")
@pytest.mark.parametrize(("door", "asked"), [("comm", None), (None, "comm")])
def test_the_thread_that_would_hear_the_page_does_not_block_for_it(door: Any, asked: Any) -> None:
    hanging = Hanging(make_hearing(door, asked))

    with pytest.raises(StateError, match="the page could not be heard while this thread waits for it, and nothing was"):
        wait_blocking(hanging.job)

    assert not hanging.cancelled.is_set()


@pytest.mark.usefixtures("marimo")
@pytest.mark.parametrize("lifecycle", [None, ModuleType("lifecycle")])
def test_in_a_marimo_of_another_shape_what_is_awaited_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, lifecycle: ModuleType | None
) -> None:
    monkeypatch.setitem(sys.modules, "marimo._runtime.kernel_lifecycle", lifecycle)
    hanging = Hanging(make_hearing())
    failures: list[object] = []

    async def cell() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await wait_until_cancelled(hanging)

    asyncio.run(listen_messages(cell))
    with pytest.raises(StateError):
        wait_blocking(hanging.job)
    assert failures == []


@pytest.mark.usefixtures("marimo")
def test_what_needs_no_page_and_another_thread_may_wait() -> None:
    hearing = make_hearing()
    assert "call what blocks, such as jchannel.sync, in a thread of your own" in hearing.explain()
    needs_none = TaskJob(open_thread_portal(), trio.lowlevel.checkpoint, hearing=hearing)
    needs_page = TaskJob(open_thread_portal(), trio.lowlevel.checkpoint, hearing=hearing, needs_page=True)

    wait_blocking(needs_none)
    thread = threading.Thread(target=wait_blocking, args=(needs_page,))
    thread.start()
    thread.join()


@pytest.mark.usefixtures("marimo")
def test_a_time_that_is_over_says_what_may_have_kept_the_page_from_being_heard() -> None:
    async def be_too_slow() -> None:
        await trio.lowlevel.checkpoint()
        raise trio.TooSlowError("not answered within 3 s")

    with pytest.raises(TimeoutError) as caught:
        wait_blocking(TaskJob(open_thread_portal(), be_too_slow, hearing=make_hearing()))

    assert str(caught.value).startswith(f"not answered within 3 s; {WHY}: {ADVICE}")


def test_who_awaits_whom_is_where_it_is_looked_for() -> None:
    """If it fails, asyncio's Tasks and ``gather`` have another shape than ``hearing`` knows."""

    async def program() -> None:
        future = asyncio.get_running_loop().create_future()
        inner = asyncio.ensure_future(asyncio.gather(future))
        outer = asyncio.create_task(await_it(inner))
        await asyncio.sleep(0)
        assert find_awaited([outer]) == {outer, inner, future}
        future.set_result(None)
        await outer

    asyncio.run(program())


# Which kernels hear when


@pytest.fixture
def taps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tap of the kernel, as the only item."""
    taps: list[Any] = []
    monkeypatch.delitem(sys.modules, "marimo", raising=False)
    monkeypatch.setattr(module, "open_tap", lambda _: taps[0])
    return taps


def test_a_kernel_that_is_heard_at_any_time_needs_no_words(taps: list[Any]) -> None:
    taps.append(SimpleNamespace(thread=None))
    assert find_hearing(make_server("comm"), None, object()) is None


def test_a_kernel_that_reads_its_socket_where_cells_run_is_heard_while_they_await(taps: list[Any]) -> None:
    taps.append(SimpleNamespace(thread=threading.get_ident()))
    hearing = find_hearing(make_server("comm"), None, object())
    assert hearing is not None
    with pytest.raises(
        StateError,
        match=r"await the channel's own method where one blocks, with jchannel\.start\(\) in .* ipykernel 7, or",
    ):
        hearing.check_blocking()

    asyncio.run(wait_until_cancelled(Hanging(hearing)))


def test_of_a_kernel_without_a_tap_nothing_is_known_for_certain(taps: list[Any]) -> None:
    taps.append(None)
    hearing = find_hearing(make_server("comm"), None, object())
    assert hearing is not None
    hearing.check_blocking()
    assert "; this kernel may hand over what a page sends over the comm when no cell runs: " in hearing.explain()

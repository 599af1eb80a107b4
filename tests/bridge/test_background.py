"""Running handler methods that are marked with @jchannel.background, with the far side left out."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import jchannel
from jchannel._bridge.blocked import BlockedMethods
from jchannel._bridge.call import in_task, wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.methods import BridgedMethods, LoopMethods, ThreadMethods
from jchannel._bridge.portal import open_thread_portal
from jchannel._core.handlers import NothingToCallError
from tests.bridge.invocations import run_method
from tests.peer_thread import TIMEOUT

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


class Handler:
    """The user's handler."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.let_go = threading.Event()
        self.cancelled = threading.Event()

    def here(self) -> str:
        return threading.current_thread().name

    @jchannel.background
    def thread(self) -> tuple[str, str]:
        return threading.current_thread().name, place.get()

    @jchannel.background
    async def trio_thread(self) -> str:
        await trio.lowlevel.checkpoint()
        return threading.current_thread().name

    @jchannel.background
    def fail(self) -> None:
        raise LookupError("in Python")

    @jchannel.background
    async def fail_later(self) -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("in Python")

    @jchannel.background
    async def fail_in_a_nursery(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)

    async def _fail(self) -> None:
        raise LookupError("in Python")

    @jchannel.background
    async def asyncio_later(self) -> None:
        await asyncio.sleep(1)

    @jchannel.background
    async def asyncio_step(self) -> None:
        await asyncio.sleep(0)

    @jchannel.background
    async def hang(self) -> None:
        self.running.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()

    @jchannel.background
    def look(self) -> None:
        self.running.set()
        self.let_go.wait(TIMEOUT)
        try:
            trio.from_thread.check_cancelled()
        finally:
            self.cancelled.set()

    @jchannel.background
    def _private(self) -> None:
        raise AssertionError


def asking(methods: BridgedMethods, name: str, handler: object = None) -> TaskJob[Any]:
    return TaskJob(open_thread_portal(), lambda: run_method(methods, handler or Handler(), name))


def with_blocked_loop(check: Callable[[LoopMethods], None]) -> None:
    """Runs a check in a loop, which stands still meanwhile as in a busy cell, with the methods for it."""

    async def program() -> None:
        place.set("the cell")
        check(LoopMethods(asyncio.get_running_loop(), open_thread_portal()))

    asyncio.run(program())


def test_a_plain_method_runs_in_a_worker_thread_while_the_loop_is_busy() -> None:
    def check(methods: LoopMethods) -> None:
        name, context = wait_blocking(asking(methods, "thread"))
        assert name not in {threading.current_thread().name, "jchannel trio"}
        assert context == "the cell"

    with_blocked_loop(check)


def test_an_async_method_runs_in_trio_while_the_loop_is_busy() -> None:
    def check(methods: LoopMethods) -> None:
        assert wait_blocking(asking(methods, "trio_thread")) == "jchannel trio"

    with_blocked_loop(check)


def test_without_a_loop_marked_methods_run_as_they_do_with_one() -> None:
    assert wait_blocking(asking(ThreadMethods(), "thread"))[0] != "jchannel trio"
    assert wait_blocking(asking(ThreadMethods(), "trio_thread")) == "jchannel trio"


@pytest.mark.parametrize("name", ["fail", "fail_later"])
def test_an_exception_comes_back(name: str) -> None:
    with pytest.raises(LookupError, match="in Python"):
        wait_blocking(asking(ThreadMethods(), name))


def test_an_exception_of_a_nursery_comes_back_as_its_group() -> None:
    with pytest.RaisesGroup(LookupError):
        wait_blocking(asking(ThreadMethods(), "fail_in_a_nursery"))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("asyncio_later", RuntimeError, "no running event loop"), ("asyncio_step", TypeError, "like asyncio")],
)
def test_a_method_that_awaits_asyncio_gets_an_error_and_does_not_end_trio(
    name: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        wait_blocking(asking(ThreadMethods(), name))
    assert not open_thread_portal().ended


def test_a_private_method_stays_private() -> None:
    with pytest.raises(NothingToCallError, match="private"):
        wait_blocking(asking(ThreadMethods(), "_private"))


def test_cancelling_cancels_an_async_method() -> None:
    handler = Handler()
    wait_blocking(TaskJob(open_thread_portal(), lambda: cancel_running(handler, "hang")))
    assert handler.cancelled.is_set()


def test_a_plain_method_runs_on_when_it_is_cancelled_and_can_see_that() -> None:
    handler = Handler()
    wait_blocking(TaskJob(open_thread_portal(), lambda: cancel_running(handler, "look")))
    assert not handler.cancelled.is_set()
    handler.let_go.set()
    assert handler.cancelled.wait(TIMEOUT)
    assert not open_thread_portal().ended


async def cancel_running(handler: Handler, name: str) -> None:
    """Runs a method, waits until it has begun, and cancels it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_method, ThreadMethods(), handler, name)
        await trio.to_thread.run_sync(handler.running.wait, TIMEOUT)
        nursery.cancel_scope.cancel()


def test_a_method_that_waits_for_a_busy_loop_is_cancelled_at_once() -> None:
    def check(methods: LoopMethods) -> None:
        async def run() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_method, methods, Handler(), "here")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

        wait_blocking(TaskJob(open_thread_portal(), run))  # The loop is blocked until that has ended.

    with_blocked_loop(check)


def test_the_methods_that_wait_for_a_loop_are_told_of() -> None:
    def check(methods: LoopMethods) -> None:
        blocked = BlockedMethods()

        async def run() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_method, methods, Handler(), "here")
                await trio.testing.wait_all_tasks_blocked()
                methods.watch(blocked)
                nursery.start_soon(run_method, methods, Handler(), "fail_before")
                nursery.start_soon(run_method, methods, Handler(), "thread")
                await trio.testing.wait_all_tasks_blocked()
                methods.unwatch(blocked)
                nursery.start_soon(run_method, methods, Handler(), "later")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

        wait_blocking(TaskJob(open_thread_portal(), run))
        assert "the handler's methods 'here', 'fail_before', which could not begin" in blocked.explain()

    with_blocked_loop(check)


def test_a_method_that_has_begun_is_not_blocked() -> None:
    async def program() -> None:
        methods = LoopMethods(asyncio.get_running_loop(), open_thread_portal())
        blocked = BlockedMethods()
        begun = asyncio.Event()

        class Slow:
            async def wait(self) -> None:
                begun.set()
                await asyncio.sleep(TIMEOUT)

        task = in_task(asking(methods, "wait", Slow()), "")
        await begun.wait()
        wait_blocking(TaskJob(open_thread_portal(), lambda: watch(methods, blocked)))
        assert not blocked.explain()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(program())


def test_another_thread_blocks_nothing() -> None:
    made: list[BlockedMethods] = []
    thread = threading.Thread(target=lambda: made.append(BlockedMethods()))
    thread.start()
    thread.join()

    def check(methods: LoopMethods) -> None:
        async def run() -> None:
            async with trio.open_nursery() as nursery:
                methods.watch(made[0])
                nursery.start_soon(run_method, methods, Handler(), "here")
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

        wait_blocking(TaskJob(open_thread_portal(), run))
        assert not made[0].explain()

    with_blocked_loop(check)


async def watch(methods: LoopMethods, blocked: BlockedMethods) -> None:
    methods.watch(blocked)
    methods.unwatch(blocked)

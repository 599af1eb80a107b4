"""Running handler methods, with the far side left out: the bridge's own trio asks for them."""

import asyncio
import contextlib
import contextvars
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from jchannel._bridge import methods as module
from jchannel._bridge.call import in_task, wait_blocking, wait_in_loop
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.loop_source import LoopSource
from jchannel._bridge.mailbox import LoopMailbox
from jchannel._bridge.methods import BridgedMethods, LoopInvocation, LoopMethods, ThreadMethods
from jchannel._bridge.portal import open_thread_portal
from jchannel._core.handlers import MethodCancelledError, NothingToCallError
from jchannel._core.limits import Limits
from jchannel._protocol.messages import Call
from jchannel.errors import StateError
from tests.bridge.invocations import run_method
from tests.peer_thread import TIMEOUT

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


class Handler:
    """The user's handler."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.ended = threading.Event()
        self.let_go = threading.Event()

    def double(self, value: int) -> int:
        return value * 2

    async def double_later(self, value: int) -> int:
        await asyncio.sleep(0)
        return value * 2

    def double_in_future(self, value: int) -> Awaitable[int]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(value * 2)
        return future

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b"never read"

    def fail(self) -> None:
        raise LookupError("in Python")

    async def fail_later(self) -> None:
        await asyncio.sleep(0)
        raise LookupError("in Python")

    def where(self) -> tuple[str, str]:
        return threading.current_thread().name, place.get()

    async def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def hang(self) -> None:
        self.running.set()
        try:
            await asyncio.sleep(TIMEOUT)
        finally:
            self.ended.set()

    async def insist(self) -> str:
        self.running.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(TIMEOUT)
        return "done all the same"

    async def give_up(self) -> None:
        raise asyncio.CancelledError

    def exit(self) -> None:
        raise SystemExit(3)

    async def exit_later(self) -> None:
        raise SystemExit(3)

    def block(self) -> None:
        self.running.set()
        self.let_go.wait(TIMEOUT)


def asking(methods: BridgedMethods, name: str, *args: object, handler: object = None) -> TaskJob[Any]:
    return TaskJob(open_thread_portal(), lambda: run_method(methods, handler or Handler(), name, *args))


def on_loop(check: Callable[[LoopMethods], Awaitable[None]]) -> None:
    """Runs a program in asyncio, with methods for its loop."""

    async def program() -> None:
        place.set("the cell")
        await check(LoopMethods(asyncio.get_running_loop(), open_thread_portal()))

    asyncio.run(program())


@pytest.mark.parametrize("name", ["double", "double_later", "double_in_future"])
def test_whatever_a_method_gives_is_awaited_on_the_loop(name: str) -> None:
    async def check(methods: LoopMethods) -> None:
        assert await in_task(asking(methods, name, 4), "") == 8

    on_loop(check)


def test_methods_run_in_the_loops_thread_and_in_the_context_of_the_opening() -> None:
    async def check(methods: LoopMethods) -> None:
        place.set("another cell")
        assert await in_task(asking(methods, "where"), "") == (threading.current_thread().name, "the cell")
        assert await in_task(asking(methods, "loop"), "") is asyncio.get_running_loop()

    on_loop(check)


def test_an_async_iterable_is_left_to_the_loop_though_the_session_has_ended() -> None:
    async def check(methods: LoopMethods) -> None:
        assert isinstance(await in_task(asking(methods, "pieces"), ""), LoopSource)

    on_loop(check)


@pytest.mark.parametrize("name", ["fail", "fail_later"])
def test_an_exception_comes_back(name: str) -> None:
    async def check(methods: LoopMethods) -> None:
        with pytest.raises(LookupError, match="in Python"):
            await in_task(asking(methods, name), "")

    on_loop(check)


def test_a_method_that_is_not_there_is_nothing_to_call() -> None:
    async def check(methods: LoopMethods) -> None:
        with pytest.raises(NothingToCallError, match="missing"):
            await in_task(asking(methods, "missing"), "")

    on_loop(check)


def test_cancelling_cancels_the_methods_task_and_waits_for_it() -> None:
    async def check(methods: LoopMethods) -> None:
        handler = Handler()
        task = in_task(asking(methods, "hang", handler=handler), "")
        await asyncio.to_thread(handler.running.wait, TIMEOUT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert handler.ended.is_set()

    on_loop(check)


def test_a_method_that_is_cancelled_before_it_begins_never_begins() -> None:
    async def check(methods: LoopMethods) -> None:
        handler = Handler()
        scope = trio.CancelScope()
        blocked = threading.Event()

        async def run() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_in_scope)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                blocked.set()

        async def run_in_scope() -> None:
            with scope:
                await run_method(methods, handler, "hang")

        task = in_task(TaskJob(open_thread_portal(), run), "")
        assert blocked.wait(TIMEOUT)  # The loop is blocked, too, and has begun nothing.
        await task
        assert not handler.running.is_set()

    on_loop(check)


def test_the_result_of_a_method_that_does_not_heed_its_cancellation_is_its_result() -> None:
    async def check(methods: LoopMethods) -> None:
        handler = Handler()

        async def run() -> Any:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel, scope)
                    return await run_method(methods, handler, "insist")

        async def cancel(scope: trio.CancelScope) -> None:
            await trio.to_thread.run_sync(handler.running.wait, TIMEOUT)
            scope.cancel()

        assert await in_task(TaskJob(open_thread_portal(), run), "") == "done all the same"

    on_loop(check)


def test_a_plain_method_that_has_begun_on_the_loop_is_not_cancelled() -> None:
    async def check(methods: LoopMethods) -> None:
        handler = Handler()

        async def run() -> Any:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel, scope)
                    await run_method(methods, handler, "block")
                    return "ran to its end"

        async def cancel(scope: trio.CancelScope) -> None:
            await trio.to_thread.run_sync(handler.running.wait, TIMEOUT)
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            handler.let_go.set()

        assert await in_task(TaskJob(open_thread_portal(), run), "") == "ran to its end"

    on_loop(check)


def test_a_method_that_is_cancelled_in_python_is_an_error() -> None:
    async def check(methods: LoopMethods) -> None:
        with pytest.raises(MethodCancelledError, match="'give_up' was cancelled in Python"):
            await in_task(asking(methods, "give_up"), "")

    on_loop(check)


@pytest.mark.parametrize("name", ["exit", "exit_later"])
def test_a_method_that_ends_its_program_ends_the_loop_and_not_trio(name: str) -> None:
    asked: list[asyncio.Task[Any]] = []

    async def check(methods: LoopMethods) -> None:
        asked.append(in_task(asking(methods, name), ""))
        await asked[0]

    with pytest.raises(SystemExit):
        on_loop(check)
    assert asked[0].cancelled()
    assert not open_thread_portal().ended


async def _methods_of_this_loop() -> LoopMethods:
    return LoopMethods(asyncio.get_running_loop(), open_thread_portal())


def test_the_error_of_a_closed_loop_says_so() -> None:
    methods = asyncio.run(_methods_of_this_loop())
    with pytest.raises(StateError, match="loop in which the channel was opened is closed"):
        wait_blocking(asking(methods, "double", 4))


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_loop_that_is_closed_before_it_has_run_a_method_ends_the_waiting(
    monkeypatch: pytest.MonkeyPatch, *, cancelled: bool
) -> None:
    monkeypatch.setattr(module, "LOOP_CHECK_SECONDS", 0.001)
    loop = asyncio.new_event_loop()
    methods = loop.run_until_complete(_methods_of_this_loop())

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_method, methods, Handler(), "double", 4)
            await trio.testing.wait_all_tasks_blocked()
            loop.close()
            if cancelled:
                nursery.cancel_scope.cancel()

    if cancelled:
        wait_blocking(TaskJob(open_thread_portal(), run))
    else:
        with pytest.RaisesGroup(StateError):
            wait_blocking(TaskJob(open_thread_portal(), run))


def test_a_loop_that_lives_is_looked_at_as_long_as_a_method_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []
    enough = threading.Event()

    def closed(_: object) -> bool:
        looks.append(None)
        if len(looks) > 2:
            enough.set()
        return False

    async def check(methods: LoopMethods) -> None:
        monkeypatch.setattr(module, "LOOP_CHECK_SECONDS", 0.001)
        monkeypatch.setattr(LoopMailbox, "closed", property(closed))
        task = in_task(asking(methods, "hang"), "")
        assert await asyncio.to_thread(enough.wait, TIMEOUT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    on_loop(check)


class Answers:
    """A session of which only the answers are seen."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.session: Any = SimpleNamespace(
            alive=True,
            limits=Limits(),
            room=SimpleNamespace(free=True),
            invocations={},
            answer=self.sent.append,
            send_queued=lambda: None,
        )

    async def begin(self, methods: LoopMethods, name: str, *args: object) -> LoopInvocation:
        """Makes an invocation that no task waits for, in trio."""

        async def make() -> LoopInvocation:
            invocation = LoopInvocation(self.session, Call(1, 1, name, list(args)), math.inf)
            invocation.bind(methods, Handler(), name, args)
            return invocation

        return await wait_in_loop(TaskJob(methods.portal, make))


def test_an_interrupt_behind_the_answer_is_the_programs_and_answers_no_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async def check(methods: LoopMethods) -> None:
        answers = Answers()
        invocation = await answers.begin(methods, "double", 4)
        monkeypatch.setattr(methods.portal, "borrow_step", lambda: True)
        monkeypatch.setattr(methods.portal, "give_step_back", interrupt)
        with pytest.raises(KeyboardInterrupt):
            invocation.begin()
        invocation.settle()
        assert len(answers.sent) == 1

    on_loop(check)


def test_what_a_method_has_returned_is_let_go_with_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(methods: LoopMethods) -> None:
        answers = Answers()
        invocation = await answers.begin(methods, "double", 4)
        monkeypatch.setattr(methods.portal, "borrow_step", lambda: True)
        monkeypatch.setattr(methods.portal, "give_step_back", lambda: None)
        invocation.begin()
        assert len(answers.sent) == 1
        assert invocation.outcome is None

    on_loop(check)


def test_without_a_loop_methods_run_in_worker_threads() -> None:
    methods = ThreadMethods()
    assert wait_blocking(asking(methods, "double", 4)) == 8
    name, _ = wait_blocking(asking(methods, "where"))
    assert name not in {"jchannel trio", threading.current_thread().name}


def test_an_exception_in_a_worker_thread_comes_back() -> None:
    with pytest.raises(LookupError, match="in Python"):
        wait_blocking(asking(ThreadMethods(), "fail"))


def test_an_exit_in_a_worker_thread_does_not_end_trio() -> None:
    with pytest.raises(StateError, match="'exit' has ended with SystemExit"):
        wait_blocking(asking(ThreadMethods(), "exit"))


@pytest.mark.parametrize("name", ["double_later", "double_in_future"])
def test_what_would_need_a_loop_is_refused_without_one(name: str) -> None:
    class Awaitables(Handler):
        def double_in_future(self, value: int) -> Awaitable[int]:
            return Later(value)

    class Later:
        def __init__(self, value: int) -> None:
            self.value = value

        def __await__(self) -> Any:
            raise AssertionError(self.value)

    with pytest.raises(TypeError, match="async method"):
        wait_blocking(asking(ThreadMethods(), name, 4, handler=Awaitables()))


def test_cancelling_does_not_wait_for_a_worker_thread() -> None:
    handler = Handler()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_method, ThreadMethods(), handler, "block")
            await trio.to_thread.run_sync(handler.running.wait, TIMEOUT)
            nursery.cancel_scope.cancel()

    wait_blocking(TaskJob(open_thread_portal(), run))
    assert not handler.let_go.is_set()
    handler.let_go.set()


def test_methods_in_worker_threads_wait_for_no_loop() -> None:
    assert ThreadMethods().find_late(0) == ()

"""An asyncio loop in a thread of its own, and the two ways to wait for what runs on it: from trio, and blocking."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import trio

R = TypeVar("R")
T = TypeVar("T")


class LoopThread(Generic[R]):
    """A thread that runs an asyncio loop on which one resource is open.

    Args:
        resource: Makes the asynchronous context manager that opens and closes the resource. It is called, entered and
            left in the thread.
        name: The thread's name.
        timeout: Seconds that each piece of work may take.
    """

    def __init__(self, resource: Callable[[], AbstractAsyncContextManager[R]], *, name: str, timeout: float) -> None:
        self._resource = resource
        self._timeout = timeout
        self._started: concurrent.futures.Future[R] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # A selector loop by name: once trio-asyncio is imported, asyncio.new_event_loop() makes loops of another kind.
        self._loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop()
        self._end = asyncio.Event()

    def start(self) -> R:
        """Starts the thread, waits until the resource is open, and returns it.

        Raises:
            BaseException: What opening the resource raised. The thread has ended then.
            TimeoutError: The resource was not open in time. The thread has ended then.
        """
        self._thread.start()
        return self._started.result()

    def stop(self) -> None:
        """Closes the resource and waits until the thread has ended. Work under way is cancelled."""
        # The loop is closed already when it could not open the resource.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def wait_blocking(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop, blocks the calling thread until it has ended, and returns its result.

        Raises:
            BaseException: What the coroutine raised.
            TimeoutError: It did not end in time, and was cancelled.
        """
        return self._submit(work).result()

    async def wait_in_trio(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop, waits in trio until it has ended, and returns its result.

        Raises:
            BaseException: What the coroutine raised.
            TimeoutError: It did not end in time, and was cancelled.

        Cancelling it cancels the coroutine, and does not wait for its end.
        """
        token = trio.lowlevel.current_trio_token()
        done = trio.Event()
        future = self._submit(work)
        future.add_done_callback(lambda _: token.run_sync_soon(done.set))
        try:
            await done.wait()
        finally:
            future.cancel()  # Does nothing to one that is done.
        return future.result()

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(self._bounded(work), self._loop)

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                return await work
        except TimeoutError as error:
            if limit.expired():
                message = f"{self._thread.name} had not done in {self._timeout} s what was asked of it"
                raise TimeoutError(message) from error
            raise

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:
                if self._started.done():
                    raise
                self._started.set_exception(error)

    async def _serve(self) -> None:
        resource = self._resource()
        self._started.set_result(await self._bounded(resource.__aenter__()))
        await self._end.wait()
        await self._bounded(resource.__aexit__(None, None, None))

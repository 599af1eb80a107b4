"""A scripted page as a test outside of trio holds it: what needs no waiting is done when the method returns.

The two faces differ in how they wait for the rest: the methods of ``LoopPage`` return Tasks, those of ``ThreadPage``
wait.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from jchannel._bridge.call import in_task, wait_blocking
from jchannel._bridge.jobs import TaskJob
from jchannel._bridge.owner import Owner
from jchannel._bridge.streams import (
    BridgedStream,
    check_loop_source,
    check_thread_source,
    read_in_threads,
    read_on_loop,
)
from jchannel._protocol import messages
from jchannel._streams.reader import MetaGenerator
from jchannel.testing.clock import KitPortal
from jchannel.testing.faults import Direction, Fault
from jchannel.testing.jobs import KitJob
from jchannel.testing.page import Page, pack_pipe
from jchannel.testing.page_requests import PageRequest
from jchannel.testing.script import RecordedCall

__all__ = ["FacadeDirection", "FacadePage", "LoopPage", "ThreadPage", "run_now"]

T = TypeVar("T")


def run_now(portal: KitPortal, function: Callable[[], T]) -> T:
    """Run a function that does not wait in the kit's trio, wait until trio rests, and return the function's result.

    It blocks its thread only as long as trio computes.
    """
    return wait_blocking(TaskJob(portal, partial(_run_and_settle, portal, function)))


async def _run_and_settle(portal: KitPortal, function: Callable[[], T]) -> T:
    result = function()
    await portal.settle()
    return result


class FacadeDirection:
    """What happens to what goes in one direction: a ``Direction``, seen from outside of trio."""

    def __init__(self, portal: KitPortal, direction: Direction) -> None:
        self._portal = portal
        self._direction = direction

    def hold(self) -> None:
        """Let nothing pass from now on, until ``release``."""
        run_now(self._portal, self._direction.hold)

    def release(self) -> None:
        """Let everything pass again, what has been held first."""
        run_now(self._portal, self._direction.release)

    def set_delay(self, seconds: float) -> None:
        """Delay all that is sent from now on by this many seconds, as ``Direction.set_delay`` does."""
        run_now(self._portal, partial(self._direction.set_delay, seconds))

    def drop(self, *types: str, count: int = 1) -> Fault:
        """Lose the next messages of these types, as ``Direction.drop`` does, and return the fault."""
        return run_now(self._portal, partial(self._direction.drop, *types, count=count))

    def duplicate(self, *types: str, count: int = 1) -> Fault:
        """Send the next messages of these types twice, as ``Direction.duplicate`` does, and return the fault."""
        return run_now(self._portal, partial(self._direction.duplicate, *types, count=count))

    def reorder(self, *types: str, count: int = 2) -> Fault:
        """Reverse the order of the next messages of these types, as ``Direction.reorder`` does; return the fault."""
        return run_now(self._portal, partial(self._direction.reorder, *types, count=count))


class FacadePage(ABC):
    """A scripted page, seen from outside of trio.

    Attributes:
        to_page: What happens to what goes to the page: faults of this direction alone.
        to_python: What happens to what the page sends.
    """

    def __init__(self, portal: KitPortal, owner: Owner[Page], page: Page) -> None:
        self.to_page: FacadeDirection = FacadeDirection(portal, page.to_page)
        self.to_python: FacadeDirection = FacadeDirection(portal, page.to_python)
        self._portal = portal
        self._owner = owner
        self._page = page

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.client!r}, {state}>"

    @property
    def client(self) -> str:
        """The name by which the server recognises the page when it comes back."""
        return self._page.client

    @property
    def calls(self) -> list[RecordedCall]:
        """The calls that the page has received so far, the oldest first."""
        return list(self._page.calls)

    @property
    def codes(self) -> list[str]:
        """The code of each channel that is open in it, in the order of their opening; empty for one of a module."""
        return run_now(self._portal, lambda: [channel.code for channel in self._page.channels])

    @property
    def connected(self) -> bool:
        """Whether it is connected, as far as it knows."""
        return self._page.connected

    @property
    def why_ended(self) -> str:
        """Why its last connection has ended, in words; empty while it is connected."""
        return self._page.why_ended

    def answer(self, name: str, value: object) -> None:
        """Answer calls of a method with a value from now on, whatever the handler has.

        Args and exceptions are those of ``Page.answer``. An async iterable is read where the page's methods run.
        """
        if isinstance(value, AsyncIterable):
            value = self._check_source(value)
        run_now(self._portal, partial(self._page.answer, name, value))

    def fail(self, name: str, error: Exception) -> None:
        """Raise an error in calls of a method from now on, as ``Page.fail`` does."""
        run_now(self._portal, partial(self._page.fail, name, error))

    def hang(self, name: str | None = None) -> None:
        """Never answer calls of a method from now on; ``None`` for every method."""
        run_now(self._portal, partial(self._page.hang, name))

    def restore(self, name: str | None = None) -> None:
        """Leave new calls of a method to the handler again; ``None`` for every method."""
        run_now(self._portal, partial(self._page.restore, name))

    def lose(self) -> None:
        """Break the page's connections now, without a word, as ``Page.lose`` does."""
        run_now(self._portal, self._page.lose)

    def hold(self) -> None:
        """Let nothing pass between page and Python from now on, as ``Page.hold`` does."""
        run_now(self._portal, self._page.hold)

    def release(self) -> None:
        """Let everything pass again, what has been held first."""
        run_now(self._portal, self._page.release)

    def delay(self, seconds: float) -> None:
        """Delay all that is sent from now on, in both directions, by this many seconds."""
        run_now(self._portal, partial(self._page.delay, seconds))

    def stop_reading(self) -> None:
        """Let the page read nothing from now on, as ``Page.stop_reading`` does."""
        run_now(self._portal, self._page.stop_reading)

    def resume_reading(self) -> None:
        """Let the page read again."""
        run_now(self._portal, self._page.resume_reading)

    # For the faces and the kit

    @staticmethod
    @abstractmethod
    def _read(stream: BridgedStream) -> object:
        """Return what the test reads a stream of Python's with. Called in trio."""

    @abstractmethod
    def _check_source(self, stream: object) -> object:
        """Check what the test wants to send, and return what trio reads."""

    def _leave(self) -> TaskJob[None]:
        """Return the job that lets the page leave for good."""
        return TaskJob(self._portal, self._wait_left)

    def _wait_left(self) -> Awaitable[None]:
        """Let the page leave for good, and wait for it. Called in trio."""
        self._page._leave()
        self._owner.stop()
        return self._owner.wait_ended()

    def _waiting_call(self, name: str | None, timeout: float | None) -> KitJob[RecordedCall]:
        record = self._page._record
        what = "page.wait_call()" if name is None else f"page.wait_call({name!r})"
        return KitJob(
            self._portal,
            lambda: record.wait(record.expect(name), timeout),  # In line at once, and not when its task runs.
            lambda: f"{what}, and {record.describe()}",
        )

    def _waiting_end(self, call: RecordedCall) -> KitJob[None]:
        ask = partial(self._page.wait_ended, call, None)
        return KitJob(self._portal, ask, lambda: f"page.wait_ended, of the call of {call.name!r}")

    def _ask(self, ask: Callable[[], Awaitable[T]], what: str) -> KitJob[T]:
        return KitJob(self._portal, ask, lambda: f"page.{what}()")

    def _request(
        self, pack: Callable[[], messages.Request], timeout: float | None, source: object = None
    ) -> PageRequest:
        return PageRequest(self._portal, self._page, pack, timeout, source)

    def _request_with_stream(
        self, pack: Callable[[], messages.Request], stream: object, timeout: float | None
    ) -> PageRequest:
        return self._request(pack, timeout, self._check_source(stream))


class LoopPage(FacadePage):
    """A scripted page for tests with asyncio. Its methods are those of ``Page``; those that wait return Tasks.

    The Tasks return and raise what the methods of ``Page`` do, and cancelling one does what cancelling the method does.

    ``AsyncioKit.open_page`` makes them.
    """

    _read = staticmethod(read_on_loop)

    def _check_source(self, stream: object) -> object:
        return check_loop_source(stream, self._portal)

    def wait_call(self, name: str | None = None, timeout: float | None = None) -> asyncio.Task[RecordedCall]:
        """Wait until the page has been called, and return the call.

        ``timeout`` is in seconds of the kit's time. Without one it waits until nothing can happen any more: then it
        raises an ``AtRestError`` that names the calls that have come.
        """
        return in_task(self._waiting_call(name, timeout), "page.wait_call")

    def wait_ended(self, call: RecordedCall) -> asyncio.Task[None]:
        """Wait until a call has been answered, has failed or was cancelled."""
        return in_task(self._waiting_end(call), "page.wait_ended")

    def call(self, name: str, *args: object, timeout: float | None = 3) -> asyncio.Task[Any]:
        """Call a method of the Python handler of the first open channel, as ``Page.call`` does."""
        return in_task(self._request(self._page._make_call(name, args), timeout), "page.call")

    def call_with_stream(
        self, name: str, stream: object, *args: object, timeout: float | None = 3
    ) -> asyncio.Task[Any]:
        """Call a method of the Python handler with a byte stream, as ``Page.call_with_stream`` does."""
        job = self._request_with_stream(self._page._make_call(name, args), stream, timeout)
        return in_task(job, "page.call_with_stream")

    def echo(self, *args: object, timeout: float | None = 3) -> asyncio.Task[list[Any]]:
        """Send arguments to Python and receive them back, as a list."""
        return in_task(self._request(self._page._make_echo(args), timeout), "page.echo")

    def pipe(self, stream: object, timeout: float | None = 3) -> asyncio.Task[MetaGenerator]:
        """Send a byte stream to Python and receive it back."""
        return in_task(self._request_with_stream(pack_pipe, stream, timeout), "page.pipe")

    def reconnect(self) -> asyncio.Task[None]:
        """Connect the page again as the same page, as ``Page.reconnect`` does."""
        return in_task(self._ask(self._page.reconnect, "reconnect"), "page.reconnect")

    def reload(self) -> asyncio.Task[None]:
        """Load the page anew, as ``Page.reload`` does."""
        return in_task(self._ask(self._page.reload, "reload"), "page.reload")

    def close(self) -> asyncio.Task[None]:
        """Close the connection on purpose, with a goodbye, and wait until it has ended."""
        return in_task(self._ask(self._page.close, "close"), "page.close")

    def wait_lost(self) -> asyncio.Task[None]:
        """Wait until the page's connections have ended on both sides, whoever ended them."""
        return in_task(self._ask(partial(self._page.wait_lost, None), "wait_lost"), "page.wait_lost")


class ThreadPage(FacadePage):
    """A scripted page for tests without a loop. Its methods are those of ``Page``, and wait.

    They return and raise what the methods of ``Page`` do; a stream is a ``ByteStream``.

    ``SyncKit.open_page`` makes them.
    """

    _read = staticmethod(read_in_threads)

    def _check_source(self, stream: object) -> object:
        return check_thread_source(stream)

    def wait_call(self, name: str | None = None, timeout: float | None = None) -> RecordedCall:
        """Wait until the page has been called, and return the call.

        ``timeout`` is in seconds of the kit's time. Without one it waits until nothing can happen any more: then it
        raises an ``AtRestError`` that names the calls that have come.
        """
        return wait_blocking(self._waiting_call(name, timeout))

    def wait_ended(self, call: RecordedCall) -> None:
        """Wait until a call has been answered, has failed or was cancelled."""
        wait_blocking(self._waiting_end(call))

    def call(self, name: str, *args: object, timeout: float | None = 3) -> Any:
        """Call a method of the Python handler of the first open channel, as ``Page.call`` does."""
        return wait_blocking(self._request(self._page._make_call(name, args), timeout))

    def call_with_stream(self, name: str, stream: object, *args: object, timeout: float | None = 3) -> Any:
        """Call a method of the Python handler with a byte stream, as ``Page.call_with_stream`` does."""
        return wait_blocking(self._request_with_stream(self._page._make_call(name, args), stream, timeout))

    def echo(self, *args: object, timeout: float | None = 3) -> list[Any]:
        """Send arguments to Python and receive them back, as a list."""
        return wait_blocking(self._request(self._page._make_echo(args), timeout))

    def pipe(self, stream: object, timeout: float | None = 3) -> Any:
        """Send a byte stream to Python and receive it back, as a ``ByteStream``."""
        return wait_blocking(self._request_with_stream(pack_pipe, stream, timeout))

    def reconnect(self) -> None:
        """Connect the page again as the same page, as ``Page.reconnect`` does."""
        wait_blocking(self._ask(self._page.reconnect, "reconnect"))

    def reload(self) -> None:
        """Load the page anew, as ``Page.reload`` does."""
        wait_blocking(self._ask(self._page.reload, "reload"))

    def close(self) -> None:
        """Close the connection on purpose, with a goodbye, and wait until it has ended."""
        wait_blocking(self._ask(self._page.close, "close"))

    def wait_lost(self) -> None:
        """Wait until the page's connections have ended on both sides, whoever ended them."""
        wait_blocking(self._ask(partial(self._page.wait_lost, None), "wait_lost"))

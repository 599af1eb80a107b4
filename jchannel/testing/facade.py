"""A scripted page as a test outside of trio holds it: what needs no waiting is done when the method returns.

How the rest is waited for is the business of the two faces: ``LoopPage`` gives Tasks, ``ThreadPage`` waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from jchannel._bridge.crossing import Operation, in_task, wait_blocking
from jchannel._bridge.owner import Owner
from jchannel._bridge.streams import Streams
from jchannel._streams.reader import MetaGenerator
from jchannel.testing.clock import KitPortal
from jchannel.testing.faults import Direction, Fault
from jchannel.testing.page import Page
from jchannel.testing.script import RecordedCall

__all__ = ["FacadeDirection", "FacadePage", "LoopPage", "ThreadPage", "run_now"]

T = TypeVar("T")


def run_now(portal: KitPortal, function: Callable[[], T]) -> T:
    """Runs a function that does not wait in the kit's trio, and lets it take its course, as far as trio alone can.

    Gives its result. It blocks its thread only as long as trio computes.
    """

    async def finish(result: T) -> T:
        await portal.settle()
        return result

    return wait_blocking(Operation(portal, lambda: finish(function())))


class FacadeDirection:
    """What happens to what goes in one direction, as ``Direction`` has it."""

    def __init__(self, portal: KitPortal, direction: Direction) -> None:
        self._portal = portal
        self._direction = direction

    def hold(self) -> None:
        """As ``Direction.hold``."""
        run_now(self._portal, self._direction.hold)

    def release(self) -> None:
        """As ``Direction.release``."""
        run_now(self._portal, self._direction.release)

    def set_delay(self, seconds: float) -> None:
        """As ``Direction.set_delay``."""
        run_now(self._portal, partial(self._direction.set_delay, seconds))

    def drop(self, *types: str, count: int = 1) -> Fault:
        """As ``Direction.drop``."""
        return run_now(self._portal, partial(self._direction.drop, *types, count=count))

    def duplicate(self, *types: str, count: int = 1) -> Fault:
        """As ``Direction.duplicate``."""
        return run_now(self._portal, partial(self._direction.duplicate, *types, count=count))

    def reorder(self, *types: str, count: int = 2) -> Fault:
        """As ``Direction.reorder``."""
        return run_now(self._portal, partial(self._direction.reorder, *types, count=count))


class FacadePage:
    """A scripted page, seen from outside of trio.

    Attributes:
        to_page: What happens to what goes to the page: faults of this direction alone.
        to_python: What happens to what the page sends.
    """

    def __init__(self, portal: KitPortal, owner: Owner[Page], page: Page, streams: Streams) -> None:
        self.to_page = FacadeDirection(portal, page.to_page)
        self.to_python = FacadeDirection(portal, page.to_python)
        self._portal = portal
        self._owner = owner
        self._page = page
        self._streams = streams

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.client!r}, {state}>"

    @property
    def client(self) -> str:
        """The name by which the server knows the page again when it comes back."""
        return self._page.client

    @property
    def calls(self) -> list[RecordedCall]:
        """The calls that have come by now, the oldest first."""
        return list(self._page.calls)

    @property
    def codes(self) -> list[str]:
        """The code of each channel that is open in it, in the order of their opening."""
        return run_now(self._portal, lambda: [channel.code for channel in self._page.channels])

    @property
    def connected(self) -> bool:
        """As ``Page.connected``."""
        return self._page.connected

    @property
    def why_ended(self) -> str:
        """As ``Page.why_ended``."""
        return self._page.why_ended

    def answer(self, name: str, value: object) -> None:
        """As ``Page.answer``. An async iterable is read where the page's methods run."""
        if isinstance(value, AsyncIterable):
            value = self._streams.carry_source(value, self._portal)
        run_now(self._portal, partial(self._page.answer, name, value))

    def fail(self, name: str, error: Exception) -> None:
        """As ``Page.fail``."""
        run_now(self._portal, partial(self._page.fail, name, error))

    def hang(self, name: str | None = None) -> None:
        """As ``Page.hang``."""
        run_now(self._portal, partial(self._page.hang, name))

    def restore(self, name: str | None = None) -> None:
        """As ``Page.restore``."""
        run_now(self._portal, partial(self._page.restore, name))

    def lose(self) -> None:
        """As ``Page.lose``."""
        run_now(self._portal, self._page.lose)

    def hold(self) -> None:
        """As ``Page.hold``."""
        run_now(self._portal, self._page.hold)

    def release(self) -> None:
        """As ``Page.release``."""
        run_now(self._portal, self._page.release)

    def delay(self, seconds: float) -> None:
        """As ``Page.delay``."""
        run_now(self._portal, partial(self._page.delay, seconds))

    def stop_reading(self) -> None:
        """As ``Page.stop_reading``."""
        run_now(self._portal, self._page.stop_reading)

    def resume_reading(self) -> None:
        """As ``Page.resume_reading``."""
        run_now(self._portal, self._page.resume_reading)

    # For the faces and the kit

    def leave(self) -> Operation[None]:
        """Has the page leave for good."""

        def begin() -> Awaitable[None]:
            self._page.leave()
            self._owner.stop()
            return self._owner.wait_ended()

        return Operation(self._portal, begin)

    def _ask(self, ask: Callable[[], Awaitable[T]]) -> Operation[T]:
        return Operation(self._portal, ask)

    def _ask_with_stream(
        self, ask: Callable[..., Awaitable[T]], stream: object, args: tuple[object, ...], timeout: float | None
    ) -> Operation[T]:
        source = self._streams.carry_source(stream, self._portal)
        return self._ask(partial(ask, source, *args, timeout=timeout))


class LoopPage(FacadePage):
    """A scripted page for tests with asyncio. Its methods are those of ``Page``; those that wait give Tasks.

    ``AsyncioKit.open_page`` makes them.
    """

    def wait_call(self, name: str | None = None, timeout: float | None = None) -> asyncio.Task[RecordedCall]:
        """As ``Page.wait_call``; ``timeout`` is in the kit's time, and without limit unless it is given."""
        return in_task(self._ask(partial(self._page.wait_call, name, timeout)), "page.wait_call")

    def wait_ended(self, call: RecordedCall) -> asyncio.Task[None]:
        """As ``Page.wait_ended``."""
        return in_task(self._ask(partial(self._page.wait_ended, call)), "page.wait_ended")

    def call(self, name: str, *args: object, timeout: float | None = 3) -> asyncio.Task[Any]:
        """As ``Page.call``."""
        return in_task(self._ask(partial(self._page.call, name, *args, timeout=timeout)), "page.call")

    def call_with_stream(
        self, name: str, stream: object, *args: object, timeout: float | None = 3
    ) -> asyncio.Task[Any]:
        """As ``Page.call_with_stream``."""
        ask = partial(self._page.call_with_stream, name)
        return in_task(self._ask_with_stream(ask, stream, args, timeout), "page.call_with_stream")

    def echo(self, *args: object, timeout: float | None = 3) -> asyncio.Task[list[Any]]:
        """As ``Page.echo``."""
        return in_task(self._ask(partial(self._page.echo, *args, timeout=timeout)), "page.echo")

    def pipe(self, stream: object, timeout: float | None = 3) -> asyncio.Task[MetaGenerator]:
        """As ``Page.pipe``."""
        return in_task(self._ask_with_stream(self._page.pipe, stream, (), timeout), "page.pipe")

    def reconnect(self) -> asyncio.Task[None]:
        """As ``Page.reconnect``."""
        return in_task(self._ask(self._page.reconnect), "page.reconnect")

    def reload(self) -> asyncio.Task[None]:
        """As ``Page.reload``."""
        return in_task(self._ask(self._page.reload), "page.reload")

    def close(self) -> asyncio.Task[None]:
        """As ``Page.close``."""
        return in_task(self._ask(self._page.close), "page.close")

    def wait_lost(self) -> asyncio.Task[None]:
        """As ``Page.wait_lost``."""
        return in_task(self._ask(self._page.wait_lost), "page.wait_lost")


class ThreadPage(FacadePage):
    """A scripted page for tests without a loop. Its methods are those of ``Page``, and wait.

    ``SyncKit.open_page`` makes them.
    """

    def wait_call(self, name: str | None = None, timeout: float | None = None) -> RecordedCall:
        """As ``Page.wait_call``; ``timeout`` is in the kit's time, and without limit unless it is given."""
        return wait_blocking(self._ask(partial(self._page.wait_call, name, timeout)))

    def wait_ended(self, call: RecordedCall) -> None:
        """As ``Page.wait_ended``."""
        wait_blocking(self._ask(partial(self._page.wait_ended, call)))

    def call(self, name: str, *args: object, timeout: float | None = 3) -> Any:
        """As ``Page.call``."""
        return wait_blocking(self._ask(partial(self._page.call, name, *args, timeout=timeout)))

    def call_with_stream(self, name: str, stream: object, *args: object, timeout: float | None = 3) -> Any:
        """As ``Page.call_with_stream``."""
        return wait_blocking(self._ask_with_stream(partial(self._page.call_with_stream, name), stream, args, timeout))

    def echo(self, *args: object, timeout: float | None = 3) -> list[Any]:
        """As ``Page.echo``."""
        return wait_blocking(self._ask(partial(self._page.echo, *args, timeout=timeout)))

    def pipe(self, stream: object, timeout: float | None = 3) -> Any:
        """As ``Page.pipe``; gives a ``ByteStream``."""
        return wait_blocking(self._ask_with_stream(self._page.pipe, stream, (), timeout))

    def reconnect(self) -> None:
        """As ``Page.reconnect``."""
        wait_blocking(self._ask(self._page.reconnect))

    def reload(self) -> None:
        """As ``Page.reload``."""
        wait_blocking(self._ask(self._page.reload))

    def close(self) -> None:
        """As ``Page.close``."""
        wait_blocking(self._ask(self._page.close))

    def wait_lost(self) -> None:
        """As ``Page.wait_lost``."""
        wait_blocking(self._ask(self._page.wait_lost))

"""Cases with faults of the network: a server and a Python peer in the place of a page, with a proxy between them.

Each case is made by its number: what the faults are and at which bytes of which connection, and what both sides do
meanwhile. Then
- every request has ended with its value or with an error that has a name in `jchannel.errors` (or its time was over),
- every stream was whole, by its SHA-256, or an error,
- the channel works again in the page that comes next, and
- tasks, entries, tickets and connections are as many as before.

What a corrupted connection carries behind the head of a WebSocket's frame, or within the body of a stream, is not
checked: TCP has checksums of its own, and jchannel adds none. Such a case promises that nothing hangs or leaks and that
errors have names; what values and streams contain is outside of it.

    python -m tests.faults.cases [--cases 2000] [--sockets 300] [--first 1]
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio
import trio.testing

from jchannel._core.incoming import IncomingStream
from jchannel._core.invocation import Invocation
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.request import Request
from jchannel._core.session import Session
from jchannel._core.transport import WebSocketLink
from jchannel._streams.reader import MetaGenerator
from jchannel.errors import PageLostError, ProtocolError, RefusedError, RemoteError, StateError
from jchannel.testing.network import MemoryListener
from jchannel.trio import Channel, Limits, Server, open_peer, open_server
from tests.core.http_streams import carry_over_http
from tests.core.internals import count_entries, count_in_server
from tests.core.world import DATA, Handler, Side, digest, pieces
from tests.faults.proxy import Fault, Kind, Proxy, Way
from tests.fuzz.journal import Journal

__all__ = ["Outcome", "count_objects", "run_cases"]

#: What a request or a stream may end with beside its value.
NAMED: Final = (StateError, RemoteError, trio.TooSlowError)

#: What opening a peer may end with.
UNOPENED: Final = (PageLostError, RefusedError, ProtocolError, trio.TooSlowError, OSError)

#: The data of the large streams and values.
LARGE: Final = bytes(range(256)) * 400

#: Where something begins: the head of the request, the answer, the first frames; and the bytes around them.
_CHOSEN: Final = (0, 1, 2, 15, 16, 17, 100, 129, 130, 200, 283, 284, 285, 290, 300, 330, 400, 500)


@dataclass
class Outcome:
    """What came of some cases.

    Attributes:
        cases: How many.
        met: The faults that have happened, by their kinds.
        ended: How requests and streams have ended: with a value, or the name of their error.
    """

    cases: int = 0
    met: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)


def make_faults(dice: random.Random, unit: float) -> list[tuple[int, Fault]]:
    """The faults of a case, each with the number of its connection: 0 is the WebSocket's, the others are streams'."""
    faults = []
    for _ in range(dice.choice((1, 1, 2, 3))):
        kind = dice.choice(list(Kind))
        at = dice.choice(_CHOSEN) if dice.random() < 0.2 else int(math.exp(dice.uniform(4, math.log(400_000))))
        seconds = unit * (dice.choice((0.1, 1, 20)) if kind is Kind.DELAY else 0.01)
        size = dice.choice((1, 3, 100)) if kind is Kind.CORRUPT else dice.choice((5_000, 20_000))
        connection = dice.choice((0, 0, 0, 1, 2, 3))
        faults.append((connection, Fault(kind, dice.choice(list(Way)), at, seconds, size)))
    return faults


class _Case:
    """One case.

    Args:
        number: Which one.
        outcome: Where it is noted what came of it.
        sockets: Whether over loopback and in real time, or in memory.
    """

    def __init__(self, number: int, outcome: Outcome, *, sockets: bool) -> None:
        self._dice = random.Random(number)  # noqa: S311 (no secret: it can be repeated)
        self._outcome = outcome
        self._sockets = sockets
        self._unit = 0.02 if sockets else 1.0
        self._faults = make_faults(self._dice, self._unit)
        self._corrupt = any(fault.kind is Kind.CORRUPT for _, fault in self._faults)
        self._handlers = Handler(), Handler()
        self._server: Server

    async def run(self) -> None:
        """Runs it, and raises where a promise is broken."""
        limits = Limits(handshake_seconds=10, cancel_seconds=0.5, close_seconds=1)
        with trio.fail_after(100 if self._sockets else 1e6):
            async with self._open_server(limits) as proxy:
                async with self._server.hold_channel("code", handler=self._handlers[0]) as channel:
                    before = await self._count_tasks()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(partial(self._expect, "open", partial(channel.open, timeout=None)))
                        await self._do_with_faults(proxy, channel, nursery)
                        await self._check_next_page(proxy, channel, nursery)
                    await self._check_nothing_left(proxy, channel, before)
        self._outcome.cases += 1
        self._outcome.met.update(fault.kind.name.lower() for fault in proxy.met)

    # The surroundings

    @asynccontextmanager
    async def _open_server(self, limits: Limits) -> AsyncIterator[Proxy]:
        # Beside other cases on a busy machine a beat may take a second.
        heartbeat = 5.0 if self._sockets else 50.0
        async with trio.open_nursery() as nursery:
            self._carrying = nursery
            if self._sockets:
                async with open_server(port=0, limits=limits, heartbeat=heartbeat) as self._server:
                    proxy = Proxy.to_port(int(self._server.url.rpartition(":")[2].strip("/")))
                    listeners = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
                    self._port = listeners[0].socket.getsockname()[1]
                    yield proxy
            else:
                listener = MemoryListener()
                async with open_server(listeners=[listener], limits=limits, heartbeat=heartbeat) as self._server:
                    proxy = Proxy.in_memory(listener)
                    yield proxy
            nursery.cancel_scope.cancel()

    async def _connect(self, proxy: Proxy) -> trio.abc.Stream:
        if self._sockets:
            return await trio.open_tcp_stream("127.0.0.1", self._port)
        await trio.lowlevel.checkpoint()
        return proxy.connect_in_memory(self._carrying)

    async def _count_tasks(self) -> int:
        """How many tasks belong to the case, when all have done what they can."""
        if not self._sockets:  # Other cases run beside one over sockets.
            await trio.testing.wait_all_tasks_blocked()
        return count_tasks()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits until something is so: the clock jumps, or there is no event to wait for."""
        with trio.move_on_after(1_000 if not self._sockets else 20):
            while not condition():  # noqa: ASYNC110 (see above)
                await trio.sleep(0.02 if self._sockets else 1)

    # What happens meanwhile

    async def _do_with_faults(self, proxy: Proxy, channel: Channel, nursery: trio.Nursery) -> None:
        for number, _ in self._faults:
            proxy.plan(number, [fault for other, fault in self._faults if other == number])
        self._handlers[0].channel = channel
        try:
            async with open_peer(
                self._server.page_url, self._handlers[1], connect=partial(self._connect, proxy), client="page"
            ) as peer:
                # As those of a browser's page: a few over HTTP and the others in pieces, or all in pieces.
                most = self._dice.choice((0, 3))
                carry_over_http(peer, self._server.url, partial(self._connect, proxy), most=most)
                far = await peer.wait_channel()
                self._handlers[1].channel = far
                async with trio.open_nursery() as work:
                    for _ in range(self._dice.choice((2, 5, 10))):
                        side = self._dice.choice((channel, far))
                        name, act = self._dice.choice(list(self._acts(side).items()))
                        # What the page asks for ends with it; what the server does may wait for the next page.
                        (work if side is far else nursery).start_soon(self._expect, name, act)
                        await trio.sleep(self._unit * self._dice.choice((0, 0, 0.1)))
                await trio.sleep(self._unit * 60)
        except UNOPENED as error:
            self._outcome.ended[f"peer: {type(error).__name__}"] += 1
        for handler in self._handlers:
            handler.go.set()

    async def _expect(self, name: str, act: Callable[[], Awaitable[object]]) -> None:
        try:
            await act()
        except NAMED as error:
            self._outcome.ended[type(error).__name__] += 1
        except AssertionError as error:
            if not self._corrupt:
                error.add_note(f"it was {name}")
                raise
            self._outcome.ended["changed bytes"] += 1
        except Exception as error:
            error.add_note(f"it was {name}")
            raise
        else:
            self._outcome.ended["value"] += 1

    def _acts(self, side: Side) -> dict[str, Callable[[], Awaitable[object]]]:  # noqa: C901 (one function each)
        limit = 50 * self._unit

        async def add() -> None:
            assert await side.call("add", 1, 2, timeout=limit) == 3

        async def add_slowly() -> None:
            assert await side.call("add_slowly", 1, 2, timeout=max(limit, 5)) == 3

        async def echo() -> None:
            assert await side.echo(LARGE, ["text"], timeout=limit) == [LARGE, ["text"]]

        async def call_back() -> None:
            assert await side.call("call_back", 3, 4, timeout=max(limit, 5)) == 7

        async def give_up() -> None:
            with trio.move_on_after(limit / 10):
                await side.call("hang", timeout=limit)

        async def send() -> None:
            assert await side.call_with_stream("digest", pieces(LARGE), timeout=limit) == digest(LARGE)

        async def send_short() -> None:
            assert await side.call_with_stream("digest", b"abc", timeout=limit) == digest(b"abc")

        async def send_in_part() -> None:
            assert await side.call_with_stream("begin", pieces(LARGE), timeout=limit) > 0

        async def receive() -> None:
            stream: MetaGenerator = await side.call("give", timeout=limit)
            async with stream:
                assert digest(await stream.join()) == digest(DATA)

        async def receive_in_part() -> None:
            stream: MetaGenerator = await side.call("give_endless", timeout=limit)
            async with stream:
                assert len(await anext(stream)) > 0

        async def pipe() -> None:
            async with await side.pipe(pieces(LARGE), timeout=limit) as stream:
                assert digest(await stream.join()) == digest(LARGE)

        acts = (
            add,
            add_slowly,
            echo,
            call_back,
            give_up,
            send,
            send_short,
            send_in_part,
            receive,
            receive_in_part,
            pipe,
        )
        return {act.__name__: act for act in acts}

    # What is left

    async def _check_next_page(self, proxy: Proxy, channel: Channel, nursery: trio.Nursery) -> None:
        for number in range(proxy.connections, proxy.connections + 100):
            proxy.plan(number, ())
        if not channel.is_open:
            # A corrupt answer may have refused it.
            nursery.start_soon(partial(self._expect, "open", partial(self._open_again, channel)))
        handler = Handler()
        async with open_peer(
            self._server.page_url, handler, connect=partial(self._connect, proxy), client="page"
        ) as peer:
            handler.channel = far = await peer.wait_channel()
            assert await channel.call("add", 1, 2, timeout=30) == 3
            assert await far.call("add", 3, 4, timeout=30) == 7
            for side in (channel, far):
                async with await side.pipe(pieces(DATA), timeout=30) as stream:
                    assert await stream.join() == DATA
            # What has waited for a page ends now.
            await self._wait_until(lambda: not any(count_entries(channel)) and not len(nursery.child_tasks))

    async def _open_again(self, channel: Channel) -> None:
        if not channel.is_open and channel_is_closed(channel):
            await channel.open(timeout=None)

    async def _check_nothing_left(self, proxy: Proxy, channel: Channel, before: int) -> None:
        def is_left() -> tuple[object, ...]:
            statistics = self._server.statistics()
            return (
                statistics.connections,
                statistics.pending_requests,
                statistics.running_requests,
                statistics.streams,
                *count_in_server(self._server),
                *count_entries(channel),
            )

        await self._wait_until(lambda: not any(is_left()))
        assert not any(is_left()), is_left()
        proxy.close()  # Behind a fault it does not notice that both ends have gone.
        await self._wait_until(lambda: count_tasks() <= before)
        after = await self._count_tasks()
        assert after <= before, f"{after} tasks instead of {before}"
        begun = [handler.begun for handler in self._handlers]
        assert begun == [handler.ended for handler in self._handlers], "methods run on"


def count_tasks(task: trio.lowlevel.Task | None = None) -> int:
    """How many tasks run below a task: the current one, unless another is named."""
    task = trio.lowlevel.current_task() if task is None else task
    return sum(1 + count_tasks(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


def channel_is_closed(channel: Channel) -> bool:
    """Whether nobody is opening a channel."""
    return "closed" in repr(channel)


# Many of them

_OBJECTS: Final = (Session, WebSocketLink, Request, Invocation, OutgoingStream, IncomingStream)


def count_objects() -> int:
    """How many objects there are that belong to connections, calls and streams."""
    gc.collect()
    return sum(isinstance(found, _OBJECTS) for found in gc.get_objects())


def count_descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def run_cases(numbers: range, *, sockets: bool = False, outcome: Outcome | None = None) -> Outcome:
    """Runs cases, and checks that no object and no descriptor is left of them.

    Args:
        numbers: Which ones.
        sockets: Whether over loopback, several at a time, or in memory, one after the other.
        outcome: Where it is noted what came of them.
    """
    outcome = Outcome() if outcome is None else outcome
    objects, descriptors = count_objects(), count_descriptors()
    with Journal() as journal:
        if sockets:
            trio.run(_run_at_once, numbers, outcome)
        else:
            for number in numbers:
                _run_in_memory(number, outcome)
    journal.check()
    left = count_objects() - objects
    assert left <= 0, f"{left} objects are left of the cases {numbers}"
    assert count_descriptors() <= descriptors, "descriptors are left"
    return outcome


def _run_in_memory(number: int, outcome: Outcome) -> None:
    try:
        trio.run(_Case(number, outcome, sockets=False).run, clock=trio.testing.MockClock(autojump_threshold=0))
    except BaseException as error:
        error.add_note(f"the case {number}")
        raise


async def _run_at_once(numbers: range, outcome: Outcome, most: int = 60) -> None:
    waiting = list(reversed(numbers))

    async def work() -> None:
        while waiting:
            number = waiting.pop()
            try:
                await _Case(number, outcome, sockets=True).run()
            except BaseException as error:
                error.add_note(f"the case {number}, over sockets")
                raise

    async with trio.open_nursery() as nursery:
        for _ in range(most):
            nursery.start_soon(work)


def main() -> None:
    """Runs many cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2_000, help="how many (default: 2,000)")
    parser.add_argument("--sockets", type=int, default=300, help="how many of them over loopback (default: 300)")
    parser.add_argument("--first", type=int, default=1, help="the number of the first (default: 1)")
    given = parser.parse_args()
    began = time.monotonic()
    outcome = Outcome()
    run_cases(range(given.first, given.first + 20), outcome=Outcome())  # What is only made once is there now.
    before = _memory()
    in_memory = given.cases - given.sockets
    for begin in range(given.first, given.first + in_memory, 100):
        run_cases(range(begin, min(begin + 100, given.first + in_memory)), outcome=outcome)
    run_cases(range(given.first, given.first + given.sockets), sockets=True, outcome=outcome)
    lines = (
        f"{outcome.cases:,} cases in {time.monotonic() - began:.0f} s",
        f"faults: {dict(outcome.met.most_common())}",
        f"requests and streams: {dict(outcome.ended.most_common())}",
        f"memory: {before:,.0f} MB before, {_memory():,.0f} MB after; descriptors: {count_descriptors()}",
    )
    print("\n".join(lines))  # noqa: T201 (its output)


def _memory() -> float:
    """The memory of this process, in MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()

"""jchannel's blocking face: many at once are made by 32 threads."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import jchannel.sync
import jchannel.trio
from benchmarks.contestants.work import CODE, Contestant, Handler, Teller, Work, make_pieces, parse_plan

THREADS: Final = 32


def run_blocking(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine that never suspends, without a loop."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it has suspended")


def take(stream: Iterable[Sized]) -> int:
    """Read a stream to its end, and return its size."""
    return sum(len(chunk) for chunk in stream)


class BlockingFace(Contestant):
    """A channel of `jchannel.sync`, whose methods wait: none of these suspends."""

    def __init__(self, channel: jchannel.sync.Channel) -> None:
        self._channel = channel
        self._pool = ThreadPoolExecutor(THREADS)

    async def call(self, name: str, *args: object) -> Any:
        """Call a method of the page, and return its value."""
        return self._channel.call(name, *args, timeout=60)

    async def add_at_once(self, count: int) -> list[int]:
        """Call `add` with each number and 1, all at once."""
        return list(self._pool.map(lambda number: self._channel.call("add", number, 1, timeout=60), range(count)))

    async def send(self, size: int) -> int:
        """Send a stream to the page's `take`, and return what that returns."""
        taken: int = self._channel.call_with_stream("take", make_pieces(size), timeout=60)
        return taken

    async def receive(self, size: int) -> int:
        """Read the stream of the page's `generate`, and return its size."""
        return take(self._channel.call("generate", size, timeout=60))

    async def pipe(self, size: int) -> int:
        """Send a stream, read what comes back of it, and return its size."""
        return take(self._channel.pipe(make_pieces(size), timeout=60))

    async def repeat_beside(self, work: Callable[[], Awaitable[object]], stream: Callable[[], Awaitable[int]]) -> None:
        """Repeat some work for as long as a stream runs."""

        async def run_stream() -> None:
            await stream()

        thread = threading.Thread(target=run_blocking, args=[run_stream()])
        thread.start()
        while thread.is_alive():
            await work()


def main() -> None:
    """Do the work of a round."""
    plan, teller = parse_plan(), Teller()
    # The page calls 2,000 methods at once, and each runs in a thread.
    limits = jchannel.trio.Limits(waiting_threads=4_000)
    with jchannel.sync.start(host="127.0.0.1", port=0, limits=limits) as server:
        teller.tell(url=server.page_url)
        channel = server.open(CODE, timeout=60)
        channel.handler = Handler()
        run_blocking(Work(BlockingFace(channel), plan, teller).do())


if __name__ == "__main__":
    main()

"""An echo of the facades while Python is busy: in an asyncio loop that never rests, and beside a busy script.

The page is a Python peer in a process of its own. The steps are Python code, of different lengths; after each, the loop
begins its next turn, and the script writes a byte, which lets go of the interpreter for a moment.

    python -m benchmarks.busy [--echoes N] [--seconds S] [--json PATH]
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import jchannel
import jchannel.sync
from benchmarks.harness import Conditions, Figures, make_parser, report

#: The lengths of the steps, in milliseconds.
STEPS = (0.03, 0.1, 0.3, 1, 3, 10)

PEER = """
import sys
import trio
import jchannel.trio

async def main():
    async with jchannel.trio.open_peer(sys.argv[1]) as peer:
        await peer.wait_ended()

trio.run(main)
"""

CODE = "(channel) => {}"


def compute(milliseconds: float) -> None:
    """Keeps Python busy."""
    end = time.perf_counter() + milliseconds / 1000
    while time.perf_counter() < end:
        pass


def start_peer(url: str) -> subprocess.Popen[bytes]:
    """Connects a Python peer in a process of its own, which ends with the connection."""
    return subprocess.Popen([sys.executable, "-c", PEER, url])  # noqa: S603 (the URL is ours)


async def measure_loop(figures: Figures, echoes: int, seconds: float) -> None:
    """Measures echoes in a loop that never rests."""

    async def keep_busy(step: float) -> None:
        while True:
            compute(step)
            await asyncio.sleep(0)

    async with await jchannel.start(port=0) as server:
        peer = start_peer(server.page_url)
        channel = await server.open(CODE, timeout=20)
        for step in STEPS:
            busy = asyncio.create_task(keep_busy(step))
            end = time.perf_counter() + seconds
            for _ in range(echoes):
                began = time.perf_counter()
                await channel.echo(1, timeout=None)
                figures.add(f"a loop with steps of {step:g} ms", "ms", (time.perf_counter() - began) * 1000)
                if time.perf_counter() > end:
                    break
            busy.cancel()
    peer.wait()


def measure_script(figures: Figures, echoes: int, seconds: float) -> None:
    """Measures echoes of another thread, while the main thread is busy."""
    with jchannel.sync.start(port=0) as server, Path(os.devnull).open("wb", buffering=0) as sink:
        peer = start_peer(server.page_url)
        channel = server.open(CODE, timeout=20)
        for step in STEPS:
            done = threading.Event()

            def measure(step: float = step, done: threading.Event = done) -> None:
                end = time.perf_counter() + seconds
                for _ in range(echoes):
                    began = time.perf_counter()
                    channel.echo(1, timeout=None)
                    figures.add(f"a script with steps of {step:g} ms", "ms", (time.perf_counter() - began) * 1000)
                    if time.perf_counter() > end:
                        break
                done.set()

            thread = threading.Thread(target=measure)
            thread.start()
            while not done.is_set():
                compute(step)
                sink.write(b"x")
            thread.join()
    peer.wait()


def main() -> None:
    """Measures, and prints the medians."""
    parser = make_parser(__doc__, rounds=1)
    parser.add_argument("--echoes", type=int, default=30, help="the number of echoes for each length of a step")
    parser.add_argument("--seconds", type=float, default=10, help="the seconds after which no further one is begun")
    options = parser.parse_args()
    echoes, seconds = (2, 0.1) if options.short else (options.echoes, options.seconds)
    figures, conditions = Figures(), Conditions()
    for _ in range(options.rounds):
        asyncio.run(measure_loop(figures, echoes, seconds))
        measure_script(figures, echoes, seconds)
    print(f"up to {echoes} echoes each in a round")
    report(options, conditions, {"": figures})


if __name__ == "__main__":
    main()

"""Soak over the kernel's own messages: an hour of mixed load in a real JupyterLab, with reloads and second pages.

A notebook's kernel and its page call, cancel and stream in both directions, all the time (`benchmarks.comm_load`).
Meanwhile cells compute, the page is loaded again, and second pages of the notebook come, take over, and go. Nobody
watches the pages. It needs `pip install 'jchannel[test]'`.

    python -m benchmarks.comm_soak [--minutes 60] [--seed 1]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks.harness import Browser, Conditions, Target, describe_shortly, open_browser
from benchmarks.notebook import IDLE, NOTEBOOK, Notebook
from benchmarks.surroundings import Footprint
from tests.jupyter.server import JupyterServer

#: A page behind another one keeps its timers: with them it says after some milliseconds that it cancels.
FLAGS: Final = (
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)

#: How many things are under way at once.
WORKERS: Final = 4

#: How often the kernel is looked at, besides at the start and at the end.
LOOKS: Final = 8

#: Seconds for whatever is done to a page.
PATIENCE: Final = 300

#: Seconds between two things that are done to the pages, on average.
REST: Final = 10

#: What is done to the pages: methods of `Pages`.
ACTS: Final = ("be_busy", "reload", "visit", "replace")

CELLS: Final = {
    "start": "import sys\nsys.modules.pop('anywidget', None)  # The tests' server hides it.\n"
    "import jchannel\nfrom benchmarks import comm_load\nserver = await jchannel.start(door='comm')",
    "begin": "load = await comm_load.open_load(server, {seed})",
    "work": "load.work({workers})",
    "busy": "load.be_busy(1.5)",
    "take over": "await server.move_to_newest_page(timeout=120)\nawait load.wait_page()",
    "wait": "await load.wait_page()",
    "look": "print(await load.look())",
    "end": "await load.end()\nprint(load.show())",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What the kernel was like.

    Attributes:
        seconds: When, in seconds.
        footprint: Its memory, tasks and descriptors.
        subshells: Its subshells, which JupyterLab's pages may make for their comms: each has a thread and descriptors.
    """

    seconds: float
    footprint: Footprint
    subshells: int


@dataclass
class Soak:
    """What was done and found, and what the kernel was like.

    Attributes:
        done: How often each thing was done.
        faults: What was wrong, by kind.
        described: The first faults, in words.
        looks: What the kernel was like. The first and the last are without load.
    """

    done: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    described: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def show(self) -> None:
        """Print it."""
        print(", ".join(f"{count:,} {what}" for what, count in self.done.most_common()))
        for look in self.looks:
            print(f"{look.seconds:7,.0f} s   {look.footprint}, {look.subshells} subshells")
        print(f"faults: {dict(self.faults) or 'none'}")
        print("\n".join(self.described), flush=True)


class Pages:
    """The pages of one notebook, of which one is connected, and what is done to them.

    Args:
        browser: The browser.
        url: The notebook's address.
        soak: Where it is noted.
    """

    def __init__(self, browser: Browser, url: str, soak: Soak) -> None:
        self._browser = browser
        self._url = url
        self._soak = soak
        self._page: Target
        self._began = time.monotonic()
        self.changes = 0

    async def open(self) -> Target:
        """Open a page of the notebook."""
        page = await self._browser.open(self._url)
        await page.wait_for(IDLE, PATIENCE)
        return page

    async def begin(self) -> None:
        """Open the first page, start the server and look at the kernel. Then begin with the load."""
        self._page = await self.open()
        await self.run("start")
        await self.run("begin")
        await self._page.evaluate(f"{NOTEBOOK}.context.save()")
        await self.look()
        await self.run("work")

    async def run(self, name: str) -> Any:
        """Run a cell, and return what it prints as JSON; `None` if that is nothing.

        Raises:
            RuntimeError: It has failed, as its load does not.
        """
        with trio.fail_after(PATIENCE):
            printed = await Notebook(self._page).run(list(CELLS).index(name))
        try:
            return json.loads(printed or "null")
        except ValueError:
            raise RuntimeError(f"{name}: {printed}") from None

    async def look(self) -> None:
        """Look at the kernel."""
        found = await self.run("look")
        look = Look(time.monotonic() - self._began, Footprint(**found["footprint"]), found["subshells"])
        self._soak.looks.append(look)

    async def disturb(self, name: str) -> None:
        """Do one of `ACTS` to the pages, and wait until all is well again."""
        act: Callable[[], Awaitable[None]] = getattr(self, name)
        await act()
        self._soak.done[name] += 1
        await self.run("wait")

    async def be_busy(self) -> None:
        """Run a cell that computes."""
        await self.run("busy")

    async def reload(self) -> None:
        """Load the page again."""
        await self._page.evaluate("window.isOld = true; setTimeout(() => location.reload(), 0)")
        with trio.fail_after(PATIENCE):
            while True:
                with suppress(RuntimeError):  # It is on its way to the new document.
                    if await self._page.evaluate(f"!window.isOld && !!({IDLE})"):
                        break
                await trio.sleep(0.05)
        self.changes += 1

    async def visit(self) -> None:
        """Let a second page come, which is not connected, and go."""
        second = await self.open()
        await trio.sleep(1)
        await second.close()

    async def replace(self) -> None:
        """Let a second page come, and take over. The first one goes."""
        first, self._page = self._page, await self.open()
        await self.run("take over")
        await first.close()
        self.changes += 1

    async def end(self) -> None:
        """End the load, and take what the kernel has found."""
        found = await self.run("end")
        await self.look()
        self._soak.done.update(found["done"])
        self._soak.faults.update(found["faults"])
        self._soak.described += found["described"]
        if len(found["pages"]) != 1 + self.changes:
            self._soak.faults["connections that nobody has asked for"] += len(found["pages"]) - 1 - self.changes
            self._soak.described += found["pages"]


async def run(
    soak: Soak, url: str, seconds: float, seed: int, *, acts: Sequence[str] = ACTS, rest: float = REST
) -> None:
    """Soak for some time, and until each act was done.

    Args:
        soak: Where it is noted.
        url: The address of a notebook with the `CELLS`.
        seconds: How long.
        seed: What decides in which order.
        acts: What is done to the pages.
        rest: The seconds between two acts, on average.
    """
    dice = random.Random(seed)  # noqa: S311 (no secret: it can be repeated)
    async with open_browser(*FLAGS) as browser:
        pages = Pages(browser, url, soak)
        await pages.begin()
        began = time.monotonic()
        try:
            elapsed = 0.0
            while elapsed <= seconds:
                for name in dice.sample(acts, len(acts)):
                    await trio.sleep(dice.uniform(0, 2 * rest))
                    await pages.disturb(name)
                elapsed = time.monotonic() - began
                if elapsed >= len(soak.looks) * seconds / (LOOKS + 1):
                    await pages.look()
                    soak.show()
        finally:
            with trio.CancelScope(shield=True):
                await pages.end()


def make_cells(seed: int) -> list[str]:
    """Return the sources of the notebook's cells."""
    return [source.replace("{seed}", str(seed)).replace("{workers}", str(WORKERS)) for source in CELLS.values()]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="what is done in which order (default: 1)")
    given = parser.parse_args()
    if importlib.util.find_spec("anywidget") is None:
        raise SystemExit("It needs anywidget: pip install 'jchannel[test]'")
    conditions, soak = Conditions(), Soak()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        JupyterServer(Path(folder)) as server,
    ):
        file = server.write_notebook("soak.ipynb", make_cells(given.seed))
        try:
            trio.run(run, soak, server.page_url(f"lab/tree/{file.name}?reset"), given.minutes * 60, given.seed)
        finally:
            print(describe_shortly(conditions.describe()))
            soak.show()


if __name__ == "__main__":
    main()

"""What the benchmarks share: pages that nobody watches, figures of several rounds, and what else the machine did.

Whoever reads the traffic of a page through a browser's debugging protocol, as Playwright does with every page of its
own, makes each WebSocket frame 2 to 5 times as slow. So Chromium is a plain process here, and its debugging protocol
opens pages and evaluates expressions, and watches nothing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil
import trio
import trio_websocket

import jchannel
from jchannel._page.chromium import find_chromium, how_to_install

ROOT: Final = Path(__file__).parent.parent

#: The environment variable that names another browser built from Chromium.
BROWSER: Final = "JCHANNEL_BENCHMARK_BROWSER"

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: The least share of a processor for which another process is named.
LEAST_SHARE: Final = 0.02

#: The packages whose versions are shown, where they are there.
PACKAGES: Final = (
    "trio",
    "websockets",
    "trio-websocket",
    "h11",
    "orjson",
    "starlette",
    "python-socketio",
    "uvicorn",
    "hypercorn",
    "anywidget",
)


def find_browser() -> str:
    """Return the browser to measure in.

    Raises:
        SystemExit: There is none.
    """
    found = os.environ.get(BROWSER) or find_chromium()
    if found is None:
        raise SystemExit(f"The benchmark needs Chromium: {how_to_install()}")
    return str(found)


def browser_command(url: str, profile: str, *flags: str) -> list[str]:
    """Return the command that shows a page in headless Chromium, with a profile of its own and more flags.

    Raises:
        SystemExit: There is no Chromium.
    """
    return [find_browser(), *FLAGS, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", url]


class Target:
    """A page that nobody watches. A session is attached to it when the first expression is evaluated."""

    def __init__(self, browser: Browser, key: str) -> None:
        self._browser = browser
        self._key = key
        self._session: str | None = None

    async def evaluate(self, expression: str) -> Any:
        """Evaluate an expression in the page, await it where it is a promise, and return its value.

        Raises:
            RuntimeError: The expression raised.
        """
        if self._session is None:
            attached = await self._browser.ask("Target.attachToTarget", {"targetId": self._key, "flatten": True})
            self._session = attached["sessionId"]
        params = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = await self._browser.ask("Runtime.evaluate", params, self._session)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", "the page raised"))
        return answer["result"].get("value")

    async def close(self) -> None:
        """Close the page."""
        await self._browser.ask("Target.closeTarget", {"targetId": self._key})

    async def wait_for(self, expression: str, seconds: float = 60) -> None:
        """Wait until an expression is true.

        Raises:
            trio.TooSlowError: It did not become true in time.
        """
        with trio.fail_after(seconds):
            while not await self.evaluate(f"!!({expression})"):  # noqa: ASYNC110 (there is no event)
                await trio.sleep(0.05)


class Browser:
    """A running Chromium, by its debugging protocol."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self._socket = socket
        self._lock = trio.Lock()
        self._last = 0

    async def open(self, url: str) -> Target:
        """Open a page, and do not wait until it has loaded."""
        return Target(self, (await self.ask("Target.createTarget", {"url": url}))["targetId"])

    async def ask(self, method: str, params: Mapping[str, Any], session: str | None = None) -> dict[str, Any]:
        """Send a command, and return its result. What the browser tells beside it is left out.

        Raises:
            RuntimeError: The browser refused it.
        """
        async with self._lock:
            self._last += 1
            message = {"id": self._last, "method": method, "params": params}
            await self._socket.send_message(
                json.dumps(message if session is None else message | {"sessionId": session})
            )
            while (answer := json.loads(await self._socket.get_message())).get("id") != self._last:
                pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result


@asynccontextmanager
async def open_browser(*flags: str) -> AsyncIterator[Browser]:
    """Run headless Chromium, with more flags, for the time of the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = browser_command("about:blank", profile, *flags)
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            process: trio.Process = await nursery.start(run)
            port, path = await wait_debugger(Path(profile) / "DevToolsActivePort")
            # trio-websocket leaves the stream open when the far side has gone without a goodbye, as a browser does.
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                connect = trio_websocket.wrap_client_stream
                browser = Browser(await connect(nursery, stream, f"127.0.0.1:{port}", path, max_message_size=2**26))
                try:
                    yield browser
                finally:
                    # The command may be a script that has started the browser, so it is not enough to end that.
                    with trio.move_on_after(5, shield=True):
                        with suppress(trio_websocket.ConnectionClosed):
                            await browser.ask("Browser.close", {})
                        await process.wait()
            nursery.cancel_scope.cancel()


async def wait_debugger(file: Path) -> tuple[int, str]:
    """Wait until Chromium has written where its debugging protocol is, and return the port and the path."""
    with trio.fail_after(60):
        while True:
            with suppress(OSError, ValueError):
                port, path = (await trio.Path(file).read_text(encoding="utf-8")).split()
                return int(port), path
            await trio.sleep(0.01)


@asynccontextmanager
async def open_page(url: str, *flags: str) -> AsyncIterator[None]:
    """Show a page in a headless Chromium of its own, with more flags, for the time of the block."""
    async with open_browser(*flags) as browser:
        await browser.open(url)
        yield


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def show(label: str, values: Sequence[float], unit: str, shown: Callable[[float], str] = "{:,.2f}".format) -> None:
    """Print the median of several rounds, with the least and the greatest."""
    print(f"{label:<44} {shown(median(values)):>10} {unit:<8} ({shown(min(values))} to {shown(max(values))})")


class Figures:
    """What was measured, by label and unit: a value for each round."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[float]] = {}

    def add(self, label: str, unit: str, value: float) -> None:
        """Add one round's figure."""
        self.values.setdefault((label, unit), []).append(value)

    def median(self, label: str, unit: str) -> float:
        """Return the median of what was added."""
        return median(self.values[label, unit])

    def show(self) -> None:
        """Print the medians."""
        for (label, unit), values in self.values.items():
            show(label, values, unit, "{:,.3f}".format if unit == "ms" else "{:,.0f}".format)

    def as_json(self) -> list[dict[str, Any]]:
        """Return it as JSON."""
        return [{"label": label, "unit": unit, "values": values} for (label, unit), values in self.values.items()]

    def add_json(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add what `as_json` has returned."""
        for row in rows:
            for value in row["values"]:
                self.add(row["label"], row["unit"], value)


class Conditions:
    """In what a benchmark has run: the code, the versions, the machine, and what else ran on it.

    It is made before the first round; `describe` looks once more.
    """

    def __init__(self) -> None:
        self._began = time.time()
        self._load = os.getloadavg()[0]
        self._others = _processor_times()

    def describe(self) -> dict[str, Any]:
        """Return it as JSON."""
        seconds = time.time() - self._began
        return {
            "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self._began)),
            "seconds": round(seconds),
            "commit": commit(),
            "python": platform.python_version(),
            "browser": browser_version(),
            "processors": os.cpu_count(),
            "processor": processor(),
            "load before": round(self._load, 1),
            "load after": round(os.getloadavg()[0], 1),
            "others": self._busiest_others(seconds),
            "versions": {name: found for name in PACKAGES if (found := version(name))},
        }

    def _busiest_others(self, seconds: float) -> dict[str, str]:
        """Return the share of a processor of those that ran before and after, and are none of this benchmark's."""
        now = _processor_times()
        shares: dict[str, float] = {}
        for key, before in self._others.items():
            if key in now:
                shares[key[1]] = shares.get(key[1], 0) + (now[key] - before) / max(seconds, 0.1)
        busiest = sorted(shares.items(), key=lambda item: -item[1])[:3]
        return {name: f"{share:.0%}" for name, share in busiest if share >= LEAST_SHARE}


def _processor_times() -> dict[tuple[int, str], float]:
    """Return the seconds of processor of each process that is none of this benchmark's, by its number and name."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    times = {}
    for process in psutil.process_iter(["pid", "name", "cpu_times"]):
        found = process.info["cpu_times"]
        if found is not None and process.info["pid"] not in own:
            times[process.info["pid"], process.info["name"]] = found.user + found.system
    return times


def commit(folder: Path = Path(jchannel.__file__).parent.parent) -> str:
    """Return the commit of the code that is measured, or of another checkout."""
    git = partial(subprocess.run, capture_output=True, text=True, check=True, cwd=folder)
    try:
        head = git(["git", "rev-parse", "--short=7", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no", "jchannel"]).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"version {version('jchannel')}"
    return f"{head} with changes" if changed else str(head)


def browser_version() -> str:
    """Return the version of the browser."""
    command = [find_browser(), "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 (the user's browser)
    found = re.search(r"[\w ]*?[\d.]+", shown)
    return found[0].strip() if found else "unknown"


def processor() -> str:
    """Return the name of the processor, where Linux says it."""
    with suppress(OSError):
        found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        return found[1] if found else ""
    return ""


def version(package: str) -> str | None:
    """Return the version of a package that is installed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def describe_shortly(conditions: Mapping[str, Any]) -> str:
    """Return what a reader of figures has to know of their conditions, in lines."""
    others = ", ".join(f"{name} {share}" for name, share in conditions["others"].items()) or "nothing above 2 %"
    versions = ", ".join(f"{name} {found}" for name, found in conditions["versions"].items())
    return (
        f"commit {conditions['commit']}, {conditions['began']}, {conditions['seconds']} s; "
        f"Python {conditions['python']}, {conditions['browser']}, {versions}\n"
        f"{conditions['processors']} processors ({conditions['processor']}), "
        f"load {conditions['load before']} before and {conditions['load after']} after, beside it: {others}"
    )


def make_parser(documentation: str | None, rounds: int = 5) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: `--rounds`, `--short` and `--json`."""
    parser = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds that count (default: {rounds})")
    parser.add_argument("--short", action="store_true", help="a little of everything: does it run? No measurement")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write every value of every round")
    return parser


def report(options: argparse.Namespace, conditions: Conditions, groups: Mapping[str, Figures]) -> None:
    """Print the conditions and the medians, and write all of it where `--json` says."""
    described = conditions.describe()
    print(f"medians of {options.rounds} rounds{', SHORT: no measurement' if options.short else ''}")
    print(describe_shortly(described))
    for name, figures in groups.items():
        if name:
            print(f"\n{name}")
        figures.show()
    sys.stdout.flush()
    write_json(options, described, groups)


def write_json(options: argparse.Namespace, conditions: Mapping[str, Any], groups: Mapping[str, Figures]) -> None:
    """Write all of it where `--json` says."""
    if options.json is not None:
        figures = {name: group.as_json() for name, group in groups.items()}
        whole = {"conditions": conditions, "rounds": options.rounds, "short": options.short, "figures": figures}
        options.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")

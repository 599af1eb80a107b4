"""What a call, a batch of calls and a stream cost Python's side, by function, task, call of the system and copy.

Each is done in a process of its own, with one page in Chromium that nobody watches, in four passes, as each measurement
would disturb the others: plain (processor time, and how often the system switched threads), functions (a profile, in
which functions look dearer than they are), calls of the system (strace, where it is there), and copies (a preloaded
memcpy, where there is a C compiler; with the steps of trio's tasks and of asyncio's loop).

    python -m benchmarks.profile_call [--tree PATH] [--face trio|asyncio] [--top 20] [--json PATH]

`--tree` is another checkout of jchannel, such as one of an older commit: `git worktree add PATH COMMIT` makes one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks.compare import read_lines, show_table
from benchmarks.harness import ROOT, Conditions, commit, describe_shortly, make_parser, open_browser

FOLDER: Final = Path(__file__).parent
PASSES: Final = ("plain", "functions", "calls", "copies")

#: A call of the system in strace's record, when it has ended: its name and what it returned.
ENDED: Final = re.compile(r"^\d+\s+(?:<\.\.\. )?(\w+)(?:\(| resumed>).*= (-?\d+)")
MARK: Final = re.compile(r'"/jchannel-benchmark/(begin|end)/([^"]+)"')
CARRYING: Final = {"read", "write", "recvfrom", "sendto", "recvmsg", "sendmsg", "readv", "writev", "sendfile"}

#: From here on, figures have no decimals.
PRECISE: Final = 100

Result = dict[str, tuple[int, Counter[str]]]
"""How often each subject was done, and its figures."""


def build_counter(folder: Path) -> Path | None:
    """Build what counts copies, where there is a C compiler that can."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "copied.so"
    flags = ["-O2", "-shared", "-fPIC", "-fno-builtin", "-fno-tree-loop-distribute-patterns"]
    command = [compiler, *flags, "-o", str(library), str(FOLDER / "copied.c")]
    built = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 (the user's compiler)
    return None if built.returncode else library


def find_strace() -> str | None:
    """Return strace, where it is and may trace: some containers forbid it."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    command = [strace, "-o", os.devnull, sys.executable, "-c", "pass"]
    tried = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 (the user's strace)
    return None if tried.returncode else strace


async def run_pass(kind: str, tree: Path, face: str, folder: Path, *, short: bool) -> Result:
    """Run one pass."""
    command = [sys.executable, "-P", FOLDER / "profiled.py", kind, face, "short" if short else "whole"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    record = folder / "strace"
    if kind == "calls":
        if (strace := find_strace()) is None:
            return {}
        command = [strace, "-f", "-qq", "-o", record, *command]
    if kind == "copies" and (library := build_counter(folder)) is not None:
        environment["LD_PRELOAD"] = str(library)
    run = partial(
        trio.run_process, command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, cwd=folder
    )
    result: Result = {}
    async with open_browser() as browser, trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        async for told in read_lines(process):
            if "url" in told:
                await browser.open(told["url"])
            else:
                result[told["subject"]] = told["times"], Counter(told.get("figures", {}))
    if kind == "calls":
        for name, counted in read_record(record).items():
            result[name][1].update(counted)
    return result


def read_record(record: Path) -> dict[str, Counter[str]]:
    """Count the calls of the system between the marks, and the bytes that they carried."""
    subjects: dict[str, Counter[str]] = {}
    now: Counter[str] | None = None
    with record.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if found := MARK.search(line):
                now = subjects.setdefault(found[2], Counter()) if found[1] == "begin" else None
            elif now is not None and "<unfinished ...>" not in line and (ended := ENDED.match(line)):
                name, returned = ended[1], int(ended[2])
                now["calls of the system"] += 1
                now[f"  {name}"] += 1
                if name in CARRYING and returned > 0:
                    now["bytes through the kernel"] += returned
    return subjects


def per_unit(result: Result, subject: str, key: str) -> str:
    """Return a figure for each time that a subject was done."""
    if not any(key in figures for _, figures in result.values()):
        return "not counted"
    times, figures = result[subject]
    value = figures[key] / times
    return f"{value:,.0f}" if value >= PRECISE or value == round(value) else f"{value:,.2f}"


def milliseconds(result: Result, subject: str, key: str) -> str:
    """Return a time for each time that a subject was done."""
    times, figures = result[subject]
    return f"{figures[key] / times / 1e6:,.3f}"


def make_table(passes: dict[str, Result]) -> list[list[str]]:
    """Return what each subject costs, with a head."""
    plain, calls, copies = passes["plain"], passes["calls"], passes["copies"]
    subjects = list(plain)
    table = [["for each", "unit", *subjects]]
    times = ("processor, ns", "elapsed, ns")
    table.extend([key[:-4], "ms", *(milliseconds(plain, subject, key) for subject in subjects)] for key in times)
    rows = [
        (plain, "switches, voluntary"),
        (plain, "switches, involuntary"),
        (copies, "steps of trio's tasks"),
        (copies, "steps of asyncio's loop"),
        (calls, "calls of the system"),
        *((calls, name) for name in most_common(calls)),
        (calls, "bytes through the kernel"),
        (copies, "bytes copied"),
    ]
    table.extend([key, "", *(per_unit(result, subject, key) for subject in subjects)] for result, key in rows)
    return table


def most_common(result: Result) -> list[str]:
    """Return the names of the calls of the system that were made most often, in any subject."""
    names: Counter[str] = Counter()
    for times, figures in result.values():
        for key, count in figures.items():
            if key.startswith("  "):
                names[key] = max(names[key], round(count / times * 100))
    return [name for name, _ in names.most_common(10)]


def show_functions(result: Result, top: int) -> None:
    """Print where the processor was, in each subject."""
    for subject, (times, figures) in result.items():
        whole = sum(figures.values())
        print(f"\n{subject}: {whole / times / 1e3:,.1f} µs of processor while profiled, of which")
        for name, nanoseconds in figures.most_common(top):
            print(f"  {nanoseconds / whole:6.1%}  {nanoseconds / times / 1e3:12,.1f} µs  {name}")


async def run(tree: Path, face: str, *, short: bool) -> dict[str, Result]:
    """Run all passes."""
    with tempfile.TemporaryDirectory() as folder:
        return {kind: await run_pass(kind, tree, face, Path(folder), short=short) for kind in PASSES}


def as_json(passes: dict[str, Result]) -> dict[str, Any]:
    """Return everything as JSON."""
    return {
        kind: {subject: {"times": times, **figures} for subject, (times, figures) in result.items()}
        for kind, result in passes.items()
    }


def main() -> None:
    """Run the profile."""
    parser = make_parser(__doc__, rounds=1)
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout that is measured (default: this one)")
    parser.add_argument(
        "--face", choices=("trio", "asyncio"), default="trio", help="through which face (default: trio)"
    )
    parser.add_argument("--top", type=int, default=20, help="functions that are shown (default: 20)")
    options = parser.parse_args()
    conditions = Conditions()
    tree = options.tree.resolve()
    passes = trio.run(partial(run, tree, options.face, short=options.short))
    described = {**conditions.describe(), "commit": commit(tree), "face": options.face}
    print(f"{options.face}{', SHORT: no measurement' if options.short else ''}\n{describe_shortly(described)}\n")
    show_table(make_table(passes))
    show_functions(passes["functions"], options.top)
    if options.json is not None:
        whole = {"conditions": described, "short": options.short, "passes": as_json(passes)}
        options.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

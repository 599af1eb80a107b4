"""Fuzzes one target for some time, and says how to repeat what it finds.

    python -m tests.fuzz.run TARGET [--seconds 600] [--seed 1]
    python -m tests.fuzz.run TARGET --atheris [--seconds 600]

Without atheris the inputs are mutations of the examples and of the kept corpus, by a seed that is printed; a target
that is made of cases (`sessions`, `servers`, `web`) runs one case after the other. With atheris
(`pip install atheris`, not among the requirements of the tests) the inputs are those that reach new code, and what
reaches it is added to the corpus in
`tests/fuzz/corpora/TARGET`; `--merge` then leaves only what the others do not reach.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

#: What is fuzzed by cases, each of a number: the module that has `run_case(number)`.
CASES: Final = {name: f"tests.fuzz.{name}" for name in ("sessions", "servers", "web")}


def _run_for(seconds: float, next_case: Callable[[], tuple[str, Callable[[], None]]]) -> int:
    """Runs cases until the time is over or one fails. Returns the process's status."""
    until = time.monotonic() + seconds
    done = 0
    while time.monotonic() < until:
        name, run = next_case()
        try:
            run()
        except BaseException:
            print(f"after {done:,} cases: {name}", flush=True)  # noqa: T201 (its output)
            raise
        done += 1
    print(f"{done:,} cases, nothing found", flush=True)  # noqa: T201 (its output)
    return 0


def _run_cases(name: str, seconds: float, seed: int) -> int:
    run_case = importlib.import_module(CASES[name]).run_case
    numbers = iter(range(seed, sys.maxsize))

    def next_case() -> tuple[str, Callable[[], None]]:
        number = next(numbers)
        return f"repeat it with --seed {number}", lambda: run_case(number)

    return _run_for(seconds, next_case)


def _run_mutations(name: str, seconds: float, seed: int) -> int:
    targets, mutation = (importlib.import_module(f"tests.fuzz.{module}") for module in ("targets", "mutation"))
    target = targets.TARGETS[name]
    mutator = mutation.Mutator(targets.examples_of(name), targets.WORDS, f"{name} {seed}")

    def next_case() -> tuple[str, Callable[[], None]]:
        data = mutator.next()
        return f"seed {seed}, input {data!r}", lambda: target.run(data)

    return _run_for(seconds, next_case)


def _run_atheris(name: str, options: list[str], *, seconds: int, merge: bool) -> None:
    """Lets atheris run, which ends the process. It passes the options of libFuzzer on."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["jchannel", "websockets", "h11"]):
        targets = importlib.import_module("tests.fuzz.targets")
    corpus: Path = targets.CORPORA / name
    work = corpus.parent.parent / ".work" / name
    seeds = work / "seeds"
    for folder in (corpus, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(targets.TARGETS[name].examples()):
        (seeds / str(number)).write_bytes(data)
    words = work / "words"
    words.write_text("".join(f'"{_escape(word)}"\n' for word in targets.WORDS), encoding="ascii")
    # libFuzzer starts itself again to merge, by its name and its options.
    again = work / "again"
    again.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.fuzz.run {name} --atheris "$@"\n', encoding="utf-8")
    again.chmod(0o700)
    if not options:
        folders = [str(corpus), str(seeds)]
        if merge:
            grown = corpus.rename(work / "grown")
            corpus.mkdir()
            folders = ["-merge=1", str(corpus), str(grown)]
        options = [
            f"-max_total_time={seconds}",
            "-max_len=4000",
            "-timeout=20",
            f"-dict={words}",
            f"-artifact_prefix={work}/",
            *folders,
        ]
    atheris.Setup([str(again), *options], targets.TARGETS[name].run)
    atheris.Fuzz()


def _escape(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main() -> None:
    """Runs it."""
    names = ("frames", "values", "parts", "connection", "websocket", "head")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=[*names, *CASES])
    parser.add_argument("--seconds", type=int, default=600, help="how long (default: 600)")
    parser.add_argument("--seed", type=int, default=1, help="which inputs come, or the first case (default: 1)")
    parser.add_argument("--atheris", action="store_true", help="let atheris look for inputs that reach new code")
    parser.add_argument("--merge", action="store_true", help="with --atheris: leave what is needed of the corpus")
    given, options = parser.parse_known_args()
    if given.atheris:
        _run_atheris(given.target, options, seconds=given.seconds, merge=given.merge)
        return
    if options:
        parser.error(f"what is {options[0]!r}?")
    run = _run_cases if given.target in CASES else _run_mutations
    print(f"{given.target}, seed {given.seed}", flush=True)  # noqa: T201 (its output)
    sys.exit(run(given.target, given.seconds, given.seed))


if __name__ == "__main__":
    main()

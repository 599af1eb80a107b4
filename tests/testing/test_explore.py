"""Exploring: what only some orders show is found, and the same seed shows it again."""

from __future__ import annotations

import gc
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import jchannel
from jchannel._streams.reader import MetaGenerator
from jchannel.testing import Exploration, explore, open_page, open_pair, open_server
from tests.conftest import CHECKOUT

Program = Callable[[Exploration], Awaitable[object]]

#: How many seeds find each of the planted bugs.
SEEDS = range(50)


def find(program: Program, *, lose: bool = False, limit: float = 3600) -> BaseException:
    """Explores a program with a bug. The seed that has found it finds it again."""
    with pytest.raises((AssertionError, ExceptionGroup, jchannel.StateError, trio.TooSlowError)) as found:
        explore(program, seeds=SEEDS, lose=lose, limit=limit)
    seed = re.search(r"This was seed (\d+)\.", "".join(found.value.__notes__))
    assert seed is not None
    with pytest.raises(found.type):
        explore(program, seeds=[int(seed[1])], lose=lose, limit=limit)
    return found.value


class Frontend:
    """Plays the JavaScript."""

    def __init__(self) -> None:
        self.value = 0

    def get(self) -> int:
        return self.value

    def set(self, value: int) -> None:
        self.value = value

    def increment(self) -> int:
        self.value += 1
        return self.value

    def search(self, text: str) -> str:
        return f"found {text}"

    async def save(self, stream: MetaGenerator) -> int:
        return len(await stream.join())


class TestPlantedBugs:
    """Bugs of programs, each of a common kind."""

    def test_a_value_is_read_and_written_across_an_await(self) -> None:
        async def program(_run: Exploration) -> None:
            frontend = Frontend()
            async with open_pair(frontend) as (channel, _):

                async def add_one() -> None:
                    await channel.call("set", await channel.call("get") + 1)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(add_one)
                    nursery.start_soon(add_one)
            assert frontend.value == 2

        find(program)

    def test_a_handler_checks_and_acts_across_an_await(self) -> None:
        class Backend:
            def __init__(self, channel: Any) -> None:
                self.channel = channel
                self.left = 1
                self.sold = 0

            async def buy(self) -> None:
                if self.left > 0:
                    await self.channel.call("increment")
                    self.left -= 1
                    self.sold += 1

        async def program(_run: Exploration) -> None:
            async with open_pair(Frontend()) as (channel, page):
                channel.handler = backend = Backend(channel)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(page.call, "buy")
                    nursery.start_soon(page.call, "buy")
            assert backend.sold == 1

        find(program)

    def test_the_first_call_is_expected_to_be_answered_first(self) -> None:
        async def program(_run: Exploration) -> None:
            answers: list[str] = []
            async with open_pair(Frontend()) as (channel, _):

                async def search(text: str) -> None:
                    answers.append(await channel.call("search", text))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(search, "a")
                    nursery.start_soon(search, "b")
            assert answers == ["found a", "found b"]

        find(program)

    def test_an_old_answer_replaces_a_new_one(self) -> None:
        async def program(_run: Exploration) -> None:
            shown = ""
            async with open_pair(Frontend()) as (channel, page):

                async def search(text: str) -> None:
                    nonlocal shown
                    shown = await channel.call("search", text)

                async with trio.open_nursery() as nursery:
                    for text in ("j", "js"):  # As it is typed.
                        nursery.start_soon(search, text)
                        await page.wait_call("search")
            assert shown == "found js"

        find(program)

    def test_what_was_taken_is_not_given_back_when_cancelled(self) -> None:
        async def program(run: Exploration) -> None:
            free = 1
            async with open_pair(Frontend()) as (channel, _):
                with run.cancel_somewhere():
                    free -= 1
                    await channel.call("increment")
                    free += 1
            assert free == 1

        find(program)

    def test_two_things_that_belong_together_are_done_with_an_await_between(self) -> None:
        async def program(run: Exploration) -> None:
            accounts = {"a": 10, "b": 0}
            async with open_pair(Frontend()) as (channel, _):
                with run.cancel_somewhere():
                    async with trio.open_nursery() as nursery:

                        async def transfer() -> None:
                            accounts["a"] -= 1
                            await channel.call("increment")
                            accounts["b"] += 1

                        nursery.start_soon(transfer)
                        nursery.start_soon(transfer)
            assert sum(accounts.values()) == 10

        find(program)

    def test_a_page_that_is_lost_is_not_expected(self) -> None:
        async def program(_run: Exploration) -> None:
            async with open_pair(Frontend()) as (channel, _):
                for _number in range(10):
                    await channel.call("increment", timeout=None)

        error = find(program, lose=True)
        assert isinstance(error, ExceptionGroup | jchannel.StateError)

    def test_a_call_that_may_have_run_is_made_again(self) -> None:
        async def program(_run: Exploration) -> None:
            frontend = Frontend()
            async with open_pair(frontend) as (channel, _):
                for _number in range(10):
                    try:
                        await channel.call("increment", timeout=None)
                    except jchannel.PageLostError:
                        await channel.call("increment", timeout=None)
            assert frontend.value == 10

        find(program, lose=True)

    def test_what_a_page_knows_is_expected_to_outlive_it(self) -> None:
        async def program(_run: Exploration) -> None:
            state: dict[str, bool] = {}

            def on_open(_channel: Any, _code: str) -> None:
                state.clear()  # A page that is loaded anew.

            class Player:
                def set_up(self) -> None:
                    state["ready"] = True

                def draw(self) -> bool:
                    return state.get("ready", False)

            async with (
                open_server() as server,
                open_page(server, Player(), on_open=on_open),
                server.open_channel("code", timeout=None) as channel,
            ):

                async def ask(name: str) -> Any:
                    while True:
                        try:
                            return await channel.call(name, timeout=None)
                        except jchannel.PageLostError:
                            pass

                await ask("set_up")
                for _number in range(10):
                    assert await ask("draw")
                    await trio.sleep(1)

        find(program, lose=True)

    def test_a_thing_is_closed_twice(self) -> None:
        class Thing:
            def __init__(self, channel: Any) -> None:
                self.channel = channel
                self.closed = False
                self.times = 0

            async def close(self) -> None:
                if not self.closed:
                    await self.channel.call("increment")
                    self.closed = True
                    self.times += 1

        async def program(_run: Exploration) -> None:
            async with open_pair(Frontend()) as (channel, _):
                thing = Thing(channel)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(thing.close)
                    await channel.call("get")
                    await thing.close()
            assert thing.times == 1

        find(program)

    def test_two_locks_are_taken_in_two_orders(self) -> None:
        async def program(_run: Exploration) -> None:
            left, right = trio.Lock(), trio.Lock()
            async with open_pair(Frontend()) as (channel, _):

                async def take(first: trio.Lock, second: trio.Lock) -> None:
                    async with first:
                        await channel.call("get")
                        async with second:
                            await channel.call("get")

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take, left, right)
                    await channel.call("get")
                    nursery.start_soon(take, right, left)

        error = find(program, limit=60)
        assert "the program has not ended after 60 s" in str(error)

    def test_a_task_is_expected_to_have_begun(self) -> None:
        async def program(_run: Exploration) -> None:
            inbox: list[str] = []
            ready = False
            async with open_pair(Frontend()) as (channel, _), trio.open_nursery() as nursery:

                async def listen() -> None:
                    nonlocal ready
                    inbox.append(await channel.call("search", "a"))
                    ready = True

                nursery.start_soon(listen)
                await channel.call("get")
                assert ready

        find(program)


async def correct(run: Exploration) -> None:
    """A program without a bug: it knows that pages come and go, and that it may be cancelled."""
    frontend = Frontend()
    lock = trio.Lock()
    done = made = 0
    async with (
        open_server() as server,
        open_page(server, frontend),
        server.open_channel("code", timeout=None) as channel,
    ):

        async def work(number: int) -> None:
            nonlocal done, made
            async with lock:
                made += 1
                try:
                    await channel.call("increment", timeout=None)
                except jchannel.PageLostError:
                    pass
                else:
                    done += 1
            run.note(f"{number} is through")

        with run.cancel_somewhere():
            async with trio.open_nursery() as nursery:
                for number in range(run.random.randrange(1, 5)):
                    nursery.start_soon(work, number)
    assert done <= frontend.value <= made


def test_a_correct_program_passes_all_seeds() -> None:
    explore(correct, seeds=range(25))
    explore(correct, seeds=range(25), lose=True)


def test_a_pair_is_opened_however_often_its_page_gets_lost_meanwhile() -> None:
    async def program(_run: Exploration) -> None:
        async with open_pair():
            opened.append(None)

    opened: list[None] = []
    explore(program, seeds=range(25), lose=True)  # With a time limit, 7 and 14 failed.
    assert len(opened) == 25


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    async def program(run: Exploration) -> None:
        runs.append(run)
        await correct(run)

    runs: list[Exploration] = []
    for _ in range(2):
        explore(program, seeds=range(10), lose=True)
    first, again = runs[:10], runs[10:]
    assert [run.log for run in first] == [run.log for run in again]
    assert len({tuple(run.log) for run in first}) > 5
    assert repr(first[3]) == "<jchannel.testing.Exploration, seed 3>"


def test_files_are_read_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    logs: list[list[str]] = []

    async def program(run: Exploration) -> None:
        logs.append(run.log)
        async with open_pair(Frontend()) as (channel, _):
            assert await channel.call_with_stream("save", tmp_path / "file", timeout=None) == 100_000
            run.note("saved")

    for _ in range(3):
        explore(program, seeds=[1])
    assert logs[0] == logs[1] == logs[2]


SCRIPT = """
import os
import trio
from jchannel.testing import explore, open_pair

class Frontend:
    def get(self):
        return 1

async def program(run):
    order = []
    async with open_pair(Frontend()) as (channel, page):
        async def get(number):
            await channel.call("get")
            order.append(number)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(get, number)
    run.note(order)
    print(run.seed, run.log)
    assert order[0] == 0

def test_the_order():
    explore(program, seeds=range(2, 50))
"""


def run_python(cwd: Path, command: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    del environment["PYTEST_CURRENT_TEST"]  # It would be the program's, too.
    done = subprocess.run(  # noqa: S602 (it is a command for a shell)
        command,
        shell=True,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", ["-m pytest tests/test_order.py", "script.py"])
def test_a_failing_seed_is_named_by_the_command_that_repeats_it(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_order.py").write_text(SCRIPT)
    (tmp_path / "script.py").write_text(f"{SCRIPT}\ntest_the_order()\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    # From another directory than pytest's root.
    cwd = tmp_path / "tests" if "pytest" in arguments else tmp_path
    status, output = run_python(cwd, f"{shlex.quote(sys.executable)} {arguments.replace('tests/', '')}")
    assert status == 1, output
    found = re.search(r"^\S*\s*(JCHANNEL_SEEDS=(\d+) .*)$", output, re.MULTILINE)
    assert found is not None, output
    status, again = run_python(cwd, found[1])
    assert status == 1, again
    # The same run, in another process, and no other one.
    runs = re.findall(rf"^{found[2]} \[.*\]$", output, re.MULTILINE)
    assert len(runs) == 1
    assert re.findall(r"^\d+ \[.*\]$", again, re.MULTILINE) == runs


def test_the_variable_names_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    async def program(run: Exploration) -> None:
        seeds.append(run.seed)

    monkeypatch.setenv("JCHANNEL_SEEDS", "3,17")
    explore(program)
    assert seeds == [3, 17]
    monkeypatch.setenv("JCHANNEL_SEEDS", "three")
    with pytest.raises(ValueError, match="JCHANNEL_SEEDS must be numbers with commas between them, and it is 'three'"):
        explore(program)


def test_the_command_names_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        async def __call__(self, run: Exploration) -> None:
            raise LookupError("no luck")

    with pytest.raises(LookupError) as caught:
        explore(Failing())
    (note,) = caught.value.__notes__
    test = "tests/testing/test_explore.py::test_the_command_names_what_there_is"
    assert f"JCHANNEL_SEEDS=0 {sys.executable} -m pytest {test}\n" in note
    assert note.endswith("at the end:\n  nothing")


def test_the_collector_rests_meanwhile_and_goes_on_as_it_was() -> None:
    async def program(_run: Exploration) -> None:
        assert not gc.isenabled()

    explore(program, seeds=[1])
    assert gc.isenabled()
    gc.disable()
    try:
        explore(program, seeds=[1])
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("options", [{"delay": -1}, {"limit": float("inf")}])
def test_wrong_arguments_are_refused(options: dict[str, float]) -> None:
    async def program(_run: Exploration) -> None:
        pytest.fail("it was run")  # pragma: no cover

    with pytest.raises(ValueError, match="must be finite"):
        explore(program, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("program", "options", "error", "words"),
    [
        (print, {}, TypeError, "the program must be an async function"),
        (correct, {"seeds": []}, ValueError, "seeds must be integers, one or more"),
        (correct, {"seeds": [1.5]}, ValueError, "seeds must be integers, one or more"),
        (correct, {"limit": 0}, ValueError, "limit must be more than 0 s"),
    ],
)
def test_what_cannot_be_explored_is_refused(
    program: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        explore(program, **{"seeds": [1], **options})
    assert not hasattr(caught.value, "__notes__")


async def test_a_program_of_trio_cannot_explore_within_itself() -> None:
    with pytest.raises(RuntimeError, match="call it outside of trio"):
        explore(correct, seeds=[1])

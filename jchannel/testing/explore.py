"""A program under many seeds, each of which decides all that may vary: to find what only some orders show."""

from __future__ import annotations

import gc
import os
import random
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

import trio
import trio.testing

from jchannel._guarded import is_async
from jchannel._sealed import NoPublicConstructor
from jchannel.testing.faults import check_seconds
from jchannel.testing.hold import hold_time
from jchannel.testing.scheduling import seeded_order

__all__ = ["EXPLORATION", "Exploration", "explore"]

#: The exploration of the present run of trio, or ``None``.
EXPLORATION: Final[trio.lowlevel.RunVar[Exploration | None]] = trio.lowlevel.RunVar("jchannel's exploration", None)

#: Names the seeds to run, in the place of those in the code.
_VARIABLE: Final = "JCHANNEL_SEEDS"

#: How many lines of the log an error shows, the last ones.
_SHOWN: Final = 20

#: One block in so many is not cancelled at all.
_SPARED: Final = 8

#: Blocks are cancelled at one of their first 2**7 steps, the earlier the likelier.
_MOST_STEPS: Final = 7

#: How often a page is lost in a run.
_LOSSES: Final = (0, 1, 1, 2)

#: What may pass before a page is lost or comes back, in seconds.
_SPANS: Final = (0.0, 0.001, 0.01, 0.1, 1.0, 10.0)


@final
class Exploration(metaclass=NoPublicConstructor):
    """One run of a program, by one seed. ``explore`` makes them.

    Args:
        seed: The seed.
        lose: Whether pages of the kit are lost, and come back.
        delay: The most seconds by which answers, and what is sent, come later.

    Attributes:
        seed: As above.
        random: Random numbers of the seed, for the program's own choices.
        log: What has happened, a line each, with trio's time.
    """

    def __init__(self, seed: int, *, lose: bool = False, delay: float = 0.1) -> None:
        self.seed = seed
        self.random: random.Random = random.Random(seed)  # noqa: S311 (no secret: it is to be repeated)
        self.log: list[str] = []
        # Of its own for each purpose: a program that draws numbers does not change what happens to it.
        self._random = random.Random(f"{seed} jchannel")  # noqa: S311 (the same)
        self._lose = lose
        self._delay = delay

    def __repr__(self) -> str:
        return f"<jchannel.testing.Exploration, seed {self.seed}>"

    def note(self, text: str) -> None:
        """Add a line to the log, which is shown when the run fails."""
        self.log.append(f"{trio.current_time():10.4f} {text}")

    @contextmanager
    def cancel_somewhere(self) -> Iterator[trio.CancelScope]:
        """Cancel the block at one of the places where it, or a task that it has started, waits; or not at all.

        Returns:
            The block's cancel scope. When the block has been left, ``cancelled_caught`` tells.

        Assert behind the block what must hold however far it came.
        """
        at = 0 if not self._random.randrange(_SPARED) else int(2 ** self._random.uniform(0, _MOST_STEPS))
        with trio.CancelScope() as scope:
            steps = _Steps(self, scope, at)
            trio.lowlevel.add_instrument(steps)
            try:
                yield scope
            finally:
                trio.lowlevel.remove_instrument(steps)

    # For the kit

    @property
    def _loses(self) -> bool:
        """Whether pages are lost."""
        return self._lose

    def _draw_delay(self) -> float:
        """Return by how many seconds what is sent now comes later."""
        return self._random.choice((0.0, self._random.uniform(0, self._delay)))

    async def _delay_answer(self) -> None:
        """Wait for as long as a page may, before it answers."""
        if delay := self._draw_delay():
            await trio.sleep(delay)

    def _draw_losses(self) -> int:
        """Return how often a page is lost."""
        return self._random.choice(_LOSSES)

    def _draw_reload(self) -> bool:
        """Return whether a page that was lost is loaded anew."""
        return self._random.random() < 0.5  # noqa: PLR2004 (one half)

    async def _pass_some_time(self) -> None:
        """Wait for some steps of trio's, or some time."""
        for _ in range(self._random.randrange(10)):
            await trio.lowlevel.checkpoint()
        await trio.sleep(self._random.choice(_SPANS) * self._random.random())

    def _run(self, program: Callable[[Exploration], Awaitable[object]], limit: float) -> None:
        collects = gc.isenabled()
        gc.disable()  # It calls what it finds, at moments that nothing repeats.
        try:
            with seeded_order(self.seed) as seeded:
                trio.run(self._main, program, limit, seeded, clock=trio.testing.MockClock(autojump_threshold=0))
        finally:
            if collects:
                gc.enable()

    async def _main(self, program: Callable[[Exploration], Awaitable[object]], limit: float, seeded: bool) -> None:  # noqa: FBT001 (trio.run takes no names)
        EXPLORATION.set(self)
        hold_time(short_runs_here=True)
        if not seeded:
            self.note("this trio runs tasks in an order of its own, which no seed decides")
        with trio.move_on_after(limit) as scope:
            await program(self)
        if scope.cancelled_caught:
            raise trio.TooSlowError(f"the program has not ended after {limit:g} s of trio's time")


class _Steps(trio.abc.Instrument):
    """Cancels a scope at one of the steps of a task, and of those that it starts from now on."""

    def __init__(self, exploration: Exploration, scope: trio.CancelScope, at: int) -> None:
        self._exploration = exploration
        self._scope = scope
        self._at = at
        self._task = trio.lowlevel.current_task()
        self._outer = frozenset(self._task.child_nurseries)
        self._steps = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step, as trio tells instruments."""
        if self._owns(task):
            self._steps += 1
            if self._steps == self._at:
                self._exploration.note(f"the block is cancelled, at step {self._at}: {task.name}")
                self._scope.cancel()

    def _owns(self, task: trio.lowlevel.Task) -> bool:
        while task is not self._task:
            nursery = task.parent_nursery
            if nursery is None or nursery in self._outer:
                return False
            task = nursery.parent_task
        return True


def explore(
    program: Callable[[Exploration], Awaitable[object]],
    *,
    seeds: Iterable[int] = range(100),
    lose: bool = False,
    delay: float = 0.1,
    limit: float = 3600,
) -> None:
    """Run an async program of trio's once for each seed, until one fails.

    A seed decides all that may vary in a run: the order in which tasks that are ready run, how late a page of the kit
    answers and what is sent arrives, when pages are lost and how they come back, and where ``cancel_somewhere`` cancels
    a block. The same seed gives the same run. Each run has a clock that jumps, and the program opens what it needs of
    the kit itself, with ``open_pair``, ``open_server`` and ``open_page``.

    Args:
        program: An async function. It is called with the ``Exploration`` of its run.
        seeds: The seeds. The environment variable ``JCHANNEL_SEEDS``, such as ``17`` or ``3,17``, names others.
        lose: Whether each page is lost up to twice, and comes back, as it was or loaded anew.
        delay: The most seconds by which answers come later, and what is sent; 0 for none.
        limit: Seconds of trio's time after which a program that has not ended fails.

    Raises:
        BaseException: What the program raised, with a note: the command that repeats this run, and the end of its log.
        trio.TooSlowError: The program has not ended within the limit.
        TypeError, ValueError: An argument is not of its kind.

    It runs trio itself, so it is called outside of it, in a plain test.
    """
    check_seconds(delay, "delay")
    if check_seconds(limit, "limit") == 0:
        raise ValueError("limit must be more than 0 s")
    if not is_async(program):
        raise TypeError(f"the program must be an async function of the exploration, and not {program!r}")
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("explore runs trio itself: call it outside of trio, in a plain test")
    for seed in _choose_seeds(seeds):
        exploration = Exploration.create(seed, lose=lose, delay=delay)
        try:
            exploration._run(program, limit)
        except BaseException as error:
            error.add_note(_explain(exploration, program))
            raise


def _choose_seeds(seeds: Iterable[int]) -> Iterable[int]:
    chosen = list(seeds)
    if not chosen or not all(type(seed) is int for seed in chosen):
        raise ValueError(f"seeds must be integers, one or more, and not {seeds!r}")
    named = os.environ.get(_VARIABLE, "")
    if not named:
        return chosen
    try:
        return [int(seed) for seed in named.split(",")]
    except ValueError:
        raise ValueError(f"{_VARIABLE} must be numbers with commas between them, and it is {named!r}") from None


def _explain(exploration: Exploration, program: object) -> str:
    lines = exploration.log[-_SHOWN:] or ["nothing"]
    log = "\n".join(f"  {line}" for line in lines)
    return (
        f"This was seed {exploration.seed}. To repeat it:\n"
        f"  {_VARIABLE}={exploration.seed} {shlex.join([sys.executable, *_find_arguments(program)])}\n"
        f"What has happened in it, at the end:\n{log}"
    )


def _find_arguments(program: Any) -> list[str]:
    """Return the arguments of Python with which the present test, or program, runs again."""
    test = os.environ.get("PYTEST_CURRENT_TEST")
    if test is None:
        return sys.orig_argv[1:]
    file, colons, rest = test.rpartition(" ")[0].partition("::")
    # It is named from pytest's root directory, and commands name files from the present one.
    code = getattr(program, "__code__", None)
    if code is not None and Path(code.co_filename).as_posix().endswith(file):
        file = os.path.relpath(code.co_filename)
    return ["-m", "pytest", f"{file}{colons}{rest}"]

"""Cancels a scope at the n-th step of a task, or of any task, and notes every await at which that was felt.

trio runs a task in steps: from where it was resumed to where it waits next. Between two steps lies exactly one await,
so to cancel before and after each step is to cancel at each await in both ways that there are: while the task waits,
and when it has been woken and has not gone on yet.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, cast

import outcome
import pytest
import trio
import trio.testing

import jchannel._core

When = Literal["before", "after"]

_CORE: Final = Path(jchannel._core.__file__).parent

#: The files in which awaits are looked at: the core, and what stands between it and its users in trio.
FILES: Final = frozenset({*_CORE.glob("*.py"), _CORE.parent / "_assembly.py", _CORE.parent / "trio.py"})


class Site(NamedTuple):
    """A place in the core where a task can wait.

    Attributes:
        file: The module's file.
        function: The function, with its class.
        code: The source of what is awaited.
    """

    file: str
    function: str
    code: str


class Cancellable(Protocol):
    """What happens at the step: a scope is cancelled, or something else."""

    def cancel(self) -> None:
        """Let it happen. It does not wait."""


class Interruption(trio.abc.Instrument):
    """Cancels a scope at the n-th step of the tasks that count.

    Args:
        scope: The scope.
        at: The number of the step, from 1 on.
        when: Whether before the task goes on, or after, when it waits again.
        counts: Whether a task's steps count.

    Attributes:
        fired: Whether it has come to that step.
        felt: The files and lines in the core whose await was cancelled since then.
        delivered: Whether a counted task was told of the cancellation.
    """

    def __init__(self, scope: Cancellable, at: int, when: When, counts: Callable[[trio.lowlevel.Task], bool]) -> None:
        self.fired = False
        self.delivered = False
        self.felt: set[tuple[str, int]] = set()
        self._scope = scope
        self._at = at
        self._when = when
        self._counts = counts
        self._steps = 0
        self._armed = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """As trio's."""
        self._count("before", task)
        sent = task._next_send
        if self.fired and isinstance(sent, outcome.Error) and isinstance(sent.error, trio.Cancelled):
            self.delivered = self.delivered or self._counts(task)
            self.felt.update(_lines_in_core(task))

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """As trio's."""
        self._count("after", task)

    def _count(self, when: When, task: trio.lowlevel.Task) -> None:
        if self._armed and when == self._when and not self.fired and self._counts(task):
            self._steps += 1
            if self._steps == self._at:
                self.fired = True
                self._scope.cancel()

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Counts steps while the block runs, in a block that is watched."""
        self._armed = True
        try:
            yield
        finally:
            self._armed = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notes what is felt while the block runs."""
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)


def _lines_in_core(task: trio.lowlevel.Task) -> Iterator[tuple[str, int]]:
    """Where a task waits: each await in the core through which the cancellation will pass."""
    for frame, line in task.iter_await_frames():
        path = Path(frame.f_code.co_filename)
        if path in FILES:
            yield path.name, line


def all_tasks() -> set[trio.lowlevel.Task]:
    """Every task that is alive."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found = {root}
    waiting = [root]
    while waiting:
        for nursery in waiting.pop().child_nurseries:
            found |= nursery.child_tasks
            waiting += nursery.child_tasks
    return found


def run_seeded(main: Callable[[], object], seed: int) -> None:
    """Runs an async function under trio, with a clock that jumps, the same way each time.

    trio runs the tasks that are ready in an order of its own random generator, and what a number of a step means hangs
    on that order. Seeding the generator is not enough: some orders come of sets of tasks, hence of addresses in memory.
    trio has a switch, made for hypothesis, that sorts the tasks before it shuffles them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        patch.setattr(trio._core._run, "_r", random.Random(seed))  # noqa: S311 (no secret: it must be the same)
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))  # type: ignore[arg-type]


def find_awaits() -> dict[tuple[str, int], Site]:
    """Every line of the core on which something is awaited."""
    found: dict[tuple[str, int], Site] = {}
    for path in sorted(FILES):
        source = path.read_text(encoding="utf-8")
        _Finder(path.name, source, found).visit(ast.parse(source))
    return found


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, source: str, found: dict[tuple[str, int], Site]) -> None:
        self._file = file
        self._source = source
        self._found = found
        self._names: list[str] = []

    def _enter(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()

    visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _enter  # noqa: N815 (ast's names)

    def visit_Await(self, node: ast.Await) -> None:
        self._add(range(node.lineno, node.lineno + 1), node.value)
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._add(range(node.lineno, cast("int", node.iter.end_lineno) + 1), node.iter)
        self.generic_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        last = node.items[-1].context_expr
        self._add(range(node.lineno, cast("int", last.end_lineno) + 1), node.items[0].context_expr)
        self.generic_visit(node)

    def _add(self, lines: range, code: ast.expr) -> None:
        shown = " ".join(cast("str", ast.get_source_segment(self._source, code)).split())
        site = Site(self._file, ".".join(self._names), shown)
        for line in lines:
            self._found.setdefault((self._file, line), site)


#: Every line of the core on which something is awaited. It is read here, when the core has just been loaded.
AWAITS: Final = find_awaits()

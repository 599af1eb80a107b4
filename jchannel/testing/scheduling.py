"""The order in which trio runs the tasks that are ready, by a seed.

trio has no documented way. It shuffles them with a random generator of its own, and has a switch, made for hypothesis,
that sorts them before. This is the only module that knows both; where a trio has them no more, the order is trio's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import trio

__all__ = ["seeded_order"]

_GENERATOR = "_r"
_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"


@contextmanager
def seeded_order(seed: int) -> Iterator[bool]:
    """Let trio run tasks in the order of a seed, in what is run within the block.

    Returns:
        Whether it does. Otherwise the order is trio's own, which nothing repeats.
    """
    run = _find_run()
    if run is None:
        yield False
        return
    before = getattr(run, _GENERATOR), getattr(run, _SWITCH)
    setattr(run, _GENERATOR, random.Random(seed))  # noqa: S311 (no secret: it is to be repeated)
    setattr(run, _SWITCH, True)
    try:
        yield True
    finally:
        setattr(run, _GENERATOR, before[0])
        setattr(run, _SWITCH, before[1])


def _find_run() -> ModuleType | None:
    """Return trio's module that schedules, if it is as this module knows it."""
    run: Any = getattr(getattr(trio, "_core", None), "_run", None)
    known = isinstance(getattr(run, _GENERATOR, None), random.Random) and isinstance(getattr(run, _SWITCH, None), bool)
    return run if known else None

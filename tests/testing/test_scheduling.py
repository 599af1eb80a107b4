"""The order of trio's tasks by a seed: what the kit knows of trio that is not documented."""

from __future__ import annotations

from random import random, shuffle, uniform

import pytest
import trio

from jchannel.testing import Exploration, explore
from jchannel.testing.scheduling import seeded_order


async def run_tasks() -> list[int]:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(note, number)
    return order


def test_trio_is_as_the_kit_knows_it() -> None:
    # When this fails, trio has another way to run tasks in order: `explore` goes on with trio's own order, and says so.
    before = trio._core._run._r
    switch = trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING
    orders = []
    for seed in (1, 1, 2):
        with seeded_order(seed) as seeded:
            assert seeded
            orders.append(trio.run(run_tasks))
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(10))
    assert trio._core._run._r is before
    assert trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING is switch


class OtherGenerator:
    """One that is no ``random.Random``, and has no seed."""

    random = staticmethod(random)
    shuffle = staticmethod(shuffle)
    uniform = staticmethod(uniform)


@pytest.mark.parametrize(("name", "value"), [("_r", OtherGenerator()), ("_ALLOW_DETERMINISTIC_SCHEDULING", "")])
def test_another_trio_keeps_its_order(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    logs: list[list[str]] = []

    async def program(run: Exploration) -> None:
        logs.append(run.log)

    monkeypatch.setattr(trio._core._run, name, value)
    with seeded_order(1) as seeded:
        assert not seeded
    explore(program, seeds=[1])
    assert "this trio runs tasks in an order of its own, which no seed decides" in logs[0][0]

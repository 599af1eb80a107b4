"""Fuzzing of what takes bytes from outside: a short run of each target, and what earlier runs have found.

`scripts/fuzz` runs them for longer, and says how to repeat what it finds.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import TARGETS, WORDS, examples_of

by_name = pytest.mark.parametrize("name", TARGETS)


@by_name
def test_what_was_found_worth_keeping_breaks_no_promise(name: str) -> None:
    for data in examples_of(name):
        TARGETS[name].run(data)


@by_name
def test_mutations_break_no_promise(name: str) -> None:
    seed = 1
    print(f"seed {seed}")  # noqa: T201 (pytest shows it where the test fails)
    mutator = Mutator(examples_of(name), WORDS, f"{name} {seed}")
    for number in range(TARGETS[name].cases):
        data = mutator.next()
        try:
            TARGETS[name].run(data)
        except BaseException as error:
            error.add_note(f"the input {number} of seed {seed}: {data!r}")
            raise


@by_name
@given(data=st.data())
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
def test_any_bytes_break_no_promise(name: str, data: st.DataObject) -> None:
    TARGETS[name].run(data.draw(st.binary(max_size=500)))


def test_a_seed_makes_the_same_inputs_again() -> None:
    first, again, other = (Mutator(examples_of("frames"), WORDS, seed) for seed in (5, 5, 6))
    made = [first.next() for _ in range(50)]
    assert made == [again.next() for _ in range(50)]
    assert made != [other.next() for _ in range(50)]

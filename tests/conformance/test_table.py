"""The table of hosts: what it says is what the tests have noted, and the documentation's is compared with that."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.names import CHECKS, FAKES, HOSTS
from tests.conformance.outcomes import Outcomes, read_outcomes
from tests.conformance.table import parse_table, read_table, render_table

SOME = {
    (HOSTS[0], CHECKS[0]): "works",
    (HOSTS[1], CHECKS[2]): "cannot: TimeoutError: too late",
    (FAKES[0], CHECKS[1]): "cannot: PageLostError: gone",
    (FAKES[1], CHECKS[1]): "cannot: TimeoutError: too late",
}


def test_what_is_rendered_is_read_again() -> None:
    assert parse_table(render_table(SOME)) == SOME


def test_what_was_not_tried_says_so_and_each_reason_stands_once() -> None:
    text = render_table(SOME)
    assert text.count("not tried") == (len(HOSTS) + len(FAKES)) * len(CHECKS) - len(SOME)
    assert text.count("too late") == 1


def test_the_table_of_the_documentation_is_as_it_was_rendered() -> None:
    assert parse_table(render_table(read_table())) == read_table()


def test_an_outcome_that_the_table_does_not_say_is_a_difference_and_is_noted(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path)

    outcomes.note(HOSTS[0], CHECKS[0], "cannot: ValueError: message 12 of 1,000")

    assert outcomes.differences[0].startswith(f"{HOSTS[0]}, {CHECKS[0]}: 'cannot: ValueError: message N of N'")
    assert read_outcomes(tmp_path) == {(HOSTS[0], CHECKS[0]): "cannot: ValueError: message N of N"}

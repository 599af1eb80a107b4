"""Malformed and slow requests beside an honest page: a short run. `scripts/fuzz` has the long one."""

import pytest

from tests.fuzz.web import run_case


@pytest.mark.parametrize("number", range(1, 9))
def test_strangers_neither_disturb_a_page_nor_leave_anything(number: int) -> None:
    print(f"case {number}")  # noqa: T201 (pytest shows it where the test fails)
    run_case(number)


@pytest.mark.parametrize("number", [1, 2])
def test_strangers_neither_disturb_a_page_nor_leave_anything_over_loopback(number: int) -> None:
    print(f"case {number}, over sockets")  # noqa: T201 (pytest shows it where the test fails)
    run_case(number, sockets=True)

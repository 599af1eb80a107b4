"""Sessions between a server and a page that says random things: a short run. `scripts/fuzz` has the long one."""

import pytest

from tests.fuzz.sessions import run_case


@pytest.mark.parametrize("first", range(1, 151, 30))
def test_a_session_is_alive_or_has_ended_and_the_next_page_works(first: int) -> None:
    for number in range(first, first + 30):
        print(f"case {number}")  # noqa: T201 (pytest shows it where the test fails)
        run_case(number)

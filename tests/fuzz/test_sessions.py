"""Sessions whose far side says random things, on both sides: a short run. `scripts/fuzz` has the long one."""

import pytest

from tests.fuzz import servers, sessions


@pytest.mark.parametrize("first", range(1, 151, 30))
def test_a_session_is_alive_or_has_ended_and_the_next_page_works(first: int) -> None:
    for number in range(first, first + 30):
        print(f"case {number}")  # noqa: T201 (pytest shows it where the test fails)
        sessions.run_case(number)


@pytest.mark.parametrize("first", range(1, 61, 30))
def test_a_peer_answers_its_server_or_has_ended(first: int) -> None:
    for number in range(first, first + 30):
        print(f"case {number}")  # noqa: T201 (pytest shows it where the test fails)
        servers.run_case(number)

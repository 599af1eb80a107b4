"""Faults of the network through a Python peer: 300 cases. `python -m tests.faults.cases` runs as many as one likes."""

import pytest

from tests.faults.cases import run_cases


@pytest.mark.parametrize("first", range(1, 241, 20))
def test_what_the_network_does_ends_nothing_but_what_it_meets(first: int) -> None:
    run_cases(range(first, first + 20))


def test_what_the_network_does_ends_nothing_but_what_it_meets_over_loopback() -> None:
    # Each lasts for some seconds of real time, in which it waits: so all at once.
    run_cases(range(1_001, 1_061), sockets=True)

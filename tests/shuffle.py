"""A pytest plugin that runs the tests in another order: ``-p tests.shuffle --shuffle-seed 1``.

Tests that pass only after others, or only before them, show themselves. ``scripts/shuffle`` uses it.
"""

import random

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.addoption("--shuffle-seed", type=int, default=0, help="the order of the tests: each number is another one")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffles all tests of a run, of whichever file."""
    random.Random(config.getoption("shuffle_seed")).shuffle(items)  # noqa: S311 (no secret: it can be repeated)

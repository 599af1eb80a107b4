"""Measuring programs that use trio-asyncio: coverage must be told that they switch greenlets."""

import os

from coverage.config import CoverageConfig

from tests.jupyter.child import COVERAGE

__all__ = ["with_greenlets"]


def with_greenlets() -> dict[str, str]:
    """The environment of this process, but coverage, where it measures other processes, watches greenlets there.

    It costs a call of Python for each call, and a KeyboardInterrupt that comes there is lost: so only where it must be.
    """
    environment = dict(os.environ)
    if COVERAGE in environment:
        settings = CoverageConfig.deserialize(environment[COVERAGE])
        settings.concurrency = ["greenlet", "thread"]
        environment[COVERAGE] = settings.serialize()
    return environment

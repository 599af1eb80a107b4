"""Measuring programs that use trio-asyncio: coverage must be told that they switch greenlets."""

import os

from coverage.config import CoverageConfig

__all__ = ["with_greenlets"]

_COVERAGE = "COVERAGE_PROCESS_CONFIG"


def with_greenlets() -> dict[str, str]:
    """The environment of this process, but coverage, where it measures other processes, watches greenlets there.

    It costs a call of Python for each call, and a KeyboardInterrupt that comes there is lost: so only where it must be.
    """
    environment = dict(os.environ)
    if _COVERAGE in environment:
        settings = CoverageConfig.deserialize(environment[_COVERAGE])
        settings.concurrency = ["greenlet", "thread"]
        environment[_COVERAGE] = settings.serialize()
    return environment

"""Measuring kernels: what coverage is to do in a process that is interrupted."""

import os

from coverage.config import CoverageConfig

__all__ = ["COVERAGE", "without_greenlets"]

COVERAGE = "COVERAGE_PROCESS_CONFIG"
"""Where coverage tells processes what to measure."""


def without_greenlets() -> dict[str, str]:
    """The environment of this process, but coverage watches no greenlets, of which a kernel has none.

    Where it does, its tracer calls Python at each call, and swallows a KeyboardInterrupt that comes there.
    """
    environment = dict(os.environ)
    if COVERAGE in environment:
        settings = CoverageConfig.deserialize(environment[COVERAGE])
        settings.concurrency = ["thread"]
        environment[COVERAGE] = settings.serialize()
    return environment

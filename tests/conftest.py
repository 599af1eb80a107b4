"""What every test can use: the hypothesis profiles, and a Python process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from jchannel._core.failures import FAILURES
from tests.conformance.outcomes import RENEWING, Outcomes
from tests.greenlet_coverage import with_greenlets

CHECKOUT = Path(__file__).parent.parent

# A health check that looks at the clock would make a verdict depend on the machine's load.
_SLOW = [hypothesis.HealthCheck.too_slow]

# The same examples in every run, and few: they find nothing new. To search for new ones:
# pytest --hypothesis-profile=search
hypothesis.settings.register_profile(
    "ci", max_examples=40, derandomize=True, deadline=None, suppress_health_check=_SLOW
)
hypothesis.settings.register_profile("search", max_examples=5_000, deadline=None, suppress_health_check=_SLOW)
hypothesis.settings.load_profile("ci")

# A shell starts what runs in its background so that it ignores interrupts, and so does what that starts in turn. The
# tests send some, to themselves and to programs of their own.
signal.signal(signal.SIGINT, signal.default_int_handler)

# trio-asyncio 0.16 makes one of asyncio's child watchers, which Python 3.12 and 3.13 warn of.
_CHILD_WATCHERS = "ignore:'AbstractChildWatcher' is deprecated:DeprecationWarning"

FreshPython = Callable[[str], str]
"""Runs a program in a new Python process and returns what it printed."""


@pytest.fixture
def fresh_python() -> FreshPython:
    """A function that runs a program in a new Python process, where warnings are errors, and returns what it printed.

    For tests of what an import loads, and for those that import trio-asyncio, which changes asyncio for the whole
    process. The test fails, with what the program wrote, when it ends with another status than 0.
    """

    def run(program: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-W", _CHILD_WATCHERS, "-c", program],
            cwd=CHECKOUT,
            env=with_greenlets(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"the program ended with status {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
        return done.stdout

    return run


@pytest.fixture(autouse=True)
def _failures_of_its_own() -> Iterator[None]:
    """No test's failures are counted with those of another."""
    yield
    FAILURES.clear()


@pytest.fixture(autouse=True)
def without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides anywidget, with which outputs are widgets. Most tests are of outputs that are scripts."""
    monkeypatch.setitem(sys.modules, "anywidget", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test that notes what hosts can do with `conformance`."""
    for item in items:
        if "outcomes" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.conformance)


@pytest.fixture
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Notes what a host can do. The test fails where the table of `docs/hosts.md` says something else."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    outcomes = Outcomes(tmp_path_factory.mktemp("conformance") if cache is None else cache.mkdir("conformance"))
    yield outcomes
    if outcomes.differences and RENEWING not in os.environ:
        renew = "if that is right: python -m tests.conformance.renew"
        pytest.fail("\n".join([*outcomes.differences, renew]), pytrace=False)

"""The interpreter's switch interval."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from jchannel._bridge import interpreter as module
from jchannel._bridge.interpreter import (
    forget_sharers,
    share_interpreter,
    stop_sharing_interpreter,
)


@pytest.fixture
def switch_interval(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The interpreter's own switch interval, while nobody shares. Afterwards all is as it was."""
    monkeypatch.setattr(module, "_sharers", 0)
    monkeypatch.setattr(module, "_shortened", False)
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def sharing(switch_interval: None) -> Iterator[None]:
    """Somebody shares the interpreter."""
    share_interpreter()
    yield
    stop_sharing_interpreter()


@pytest.mark.usefixtures("switch_interval")
def test_the_interpreters_own_switch_interval_is_shortened_while_somebody_shares() -> None:
    share_interpreter()
    share_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    stop_sharing_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    stop_sharing_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.005)


@pytest.mark.usefixtures("switch_interval")
@pytest.mark.parametrize("seconds", [0.0001, 0.004, 0.01])
def test_a_switch_interval_that_somebody_has_set_stays(seconds: float) -> None:
    sys.setswitchinterval(seconds)
    share_interpreter()
    assert sys.getswitchinterval() == pytest.approx(seconds)
    stop_sharing_interpreter()
    assert sys.getswitchinterval() == pytest.approx(seconds)


@pytest.mark.usefixtures("sharing")
def test_a_switch_interval_that_somebody_sets_meanwhile_stays() -> None:
    sys.setswitchinterval(0.01)
    stop_sharing_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.01)
    share_interpreter()
    assert sys.getswitchinterval() == pytest.approx(0.01)


@pytest.mark.usefixtures("switch_interval")
def test_a_forked_process_has_the_interpreters_own_switch_interval_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_lock", module._lock)  # Put back afterwards: this process has not been forked.
    share_interpreter()
    share_interpreter()
    forget_sharers()
    assert sys.getswitchinterval() == pytest.approx(0.005)
    assert module._sharers == 0

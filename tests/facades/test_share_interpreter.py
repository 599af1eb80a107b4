"""Whether a server shares the interpreter: the switch interval is the whole process's, and otherwise left alone."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jchannel.sync
from jchannel import Server
from jchannel._bridge import interpreter
from tests.notebook.kernel import FakeKernel

OWN = 0.005
SHORT = 0.0002


@pytest.fixture(autouse=True)
def switch_interval(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The interpreter's own switch interval, while nobody shares. Afterwards all is as it was."""
    monkeypatch.setattr(interpreter, "_sharers", 0)
    monkeypatch.setattr(interpreter, "_shortened", False)
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """Makes this process look like a kernel that executes a cell."""
    kernel = FakeKernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    return kernel


def start_in_loop(**options: Any) -> tuple[float, float]:
    async def program() -> tuple[float, float]:
        server = await jchannel.start(port=0, **options)
        during = sys.getswitchinterval()
        await server.stop()
        return during, sys.getswitchinterval()

    return asyncio.run(program())


def enter_in_loop(**options: Any) -> tuple[float, float]:
    async def program() -> tuple[float, float]:
        async with Server(port=0, **options):
            during = sys.getswitchinterval()
        return during, sys.getswitchinterval()

    return asyncio.run(program())


def start_blocking(**options: Any) -> tuple[float, float]:
    server = jchannel.sync.start(port=0, **options)
    during = sys.getswitchinterval()
    server.stop()
    return during, sys.getswitchinterval()


def enter_blocking(**options: Any) -> tuple[float, float]:
    with jchannel.sync.Server(port=0, **options):
        during = sys.getswitchinterval()
    return during, sys.getswitchinterval()


#: Starts a server and stops it; returns the switch interval meanwhile and afterwards.
Life = Callable[..., tuple[float, float]]

every_way = pytest.mark.parametrize("live", [start_in_loop, enter_in_loop, start_blocking, enter_blocking])


@every_way
def test_outside_of_a_notebook_the_switch_interval_is_left_alone(live: Life) -> None:
    assert live() == pytest.approx((OWN, OWN))


@every_way
def test_in_a_kernel_it_is_shortened_while_a_server_runs(live: Life, kernel: FakeKernel) -> None:
    assert live() == pytest.approx((SHORT, OWN))


@every_way
def test_where_it_is_wanted_it_is_shortened_outside_of_a_notebook_too(live: Life) -> None:
    assert live(share_interpreter=True) == pytest.approx((SHORT, OWN))


@every_way
def test_where_it_is_not_wanted_it_is_left_alone_in_a_kernel_too(live: Life, kernel: FakeKernel) -> None:
    assert live(share_interpreter=False) == pytest.approx((OWN, OWN))


@every_way
def test_an_interval_that_somebody_has_set_stays(live: Life) -> None:
    sys.setswitchinterval(0.01)
    assert live(share_interpreter=True) == pytest.approx((0.01, 0.01))


def test_it_is_put_back_when_the_last_server_has_ended() -> None:
    first = jchannel.sync.start(port=0, share_interpreter=True)
    second = jchannel.sync.start(port=0, share_interpreter=True)
    first.stop()
    assert sys.getswitchinterval() == pytest.approx(SHORT)
    second.stop()
    assert sys.getswitchinterval() == pytest.approx(OWN)


def test_it_is_put_back_when_a_server_could_not_be_started() -> None:
    with pytest.raises(OSError, match="host"):
        jchannel.sync.start("host.invalid", 0, share_interpreter=True)
    assert sys.getswitchinterval() == pytest.approx(OWN)


def test_a_server_that_is_started_again_shares_again() -> None:
    server = jchannel.sync.start(port=0, share_interpreter=True)
    server.stop()
    server.start()
    assert sys.getswitchinterval() == pytest.approx(SHORT)
    server.stop()
    assert sys.getswitchinterval() == pytest.approx(OWN)


def test_making_a_server_changes_nothing(kernel: FakeKernel) -> None:
    Server(port=0)
    jchannel.sync.Server(port=0)
    assert sys.getswitchinterval() == pytest.approx(OWN)

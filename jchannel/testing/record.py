"""The record of the calls that a scripted page has received, and those who wait for them."""

from __future__ import annotations

from typing import Literal

import trio

from jchannel._core.arguments import check_timeout
from jchannel.testing.script import RecordedCall

__all__ = ["CallRecord", "ExpectedCall"]


class ExpectedCall:
    """A call that somebody waits for.

    Args:
        name: The method's name; ``None`` for any.

    Attributes:
        name: As above.
        call: The call, when it has come.
        come: Set then.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.call: RecordedCall | None = None
        self.come: trio.Event = trio.Event()


class CallRecord:
    """The calls of one page.

    Attributes:
        calls: The calls, the oldest first.
    """

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []
        self._expected: dict[ExpectedCall, None] = {}
        self._ended = trio.lowlevel.ParkingLot()

    def add(self, call: RecordedCall) -> None:
        """Add a call that has come."""
        self.calls.append(call)
        self._give()

    def end(self, call: RecordedCall, state: Literal["answered", "failed", "cancelled"]) -> None:
        """Note that a call has ended."""
        call.state = state
        self._ended.unpark_all()

    def expect(self, name: str | None) -> ExpectedCall:
        """Stand in line for a call: who was first gets the oldest. Then ``wait``."""
        expected = ExpectedCall(name)
        self._expected[expected] = None
        self._give()
        return expected

    async def wait(self, expected: ExpectedCall, timeout: float | None) -> RecordedCall:
        """Wait for the call that somebody stands in line for.

        Raises:
            trio.TooSlowError: The time ran out. The message has the names of the calls that have come.
            TypeError, ValueError: The timeout is not one.

        Cancelling it leaves the call to others.
        """
        taken = None
        try:
            limit = check_timeout(timeout)
            with trio.move_on_after(limit):
                await trio.lowlevel.checkpoint()
                await expected.come.wait()
                taken = expected.call
        finally:
            self._expected.pop(expected, None)
            if taken is None and expected.call is not None:
                expected.call._given = False
                self._give()
        if taken is None:
            raise trio.TooSlowError(f"{self.explain(expected.name)} within {limit:g} s; {self.describe()}")
        return taken

    async def wait_ended(self, call: RecordedCall, timeout: float | None) -> None:
        """Wait until a call has ended.

        Raises:
            trio.TooSlowError: The time ran out.
            TypeError, ValueError: The timeout is not one.
        """
        limit = check_timeout(timeout)
        with trio.move_on_after(limit) as scope:
            await trio.lowlevel.checkpoint()
            while call.state == "running":
                await self._ended.park()
        if scope.cancelled_caught:
            raise trio.TooSlowError(f"the call of {call.name!r} did not end in the page within {limit:g} s")

    def explain(self, name: str | None) -> str:
        """Return what has not come, in words."""
        return "the page was not called" if name is None else f"{name!r} was not called in the page"

    def describe(self) -> str:
        """Return which calls have come, in words."""
        return f"the calls that have come: {', '.join(repr(call.name) for call in self.calls) or 'none'}"

    def _give(self) -> None:
        """Give calls that nobody has got to those who wait, each the oldest that it waits for."""
        for expected in list(self._expected):
            for call in self.calls:
                if not call._given and expected.name in (None, call.name):
                    call._given = True
                    expected.call = call
                    expected.come.set()
                    del self._expected[expected]
                    break

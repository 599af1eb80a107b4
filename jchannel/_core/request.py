"""Pending requests: what this side has asked the far side, from the sending to the outcome."""

from __future__ import annotations

import copy
import math
from typing import Any, NoReturn

import trio

from jchannel._core.incoming import IncomingStream
from jchannel._protocol.messages import Answer, Error, Request, Result
from jchannel.errors import ClosedError, RemoteCancelledError, RemoteError

__all__ = ["PendingRequest", "raise_copy"]


class PendingRequest:
    """A request that has been sent, until its sender has its outcome.

    Args:
        request: Its message.
        deadline: When its sender's time is over, by trio's clock; infinity for never.
    """

    def __init__(self, request: Request, deadline: float = math.inf) -> None:
        self.request = request
        self.deadline = deadline
        #: Whether the far side has been told that it is not wanted any more.
        self.cancelled = False
        self._ended = trio.Event()
        self._answer: Answer | None = None
        #: The stream that came with the answer.
        self.stream: IncomingStream | None = None
        self._error: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether there is an outcome."""
        return self._ended.is_set()

    @property
    def was_too_slow(self) -> bool:
        """Whether the far side has ended it because its time was over."""
        return isinstance(self._answer, Error) and self._answer.kind == "timeout"

    def answer(self, answer: Answer, stream: IncomingStream | None) -> bool:
        """Ends the request with the far side's answer. Tells whether it is the outcome: the first one counts."""
        if self.ended:
            return False
        self._answer = answer
        self.stream = stream
        self._ended.set()
        return True

    def fail(self, error: BaseException) -> None:
        """Ends the request with an error of this side. The first outcome counts."""
        if not self.ended:
            self._error = error
            self._ended.set()

    async def wait(self) -> None:
        """Waits for the outcome. Cancelling it does nothing else."""
        await self._ended.wait()

    def unwrap(self, remote_error: type[RemoteError]) -> Any:
        """The result, or the error raised."""
        if self._error is not None:
            raise_copy(self._error)
        if isinstance(self._answer, Result):
            return self._answer.value
        assert isinstance(self._answer, Error)
        raise _to_exception(self._answer, remote_error)


def raise_copy(error: BaseException) -> NoReturn:
    """Raises an error that many wait for: a copy for each, so that it does not collect the tracebacks of all."""
    raise copy.copy(error) from error.__cause__


def _to_exception(error: Error, remote_error: type[RemoteError]) -> Exception:
    if error.kind in ("channel", "ended", "cancelled"):
        return ClosedError(error.message)
    if error.kind == "timeout":
        return trio.TooSlowError(error.message)
    if error.kind == "aborted":
        return RemoteCancelledError(error.message)
    return remote_error(error.kind, error.name, error.message, error.stack)

"""One side of a channel: it calls the far side's handler, and runs its own handler's methods for the far side.

What is the same for the server's channels and the Python peer's is here.
"""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import trio

from jchannel.errors import ClosedError
from jchannel.protocol.messages import Call, Echo, Request
from jchannel.protocol.values import Packed, pack
from jchannel.timeouts import check_timeout
from jchannel.trio.handlers import Invoke, NothingToCallError, invoke
from jchannel.trio.session import PendingRequest, Session

__all__ = ["Endpoint"]

logger = logging.getLogger("jchannel")


class Endpoint(ABC):
    """One side of a channel.

    Attributes:
        handler: The object that handles calls from the far side, or ``None``. Its public methods can be called, sync
            and async ones. It may be set at any time, and counts from the next call on.
    """

    def __init__(
        self, nursery: trio.Nursery, handler: object, *, tracebacks: bool, run_method: Invoke = invoke
    ) -> None:
        self.handler = handler
        self._nursery = nursery
        self._tracebacks = tracebacks
        self._run_method = run_method
        self._calls: dict[PendingRequest, Session] = {}
        self._handling: set[trio.CancelScope] = set()
        self._idle = trio.Event()

    async def call(self, name: str, *args: object, timeout: float | None = 3) -> Any:
        """Calls a method of the far side's handler.

        Args:
            name: The method's name.
            *args: The arguments: JSON values, with bytes and arrays anywhere inside.
            timeout: Seconds for the whole request, waiting for the far side included; ``None`` for no limit.

        Returns:
            What the method returned.

        Raises:
            trio.TooSlowError: The time ran out. The message says what was waited for.
            TypeError, ValueError: An argument cannot be sent as it is, or the timeout is not one. Nothing was sent.
            RemoteError: The method raised, or there is no such method: ``FrontendError`` where the far side is a page.
            ClosedError: The channel is closed, or was closed meanwhile, on either side.
            PageLostError: The connection was lost after the request had been sent. It may have run.

        Cancelling it, and a time that runs out, cancel the call on the far side, and wait until it has ended there, at
        most ``Limits.cancel_seconds``.
        """
        return await self.call_packed(name, pack_args(args), timeout)

    async def call_packed(self, name: str, args: Packed, timeout: float | None) -> Any:
        """As ``call``, with arguments that were packed before: for those who take them over from another thread."""
        limit = check_timeout(timeout)
        check_name(name)
        return await self._request(lambda id_, channel: Call(id_, channel, name, args), limit, f"the call of {name!r}")

    async def echo(self, *args: object, timeout: float | None = 3) -> list[Any]:
        """Sends arguments to the far side and receives them back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call``.

        Returns:
            The arguments, as a list.
        """
        return await self.echo_packed(pack_args(args), timeout)

    async def echo_packed(self, args: Packed, timeout: float | None) -> list[Any]:
        """As ``echo``, with arguments that were packed before."""
        limit = check_timeout(timeout)
        echoed: list[Any] = await self._request(lambda id_, channel: Echo(id_, channel, args), limit, "the echo")
        return echoed

    def serve(self, session: Session, request: Request) -> None:
        """Starts what answers a request of the far side. Called by the session; it must not wait."""
        if isinstance(request, Echo):
            session.answer_value(request, request.args, shown_as="args")
        else:
            # Nothing else comes here: only a server opens and closes channels, and the peer answers that itself.
            assert isinstance(request, Call)
            if not self._handling:
                self._idle = trio.Event()
            self._handling.add(session.scope_of(request))
            self._nursery.start_soon(self._run_call, session, request, name=f"handler method {request.name!r}")

    @abstractmethod
    async def _wait_session(self) -> tuple[Session, int]:
        """Waits until there is a session in which the channel is open; gives it and the channel's id."""

    @abstractmethod
    def _explain_wait(self) -> str:
        """What ``_wait_session`` waits for, as a sentence."""

    async def _request(self, make: Callable[[int, int], Request], limit: float, what: str) -> Any:
        pending = None
        with trio.move_on_after(limit):
            session, channel = await self._wait_session()
            while not session.has_room:
                await session.wait_room()
                session, channel = await self._wait_session()
            pending = session.send_request(lambda id_: make(id_, channel))
            self._calls[pending] = session
            try:
                return await session.wait_answer(pending)
            finally:
                del self._calls[pending]
        if pending is None:
            raise trio.TooSlowError(f"{what} was not sent within {limit:g} s: {self._explain_wait()}")
        raise trio.TooSlowError(f"{what} was not answered within {limit:g} s, and has been cancelled")

    async def _run_call(self, session: Session, call: Call) -> None:
        with session.running_request(call) as scope:
            try:
                # A sync method has no checkpoint, and may have been cancelled before it began.
                await trio.lowlevel.checkpoint_if_cancelled()
                value = await self._run_method(self.handler, call.name, call.args)
            except NothingToCallError as error:
                session.answer_error(call, error.kind, "", str(error))
            except Exception as error:
                logger.exception("the handler method %r raised", call.name)
                stack = "".join(traceback.format_exception(error)) if self._tracebacks else None
                session.answer_error(call, "exception", type(error).__name__, str(error), stack)
            else:
                session.answer_value(call, value)
            finally:
                self._handling.discard(scope)
                if not self._handling:
                    self._idle.set()

    def _end_calls(self, why: str, *, tell: bool) -> None:
        """Ends the calls under way in both directions, because the channel is closing."""
        for pending, session in self._calls.items():
            if tell:
                session.cancel_request(pending)
            pending.fail(ClosedError(why))
        for scope in self._handling:
            scope.cancel()

    async def _wait_idle(self) -> None:
        """Waits until no method of the handler is running."""
        if self._handling:
            await self._idle.wait()


def pack_args(args: tuple[object, ...]) -> Packed:
    """Checks and encodes a call's arguments.

    Raises:
        TypeError, ValueError: One of them cannot be sent as it is. The message names its place, as in ``args[0]['x']``.
    """
    return pack(args, field_name="args", shown_as="args")


def check_name(name: object) -> None:
    """Refuses what cannot be a method's name.

    Raises:
        TypeError: It is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a method must be a str, and not {name!r}")

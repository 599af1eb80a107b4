"""One side of a channel: it calls the far side's handler, and runs its own handler's methods for the far side.

What is the same for the server's channels and the Python peer's is here.
"""

from __future__ import annotations

import io
import logging
import math
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio

from jchannel.errors import ClosedError
from jchannel.metagenerator import MetaGenerator
from jchannel.protocol.messages import Call, Echo, Pipe, Request, StreamInfo
from jchannel.protocol.values import Packed, pack
from jchannel.progress import Progress, check_progress
from jchannel.sources import check_source, open_source
from jchannel.timeouts import check_timeout
from jchannel.trio.handlers import Invoke, NothingToCallError, invoke
from jchannel.trio.incoming import IncomingStream
from jchannel.trio.outgoing import OutgoingStream
from jchannel.trio.session import PendingRequest, Session
from jchannel.trio.stream_table import combine

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
        self._streams: set[OutgoingStream | IncomingStream] = set()
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
        return await self._request(
            lambda id_, channel, _: Call(id_, channel, name, args), limit, f"the call of {name!r}"
        )

    async def call_with_stream(
        self,
        name: str,
        stream: object,
        *args: object,
        timeout: float | None = 3,
        progress: Progress | None = None,
    ) -> Any:
        """Calls a method of the far side's handler with a byte stream as its first argument.

        Args:
            name: The method's name. The method receives the stream as a ``MetaGenerator``.
            stream: The source of the stream: an async iterable of bytes-like objects, bytes, a sync iterable of
                bytes-like objects, a binary file, a ``pathlib.Path`` or a trio receive stream. Those that are not async
                are read in a worker thread. It is closed in the end, but for a file that was open already.
            *args: The other arguments, as those of ``call``.
            timeout: Seconds without progress: without a part of the stream having been taken, and without an answer;
                ``None`` for no limit.
            progress: Called with the number of bytes taken, and the total or ``None``, whenever some have been taken.

        Returns:
            What the method returned; a ``MetaGenerator`` if that is a stream.

        Raises:
            TypeError: The stream is none of these. Nothing was sent.

        The rest is as with ``call``. A source that raises gives its reader the error, and fails no call by itself.
        """
        return await self.call_with_stream_packed(name, stream, pack_args(args), timeout, progress)

    async def call_with_stream_packed(
        self, name: str, stream: object, args: Packed, timeout: float | None, progress: Progress | None
    ) -> Any:
        """As ``call_with_stream``, with arguments that were packed before."""
        limit = check_timeout(timeout)
        check_name(name)
        check_source(stream)
        check_progress(progress)
        return await self._request(
            lambda id_, channel, info: Call(id_, channel, name, args, info),
            limit,
            f"the call of {name!r}",
            source=stream,
            progress=progress,
        )

    async def pipe(
        self, stream: object, timeout: float | None = 3, *, progress: Progress | None = None
    ) -> MetaGenerator:
        """Sends a byte stream to the far side and receives it back. It is there for debugging and tests.

        Args, exceptions and cancellation are those of ``call_with_stream``.

        Returns:
            The same bytes, as a ``MetaGenerator``. It should be closed, as by ``async with``, if it is not read to its end.
        """
        limit = check_timeout(timeout)
        check_source(stream)
        check_progress(progress)
        piped: MetaGenerator = await self._request(
            lambda id_, channel, info: Pipe(id_, channel, cast("StreamInfo", info)),
            limit,
            "the pipe",
            source=stream,
            progress=progress,
        )
        return piped

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
        echoed: list[Any] = await self._request(lambda id_, channel, _: Echo(id_, channel, args), limit, "the echo")
        return echoed

    def serve(self, session: Session, request: Request) -> None:
        """Starts what answers a request of the far side. Called by the session; it must not wait."""
        if isinstance(request, Echo):
            session.answer_value(request, request.args, shown_as="args")
        else:
            # Nothing else comes here: only a server opens and closes channels, and the peer answers that itself.
            assert isinstance(request, Call | Pipe)
            incoming = None if request.stream is None else self._own(session.streams.accept(request.stream))
            if not self._handling:
                self._idle = trio.Event()
            self._handling.add(session.scope_of(request))
            if isinstance(request, Call):
                self._nursery.start_soon(self._run_call, session, request, incoming, name=f"method {request.name!r}")
            else:
                assert incoming is not None
                self._nursery.start_soon(self._run_pipe, session, request, incoming)

    @abstractmethod
    async def _wait_session(self) -> tuple[Session, int]:
        """Waits until there is a session in which the channel is open; gives it and the channel's id."""

    @abstractmethod
    def _explain_wait(self) -> str:
        """What ``_wait_session`` waits for, as a sentence."""

    async def _request(
        self,
        make: Callable[[int, int, StreamInfo | None], Request],
        limit: float,
        what: str,
        *,
        source: object = None,
        progress: Progress | None = None,
    ) -> Any:
        pending = outgoing = None
        with trio.move_on_after(limit) as scope:
            try:
                if source is not None:
                    outgoing = await self._open_outgoing(source, progress)
                    outgoing.on_taken = partial(_restart, scope, limit)
                data = await outgoing.wait_short() if outgoing is not None else None
                session, channel = await self._wait_session()
                while not session.has_room:
                    await session.wait_room()
                    session, channel = await self._wait_session()
                info = session.streams.announce(outgoing, data) if outgoing is not None else None
                pending = session.send_request(lambda id_: make(id_, channel, info))
                if outgoing is not None and info is not None:
                    session.streams.announced(outgoing, info)
                self._calls[pending] = session
                try:
                    value = await session.wait_answer(pending)
                finally:
                    del self._calls[pending]
            except BaseException:
                if outgoing is not None:
                    outgoing.stop()
                raise
            return value if pending.stream is None else self._give(self._own(pending.stream), limit)
        if pending is None:
            raise trio.TooSlowError(f"{what} was not sent within {limit:g} s: {self._explain_wait()}")
        without = " without progress" if source is not None else ""
        raise trio.TooSlowError(f"{what} was not answered within {limit:g} s{without}, and has been cancelled")

    async def _run_call(self, session: Session, call: Call, incoming: IncomingStream | None) -> None:
        with session.running_request(call) as scope:
            try:
                # A sync method has no checkpoint, and may have been cancelled before it began.
                await trio.lowlevel.checkpoint_if_cancelled()
                args = call.args if incoming is None else [self._give(incoming, math.inf), *call.args]
                value = await self._run_method(self.handler, call.name, args)
                await self._answer(session, call, value)
            except NothingToCallError as error:
                session.answer_error(call, error.kind, "", str(error))
            except Exception as error:
                logger.exception("the handler method %r raised", call.name)
                stack = "".join(traceback.format_exception(error)) if self._tracebacks else None
                session.answer_error(call, "exception", type(error).__name__, str(error), stack)
            finally:
                if incoming is not None and (not incoming.begun or scope.cancel_called):
                    incoming.fail(ClosedError("the stream was closed: its call has ended"), stop=True)
                self._release(scope)

    async def _run_pipe(self, session: Session, pipe: Pipe, incoming: IncomingStream) -> None:
        with session.running_request(pipe) as scope:
            try:
                await self._answer(session, pipe, self._give(incoming, math.inf))
            finally:
                self._release(scope)

    async def _answer(self, session: Session, request: Request, value: object) -> None:
        """Answers a request with what a method returned, a value or a stream."""
        if not _is_stream(value):
            session.answer_value(request, value)
            return
        outgoing = await self._open_outgoing(value)
        try:
            session.answer_stream(request, outgoing, await outgoing.wait_short())
        except BaseException:
            outgoing.stop()
            raise

    async def _open_outgoing(self, source: object, progress: Progress | None = None) -> OutgoingStream:
        """Opens a source and begins to read it, in the channel's nursery."""
        outgoing = OutgoingStream(await open_source(source, trio.to_thread.run_sync), progress)
        self._streams.add(outgoing)
        self._nursery.start_soon(self._run_outgoing, outgoing)
        return outgoing

    async def _run_outgoing(self, outgoing: OutgoingStream) -> None:
        try:
            await outgoing.run()
        finally:
            self._streams.discard(outgoing)

    def _own(self, incoming: IncomingStream) -> IncomingStream:
        """Makes a stream one of the channel's, to end with it."""
        if not incoming.over:
            self._streams.add(incoming)
            incoming.on_end = combine(incoming.on_end, lambda: self._streams.discard(incoming))
        return incoming

    def _give(self, incoming: IncomingStream, limit: float) -> MetaGenerator:
        """What the user gets of an incoming stream. A read that waits longer than the limit raises."""

        async def receive() -> bytes:
            with trio.move_on_after(limit):
                return await incoming.receive()
            raise trio.TooSlowError(f"no part of the stream arrived within {limit:g} s")

        token = trio.lowlevel.current_trio_token()

        def abandon() -> None:
            # The garbage collector calls it, in any thread, maybe after the end of everything.
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(incoming.drop)

        return MetaGenerator(receive, incoming.aclose, trio.to_thread.run_sync, incoming.total, abandon=abandon)

    def _release(self, scope: trio.CancelScope) -> None:
        self._handling.discard(scope)
        if not self._handling:
            self._idle.set()

    def _end_calls(self, why: str, *, tell: bool) -> None:
        """Ends the calls under way in both directions, because the channel is closing."""
        for pending, session in self._calls.items():
            if tell:
                session.cancel_request(pending)
            pending.fail(ClosedError(why))
        for stream in list(self._streams):
            if isinstance(stream, OutgoingStream):
                stream.stop()
            else:
                stream.fail(ClosedError(why))
        for scope in self._handling:
            scope.cancel()

    async def _wait_idle(self) -> None:
        """Waits until no method of the handler is running."""
        if self._handling:
            await self._idle.wait()


def _is_stream(value: object) -> bool:
    """Whether what a method returned is sent as a stream: an async iterable, a path or a file. Bytes are a value."""
    return hasattr(type(value), "__aiter__") or isinstance(value, Path | io.IOBase)


def _restart(scope: trio.CancelScope, limit: float) -> None:
    """Gives a request its whole time again, because there was progress."""
    scope.deadline = trio.current_time() + limit


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

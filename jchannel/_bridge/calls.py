"""The requests that a facade makes in a channel: checked at once, and given as operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import trio

from jchannel._bridge.crossing import Operation
from jchannel._bridge.handles import ChannelHandle
from jchannel._bridge.held_up import HeldUp
from jchannel._bridge.incoming import Arrivals
from jchannel._bridge.streams import Streams
from jchannel._core.arguments import check_timeout
from jchannel._core.channel import Channel
from jchannel._core.endpoint import check_name, pack_args
from jchannel._streams.progress import Progress, check_progress

__all__ = ["Calls"]

R = TypeVar("R")


class Calls:
    """The requests of one facade in a channel.

    Args:
        handle: The channel.
        streams: The way of the facade's streams.
        waits: Whether the facade's methods hold up their thread until the outcome is there.
    """

    def __init__(self, handle: ChannelHandle, streams: Streams, *, waits: bool) -> None:
        self._handle = handle
        self._streams = streams
        self._waits = waits

    def call(self, name: str, args: tuple[object, ...], timeout: float | None) -> Operation[Any]:
        """As the core's ``call``. The arguments are packed now, and may be changed afterwards."""
        check_timeout(timeout)
        check_name(name)
        packed = pack_args(args)
        return self._ask(lambda channel: channel.begin_call(name, packed, timeout))

    def call_with_stream(
        self, name: str, stream: object, args: tuple[object, ...], timeout: float | None, progress: Progress | None
    ) -> Operation[Any]:
        """As the core's ``call_with_stream``. The arguments are packed now, and may be changed afterwards."""
        check_timeout(timeout)
        check_name(name)
        packed = pack_args(args)
        source, told = self._carry(stream, progress)
        return self._ask(lambda channel: channel.begin_call_with_stream(name, source, packed, timeout, told))

    def pipe(self, stream: object, timeout: float | None, progress: Progress | None) -> Operation[Any]:
        """As the core's ``pipe``."""
        check_timeout(timeout)
        source, told = self._carry(stream, progress)
        return self._ask(lambda channel: channel.begin_pipe(source, timeout, told))

    def echo(self, args: tuple[object, ...], timeout: float | None) -> Operation[list[Any]]:
        """As the core's ``echo``. The arguments are packed now, and may be changed afterwards."""
        check_timeout(timeout)
        packed = pack_args(args)
        return self._ask(lambda channel: channel.begin_echo(packed, timeout))

    def _carry(self, stream: object, progress: Progress | None) -> tuple[object, Progress | None]:
        """What trio gets of a source and its progress, which are checked now."""
        check_progress(progress)
        source = self._streams.carry_source(stream, self._handle.portal)
        return source, None if progress is None else self._streams.carry_progress(progress, self._handle.portal)

    def _ask(self, ask: Callable[[Channel], Awaitable[R]]) -> Operation[R]:
        operation = self._handle.ask(ask)
        begin = operation.begin
        if self._waits:
            held_up = HeldUp()
            return replace(operation, begin=lambda: self._finish_waiting(begin(), held_up))
        return replace(operation, begin=lambda: self._finish(begin()))

    # In trio

    async def _finish(self, rest: Awaitable[Any]) -> Any:
        value = await rest
        return self._streams.give(value) if isinstance(value, Arrivals) else value

    async def _finish_waiting(self, rest: Awaitable[Any], held_up: HeldUp) -> Any:
        methods = self._handle.methods
        methods.watch(held_up)
        try:
            return await self._finish(rest)
        except trio.TooSlowError as error:
            error.args = (f"{error}{held_up.explain()}",)
            raise
        finally:
            methods.unwatch(held_up)

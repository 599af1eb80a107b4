"""Every public async function is a checkpoint on every path that returns, or says that it is not."""

from __future__ import annotations

import inspect
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trio.testing

import jchannel.trio
from jchannel._streams.reader import MetaGenerator, RecordBatches, Records
from tests.core.internals import (
    begin_call,
    begin_call_with_stream,
    begin_close,
    begin_echo,
    begin_open,
    begin_pipe,
    close_server,
    peer_session,
)
from tests.core.world import World, open_world

#: Methods whose names are not for users, but whose awaiting is.
_SPECIAL = ("__anext__", "__aenter__", "__aexit__")


def find_async_functions() -> set[str]:
    """The public async functions, async context managers and functions that give awaitables."""
    things = {name: getattr(jchannel.trio, name) for name in jchannel.trio.__all__}
    things |= {thing.__name__: thing for thing in (MetaGenerator, Records, RecordBatches)}
    functions = {name: thing for name, thing in things.items() if inspect.isfunction(thing)}
    for name, thing in things.items():
        if inspect.isclass(thing):
            for member, value in inspect.getmembers_static(thing, inspect.isfunction):
                if not member.startswith("_") or member in _SPECIAL:
                    functions[f"{name}.{member}"] = value
    return {name for name, function in functions.items() if _is_async(function)}


def _is_async(function: Callable[..., object]) -> bool:
    gives = str(inspect.signature(function).return_annotation)
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(inspect.unwrap(function))
        or gives.startswith("Awaitable")
    )


Use = Callable[[World], Awaitable[object]]


def within(make: Callable[[World], AbstractAsyncContextManager[object]]) -> Use:
    """Enters and leaves an async context manager."""

    async def use(world: World) -> None:
        async with make(world):
            pass

    return use


async def open_and_close(world: World) -> None:
    await world.channel.close()
    with trio.testing.assert_checkpoints():
        await world.channel.open()


async def wait_in_vain(waiting: Awaitable[None]) -> None:
    with pytest.raises(trio.TooSlowError):
        await waiting


async def open_begun(world: World) -> None:
    await world.channel.close()
    with trio.testing.assert_checkpoints():
        await begin_open(world.channel, 3)


async def close_again(world: World) -> None:
    await world.channel.close()
    with trio.testing.assert_checkpoints():
        await world.channel.close()
    await world.channel.open()


async def wait_ended(world: World) -> None:
    peer_session(world.peer).end("closed", "bye")
    with trio.testing.assert_checkpoints():
        await world.peer.wait_ended()
    with trio.testing.assert_checkpoints():
        await world.peer.wait_ended()


async def close_server_again(world: World) -> None:
    await close_server(world.server)
    with trio.testing.assert_checkpoints():
        await close_server(world.server)


def of_stream(use: Callable[[MetaGenerator], Awaitable[object]]) -> Use:
    """Uses a stream whose bytes have arrived already: the path on which there is nothing to wait for."""

    async def use_stream(world: World) -> None:
        async with await world.near.pipe(b"one\ntwo") as stream:
            with trio.testing.assert_checkpoints():
                await use(stream)

    return use_stream


async def read_end(stream: MetaGenerator) -> None:
    with trio.testing.assert_checkpoints():
        await anext(stream)
    with pytest.raises(StopAsyncIteration), trio.testing.assert_checkpoints():
        await anext(stream)


@asynccontextmanager
async def open_second_world(_world: World) -> AsyncIterator[None]:
    """A server and a peer, each entered and left."""
    async with open_world():
        yield


USES: dict[str, list[Use]] = {
    "Channel.call": [
        lambda world: world.channel.call("add", 1, 2),
        lambda world: world.channel.call("give_short"),
        lambda world: world.channel.call("give"),
    ],
    "Channel.call_with_stream": [lambda world: world.channel.call_with_stream("digest", b"x")],
    "Channel.close": [lambda world: world.channel.close(), close_again],
    "Channel.echo": [lambda world: world.channel.echo()],
    "Channel.open": [open_and_close],
    "Channel.open_latest": [within(lambda world: world.channel.open_latest("draw"))],
    "Channel.pipe": [lambda world: world.channel.pipe(b"x")],
    "Peer.wait_channel": [lambda world: world.peer.wait_channel()],
    "Peer.wait_ended": [wait_ended],
    "PeerChannel.call": [lambda world: world.far.call("add", 1, 2)],
    "PeerChannel.call_with_stream": [lambda world: world.far.call_with_stream("digest", b"x")],
    "PeerChannel.echo": [lambda world: world.far.echo()],
    "PeerChannel.open_latest": [within(lambda world: world.far.open_latest("draw"))],
    "PeerChannel.pipe": [lambda world: world.far.pipe(b"x")],
    "Server.move_to_newest_page": [lambda world: wait_in_vain(world.server.move_to_newest_page(1))],
    "Server.open_channel": [within(lambda world: world.server.open_channel("code"))],
    "Server.wait_page": [lambda world: world.server.wait_page()],
    "open_peer": [within(open_second_world)],
    "open_server": [within(open_second_world)],
    "MetaGenerator.__aexit__": [of_stream(lambda stream: stream.__aexit__(None, None, None))],
    "MetaGenerator.__anext__": [of_stream(anext), of_stream(read_end)],
    "MetaGenerator.aclose": [of_stream(lambda stream: stream.aclose())],
    "MetaGenerator.join": [of_stream(lambda stream: stream.join())],
    "RecordBatches.__anext__": [of_stream(lambda stream: anext(stream.batches_by_separator()))],
    "RecordBatches.aclose": [of_stream(lambda stream: stream.batches_by_separator().aclose())],
    "Records.__anext__": [of_stream(lambda stream: anext(stream.lines()))],
    "Records.aclose": [of_stream(lambda stream: stream.lines().aclose())],
}

#: What the core's own users await: the other faces begin something in one step, and wait for it later.
INNER_USES: dict[str, list[Use]] = {
    "a call": [lambda world: begin_call(world.channel, "add", 1, 2), lambda world: begin_call(world.far, "add", 1, 2)],
    "a call with a stream": [
        lambda world: begin_call_with_stream(world.channel, "digest", b"x"),
        lambda world: begin_call_with_stream(world.far, "digest", b"x"),
    ],
    "a closing": [lambda world: begin_close(world.channel, 3)],
    "an echo": [lambda world: begin_echo(world.channel), lambda world: begin_echo(world.far)],
    "an opening": [open_begun],
    "a pipe": [lambda world: begin_pipe(world.channel, b"x"), lambda world: begin_pipe(world.far, b"x")],
    "closing the server": [lambda world: close_server(world.server), close_server_again],
}

#: What is no checkpoint, or cannot be used by itself, and why.
EXEMPT = {
    **dict.fromkeys(
        ("Link.__aenter__", "Link.__aexit__", "Link.aclose", "Link.flush", "Link.receive", "Link.send"),
        "it is for the program's own links, which say themselves what waits",
    ),
    "MetaGenerator.__aenter__": "as its docstring says; leaving the block is one",
    "MetaGenerator.write_to": "in a test of its own",
    "Server.serve_link": "it needs a link of the program's own: test_serve_link",
    "Server.hold_channel": "as its docstring says; leaving it waits, but not so that it could be cancelled",
}


def test_each_async_function_is_known() -> None:
    assert find_async_functions() == {*USES, *EXEMPT}


@pytest.mark.parametrize(("name", "use"), [(name, use) for name, uses in (USES | INNER_USES).items() for use in uses])
async def test_it_executes_a_checkpoint(name: str, use: Use, autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world:
        with trio.testing.assert_checkpoints():
            await use(world)


async def test_writing_a_stream_executes_a_checkpoint() -> None:
    # In a worker thread, and so without a clock that jumps.
    async def receive() -> bytes:
        return b""

    async def aclose() -> None:
        pass

    stream = MetaGenerator(receive, aclose, trio.to_thread.run_sync)
    with trio.testing.assert_checkpoints():
        await stream.write_to(io.BytesIO())


async def test_what_has_come_before_is_given_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world() as world, await world.near.pipe(b"one\ntwo") as stream:
        lines = stream.lines()
        assert await anext(lines) == "one"
        # The second line came with the first one.
        with trio.testing.assert_no_checkpoints():
            assert await anext(stream) == b"two"

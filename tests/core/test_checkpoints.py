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
from jchannel._core.endpoint import pack_args
from jchannel._streams.reader import MetaGenerator, RecordBatches, Records
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


async def begin_open(world: World) -> None:
    await world.channel.close()
    with trio.testing.assert_checkpoints():
        await world.channel.begin_open(3)


async def close_again(world: World) -> None:
    await world.channel.close()
    with trio.testing.assert_checkpoints():
        await world.channel.close()
    await world.channel.open()


async def wait_ended(world: World) -> None:
    world.peer._session.end("closed", "bye")
    with trio.testing.assert_checkpoints():
        await world.peer.wait_ended()
    with trio.testing.assert_checkpoints():
        await world.peer.wait_ended()


async def close_server_again(world: World) -> None:
    await world.server.aclose()
    with trio.testing.assert_checkpoints():
        await world.server.aclose()


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
    "Channel.begin_call": [lambda world: world.channel.begin_call("add", pack_args((1, 2)), 3)],
    "Channel.begin_call_with_stream": [
        lambda world: world.channel.begin_call_with_stream("digest", b"x", pack_args(()), 3, None)
    ],
    "Channel.begin_close": [lambda world: world.channel.begin_close(3)],
    "Channel.begin_echo": [lambda world: world.channel.begin_echo(pack_args(()), 3)],
    "Channel.begin_open": [begin_open],
    "Channel.begin_pipe": [lambda world: world.channel.begin_pipe(b"x", 3, None)],
    "Channel.call": [
        lambda world: world.channel.call("add", 1, 2),
        lambda world: world.channel.call("give_short"),
        lambda world: world.channel.call("give"),
    ],
    "Channel.call_with_stream": [lambda world: world.channel.call_with_stream("digest", b"x")],
    "Channel.close": [lambda world: world.channel.close(), close_again],
    "Channel.echo": [lambda world: world.channel.echo()],
    "Channel.open": [open_and_close],
    "Channel.pipe": [lambda world: world.channel.pipe(b"x")],
    "Peer.wait_channel": [lambda world: world.peer.wait_channel()],
    "Peer.wait_ended": [wait_ended],
    "PeerChannel.begin_call": [lambda world: world.far.begin_call("add", pack_args((1, 2)), 3)],
    "PeerChannel.begin_call_with_stream": [
        lambda world: world.far.begin_call_with_stream("digest", b"x", pack_args(()), 3, None)
    ],
    "PeerChannel.begin_echo": [lambda world: world.far.begin_echo(pack_args(()), 3)],
    "PeerChannel.begin_pipe": [lambda world: world.far.begin_pipe(b"x", 3, None)],
    "PeerChannel.call": [lambda world: world.far.call("add", 1, 2)],
    "PeerChannel.call_with_stream": [lambda world: world.far.call_with_stream("digest", b"x")],
    "PeerChannel.echo": [lambda world: world.far.echo()],
    "PeerChannel.pipe": [lambda world: world.far.pipe(b"x")],
    "Server.begin_move_to_newest_page": [lambda world: wait_in_vain(world.server.begin_move_to_newest_page(1))],
    "Server.move_to_newest_page": [lambda world: wait_in_vain(world.server.move_to_newest_page(1))],
    "Server.aclose": [lambda world: world.server.aclose(), close_server_again],
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

#: What is no checkpoint, or cannot be used by itself, and why.
EXEMPT = {
    "Channel.wait_session": "a part of every request: it gives a session that is there at once, and the request waits",
    "PeerChannel.wait_session": "as the channel's",
    "MetaGenerator.__aenter__": "as its docstring says; leaving the block is one",
    "MetaGenerator.write_to": "in a test of its own",
    "Peer.run": "open_peer runs it, until the end of the session",
    "Server.hold_channel": "as its docstring says; leaving it waits, but not so that it could be cancelled",
    "Server.serve_stream": "open_server runs it, until the end of a connection",
}


def test_each_async_function_is_known() -> None:
    assert find_async_functions() == {*USES, *EXEMPT}


@pytest.mark.parametrize(("name", "use"), [(name, use) for name, uses in USES.items() for use in uses])
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

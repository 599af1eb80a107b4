"""What a channel is given when it is opened, in every face: its handler, and its code or a module of the page."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import jchannel
import jchannel.sync
import jchannel.testing
from jchannel.testing import AsyncioKit, SyncKit
from jchannel.trio import PeerChannel
from tests.peer_thread import PeerThread

CODE = "(channel) => channel.call('name')"


class Handler:
    def name(self) -> str:
        return "Python"


class Calls:
    """Plays code that calls Python at once, as early as any page can."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    async def __call__(self, channel: PeerChannel, _code: str) -> None:
        self.answers.append(await channel.call("name"))


async def test_in_trio_a_handler_given_at_the_opening_answers_the_page_s_first_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    calls = Calls()
    async with jchannel.testing.open_server() as server, jchannel.testing.open_page(server, on_open=calls):
        async with server.open_channel(CODE, handler=Handler()):
            assert calls.answers == ["Python"]


def test_with_asyncio_a_handler_given_to_open_answers_the_page_s_first_call() -> None:
    async def program() -> None:
        calls = Calls()
        async with await jchannel.start(port=0) as server:
            with PeerThread(server.page_url, calls):
                channel = await server.open(CODE, handler=Handler(), timeout=20)
                assert isinstance(channel.handler, Handler)
                assert calls.answers == ["Python"]

    asyncio.run(program())


def test_in_the_blocking_facade_a_handler_given_to_open_answers_the_page_s_first_call() -> None:
    calls = Calls()
    with jchannel.sync.start(port=0) as server, PeerThread(server.page_url, calls):
        channel = server.open(CODE, handler=Handler(), timeout=20)
        assert isinstance(channel.handler, Handler)
        assert calls.answers == ["Python"]


# A module


def play(channel: PeerChannel, code: str) -> list[str]:
    return [channel.module, channel.code, code]


async def test_in_trio_a_channel_of_a_module_is_opened_with_the_module_s_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with jchannel.testing.open_pair(module="./channel.js", on_open=play) as (channel, page):
        assert (channel.module, channel.code) == ("./channel.js", "")
        assert [(opened.module, opened.code) for opened in page.channels] == [("./channel.js", "")]
        await channel.close()
        assert await channel.open() == ["./channel.js", "", ""]


async def test_a_channel_of_code_has_no_module(autojump_clock: trio.testing.MockClock) -> None:
    async with jchannel.testing.open_pair(code=CODE, on_open=play) as (channel, page):
        assert (channel.module, channel.code) == ("", CODE)
        assert [(opened.module, opened.code) for opened in page.channels] == [("", CODE)]


async def test_a_page_that_comes_back_opens_the_module_again(autojump_clock: trio.testing.MockClock) -> None:
    opened: list[str] = []
    async with jchannel.testing.open_pair(
        module="./channel.js", on_open=lambda channel, _: opened.append(channel.module)
    ) as (channel, page):
        await page.reload()
        await channel.echo()
    assert opened == ["./channel.js", "./channel.js"]


def test_with_asyncio_a_channel_of_a_module_is_opened_with_the_module_s_name() -> None:
    async def program() -> None:
        async with AsyncioKit() as kit:
            channel, page = await kit.open_pair(module="./channel.js", on_open=play)
            assert page.codes == [""]
            await channel.close()
            assert await channel.open() == ["./channel.js", "", ""]
            await channel.close()
            async with await kit.server.open(module="./other.js") as other:
                assert await other.echo(1) == [1]

    asyncio.run(program())


def test_in_the_blocking_facade_a_channel_of_a_module_is_opened_with_the_module_s_name() -> None:
    with SyncKit() as kit:
        channel, _ = kit.open_pair(module="./channel.js", on_open=play)
        channel.close()
        assert channel.open() == ["./channel.js", "", ""]
        channel.close()
        with kit.server.open(module="./other.js") as other:
            assert other.echo(1) == [1]


# What is neither


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, TypeError, "a str of JavaScript, and not None; in its place a module .* such as module='./channel.js'$"),
    ({"code": CODE, "module": "./x.js"}, TypeError, "^a channel has either code or a module: leave one of them out$"),
    ({"code": 1}, TypeError, "^the code of a channel must be a str of JavaScript, and not 1$"),
    ({"code": Path("channel.js")}, TypeError, "'channel.js'\\); a file is a module .* such as module='./channel.js'$"),
    ({"module": 1}, TypeError, r"^the module of a channel must be a str such as './channel\.js', and not 1$"),
    ({"module": ""}, ValueError, "^the module of a channel must not be empty: write it as an import does, such as"),
]


@pytest.mark.parametrize(("given", "error", "words"), WRONG)
async def test_in_trio_what_is_neither_code_nor_a_module_is_refused(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    async with jchannel.testing.open_server() as server:
        with pytest.raises(error, match=words):
            async with server.open_channel(**given):
                pass


@pytest.mark.parametrize(("given", "error", "words"), WRONG)
def test_with_asyncio_what_is_neither_code_nor_a_module_is_refused(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    async def program() -> None:
        server = jchannel.Server()
        with pytest.raises(error, match=words):
            server.open(**given)

    asyncio.run(program())


@pytest.mark.parametrize(("given", "error", "words"), WRONG)
def test_in_the_blocking_facade_what_is_neither_code_nor_a_module_is_refused(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    server = jchannel.sync.Server()
    with pytest.raises(error, match=words):
        server.open(**given)

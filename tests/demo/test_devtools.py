"""The DevTools protocol over memory streams."""

import json

import pytest
import trio
from trio.testing import MockClock, memory_stream_one_way_pair, wait_all_tasks_blocked

from jchannel.demo.devtools import COMMAND_SECONDS, BrowserError, DevTools


class Browser:
    """The browser's ends of the two streams, and the connection to it."""

    def __init__(self) -> None:
        commands, self.commands = memory_stream_one_way_pair()
        self.answers, answers = memory_stream_one_way_pair()
        self.devtools = DevTools(commands, answers)

    async def receive(self) -> dict[str, object]:
        data = bytes(await self.commands.receive_some())
        assert data.endswith(b"\0")
        message: dict[str, object] = json.loads(data[:-1])
        return message


@pytest.fixture
async def browser(nursery: trio.Nursery) -> Browser:
    browser = Browser()
    nursery.start_soon(browser.devtools.run)
    return browser


async def test_a_command_gets_its_answer(browser: Browser, nursery: trio.Nursery) -> None:
    async def answer() -> None:
        assert await browser.receive() == {"id": 1, "method": "Page.enable", "params": {"a": 1}, "sessionId": "s"}
        await browser.answers.send_all(b'{"id":1,"result":{"b":2}}\0')

    nursery.start_soon(answer)
    assert await browser.devtools.command("Page.enable", {"a": 1}, "s") == {"b": 2}


async def test_a_command_to_the_browser_itself_names_no_session(browser: Browser) -> None:
    await browser.devtools.ask_to_close()
    assert await browser.receive() == {"id": 1, "method": "Browser.close", "params": {}}


async def test_answers_may_come_in_any_pieces_and_order(browser: Browser) -> None:
    results = {}

    async def ask(method: str) -> None:
        results[method] = await browser.devtools.command(method)

    async with trio.open_nursery() as nursery:
        for method in ("first", "second"):
            nursery.start_soon(ask, method)
            await wait_all_tasks_blocked()
        stream = b'{"method":"Some.event"}\0{"id":2,"result":{"n":2}}\0{"id":9}\0{"id":1,"result":{"n":1}}\0'
        for piece in (stream[:30], stream[30:31], stream[31:]):
            await browser.answers.send_all(piece)
            await wait_all_tasks_blocked()
    assert results == {"first": {"n": 1}, "second": {"n": 2}}


async def test_a_refused_command_raises_the_browsers_words(browser: Browser, nursery: trio.Nursery) -> None:
    nursery.start_soon(browser.answers.send_all, b'{"id":1,"error":{"message":"no such method"}}\0')
    with pytest.raises(BrowserError, match="the browser refused What: no such method"):
        await browser.devtools.command("What")


async def test_a_command_that_is_not_answered_in_time_raises(browser: Browser, autojump_clock: MockClock) -> None:
    with pytest.raises(BrowserError, match=r"did not answer Page\.enable within 20 s"):
        await browser.devtools.command("Page.enable")
    assert autojump_clock.current_time() == COMMAND_SECONDS


async def test_a_command_to_a_browser_that_has_gone_waits_for_whoever_knows_why(
    browser: Browser, autojump_clock: MockClock
) -> None:
    await browser.commands.aclose()
    with trio.move_on_after(1) as scope:
        await browser.devtools.command("Page.enable")
    assert scope.cancelled_caught
    assert autojump_clock.current_time() == 1


@pytest.mark.parametrize("data", [b"{\0", b"[]\0", b"\xff\0"])
async def test_what_is_not_the_protocol_is_an_error(data: bytes) -> None:
    browser = Browser()
    await browser.answers.send_all(data)
    with pytest.raises(BrowserError, match="does not speak the DevTools protocol"):
        await browser.devtools.run()


async def test_a_crashed_page_is_an_error() -> None:
    browser = Browser()
    await browser.answers.send_all(b'{"method":"Inspector.targetCrashed","params":{},"sessionId":"s"}\0')
    with pytest.raises(BrowserError, match="the page crashed in the browser"):
        await browser.devtools.run()


async def test_it_ends_with_the_connection() -> None:
    browser = Browser()
    await browser.answers.aclose()
    await browser.devtools.run()

"""The code of a channel in a page of an application's own: what it finds there, where it draws, and how it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jchannel.errors import FrontendError
from jchannel.trio import Server, open_server
from tests.browser.chromium import BrowserThread, PageHandle

PAGE = """<!doctype html><html><head><title>Own</title>{head}</head><body>
<main data-jchannel-elements></main><footer></footer><script type="module" src="main.js"></script></body></html>"""

MAIN = """
import {KernelError} from './jchannel/jchannel.js';
import {greeting} from './lib/words.js';
globalThis.setUp = (channel) => {
    channel.handler = {
        async ask() {
            try { await channel.call('fail'); } catch (error) { return [error instanceof KernelError, error.type]; }
        },
        greet: () => greeting,
        draw: (x) => x.foo.bar,
    };
};
"""

CODE = """async (channel) => {
    setUp(channel);
    channel.element.textContent = (await import('./lib/words.js')).greeting;
    channel.handler.wrong = (x) =>
        x.foo.bar;
}"""

#: Where each engine sees the error of `x.foo.bar`, and the name that it gives to a function which is assigned.
PLACES = {
    "chromium": (6, ", in channel.handler.wrong"),
    "firefox": (0, ", in channel.handler.wrong"),
    "webkit": (5, ""),
}

TIMEOUT = 20


class Handler:
    def fail(self) -> None:
        raise LookupError


@asynccontextmanager
async def opened(browser: BrowserThread, folder: Path, head: str = "") -> AsyncIterator[tuple[Server, PageHandle]]:
    (folder / "index.html").write_text(PAGE.replace("{head}", head))
    (folder / "main.js").write_text(MAIN)
    (folder / "lib").mkdir()
    (folder / "lib" / "words.js").write_text("export const greeting = 'hello';")
    (folder / "broken.js").write_text("export default (channel) => {\n  let a = ;\n};\n")
    (folder / "favicon.ico").touch()
    async with open_server(port=0, static=folder) as server:
        yield server, await browser.open(server.page_url)


@pytest.mark.engines
async def test_code_finds_what_the_page_has_and_its_errors_have_their_places(
    browser: BrowserThread, engine: str, tmp_path: Path
) -> None:
    async with opened(browser, tmp_path) as (server, page):
        async with server.open_channel(CODE, handler=Handler(), timeout=TIMEOUT) as channel:
            assert await channel.call("greet") == "hello"
            assert await channel.call("ask") == [True, "LookupError"]
            assert await page.evaluate("document.querySelector('main').innerHTML") == "<div>hello</div>"
            with pytest.raises(FrontendError, match="undefined") as caught:
                await channel.call("wrong", {})
            number = channel._core.number
            offset, name = PLACES[engine]
            assert caught.value.__notes__[0].split("\n")[1:] == [
                f"  jchannel-channel-{number}.js:5:{9 + offset}{name}",
                "    x.foo.bar;",
                "    " + " " * offset + "^",
            ]
            with pytest.raises(FrontendError) as caught:
                await channel.call("draw", {})
            assert f"  {server.url}/main.js:10:{22 + offset}, in draw" in caught.value.__notes__[0]

        for code, line, mark in (
            ("(channel) => {\n    let a = 5;\n    let b = ;\n}", "    let b = ;", "            ^"),
            ("(a b) => {}", "    (a b) => {}", "       ^"),
            ("(channel) => {\n    f(", "    f(", "      ^"),
        ):
            with pytest.raises(FrontendError, match="SyntaxError") as caught:
                async with server.open_channel(code):
                    raise AssertionError
            # WebKit tells no place in the code.
            assert engine == "webkit" or caught.value.__notes__[0].split("\n")[2:] == [line, mark]
        with pytest.raises(FrontendError, match="SyntaxError") as caught:
            async with server.open_channel(module="./broken.js"):
                raise AssertionError
        assert engine == "webkit" or f"  {server.url}/broken.js:2:11" in caught.value.__notes__[0]
        assert page.console == []


async def test_a_page_that_connects_itself_does_so_when_it_is_ready(browser: BrowserThread, tmp_path: Path) -> None:
    async with opened(browser, tmp_path, '<meta name="jchannel" content="manual">') as (server, page):
        assert not server.statistics().page_connected
        assert await page.evaluate("jchannel.client.state") == "connecting"
        assert await page.evaluate("location.hash") == ""
        same = "import('./jchannel/jchannel.js').then((module) => module.connectPage() === jchannel.connectPage())"
        assert await page.evaluate(same)
        async with server.open_channel(CODE, timeout=TIMEOUT) as channel:
            assert await channel.call("greet") == "hello"

"""Pages with a strict Content Security Policy, and channels whose code is a module of the page, in real Chromium."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jchannel.errors import FrontendError
from jchannel.trio import Server, open_server
from tests.browser.chromium import BrowserThread, PageHandle

#: All that the client needs, in a page of the server's own.
STRICT = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'"

CODE = "(channel) => { channel.handler = { add: (a, b) => a + b }; return 'code'; }"

MODULE = """
let opened = 0;

export default async (channel) => {
  channel.handler = {
    add: (a, b) => a + b,
    ask: () => channel.call('name'),
    upload: async (stream) => (await stream.join()).length,
    async *download(size) { yield new Uint8Array(size); },
    fail() { throw new RangeError('too far'); },
  };
  return [++opened, await channel.call('name')];
};
"""


#: Not `wait_for`: what that repeats in the page is evaluated there, which the policies forbid.
CONNECTED = """new Promise((resolve) => {
  const look = () => { if (jchannel.client.state === 'connected') resolve(true); };
  jchannel.client.addEventListener('statechange', look);
  look();
})"""


class Handler:
    def name(self) -> str:
        return "Python"


def write(folder: Path, policy: str | None, path: str = "page.html", attributes: str = "") -> None:
    """Writes a page that loads the client behind its policy, and the module of a channel."""
    meta = "" if policy is None else f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    page = folder / path
    page.parent.mkdir(exist_ok=True)
    up = "../" * path.count("/")
    page.write_text(f'<!doctype html><head>{meta}<script {attributes} src="{up}jchannel/inject.js"></script><p>x')
    (page.parent / "channel.js").write_text(MODULE)
    (folder / "favicon.ico").touch()


@asynccontextmanager
async def opened(
    browser: BrowserThread, folder: Path, path: str = "page.html"
) -> AsyncIterator[tuple[Server, PageHandle]]:
    """A server of a folder, and a page of it in the browser, connected."""
    async with open_server(port=0, static=folder) as server:
        page = await browser.open(server.page_url.replace("/#", f"/{path}#"))
        assert await page.evaluate(CONNECTED)
        yield server, page


@pytest.mark.engines
async def test_a_channel_of_a_module_works_with_a_strict_policy(browser: BrowserThread, tmp_path: Path) -> None:
    write(tmp_path, STRICT)
    async with opened(browser, tmp_path) as (server, page):
        async with server.open_channel(module="./channel.js", handler=Handler(), timeout=60) as channel:
            assert await channel.call("add", 2, 3) == 5
            assert await channel.call("ask") == "Python"
            pieces = itertools.repeat(b"x" * 2**16, 64)
            assert await channel.call_with_stream("upload", pieces) == 2**22
            async with await channel.call("download", 2**22) as stream:
                assert len(await stream.join()) == 2**22
        assert page.console == []


async def test_a_page_whose_policy_has_a_nonce_loads_the_client_with_it(browser: BrowserThread, tmp_path: Path) -> None:
    policy = "default-src 'none'; script-src 'nonce-once'; connect-src 'self'; img-src 'self'"
    write(tmp_path, policy, attributes='nonce="once"')
    async with opened(browser, tmp_path) as (server, page):
        async with server.open_channel(module="./channel.js", handler=Handler(), timeout=60) as channel:
            assert await channel.call("add", 2, 3) == 5
        assert page.console == []


async def test_a_module_answers_with_what_its_function_returns_and_is_loaded_once_for_each_page(
    browser: BrowserThread, tmp_path: Path
) -> None:
    write(tmp_path, None)
    async with opened(browser, tmp_path) as (server, page):
        async with server.hold_channel(module="./channel.js", handler=Handler()) as channel:
            assert await channel.open(20) == [1, "Python"]
            await channel.close()
            assert await channel.open(20) == [2, "Python"]
            await page.reload()
            assert await channel.call("add", 2, 3, timeout=60) == 5
            await channel.close()
            assert await channel.open(20) == [2, "Python"]


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("docs/page.html", "./channel.js"),
        ("docs/page.html", "../docs/channel.js"),
        ("docs/page.html", "/docs/channel.js"),
        ("page.html", "./channel.js?version=2"),
    ],
)
async def test_a_module_is_relative_to_the_page(browser: BrowserThread, tmp_path: Path, path: str, module: str) -> None:
    write(tmp_path, None, path)
    async with opened(browser, tmp_path, path) as (server, _):
        async with server.open_channel(module=module, handler=Handler(), timeout=60) as channel:
            assert await channel.call("add", 2, 3) == 5


async def test_a_module_may_have_a_whole_address_or_a_name_of_the_import_map(
    browser: BrowserThread, tmp_path: Path
) -> None:
    write(tmp_path, None)
    with (tmp_path / "page.html").open("a") as page:
        page.write('<script type="importmap">{"imports": {"channels/first": "./channel.js"}}</script>')
    async with opened(browser, tmp_path) as (server, _):
        for module in (f"{server.url}/channel.js", "channels/first"):
            async with server.open_channel(module=module, handler=Handler(), timeout=60) as channel:
                assert await channel.call("add", 2, 3) == 5


async def test_an_error_in_a_module_has_the_place_in_its_file(browser: BrowserThread, tmp_path: Path) -> None:
    write(tmp_path, None)
    async with opened(browser, tmp_path) as (server, _):
        async with server.open_channel(module="./channel.js", handler=Handler(), timeout=60) as channel:
            with pytest.raises(FrontendError, match="RangeError: too far") as caught:
                await channel.call("fail")
            line = MODULE[: MODULE.index("throw new RangeError")].count("\n") + 1
            assert f"/channel.js:{line}:" in str(caught.value.stack)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("wrong.js", "export default {", "SyntaxError: "),
        ("raises.js", "throw new RangeError('mine')", "RangeError: mine"),
        ("none.js", "export const open = 1;", r"TypeError: The default export of the module \./none.js must be"),
    ],
)
async def test_a_module_that_is_none_of_a_channel_is_an_error_that_says_so(
    browser: BrowserThread, tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    write(tmp_path, None)
    if text is not None:
        (tmp_path / name).write_text(text)
    async with opened(browser, tmp_path) as (server, _):
        async with server.hold_channel(module=f"./{name}") as channel:
            with pytest.raises(FrontendError, match=f"^{words}"):
                await channel.open(20)
            assert not channel.is_open


@pytest.mark.engines
async def test_a_module_that_is_not_there_is_an_error_with_its_address(browser: BrowserThread, tmp_path: Path) -> None:
    write(tmp_path, None)
    async with opened(browser, tmp_path) as (server, _):
        async with server.hold_channel(module="./missing.js") as channel:
            with pytest.raises(FrontendError, match=r"^TypeError: .*modul.*http://localhost:\d+/missing\.js"):
                await channel.open(20)


@pytest.mark.engines
async def test_the_error_of_a_page_that_may_not_evaluate_code_names_two_ways_out_and_both_work(
    browser: BrowserThread, tmp_path: Path
) -> None:
    write(tmp_path, STRICT)
    async with opened(browser, tmp_path) as (server, _):
        async with server.hold_channel(CODE) as channel:
            with pytest.raises(FrontendError, match=r"^EvalError: The page's Content Security Policy ") as caught:
                await channel.open(20)
        assert 'open(module="./channel.js")' in str(caught.value)
        async with server.open_channel(module="./channel.js", handler=Handler(), timeout=60) as channel:
            assert await channel.call("add", 2, 3) == 5
    assert "or add 'unsafe-eval' to the policy's script-src" in str(caught.value)
    write(tmp_path, STRICT.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'"))
    async with opened(browser, tmp_path) as (server, _):
        async with server.open_channel(CODE, timeout=60) as channel:
            assert await channel.call("add", 2, 3) == 5


@pytest.mark.engines
async def test_the_client_of_a_page_that_may_not_connect_names_what_to_add_and_that_helps(
    browser: BrowserThread, tmp_path: Path
) -> None:
    policy = STRICT.replace("connect-src 'self'", "connect-src 'none'")
    write(tmp_path, policy)
    async with open_server(port=0, static=tmp_path) as server:
        address = server.page_url.replace("/#", "/page.html#")
        page = await browser.open(address)
        await page.wait_for("jchannel.client.state === 'stopped'")
        message = await page.evaluate("jchannel.client.stopReason.message")
        assert message.startswith("The page's Content Security Policy does not let it connect to the server. Add http:")
        (sources,) = re.findall(r"Add (\S+ and \S+) to the policy's connect-src\.$", message)
        write(tmp_path, policy.replace("connect-src 'none'", f"connect-src {sources.replace(' and ', ' ')}"))
        await browser.open(address)
        async with server.open_channel(module="./channel.js", handler=Handler(), timeout=60) as channel:
            assert await channel.call_with_stream("upload", itertools.repeat(b"x" * 2**16, 64)) == 2**22


async def test_the_function_of_a_module_may_have_a_method_then(browser: BrowserThread, tmp_path: Path) -> None:
    write(tmp_path, STRICT)
    code = "const f = () => 7; f.then = () => { throw new Error('called'); }; export default f;"
    (tmp_path / "channel.js").write_text(code)
    async with opened(browser, tmp_path) as (server, _):
        async with server.hold_channel(module="./channel.js") as channel:
            assert await channel.open(20) == 7

"""What the client's own messages advise is done here, in real Chromium, and helps."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from jchannel.trio import open_server
from tests.browser.chromium import BrowserThread

CODE = "(channel) => { channel.handler = { add: (a, b) => a + b }; }"


async def test_a_page_of_a_file_is_told_the_origin_that_lets_it_in(browser: BrowserThread, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = """<!doctype html><link rel="icon" href="data:,"><script type="module">
        import {{connect}} from '{url}/jchannel/jchannel.js';
        globalThis.client = connect({{url: '{url}', token: '{token}'}});
    </script>"""
    async with open_server(port=0) as server:
        page.write_text(text.format(url=server.url, token=server.token))
        handle = await browser.open(page.as_uri())
        await handle.wait_for("globalThis.client?.state === 'stopped'")
        message = await handle.evaluate("client.stopReason.message")
    (setting,) = re.findall(r"with origins=(\[.*\])$", message)
    async with open_server(port=0, origins=ast.literal_eval(setting)) as server:
        page.write_text(text.format(url=server.url, token=server.token))
        await browser.open(page.as_uri())
        async with server.open_channel(CODE, timeout=60) as channel:
            assert await channel.call("add", 2, 3) == 5


async def test_a_page_without_a_token_is_told_the_address_that_has_one(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(server.url)
        assert "Open the address that server.page_url gives" in await page.evaluate(
            "jchannel.client.stopReason.message"
        )
        page = await browser.open(server.page_url)
        await page.wait_for("jchannel.client.state === 'connected'")


async def test_a_page_of_a_server_that_has_ended_is_told_to_open_the_address_of_the_present_one(
    browser: BrowserThread,
) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(f"{server.url}/#jchannel=of-another-server")
        await page.wait_for("jchannel.client.state === 'stopped'")
        assert "open the address of the present one" in await page.evaluate("jchannel.client.stopReason.message")
        await page.evaluate(f"location.href = '{server.page_url}'")
        await server.wait_page(60)


async def test_a_second_page_is_told_to_close_the_first_one_and_to_reload(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        first = await browser.open(server.page_url)
        await server.wait_page(60)
        second = await browser.open(server.page_url)
        await second.wait_for("document.querySelector('#status').dataset.state === 'stopped'")
        text = await second.evaluate("document.querySelector('#status').innerText")
        assert "Close the other page, then reload this one." in text
        await first.close()
        await second.reload()
        await second.wait_for("jchannel.client.state === 'connected'")

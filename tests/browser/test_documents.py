"""One page is one client, however many documents share its storage and however many scripts ask for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from jchannel.trio import Channel, Server, open_server
from tests.browser.chromium import BrowserThread, PageHandle

CODE = """
(channel) => {
    globalThis.opened = (globalThis.opened ?? 0) + 1;
    channel.handler = { opened: () => opened };
}
"""

HTML = "<!doctype html><html><head><title>A page</title></head><body></body></html>"

#: A guard against hanging, and no assertion about a duration.
GUARD = 40


class Site:
    """A server with a folder of files, and a channel that is opened in it when a page connects."""

    def __init__(self, server: Server, channel: Channel) -> None:
        self.server = server
        self._channel = channel
        self.opened = trio.Event()

    async def hold(self) -> None:
        """Opens the channel."""
        await self._channel.open(GUARD)
        self.opened.set()

    async def count_runs(self) -> int:
        """How often the channel's code has run in the document that is connected."""
        await self.opened.wait()
        count: int = await self._channel.call("opened", timeout=60)
        return count


@asynccontextmanager
async def open_site(folder: Path, **files: str) -> AsyncIterator[Site]:
    """Opens a site. The files' names have an underscore instead of the dot."""
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    with trio.fail_after(GUARD):
        async with (
            open_server(port=0, static=folder) as server,
            server.hold_channel(CODE) as channel,
            trio.open_nursery() as nursery,
        ):
            site = Site(server, channel)
            nursery.start_soon(site.hold)
            yield site


def add_script(code: str) -> str:
    """A page with a module in it."""
    return HTML.replace("</head>", f"<script type='module'>{code}</script></head>")


async def is_connected(page: PageHandle) -> bool:
    return bool(await page.evaluate("jchannel.client.state === 'connected'"))


async def test_a_frame_of_the_same_server_is_a_part_of_the_page(browser: BrowserThread, tmp_path: Path) -> None:
    framing = HTML.replace("</body>", "<iframe src='part.html'></iframe></body>")
    async with open_site(tmp_path, index_html=framing, part_html=HTML) as site:
        page = await browser.open(site.server.page_url)
        assert await site.count_runs() == 1
        assert await page.wait_for("frames[0].jchannel?.client.stopReason?.reason") == "frame"
        assert await is_connected(page)
        await page.evaluate("frames[0].location.reload()")
        await page.wait_for("frames[0].jchannel?.client.stopReason?.reason")
        assert await is_connected(page)
        assert await site.count_runs() == 1
        assert await page.evaluate("frames[0].opened === undefined")


async def test_a_frame_is_the_page_when_the_application_says_so(browser: BrowserThread, tmp_path: Path) -> None:
    # The page has the client at hand, and does not connect.
    around = "import {connect} from './jchannel/jchannel.js'; globalThis.ready = true;"
    within = "import {connectPage} from './jchannel/jchannel.js'; connectPage({frame: true});"
    async with open_site(tmp_path, index_html=add_script(around), part_html=add_script(within)) as site:
        page = await browser.open(site.server.page_url)
        await page.wait_for("globalThis.ready")
        await page.evaluate(
            """() => {
                sessionStorage.setItem(`jchannel.token ${location.origin}`, location.hash.split('=')[1]);
                document.body.append(Object.assign(document.createElement('iframe'), { src: 'part.html' }));
            }"""
        )
        assert await site.count_runs() == 1
        assert await page.evaluate("frames[0].opened") == 1


async def test_a_frame_in_a_page_of_another_origin_connects(browser: BrowserThread, tmp_path: Path) -> None:
    async with open_server(port=0) as host, open_site(tmp_path, index_html=HTML) as site:
        page = await browser.open(host.url)
        await page.evaluate("document.body.append(document.createElement('iframe'))")
        await page.evaluate(f"document.querySelector('iframe').src = '{site.server.page_url}'")
        assert await site.count_runs() == 1


async def test_a_popup_that_inherits_the_storage_does_not_take_over(browser: BrowserThread, tmp_path: Path) -> None:
    async with open_site(tmp_path, index_html=HTML, other_html=HTML) as site:
        page = await browser.open(site.server.page_url)
        assert await site.count_runs() == 1
        popup = await page.open_popup(f"{site.server.url}/other.html")
        assert await popup.wait_for("jchannel.client.stopReason?.reason") == "taken"
        assert await is_connected(page)
        assert await site.count_runs() == 1
        await page.reload()
        assert await site.count_runs() == 1
        assert await is_connected(page)


@pytest.mark.parametrize("tag", ["", "<script src='jchannel/inject.js'></script>"], ids=["inserted", "twice"])
async def test_importing_and_being_inserted_give_one_client(browser: BrowserThread, tmp_path: Path, tag: str) -> None:
    main = """
        import { connectPage, Client, StateError } from './jchannel/jchannel.js';
        globalThis.client = connectPage();
        globalThis.same = [client === jchannel.client, client === connectPage(), client instanceof Client];
        globalThis.error = new jchannel.ClosedError('no') instanceof StateError;
    """
    html = HTML.replace("</head>", f"{tag}{tag}<script type='module' src='main.js'></script></head>")
    async with open_site(tmp_path, index_html=html, main_js=main) as site:
        page = await browser.open(site.server.page_url)
        assert await site.count_runs() == 1
        assert await page.wait_for("globalThis.same") == [True, True, True]
        assert await page.evaluate("error")
        assert await is_connected(page)
        assert site.server.statistics().socket.messages_received < 10


async def test_a_page_that_is_reloaded_keeps_its_name(browser: BrowserThread, tmp_path: Path) -> None:
    async with open_site(tmp_path, index_html=HTML) as site:
        page = await browser.open(site.server.page_url)
        name = await page.evaluate("jchannel.client.clientId")
        await page.reload()
        assert await page.evaluate("jchannel.client.clientId") == name
        assert await site.count_runs() == 1


async def test_pages_of_one_tab_follow_each_other(usual_browser: BrowserThread, tmp_path: Path) -> None:
    async with open_site(tmp_path, index_html=HTML, other_html=HTML) as site:
        page = await usual_browser.open(site.server.page_url)
        name = await page.evaluate("jchannel.client.clientId")
        await page.evaluate("globalThis.mark = 1")
        assert await site.count_runs() == 1
        await page.go_to(f"{site.server.url}/other.html")
        assert await page.evaluate("jchannel.client.clientId") == name
        await page.wait_for("jchannel.client.state === 'connected'")
        assert await site.count_runs() == 1
        await page.go_back()
        await page.wait_for("jchannel.client.state === 'connected'")
        assert await page.evaluate("[jchannel.client.clientId, globalThis.mark]") == [name, 1]
        assert await site.count_runs() == 1

"""The plain page that a server shows: empty until Python fills it, with a status that tells how the client stands."""

from jchannel.trio import open_server
from tests.browser.chromium import BrowserThread, PageHandle
from tests.core.internals import end_page_silently

STATUS = "document.querySelector('#status').innerText"


async def read_status(page: PageHandle, state: str) -> list[str]:
    """Waits for a state, and gives the lines that the page shows then."""
    await page.wait_for(f"document.querySelector('#status').dataset.state === '{state}'")
    lines: list[str] = (await page.evaluate(STATUS)).splitlines()
    return [line for line in lines if line]


async def test_it_shows_that_it_is_connected(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        assert await read_status(page, "connected") == ["Connected"]
        assert page.console == []


async def test_it_says_that_it_is_empty_until_python_fills_it(browser: BrowserThread) -> None:
    hint = "getComputedStyle(document.querySelector('#root'), '::before').content"
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        assert "empty until the Python program fills it" in await page.evaluate(hint)
        async with server.open_channel("() => { document.querySelector('#root').textContent = 'Filled'; }"):
            assert await page.evaluate(hint) == "none"


async def test_it_says_why_and_what_to_do_when_the_server_has_closed(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        await server.wait_page(60)
    reason, advice = await read_status(page, "stopped")
    assert "closed" in reason
    assert advice == "Start the program again, and open the address that it gives."


async def test_it_says_why_and_what_to_do_when_another_page_is_connected(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        await browser.open(server.page_url)
        await server.wait_page(60)
        page = await browser.open(server.page_url)
        reason, advice = await read_status(page, "stopped")
    assert "another page is connected" in reason.lower()
    assert advice == "Close the other page, then reload this one."


async def test_it_says_why_and_what_to_do_without_a_token(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(server.url)
        reason, advice = await read_status(page, "stopped")
    assert "no token" in reason
    assert advice.startswith("Open the address that the program gives")


async def test_it_shows_that_a_lost_connection_is_tried_again(browser: BrowserThread) -> None:
    async with open_server(port=0) as server:
        page = await browser.open(server.page_url)
        await read_status(page, "connected")
        await page.evaluate(
            """() => {
                globalThis.shown = [];
                const status = document.querySelector('#status');
                const note = () => { shown.push(status.innerText.trim()); };
                new MutationObserver(note).observe(status, { childList: true, subtree: true });
            }"""
        )
        end_page_silently(server)
        await page.wait_for("shown.at(-1) === 'Connected'")
        assert await page.evaluate("shown[0]") == "Connection lost, trying again"

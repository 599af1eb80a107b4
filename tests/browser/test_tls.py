"""A page over TLS with a certificate of the user's own."""

import ssl

import trustme

from jchannel.trio import open_server
from tests.browser.chromium import TIMEOUT, BrowserThread

CODE = """(channel) => {
    channel.handler = {
        place: () => [location.protocol, isSecureContext],
        async count(stream) {
            let bytes = 0;
            for await (const chunk of stream) bytes += chunk.length;
            return bytes;
        },
        large: () => new Blob([new Uint8Array(500_000)]),
    };
}"""


async def test_a_page_over_https_calls_and_streams_in_both_directions(browser: BrowserThread) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    async with open_server(port=0, ssl_context=context) as server:
        page = await browser.open(server.issue_browser_url(), trusts_all=True)
        async with server.open_channel(CODE, timeout=TIMEOUT) as channel:
            assert await channel.call("place", timeout=TIMEOUT) == ["https:", True]
            assert await channel.call_with_stream("count", [bytes(500_000)], timeout=TIMEOUT) == 500_000
            stream = await channel.call("large", timeout=TIMEOUT)
            assert sum([len(chunk) async for chunk in stream]) == 500_000
            await page.reload()
            assert await channel.echo(1, timeout=TIMEOUT) == [1]
        assert page.console == []

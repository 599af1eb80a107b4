"""What stands between a notebook's page and its server: each obstacle is named where the page shows the output.

The page is none of a front end's: it has an output, as a kernel shows it, and what the test lets stand in its way.
"""

import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import trio
import trustme

from jchannel._assembly import Assembly, ServerOptions
from jchannel._core.limits import Limits
from jchannel._notebook.output import NotebookFrontend
from jchannel.trio import Server
from tests.browser.chromium import BrowserThread, PageHandle

EMPTY = "<!doctype html><link rel=icon href=data:,><body>"

LINE = "document.querySelector('[data-jchannel]').textContent"


@contextmanager
def serving(
    body: str,
    headers: Mapping[str, str] | None = None,
    *,
    frame: str = "",
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> Iterator[str]:
    """A server with a page, and one for a frame in it; the address of the first, by one of its names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in {"content-type": "text/html; charset=utf-8", **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write((frame if self.path == "/frame" else body).encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'http' if context is None else 'https'}://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def render(assembly: Assembly, *, port: int | None = None, url: str | None = None) -> str:
    """The HTML of a page with an output that connects it to a server."""
    return f"{EMPTY}{render_output(assembly, port=port, url=url)}"


def render_output(assembly: Assembly, *, port: int | None = None, url: str | None = None) -> str:
    """The HTML of such an output."""
    server = assembly.server
    frontend = NotebookFrontend(
        assembly.desk,
        host="localhost",
        port=port or urlsplit(server.url).port or 0,
        url=url,
        is_alone=lambda: True,
        count_pages=lambda: server.pages,
    )
    return frontend._render()


def make_certificate(host: str) -> ssl.SSLContext:
    """Return what serves a host over TLS, with a certificate that no browser knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(host).configure_cert(context)
    return context


@asynccontextmanager
async def kernel(*origins: str) -> AsyncIterator[Assembly]:
    # However slow the browser is.
    assembly = Assembly(ServerOptions(port=0, origins=origins, limits=Limits(claim_seconds=600)))
    async with assembly.open():
        yield assembly


async def line_of(page: PageHandle, words: str) -> str:
    """Wait until the output's line contains words, and return the line."""
    line: str = await page.wait_for(f"{LINE}.includes({words!r}) && {LINE}")
    return line


async def show(page: PageHandle, output: str) -> None:
    """Show an output in a page that has loaded, as front ends do."""
    await page.evaluate(f"void document.body.append(document.createRange().createContextualFragment({output!r}))")


async def test_a_frame_without_storage_and_locks_connects_and_says_that_it_does_not_come_back(
    browser: BrowserThread,
) -> None:
    # The origin of such a frame is nobody's.
    async with kernel("null") as assembly:
        frame = '<!doctype html><body><iframe sandbox="allow-scripts" src="/frame"></iframe>'
        with serving(frame, frame=render(assembly)) as url:
            await browser.open(url)
            code = f"(channel) => {{ channel.handler = {{line: () => {LINE}}}; }}"
            async with Server.create(assembly).open_channel(code, timeout=60) as channel:
                line = await channel.call("line", timeout=60)
    assert "connected to 127.0.0.1:" in line
    assert "The browser lets this page store nothing, so it does not come back by itself after a reload" in line


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        ("script-src 'unsafe-inline'", "script-src 'unsafe-inline' {http} {ws}; connect-src {http} {ws}"),
        ("connect-src 'self'", "connect-src 'self' {http} {ws}"),
        ("connect-src {http}", "connect-src {http} {ws}"),
    ],
    ids=["script", "request", "socket"],
)
async def test_a_policy_is_named_with_what_to_add_to_it_and_that_helps(
    browser: BrowserThread, policy: str, allowed: str
) -> None:
    async with kernel() as assembly:
        port = urlsplit(assembly.server.url).port
        sources = {"http": f"http://127.0.0.1:{port}", "ws": f"ws://127.0.0.1:{port}"}
        with serving(render(assembly), {"content-security-policy": policy.format(**sources)}) as url:
            line = await line_of(await browser.open(url), "Policy")
        assert line.startswith(("jchannel: not connected. The page's", "● jchannel: "))
        for source in sources.values():
            assert source in line
        with serving(render(assembly), {"content-security-policy": allowed.format(**sources)}) as url:
            await browser.open(url)
            await assembly.server.wait_page(60)


@pytest.mark.engines
async def test_a_page_over_https_names_a_server_that_is_plain_http(browser: BrowserThread) -> None:
    async with kernel() as assembly:
        with serving(render(assembly, url="http://192.0.2.1:8889"), context=make_certificate("127.0.0.1")) as url:
            page = await browser.open(url, trusts_all=True)
            line = await line_of(page, "over HTTPS")
    assert line.startswith("jchannel: not connected. This page came over HTTPS, and http://192.0.2.1:8889 is plain")


@pytest.mark.engines
async def test_a_page_over_https_reaches_plain_http_on_its_machine_or_says_that_the_browser_does_not_let_it(
    browser: BrowserThread, engine: str
) -> None:
    async with kernel() as assembly:
        with serving(render(assembly, url=assembly.server.url), context=make_certificate("127.0.0.1")) as url:
            page = await browser.open(url, trusts_all=True)
            if engine == "webkit":
                line = await line_of(page, "over HTTPS")
                assert f"{assembly.server.url} is plain HTTP, which this browser does not let it reach" in line
            else:
                await assembly.server.wait_page(60)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("denied", "denied. Allow it in the settings of this site"),
        ("prompt", "The browser asks whether this page may reach {server}, and has no answer yet"),
    ],
)
async def test_the_permission_for_this_machine_is_named_until_it_is_granted(
    browser: BrowserThread, setting: str, words: str
) -> None:
    host = "notebook.example"
    async with kernel() as assembly:
        server = assembly.server.url
        body, public = render(assembly, url=server), {"content-security-policy": "treat-as-public-address"}
        with serving(body, public, context=make_certificate(host), host=host) as url:
            page = await browser.open("about:blank", trusts_all=True)
            await page.set_permission(url.rstrip("/"), "loopback-network", setting)
            await page.go_to(url)
            line = await line_of(page, words.format(server=server))
            assert line.startswith("jchannel: not connected. The browser")
            await page.set_permission(url.rstrip("/"), "loopback-network", "granted")
            await page.reload()
            await assembly.server.wait_page(60)


async def test_a_page_of_another_machine_over_plain_http_says_that_it_cannot_reach_this_one(
    browser: BrowserThread,
) -> None:
    async with kernel() as assembly:
        public = {"content-security-policy": "treat-as-public-address"}
        with serving(render(assembly, url=assembly.server.url), public, host="notebook.example") as url:
            line = await line_of(await browser.open(url), "plain HTTP")
    assert line.startswith("jchannel: not connected. This page came from another machine over plain HTTP")


@pytest.mark.engines
async def test_a_server_that_does_not_read_is_named(browser: BrowserThread) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        async with kernel() as assembly:
            with serving(EMPTY) as url:
                page = await browser.open(url)
                await show(page, render_output(assembly, port=deaf.getsockname()[1]))
                await line_of(page, "the server does not answer so far: its kernel is stopped")


#: True when the page has collected its garbage: what is asked for again and again makes some.
COLLECTED = """
(window.lost ??= new WeakRef({}), Array.from({length: 100}, () => new Array(9_999).fill(0)), lost.deref() === undefined)
"""


@pytest.mark.engines
async def test_an_output_connects_when_garbage_was_collected_while_its_script_loaded(browser: BrowserThread) -> None:
    with trio.socket.socket() as slow:
        await slow.bind(("127.0.0.1", 0))
        slow.listen()
        async with kernel() as assembly, trio.open_nursery() as nursery:

            async def forward(near: trio.abc.Stream) -> None:
                far = await trio.open_tcp_stream("127.0.0.1", urlsplit(assembly.server.url).port or 0)
                async with near, far, trio.open_nursery() as ways:
                    ways.start_soon(pump, near, far)
                    ways.start_soon(pump, far, near)

            with serving(EMPTY) as url:
                page = await browser.open(url)
                await show(page, render_output(assembly, port=slow.getsockname()[1]))
                await page.wait_for(COLLECTED)
                nursery.start_soon(trio.serve_listeners, forward, [trio.SocketListener(slow)])
                await line_of(page, "connected to 127.0.0.1:")
                nursery.cancel_scope.cancel()


async def pump(near: trio.abc.Stream, far: trio.abc.Stream) -> None:
    """Send on what comes, to the end of either."""
    with suppress(trio.BrokenResourceError):
        async for data in near:
            await far.send_all(data)

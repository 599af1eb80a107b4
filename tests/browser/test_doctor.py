"""The causes that only a browser can tell, each brought about in real Chromium."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trustme

from jchannel._doctor.browser import PAGE, examine_browser
from jchannel._doctor.findings import Cause, State
from jchannel.trio import Server, open_peer, open_server
from tests.browser.chromium import BrowserThread, PageHandle

#: The name of another machine, which is this one.
HUB = "hub.example.com"

POLICY = "default-src 'none'; script-src 'self'; connect-src 'none'"


def make_context(name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert(name).configure_cert(context)
    return context


async def examine(page: PageHandle, url: str) -> Any:
    found = await page.evaluate(f"jchannelDoctor.examine('{url}')")
    return found["cause"]


async def test_a_page_names_what_keeps_it_from_a_server(browser: BrowserThread, tmp_path: Path) -> None:
    script = (PAGE / "doctor.js").read_text()
    (tmp_path / "doctor.js").write_text(script)
    (tmp_path / "index.html").write_text("<!doctype html><script src='doctor.js'></script>")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    (tmp_path / "strict.html").write_text(f"<!doctype html>{meta}<script src='doctor.js'></script>")
    async with open_server(port=0, static=tmp_path) as pages, open_server(port=0) as server:
        page = await browser.open(pages.url)
        assert await examine(page, server.page_url) == Cause.NO_PAGE
        assert await examine(page, f"{server.url}/#jchannel=another") == Cause.TOKEN
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))  # It does not listen.
            address = f"http://127.0.0.1:{silent.getsockname()[1]}/#jchannel=x"
            assert await examine(page, address) == Cause.REFUSED_PORT
        async with open_peer(server.page_url):
            assert await examine(page, server.page_url) == Cause.TAKEN
        strict = await browser.open(f"{pages.url}/strict.html")
        assert await examine(strict, server.page_url) == Cause.POLICY
    async with open_server(port=0, static=tmp_path, ssl_context=make_context("localhost")) as pages:
        secure = await browser.open(pages.url, trusts_all=True)
        assert await examine(secure, "http://192.0.2.1:8889/#jchannel=x") == Cause.MIXED_CONTENT


async def test_the_page_of_the_doctor_looks_at_its_browser_and_a_server(browser: BrowserThread) -> None:
    opened: list[PageHandle] = []
    async with open_server(port=0) as server, trio.open_nursery() as nursery:

        async def open_page(doctor: Server) -> None:
            opened.append(await browser.open(doctor.page_url))

        found = await examine_browser(
            server.page_url,
            seconds=20,
            opens_browser=False,
            announce=lambda doctor: nursery.start_soon(open_page, doctor),
        )
    assert [finding.state for finding in found[:-1]] == [State.OK] * 6
    assert (found[-1].state, found[-1].cause) == (State.NOTE, Cause.NO_PAGE)
    assert await opened[0].evaluate("document.querySelectorAll('#found li').length") == 7


async def test_a_page_of_another_machine_is_not_let_to_a_server_of_this_one() -> None:
    page = b"<!doctype html><link rel=icon href=data:,><script>" + (PAGE / "doctor.js").read_bytes() + b"</script>"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(page)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if await stream.receive_some():  # A browser opens connections in advance, too.
                await stream.send_all(head + page)

    async with open_server(port=0) as server, trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        flags = [f"--host-resolver-rules=MAP {HUB} 127.0.0.1", f"--ip-address-space-overrides=127.0.0.1:{port}=public"]
        with BrowserThread(flags=flags) as browser:
            there = await browser.open(f"http://{HUB}:{port}/")
            assert await examine(there, server.page_url) == Cause.LOCAL_NETWORK
        nursery.cancel_scope.cancel()

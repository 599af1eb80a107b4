"""The pages of an application's own folder, as real Chromium reads them with the client in them."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jchannel._page.markup import insert_script
from jchannel.trio import Server, open_server
from tests.browser.chromium import BrowserThread, PageHandle

CONNECTED = "globalThis.jchannel?.client.state === 'connected'"


@asynccontextmanager
async def opened(
    browser: BrowserThread, folder: Path, page: bytes, path: str = "/page.html"
) -> AsyncIterator[tuple[Server, PageHandle]]:
    """A server of a folder, and a page of it in the browser, connected."""
    target = folder / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(page)
    (folder / "favicon.ico").touch()
    async with open_server(port=0, static=folder) as server:
        handle = await browser.open(server.page_url.replace("/#", f"{path}#"))
        await handle.wait_for(CONNECTED)
        yield server, handle


# Its modes


@pytest.mark.parametrize(
    "page",
    [
        b"<!doctype html>\n<title>x</title><p>x",
        b"\xef\xbb\xbf<!doctype html><p>x",
        b"<!-- <head> --><!DOCTYPE html><html><head></head><p>x",
        b"<!-- > --!><!doctype html><!-- <head> --><p>x",
        b'<?xml version="1.0"?><!DOCTYPE html><html><body><p>x',
        "\ufeff<!doctype html><p>x".encode("utf-16-le"),
    ],
)
async def test_a_page_with_a_doctype_has_no_quirks_and_a_client(
    browser: BrowserThread, tmp_path: Path, page: bytes
) -> None:
    async with opened(browser, tmp_path, page) as (_, handle):
        assert await handle.evaluate("document.compatMode") == "CSS1Compat"
        assert await handle.evaluate("document.querySelectorAll('script').length") == 1
        assert await handle.evaluate("document.querySelector('p').textContent") == "x"


PIECES = (
    r"""
<!doctype html>|<!DOCTYPE html PUBLIC "a>b">|<html>|<html lang="a>b" class='c'>|<head>|<head data-x='<head>'>|</head>
|<body>|<body id=b>|<!-- <head> -->|<!-->|<!--->|<!-- x --!>|<!x>|<?php y ?>|</p>|</>|</ x>|</html>|</br>| |\n|text
|&amp;|<|<3|</head|<head|<title>|</title>|<head/>|<header>|<script>1</script>|<style>a{}</style>|<template>|</template>
|<meta charset=utf-8>|<base href=/x/>|<frameset>|<svg>|<table>|"|'|=|>|<html a=>|<html =b>|<html a="|<textarea>|<p>|\x0c
|<plaintext>
""".replace("\n", "")
    .replace(r"\n", "\n")
    .replace(r"\x0c", "\f")
    .split("|")
)

DIFFERENCES = """
(pages) => pages.filter(([before, after]) => {
    const [was, is] = [before, after].map((text) => new DOMParser().parseFromString(text, 'text/html'));
    const scripts = is.querySelectorAll('script[src="jchannel/inject.js"]');
    const alone = scripts.length === 1 && scripts[0].parentNode === is.head && scripts[0].previousSibling === null;
    scripts.forEach((script) => script.remove());
    const show = ({compatMode, childNodes}) =>
        JSON.stringify([compatMode, ...Array.from(childNodes, (node) => node.outerHTML ?? node.nodeName + node.data)]);
    return !alone || show(was) !== show(is);
})
"""


async def test_a_browser_reads_every_page_as_it_was_with_the_script_first_in_its_head(browser: BrowserThread) -> None:
    # Whatever is put together of these pieces. An endless comment is none of them: it comes to stand behind the script.
    pick = random.Random(12)  # noqa: S311 (the same pages in each run)
    pages = []
    for _ in range(3_000):
        page = "".join(pick.choices(PIECES, k=pick.randint(0, 9)))
        pages.append([page, insert_script(page.encode(), "jchannel/inject.js").decode()])
    handle = await browser.open("about:blank")
    assert await handle.evaluate(f"({DIFFERENCES})({json.dumps(pages)})") == []


# Its encoding


@pytest.mark.parametrize(
    ("codec", "before"),
    [
        ("utf-8", "<!doctype html>"),
        ("utf-8-sig", "<!doctype html>"),
        ("utf-16", "<!doctype html>"),
        ("cp1252", "<!doctype html><meta charset=windows-1252>"),
        ("cp1252", "<!doctype html><head><!-- " + "x" * 1000 + " --><meta charset=windows-1252>"),
        ("latin-1", "<!doctype html><meta http-equiv=Content-Type content='text/html; charset=iso-8859-1'>"),
        ("latin-1", '<?xml version="1.0" encoding="iso-8859-1"?><!doctype html>'),
    ],
)
async def test_a_page_is_read_in_its_own_encoding(
    browser: BrowserThread, tmp_path: Path, codec: str, before: str
) -> None:
    page = f"{before}<p title='größer'>Grüße"
    async with opened(browser, tmp_path, page.encode(codec)) as (_, handle):
        assert await handle.evaluate("document.querySelector('p').textContent") == "Grüße"
        assert await handle.evaluate("document.querySelector('p').title") == "größer"


async def test_the_scripts_and_styles_of_a_page_in_another_encoding_are_read_in_that(
    browser: BrowserThread, tmp_path: Path
) -> None:
    (tmp_path / "app.js").write_bytes("window.word = 'Grüße';".encode("latin-1"))
    (tmp_path / "app.css").write_bytes("p::before { content: 'Grüße'; }".encode("latin-1"))
    page = b"<!doctype html><meta charset=latin1><script src=app.js></script><link rel=stylesheet href=app.css><p>"
    async with opened(browser, tmp_path, page) as (_, handle):
        assert await handle.evaluate("window.word") == "Grüße"
        assert await handle.evaluate("getComputedStyle(document.querySelector('p'), '::before').content") == '"Grüße"'


# Its scripts


async def test_a_script_that_mentions_the_client_runs_as_it_was_written(browser: BrowserThread, tmp_path: Path) -> None:
    page = b"""<!doctype html><title>x</title><script>
        window.text = '<head> <script src="jchannel/inject.js"> and jchannel/jchannel.js';  // <head>
    </script><!-- jchannel/inject.js -->"""
    async with opened(browser, tmp_path, page) as (_, handle):
        expected = '<head> <script src="jchannel/inject.js"> and jchannel/jchannel.js'
        assert await handle.evaluate("window.text") == expected
        assert handle.console == []


async def test_a_part_of_a_page_that_a_script_fetches_has_no_script_in_it(
    browser: BrowserThread, tmp_path: Path
) -> None:
    (tmp_path / "part.html").write_text("<p>part</p>")
    async with opened(browser, tmp_path, b"<!doctype html>") as (server, handle):
        assert await handle.evaluate("fetch('part.html').then((part) => part.text())") == "<p>part</p>"
        # What the browser keeps of it is no page with a client, and the other way round.
        part = await browser.open(f"{server.url}/part.html")
        assert await part.evaluate("jchannel.client.state") == "stopped"


# Its address


@pytest.mark.parametrize("path", ["//page.html", "//docs//page.html", "/docs/page.html"])
async def test_a_page_at_any_path_takes_its_token_out_of_the_address(
    browser: BrowserThread, tmp_path: Path, path: str
) -> None:
    async with opened(browser, tmp_path, b"<!doctype html>", path) as (server, handle):
        assert await handle.evaluate("location.href") == server.url + path
        assert handle.console == []


async def test_a_page_with_a_base_of_another_host_takes_its_token_out_of_the_address(
    browser: BrowserThread, tmp_path: Path
) -> None:
    page = b"<!doctype html><base href='http://localhost:1/x/'><script src='http://localhost:1/x.js'></script>"
    async with opened(browser, tmp_path, page) as (server, handle):
        assert await handle.evaluate("location.href") == f"{server.url}/page.html"


async def test_the_address_for_a_browser_s_command_leads_to_the_page_of_an_application_and_connects_it(
    browser: BrowserThread, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>own</title>")
    async with open_server(port=0, static=tmp_path) as server:
        url = server.issue_browser_url()
        handle = await browser.open(url)
        await handle.wait_for("jchannel.client.state === 'connected'")
        assert await handle.evaluate("[location.href, document.title]") == [f"{server.url}/", "own"]
        again = await browser.open(url)
        assert "works only once" in await again.evaluate("document.body.textContent")

"""A server's own page in a headless Chromium, of which a shell script takes the part."""

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import jchannel
import jchannel.sync
from jchannel._assembly import Assembly, ServerOptions
from jchannel._page import headless
from jchannel._page.headless import HeadlessPage
from jchannel.errors import StateError
from jchannel.trio import open_peer, open_server

STAYS = "cat <&3 >closing"
"""It stays until it is told to end."""


@pytest.fixture
def write_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the program that is found as Chromium. It notes what it is told to show, and where its profile is."""
    script = tmp_path / "browser"
    monkeypatch.setattr(headless, "find_chromium", lambda: script)

    def write(program: str) -> None:
        script.write_text(f'#!/bin/sh\ncd "{tmp_path}"\nprintf "%s\\n" "$@" > arguments\n{program}\n')
        script.chmod(0o755)

    return write


def profile(tmp_path: Path) -> Path:
    arguments = (tmp_path / "arguments").read_text().splitlines()
    return Path(next(word.partition("=")[2] for word in arguments if word.startswith("--user-data-dir=")))


@asynccontextmanager
async def opened() -> AsyncIterator[Assembly]:
    """A server whose headless page is connected: a peer takes its part."""
    assembly = Assembly(ServerOptions(port=0))
    async with assembly.open(), trio.open_nursery() as nursery:
        nursery.start_soon(HeadlessPage().open, assembly.server, "http://localhost/page")
        async with open_peer(assembly.server.page_url):
            yield assembly


async def test_chromium_shows_the_page_and_ends_with_the_server(
    tmp_path: Path, write_browser: Callable[[str], None]
) -> None:
    fifo = tmp_path / "begun"
    os.mkfifo(fifo)
    write_browser(f"echo >begun; {STAYS}")

    async with opened():
        await trio.to_thread.run_sync(fifo.read_bytes)
        arguments = (tmp_path / "arguments").read_text().splitlines()
        assert {"--headless", "--remote-debugging-pipe"} < set(arguments)
        assert arguments[-1] == "http://localhost/page"
        assert profile(tmp_path).is_dir()

    assert (tmp_path / "closing").read_bytes() == b'{"id":1,"method":"Browser.close"}\0'
    assert not profile(tmp_path).exists()


async def test_chromium_that_does_not_end_is_killed(
    tmp_path: Path, write_browser: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headless, "_CLOSE_SECONDS", 0)
    fifo = tmp_path / "begun"
    os.mkfifo(fifo)
    write_browser("exec sleep 1000 >begun")

    async with opened():
        begun = await trio.to_thread.run_sync(fifo.open, "rb")

    with begun:
        assert begun.read() == b""  # It ends with the browser.
    assert not profile(tmp_path).exists()


async def test_chromium_that_ends_at_once_is_an_error_with_its_last_words(
    tmp_path: Path, write_browser: Callable[[str], None]
) -> None:
    write_browser("echo No usable sandbox >&2; exit 3")

    with pytest.raises(StateError, match=r"^the headless .*/browser ended with the status 3: No usable sandbox$"):
        async with open_server(port=0, page="headless"):
            pytest.fail("it is open")
    assert not profile(tmp_path).exists()


async def test_chromium_that_ends_later_is_named_by_whoever_waits_for_a_page(
    write_browser: Callable[[str], None], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "end")
    write_browser("read line <end; echo crashed >&2; exit 4")

    with caplog.at_level(logging.WARNING, "jchannel"):
        async with opened() as assembly:
            await trio.to_thread.run_sync((tmp_path / "end").write_text, "now\n")
            while "status 4: crashed" not in assembly.server.advice:
                await trio.lowlevel.checkpoint()
    assert "is gone: the headless" in caplog.text


async def test_chromium_that_cannot_be_started_leaves_no_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write_browser: Callable[[str], None]
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise PermissionError("no processes")

    monkeypatch.setattr(trio.lowlevel, "open_process", fail)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    (tmp_path / "jchannel-page-").mkdir()

    with pytest.raises(PermissionError, match="no processes"):
        async with open_server(port=0, page="headless"):
            pytest.fail("it is open")
    assert not (tmp_path / "jchannel-page-").exists()


async def test_without_chromium_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headless, "find_chromium", lambda: None)

    with pytest.raises(FileNotFoundError, match=r'^page="headless" needs Chromium or Chrome, .* install'):
        async with open_server(port=0, page="headless"):
            pytest.fail("it is open")


async def test_windows_has_no_headless_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(OSError, match="use open_browser=True here"):
        HeadlessPage()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"page": "window"}, "page must be 'headless', or nothing for no page of the server's own, and not 'window'"),
        ({"page": "headless", "open_browser": True}, 'either open_browser=True or page="headless"'),
    ],
)
async def test_a_page_that_is_none_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        async with open_server(port=0, **options):
            pytest.fail("it is open")


def test_the_environment_can_give_the_facades_servers_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headless, "find_chromium", lambda: None)
    monkeypatch.setenv("JCHANNEL_PAGE", "headless")

    async def program() -> None:
        await jchannel.start(port=0)

    with pytest.raises(FileNotFoundError, match="needs Chromium"):
        asyncio.run(program())
    with pytest.raises(FileNotFoundError, match="needs Chromium"):
        jchannel.sync.start(port=0)
    monkeypatch.setenv("JCHANNEL_PAGE", "")
    jchannel.sync.start(port=0).stop()
    monkeypatch.setenv("JCHANNEL_PAGE", "window")
    with pytest.raises(ValueError, match="JCHANNEL_PAGE in the environment must be 'headless'"):
        jchannel.sync.start(port=0)

"""Running a browser, of which a shell script takes the part."""

import os
from pathlib import Path

import pytest
import trio

from jchannel.demo.chromium import BrowserError, run_chromium


def write_browser(folder: Path, program: str) -> str:
    """Write a shell script, and return its path."""
    script = folder / "browser"
    script.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    script.chmod(0o755)
    return str(script)


async def test_it_is_told_what_to_show_and_where_to_save_it(tmp_path: Path) -> None:
    browser = write_browser(tmp_path, f'printf "%s\\n" "$@" > "{tmp_path}/arguments"')
    await run_chromium(browser, "http://localhost/", tmp_path / "shot.png")
    arguments = (tmp_path / "arguments").read_text(encoding="utf-8").splitlines()
    assert {"--headless", f"--screenshot={tmp_path}/shot.png"} < set(arguments)
    assert arguments[-1] == "http://localhost/"
    profile = next(argument for argument in arguments if argument.startswith("--user-data-dir="))
    assert not await trio.Path(profile.partition("=")[2]).exists()


async def test_a_browser_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    browser = write_browser(tmp_path, "echo first >&2; echo a >&2; echo b >&2; echo out of memory >&2; exit 3")
    with pytest.raises(BrowserError, match=r"/browser ended with the status 3: a b out of memory$"):
        await run_chromium(browser, "http://localhost/", tmp_path / "shot.png")


async def test_a_browser_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        await run_chromium(str(tmp_path / "nothing"), "http://localhost/", tmp_path / "shot.png")


async def test_cancelling_it_ends_the_browser(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    browser = write_browser(tmp_path, f'exec sleep 1000 > "{fifo}"')
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_chromium, browser, "http://localhost/", tmp_path / "shot.png")
        end = await trio.to_thread.run_sync(fifo.open, "rb")  # It waits until the browser has opened it, too.
        nursery.cancel_scope.cancel()
    with end:
        assert end.read() == b""  # It ends with the browser.

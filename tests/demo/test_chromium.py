"""A headless browser for the time of a block. The fake one fails as no real one can be made to."""

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from jchannel.demo import chromium
from jchannel.demo.chromium import open_chromium
from jchannel.demo.devtools import BrowserError
from jchannel.errors import PageLostError

MakeBrowser = Callable[[str], Path]


@pytest.fixture(autouse=True)
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the browsers' profiles are in."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def go_to(browser: Path, then: Callable[[], Awaitable[None]] = trio.sleep_forever) -> None:
    """Opens a page in a browser, and does something then."""
    async with open_chromium(browser) as page:
        await page.go_to("http://localhost:1/")
        await then()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For browsers that never end by themselves: they are given up at once."""
    monkeypatch.setattr(chromium, "CLOSE_SECONDS", 0.01)


async def test_it_opens_a_page_and_takes_a_screenshot(make_browser: MakeBrowser) -> None:
    async with open_chromium(make_browser("")) as page:
        assert page.product == "Fake 1.2"
        await page.go_to("http://localhost:1/")
        assert await page.take_screenshot() == b"PNG"


async def test_its_profile_is_there_in_the_block_and_gone_after_it(make_browser: MakeBrowser, profiles: Path) -> None:
    async with open_chromium(make_browser("")):
        assert len(names_in(profiles)) == 1
    assert names_in(profiles) == []


@pytest.mark.parametrize(("user", "sandbox"), [(0, False), (1000, True)])
async def test_it_has_a_sandbox_unless_its_user_is_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, *, sandbox: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    script = tmp_path / "browser"
    script.write_text('#!/bin/sh\necho "$@" >&2\n', encoding="utf-8")
    script.chmod(0o755)
    with pytest.raises(BrowserError) as caught:
        async with open_chromium(script):
            pytest.fail("there is no browser")
    assert ("--no-sandbox" not in str(caught.value)) is sandbox


async def test_a_browser_that_cannot_start_is_an_error_with_its_last_words(make_browser: MakeBrowser) -> None:
    with pytest.raises(BrowserError) as caught:
        async with open_chromium(make_browser("out of memory")):
            pytest.fail("there is no browser")
    assert str(caught.value) == (
        "the browser ended with the status 3; its error output ends with\n    the fake browser is out of memory"
    )


async def test_a_browser_that_dies_without_words_is_an_error_with_its_status(make_browser: MakeBrowser) -> None:
    with pytest.raises(BrowserError, match=r"^the browser ended with the status 4$"):
        async with open_chromium(make_browser("silent death")):
            pytest.fail("there is no browser")


async def test_a_browser_that_dies_in_the_block_ends_it(make_browser: MakeBrowser, profiles: Path) -> None:
    with pytest.raises(BrowserError, match="was ended by the signal SIGABRT"):
        await go_to(make_browser("late death"))
    assert names_in(profiles) == []


async def test_a_lost_page_is_blamed_on_the_death_of_its_browser(
    make_browser: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose_page() -> None:
        raise PageLostError("the page is gone")

    monkeypatch.setattr(chromium, "DEATH_SECONDS", 1_000)
    with pytest.raises(BrowserError, match="SIGABRT"):
        await go_to(make_browser("late death"), lose_page)


async def test_a_page_that_a_living_browser_loses_stays_lost(
    make_browser: MakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chromium, "DEATH_SECONDS", 0)
    with pytest.raises(PageLostError, match="the page is gone"):
        async with open_chromium(make_browser("")):
            raise PageLostError("the page is gone")


async def test_a_page_that_crashes_is_an_error(make_browser: MakeBrowser) -> None:
    with pytest.raises(BrowserError, match="the page crashed"):
        async with open_chromium(make_browser("crash")) as page:
            await page.go_to("http://localhost:1/")


async def test_an_address_that_cannot_be_opened_is_an_error(make_browser: MakeBrowser) -> None:
    with pytest.raises(BrowserError, match="could not open the page: net::ERR_CONNECTION_REFUSED"):
        async with open_chromium(make_browser("unreachable")) as page:
            await page.go_to("http://localhost:1/")


async def test_a_refused_screenshot_is_an_error(make_browser: MakeBrowser) -> None:
    with pytest.raises(BrowserError, match=r"refused Page\.captureScreenshot: no picture today"):
        async with open_chromium(make_browser("refuses")) as page:
            await page.take_screenshot()


async def test_a_program_that_is_no_browser_is_an_error(make_browser: MakeBrowser) -> None:
    with pytest.raises(BrowserError, match="does not speak the DevTools protocol"):
        async with open_chromium(make_browser("garbage")):
            pytest.fail("there is no browser")


@pytest.mark.usefixtures("impatient")
async def test_a_browser_that_does_not_close_itself_is_killed(make_browser: MakeBrowser, profiles: Path) -> None:
    async with open_chromium(make_browser("stays")):
        pass
    assert names_in(profiles) == []


@pytest.mark.usefixtures("impatient")
async def test_a_browser_that_hangs_up_and_lives_on_is_an_error_and_killed(make_browser: MakeBrowser) -> None:
    with pytest.raises(BrowserError, match="closed its connection"):
        async with open_chromium(make_browser("hangs up")):
            pytest.fail("there is no browser")


@pytest.mark.usefixtures("impatient")
async def test_a_browser_that_does_not_answer_is_closed_when_the_block_is_cancelled(
    make_browser: MakeBrowser, profiles: Path
) -> None:
    with trio.move_on_after(0.01) as scope:
        async with open_chromium(make_browser("deaf")):
            pytest.fail("there is no answer")
    assert scope.cancelled_caught
    assert names_in(profiles) == []


def test_a_snap_gets_a_profile_where_it_can_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    snap = tmp_path / "snap-tool" / "snap"
    snap.parent.mkdir()
    snap.touch()
    command = tmp_path / "chromium"
    command.symlink_to(snap)
    folder = chromium._profile_parent(command)
    assert folder == tmp_path / "snap" / "chromium" / "common"
    assert folder.is_dir()

"""What a real Chromium writes into the profile of its user, and what other users see of its command.

It takes some seconds: nothing else than a Chromium with a profile of its own, which has ended, shows it.
"""

import contextlib
import shutil
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, async_playwright

import jchannel
import jchannel.sync
from jchannel._core.stream import Stream
from jchannel._core.stream_registry import StreamRegistry
from tests.browser.chromium import FLAGS, TIMEOUT
from tests.browser.loop_thread import LoopThread

CODE = """(channel) => {
    channel.handler = {
        async count(stream) {
            let bytes = 0;
            for await (const chunk of stream) bytes += chunk.length;
            return bytes;
        },
        large() { return new Blob([new Uint8Array(1e6)]); },
    };
}"""

#: The session storage of the tab: nothing else brings a page back after a reload, and Chromium keeps it in a file.
SESSION_STORAGE = Path("Default", "Session Storage")


@contextlib.asynccontextmanager
async def run_with_profile(profile: Path) -> AsyncGenerator[BrowserContext]:
    executable = shutil.which("chromium")
    assert executable is not None
    async with async_playwright() as playwright:
        async with await playwright.chromium.launch_persistent_context(
            profile, executable_path=executable, args=FLAGS
        ) as context:
            yield context


def find_in_files(folder: Path, secret: str) -> set[Path]:
    """The files that contain a text, in one of the encodings that Chromium writes."""
    forms = [secret.encode(), secret.encode("utf-16-le")]
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path.relative_to(folder) for path in files if any(form in path.read_bytes() for form in forms)}


def commands() -> str:
    """The commands of all processes of the machine, as every user of it can read them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # It has ended.
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(found)


def test_the_profile_has_no_token_and_no_ticket_of_a_stream_outside_of_the_session_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets: list[str] = []
    issue_ticket = StreamRegistry.issue_ticket

    def remember(registry: StreamRegistry, stream: Stream) -> str:
        tickets.append(issue_ticket(registry, stream))
        return tickets[-1]

    monkeypatch.setattr(StreamRegistry, "issue_ticket", remember)
    chromium = LoopThread(partial(run_with_profile, tmp_path), name="chromium", timeout=TIMEOUT)
    with jchannel.sync.start(port=0) as server:
        url = server.issue_browser_url()
        context = chromium.start()
        try:
            page = chromium.wait_blocking(context.new_page())
            chromium.wait_blocking(page.goto(url))
            with server.open(CODE, TIMEOUT) as channel:
                assert channel.call_with_stream("count", [bytes(500_000), bytes(500_000)], timeout=TIMEOUT) == 1_000_000
                assert sum(map(len, channel.call("large", timeout=TIMEOUT))) == 1_000_000
                chromium.wait_blocking(page.reload())
                assert channel.call_with_stream("count", [b"again"], timeout=TIMEOUT) == 5
            assert server.token not in commands()
            assert page.url == f"{server.url}/"
        finally:
            chromium.stop()
        token = server.token
    assert len(tickets) >= 2
    # What was opened is in the history, so this looks at the right place: the address that is worth nothing any more.
    assert Path("Default", "History") in find_in_files(tmp_path, url)
    assert {path.parent for path in find_in_files(tmp_path, token)} <= {SESSION_STORAGE}
    for ticket in tickets:
        assert find_in_files(tmp_path, str(ticket)) == set()

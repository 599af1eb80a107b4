"""A page without a window: a headless Chromium that shows the server's page, and ends with the server.

Chromium is told to listen to a pipe. When that closes it ends, also where this process was killed and could end
nothing. The shell between the two makes a pipe of its own input, and deletes the profile when Chromium has ended.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from jchannel._core.server import Server
from jchannel._guarded import log
from jchannel._page.chromium import find_chromium, headless_flags, how_to_install
from jchannel.errors import StateError

__all__ = ["HeadlessPage"]

#: How long the page may take to connect, in seconds.
_OPEN_SECONDS: Final = 60

#: How long Chromium may take to end when it is told to, in seconds, before it is killed.
_CLOSE_SECONDS: Final = 5

#: The first parameter is the profile, the others are the command. Chromium reads what it is told from descriptor 3.
_SHELL: Final = 'profile=$1; shift; "$@" 3<&0 4>/dev/null </dev/null; status=$?; rm -rf -- "$profile"; exit $status'

#: What makes Chromium end, as its developer tools say it.
_CLOSE: Final = b'{"id":1,"method":"Browser.close"}\0'

_MAX_WORDS: Final = 500


class HeadlessPage:
    """The headless Chromium of one server.

    Raises:
        OSError: There is no Chromium, and the message says how to install one; or this is Windows.
    """

    def __init__(self) -> None:
        if sys.platform == "win32":
            raise OSError('page="headless" is for Linux and macOS: use open_browser=True here')
        executable = find_chromium()
        if executable is None:
            raise FileNotFoundError(
                f'page="headless" needs Chromium or Chrome, and none is found here: {how_to_install()} installs one'
            )
        self._executable = str(executable)
        self._why_ended = ""
        self._opening = trio.CancelScope()

    async def open(self, server: Server, url: str) -> None:
        """Let Chromium show the server's page, as long as the server is open, and wait until it is connected.

        Args:
            server: The server, which is open.
            url: What Chromium opens. Other users of the machine can read it.

        Raises:
            StateError: Chromium has ended before it was connected. The message ends with what it said.
            OSError: It could not be started.
            trio.TooSlowError: It did not connect within a minute.

        Cancelling it does nothing else: Chromium ends with the server.
        """
        server.start_soon(self._run, server, url)
        with self._opening:
            await server.wait_page(_OPEN_SECONDS)
            return
        raise StateError(self._why_ended)

    async def _run(self, server: Server, url: str) -> None:
        """Run Chromium until it ends. Cancelling it ends Chromium, waits for that, and deletes its profile."""
        profile = tempfile.mkdtemp(prefix="jchannel-page-")
        flags = (*headless_flags(), "--remote-debugging-pipe", f"--user-data-dir={profile}")
        try:
            process = await trio.lowlevel.open_process(
                ["/bin/sh", "-c", _SHELL, "sh", profile, self._executable, *flags, url],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl+C reaches Python alone, which then ends Chromium.
            )
            try:
                words = await _watch(process)
            finally:
                await _end(process)
        finally:
            with trio.CancelScope(shield=True):
                # Where the shell has not come to it.
                await server.streams.threads.run_short(partial(shutil.rmtree, profile, ignore_errors=True))
        self._why_ended = f"the headless {self._executable} ended with the status {process.returncode}: {words}"
        self._opening.cancel()
        server.advice = self._why_ended
        log(logging.WARNING, "the page of the server at %s is gone: %s", server.url, self._why_ended)


async def _watch(process: trio.Process) -> str:
    """Wait until a process has ended, and return the last of what it said. Cancelling it leaves the process alone."""
    assert process.stderr is not None
    words = b""
    async for chunk in process.stderr:
        words = (words + chunk)[-_MAX_WORDS:]
    await process.wait()
    return " ".join(words.decode(errors="replace").split())


async def _end(process: trio.Process) -> None:
    """Let Chromium end, and wait until it has ended, whoever cancels that. One that does not end is killed."""
    assert process.stdin is not None
    assert process.stderr is not None
    with trio.CancelScope(shield=True):
        with trio.move_on_after(_CLOSE_SECONDS):
            with suppress(trio.BrokenResourceError):
                # A forked process may have the pipe, too.
                await process.stdin.send_all(_CLOSE)
            await process.stdin.aclose()
            await process.wait()
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await process.stderr.aclose()

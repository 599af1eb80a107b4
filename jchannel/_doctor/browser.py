"""Letting a browser look: a page of the doctor's own says what the browser can do, and whether it reaches a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from jchannel._doctor.findings import Cause, Finding, State, Subject
from jchannel._guarded import text_of
from jchannel.errors import FrontendError, StateError
from jchannel.trio import Server, open_server

__all__ = ["PAGE", "WAIT_SECONDS", "examine_browser", "read_script"]

#: The folder of the page. ``doctor.js`` is built.
PAGE: Final = Path(__file__).parent / "page"

#: How long a browser may take to open the page, in seconds.
WAIT_SECONDS: Final = 60.0

#: How long the page may look, in seconds: it waits twice for a server that does not answer.
_LOOK_SECONDS: Final = 30.0

_ADVICE: Final = (
    "open the address that was printed (where the browser is on another machine, forward the port). A page that was "
    "opened and did not connect shows why in the browser's console"
)


def read_script() -> str:
    """Return the script that makes any page say why it does not connect."""
    return (PAGE / "doctor.js").read_text(encoding="utf-8")


async def examine_browser(
    target: str | None, *, seconds: float, opens_browser: bool, announce: Callable[[Server], object]
) -> list[Finding]:
    """Serve the page, wait until a browser has opened it, and return what it finds. Cancelling it ends the server.

    Args:
        target: The page URL of a server that the page is to look at, or ``None``.
        seconds: How long to wait for the browser.
        opens_browser: Whether to open the page in the user's browser.
        announce: Called with the server when it listens.
    """
    try:
        async with open_server(port=0, static=PAGE, open_browser=opens_browser) as server:
            announce(server)
            try:
                await server.wait_page(seconds)
            except trio.TooSlowError:
                text = f"no browser has opened the doctor's page within {seconds:g} s: {_ADVICE}"
                return [Finding(Subject.BROWSER, State.PROBLEM, text, Cause.NO_PAGE)]
            async with server.open_channel(module="./channel.js", timeout=_LOOK_SECONDS) as channel:
                found = await channel.call("examine", target, timeout=_LOOK_SECONDS)
    except (FrontendError, StateError, OSError, trio.TooSlowError) as error:
        return [
            Finding(Subject.BROWSER, State.PROBLEM, f"the doctor's page failed: {text_of(error)}", Cause.UNREACHABLE)
        ]
    return [_read(entry) for entry in found]


def _read(entry: dict[str, Any]) -> Finding:
    cause = entry["cause"]
    return Finding(Subject.BROWSER, State(entry["state"]), entry["text"], None if cause is None else Cause(cause))

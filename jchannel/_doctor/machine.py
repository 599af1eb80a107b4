"""Looking at the machine: the parts of the package, a server and a client in it, the port, proxies and the browser."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Final

import trio

from jchannel._core.addresses import DEFAULT_PORT, open_listeners
from jchannel._core.nursery import aclose_now
from jchannel._doctor.findings import Cause, Finding, State, Subject
from jchannel._guarded import name_of, text_of
from jchannel._page.chromium import find_chromium, how_to_install
from jchannel.demo.surroundings import can_show_window
from jchannel.errors import StateError
from jchannel.trio import open_peer, open_server

__all__ = ["examine_machine"]

_NAME: Final = re.compile(r"[\w.-]+")

#: What belongs to the optional parts, and what it is for.
_OPTIONAL: Final = {
    "numpy": "arrays",
    "tqdm": "jchannel.tqdm_progress",
    "jupyter-server-proxy": "notebooks of another machine",
    "ipykernel": "notebooks",
}

#: How long the calls of the trial may take, in seconds.
_TRIAL_SECONDS: Final = 5.0

_CODE: Final = "() => {}"


async def examine_machine() -> list[Finding]:
    """Look at the machine. Cancelling it ends the trial."""
    return [
        *_examine_packages(importlib.metadata.version),
        await _try_server("localhost"),
        await _look_at_port(DEFAULT_PORT),
        *_examine_proxies(urllib.request.getproxies(), urllib.request.proxy_bypass),
        _look_for_browser(os.environ),
    ]


def _examine_packages(version: Callable[[str], str]) -> list[Finding]:
    here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    found = [_ok(f"jchannel {version('jchannel')}, {here}")]
    present, missing = [], []
    requirements = [text for text in importlib.metadata.requires("jchannel") or () if "extra ==" not in text]
    names = [match[0] for match in map(_NAME.match, requirements) if match is not None]
    for name in names:
        try:
            present.append(f"{name} {version(name)}")
        except importlib.metadata.PackageNotFoundError:
            if name != "trio-asyncio":  # It is not for every Python.
                missing.append(name)
    optional = []
    for name, purpose in _OPTIONAL.items():
        try:
            present.append(f"{name} {version(name)}")
        except importlib.metadata.PackageNotFoundError:
            optional.append(f"{name} (for {purpose})")
    found.append(_ok(", ".join(present)))
    if missing:
        text = f"not installed, and needed: {', '.join(missing)}. Install jchannel again: pip install jchannel"
        found.append(Finding(Subject.MACHINE, State.PROBLEM, text, Cause.PACKAGES))
    if optional:
        found.append(_note(f"not installed: {', '.join(optional)}"))
    return found


async def _try_server(host: str) -> Finding:
    """Start a server, connect to it as a page would, and call in both directions."""
    try:
        with trio.fail_after(_TRIAL_SECONDS):
            async with (
                open_server(host=host, port=0) as server,
                open_peer(server.page_url),
                server.open_channel(_CODE) as channel,
            ):
                began = time.perf_counter()
                await channel.echo(1)
                seconds = time.perf_counter() - began
                async with await channel.pipe(bytes(2**16)) as stream:
                    await stream.join()
    except (OSError, StateError, trio.TooSlowError) as error:
        text = (
            f"a server of this machine cannot be reached from it ({text_of(error) or name_of(error)}): look at what "
            "filters its loopback connections, such as a firewall or a sandbox"
        )
        return Finding(Subject.MACHINE, State.PROBLEM, text, Cause.LOOPBACK)
    return _ok(f"a server here is reached: a call took {1000 * seconds:.1f} ms, and a stream came back whole")


async def _look_at_port(port: int) -> Finding:
    try:
        listeners = await open_listeners("localhost", port)
    except OSError as error:
        return _note(f"{text_of(error)}. A server that is given no port takes a free one")
    for listener in listeners:
        await aclose_now(listener)
    return _ok(f"port {port}, which a server takes when it is given none, is free")


def _examine_proxies(proxies: Mapping[str, str], is_bypassed: Callable[[str], object]) -> list[Finding]:
    """Return what the settings of this user's proxies mean for servers of this machine."""
    named = [proxies[scheme] for scheme in ("http", "https", "ws", "all") if scheme in proxies]
    if not named:
        return [_ok("no proxy is set")]
    through = [host for host in ("localhost", "127.0.0.1") if not is_bypassed(host)]
    if not through:
        return [_ok("a proxy is set, and not for this machine itself")]
    text = (
        f"a proxy is set, also for {' and '.join(through)}, and one on another machine reaches no server of this one: "
        "let the variable no_proxy, or the browser's list of exceptions, name localhost,127.0.0.1"
    )
    return [_note(text)]


def _look_for_browser(environment: Mapping[str, str]) -> Finding:
    if "SSH_CONNECTION" in environment:
        text = (
            "this is a session of ssh, so the browser is on another machine: forward the port (ssh -L), or go through "
            "jupyter-server-proxy, and pass the address as url="
        )
        return _note(text)
    if can_show_window():
        return _ok("there is a display, and a browser that open_browser=True opens")
    chromium = find_chromium()
    if chromium is not None:
        return _ok(f"there is no display, and {chromium} runs without one")
    return _note(f"neither a display with a browser nor a Chromium was found; {how_to_install()} installs one")


def _ok(text: str) -> Finding:
    return Finding(Subject.MACHINE, State.OK, text)


def _note(text: str) -> Finding:
    return Finding(Subject.MACHINE, State.NOTE, text)

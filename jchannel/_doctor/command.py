"""The command ``python -m jchannel doctor``."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import Final

import outcome
import trio

from jchannel._doctor.browser import WAIT_SECONDS, examine_browser, read_script
from jchannel._doctor.findings import Finding, prevents_connecting, show, to_json
from jchannel._doctor.kernel import examine_kernel
from jchannel._doctor.machine import examine_machine
from jchannel._doctor.notebook import NotebookError, examine_notebook
from jchannel._doctor.server import examine_server
from jchannel.demo.surroundings import can_show_window
from jchannel.trio import Server

__all__ = ["add_arguments"]

_BAD_INPUT: Final = 2
_INTERRUPTED: Final = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to the command's parser."""
    parser.description = (
        "Says what this machine, the kernel that this runs in and, with --page, a browser can do, and names the cause "
        "when no page connects to a server. The status is 0 when nothing was found that prevents connecting, else 1."
    )
    parser.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="a server, by the URL that server.page_url gives in Python; or a saved notebook, file.ipynb",
    )
    parser.add_argument(
        "--page", action="store_true", help="serve a page in which a browser looks, too, and wait for it"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=WAIT_SECONDS,
        metavar="SECONDS",
        help="how long to wait for that browser (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--script",
        action="store_true",
        help="print a script for the console of any page, where jchannelDoctor.examine(URL) says why none connects",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.script:
        print(read_script())
        return 0
    try:
        findings = _run_in_trio(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (NotebookError, ValueError) as error:
        print(f"python -m jchannel doctor: error: {error}", file=sys.stderr)
        return _BAD_INPUT
    print(to_json(findings) if options.json else show(findings))
    return int(prevents_connecting(findings))


def _run_in_trio(options: argparse.Namespace) -> list[Finding]:
    if not trio.lowlevel.in_trio_run():
        return trio.run(_examine, options)
    # A cell of the trio kernel: `%run -m jchannel doctor`.
    outcomes: list[outcome.Outcome[list[Finding]]] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome.capture(trio.run, _examine, options)))
    thread.start()
    thread.join()
    return outcomes[0].unwrap()


async def _examine(options: argparse.Namespace) -> list[Finding]:
    findings = await examine_machine()
    findings += examine_kernel(os.environ)
    target = options.target
    is_notebook = target is not None and target.endswith(".ipynb")
    if is_notebook:
        findings += await examine_notebook(Path(target))
    elif target is not None:
        findings += await examine_server(target)
    if options.page:
        findings += await examine_browser(
            None if is_notebook else target,
            seconds=options.wait,
            opens_browser=can_show_window(),
            announce=_announce,
        )
    return findings


def _announce(server: Server) -> None:
    print(f"Open {server.page_url} in the browser.", file=sys.stderr, flush=True)

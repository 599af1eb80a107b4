"""The command line, ``python -m jchannel``: the subcommands and their arguments."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["main"]

_MAX_PORT = 65_535

#: The commands that add their arguments themselves: the module of each, and what it does.
_COMMANDS = {
    "kernel": (
        "jchannel.kernel.command",
        "install, remove or list the Jupyter kernel in which cells await trio and asyncio",
    ),
    "types": ("jchannel._typescript.command", "write the types of a handler for TypeScript, or those of the client"),
    "doctor": ("jchannel._doctor.command", "find out why no page connects, and what this machine and a browser can do"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: The command line's arguments; ``None`` for those of this process.

    Returns:
        The exit status.

    Raises:
        SystemExit: The arguments are wrong (status 2), or ask for help (status 0).
    """
    # A name that the terminal cannot write must not end the program.
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # Whoever has put another stream in its place answers for that.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(
        prog="python -m jchannel", description="A channel between one Python process and one page of JavaScript."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_demo(commands)
    arguments = sys.argv[1:] if arguments is None else arguments
    for name, (module, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if arguments[:1] == [name]:
            # Imported only then: nobody else waits for what the command needs.
            importlib.import_module(module).add_arguments(command)
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return 0
    status: int = options.run(options)
    return status


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="draw a CSV file in a browser, and measure calls in both directions",
        description="Python reads a CSV file; a page draws it, calls Python for values while drawing, and returns the "
        "picture. Then both call each other, and their latency is shown. With a display this opens your browser; "
        "without one it runs Chromium without a window and saves a screenshot, too.",
    )
    demo.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a CSV file (default: weather in Seattle)")
    demo.add_argument("--encoding", help="the file's encoding (default: UTF-8)")
    demo.add_argument("--output", type=Path, metavar="DIR", help="where pictures are saved (default: demo-output)")
    demo.add_argument("--port", type=_port, help="the server's port, 0 for any (default: 8889 or, if taken, another)")
    faces = demo.add_mutually_exclusive_group()
    faces.add_argument("--headless", action="store_true", help="open no window, even where there is a display")
    faces.add_argument("--browser", metavar="PATH", help="run this Chromium, without a window")
    faces.add_argument("--no-browser", action="store_true", help="make the calls with a Python peer and no browser")
    demo.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    # Imported here so that help does not wait for it.
    from jchannel.demo.show import Options, run_demo  # noqa: PLC0415

    given = {name: value for name, value in vars(options).items() if name != "run" and value is not None}
    return run_demo(Options(**given))


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, a number from 0 to {_MAX_PORT}")
    return port


if __name__ == "__main__":
    sys.exit(main())

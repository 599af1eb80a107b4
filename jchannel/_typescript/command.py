"""The command ``python -m jchannel types``, which writes types of TypeScript."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from jchannel._client import read_static
from jchannel._typescript.interface import Written, write_types
from jchannel._typescript.loading import TargetError, load_class

__all__ = ["add_arguments"]

#: Where a page finds the client's types, where they lie as the server serves the client.
_CLIENT: Final = "./jchannel/jchannel.js"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to the command's parser."""
    parser.description = (
        "Writes the interface of the methods of a handler from the annotations of its class, for Channel<{python: …}>. "
        "The module of the class is imported, so its code runs. What has no type is unknown there, which is said."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "target", nargs="?", metavar="TARGET", help="the class: handler.py:Handler, or package.module:Handler"
    )
    what.add_argument(
        "--client", action="store_true", help="write the client's own types (jchannel.d.ts), and import nothing"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="the file to write (default: print it)")
    parser.add_argument(
        "--import",
        dest="module",
        default=_CLIENT,
        metavar="MODULE",
        help="where the client's types are imported from (default: %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        written = _write(options)
        if options.output is None:
            sys.stdout.write(written.text)
        else:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(written.text, encoding="utf-8", newline="\n")
    except (TargetError, OSError) as error:
        print(f"python -m jchannel types: error: {error}", file=sys.stderr)
        return 1
    for remark in written.remarks:
        print(f"python -m jchannel types: {remark}", file=sys.stderr)
    return 0


def _write(options: argparse.Namespace) -> Written:
    if options.client:
        return Written(read_static("jchannel.d.ts").decode(), ())
    return write_types(load_class(options.target), source=options.target, client=options.module)

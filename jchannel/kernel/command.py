"""The command ``python -m jchannel kernel``, which installs, removes and lists the trio kernel's kernelspec."""

from __future__ import annotations

import argparse
import sys

from jchannel.kernel import spec

__all__ = ["add_arguments"]


def add_arguments(kernel: argparse.ArgumentParser) -> None:
    """Add the subcommands to the command's parser."""
    kernel.description = (
        "The trio kernel is an ipykernel that runs on a trio-asyncio loop: its cells await asyncio code and trio code, "
        "and jchannel needs no thread of its own there."
    )
    kernel.set_defaults(run=lambda _: _print_help(kernel))
    actions = kernel.add_subparsers(title="commands", metavar="COMMAND")

    install = actions.add_parser(
        "install",
        help="make the kernel known to Jupyter",
        description="Installs a kernelspec that starts the kernel with this Python, in the place of an earlier one.",
    )
    _add_name(install)
    install.add_argument(
        "--display-name",
        default=spec.DEFAULT_DISPLAY_NAME,
        metavar="NAME",
        help="the name that users see (default: %(default)s)",
    )
    _add_place(install, "install it", "this Python's environment where it has one of its own, else the user's")
    install.add_argument(
        "--replace", action="store_true", help="replace a kernelspec of that name even when it is not jchannel's"
    )
    install.set_defaults(run=_install)

    uninstall = actions.add_parser(
        "uninstall", help="remove the kernelspec", description="Removes a kernelspec of jchannel's, and no other."
    )
    _add_name(uninstall)
    _add_place(uninstall, "look", "wherever Jupyter looks")
    uninstall.set_defaults(run=_uninstall)

    listing = actions.add_parser(
        "list", help="list the kernelspecs", description="Lists jchannel's kernelspecs that Jupyter finds."
    )
    _add_place(listing, "look", "wherever Jupyter looks")
    listing.set_defaults(run=_list)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name", default=spec.DEFAULT_NAME, help="the name by which notebooks refer to it (default: %(default)s)"
    )


def _add_place(parser: argparse.ArgumentParser, what: str, default: str) -> None:
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--user", action="store_true", help=f"{what} in the user's folder (default: {default})")
    places.add_argument(
        "--sys-prefix",
        action="store_const",
        const=sys.prefix,
        dest="prefix",
        help=f"{what} in this Python's environment",
    )
    places.add_argument("--prefix", help=f"{what} in the environment at PREFIX")


def _print_help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return 0


def _install(options: argparse.Namespace) -> int:
    try:
        made = spec.install(
            options.name, options.display_name, user=options.user, prefix=options.prefix, replace=options.replace
        )
    except spec.KernelSpecError as error:
        return _fail(error)
    print(f"Installed {made.name!r}, which notebooks show as {made.display_name!r}, in {made.folder}")
    return 0


def _uninstall(options: argparse.Namespace) -> int:
    try:
        removed = spec.uninstall(options.name, user=options.user, prefix=options.prefix)
    except spec.KernelSpecError as error:
        return _fail(error)
    print(f"Removed {removed.name!r} from {removed.folder}")
    return 0


def _list(options: argparse.Namespace) -> int:
    try:
        specs = spec.installed(user=options.user, prefix=options.prefix)
    except spec.KernelSpecError as error:
        return _fail(error)
    for found in specs:
        print(f"{found.name}  {found.display_name!r}\n  Python: {found.python}\n  folder: {found.folder}")
    if not specs:
        print("The trio kernel is not installed: `python -m jchannel kernel install` installs it.")
    return 0


def _fail(error: spec.KernelSpecError) -> int:
    print(f"python -m jchannel kernel: error: {error}", file=sys.stderr)
    return 1

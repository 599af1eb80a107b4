"""The command that the kernelspec runs to start a kernel: ``python -m jchannel.kernel -f CONNECTION_FILE``."""

from __future__ import annotations

import sys

from jchannel.kernel.spec import KernelSpecError, check_parts

__all__ = ["main"]


def main() -> str | int | None:
    """Run a kernel with the arguments of this process.

    Returns:
        The exit status, for ``sys.exit``.
    """
    # The notebook's folder comes first where Python is started with -m. Its files must not stand in the place of the
    # kernel's own modules. IPython adds it again, behind the standard library.
    if not sys.flags.safe_path:
        del sys.path[0]
    try:
        check_parts()
    except KernelSpecError as error:
        return f"python -m jchannel.kernel: error: {error}"
    from jchannel.kernel.application import run  # noqa: PLC0415 (it is an optional part)

    return run()


if __name__ == "__main__":
    sys.exit(main())

"""The kernelspec, by which Jupyter knows the trio kernel and how to start it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = [
    "DEFAULT_DISPLAY_NAME",
    "DEFAULT_NAME",
    "InstalledSpec",
    "KernelSpecError",
    "check_parts",
    "install",
    "installed",
    "uninstall",
]

DEFAULT_NAME: Final = "jchannel-trio"
DEFAULT_DISPLAY_NAME: Final = "Python 3 (trio)"

#: The entry that marks a kernelspec as jchannel's.
_MARK: Final = ("jchannel", "trio")
_LOGO: Final = Path(__file__).with_name("logo-svg.svg")


class KernelSpecError(Exception):
    """A kernelspec cannot be installed or removed. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class InstalledSpec:
    """A kernelspec of the trio kernel.

    Attributes:
        name: The name by which notebooks refer to it.
        display_name: The name that users see.
        python: The Python that it starts.
        folder: Where it is.
    """

    name: str
    display_name: str
    python: str
    folder: Path


def check_parts(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Check that this Python can run the kernel.

    Args:
        version: The Python's version.

    Raises:
        KernelSpecError: A package is missing, or trio-asyncio does not import on this Python.
    """
    if version >= (3, 14):
        raise KernelSpecError(
            "the trio kernel runs on trio-asyncio, which does not import on Python 3.14 and later: install jchannel in "
            "a Python 3.11, 3.12 or 3.13, and install the kernel with that"
        )
    for package in ("ipykernel", "jupyter_client", "trio_asyncio"):
        if importlib.util.find_spec(package) is None:
            raise KernelSpecError(
                f"the trio kernel needs {package}, which is not installed: pip install 'jchannel[kernel]'"
            )


def install(
    name: str = DEFAULT_NAME,
    display_name: str = DEFAULT_DISPLAY_NAME,
    *,
    user: bool = False,
    prefix: str | None = None,
    replace: bool = False,
) -> InstalledSpec:
    """Install the kernelspec. It replaces an earlier one of jchannel's.

    Args:
        name: The name by which notebooks refer to it: letters, digits, dots, hyphens and underscores. Jupyter makes it
            lower-case.
        display_name: The name that users see.
        user: Whether to install it for the user, and not in an environment.
        prefix: The environment in which to install it. Without it and ``user``, it is that of this Python where this
            Python has one of its own, or else the user's.
        replace: Whether a kernelspec of that name that is not jchannel's is replaced.

    Returns:
        The installed kernelspec.

    Raises:
        KernelSpecError: This Python cannot run the kernel, the name is not one or is taken, or the folder cannot be
            written.
    """
    check_parts()
    from jupyter_client.kernelspec import KernelSpecManager  # noqa: PLC0415 (it is an optional part)

    place = _place(user=user, prefix=prefix)
    for folder in _folders_of(name, [_kernels_of(place), *_known_folders()]):
        if not replace and _read(folder) is None:
            raise KernelSpecError(
                f"there is a kernelspec {name!r} that is not jchannel's, at {folder}: take another name with --name, "
                "or replace it with --replace"
            )
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "kernel.json").write_text(json.dumps(_describe(display_name), indent=1), encoding="utf-8")
        shutil.copy(_LOGO, made)
        try:
            folder = Path(KernelSpecManager().install_kernel_spec(made, name, **place))
        except ValueError:
            raise KernelSpecError(
                f"{name!r} is no name of a kernelspec: it has letters, digits, dots, hyphens and underscores only"
            ) from None
        except OSError as error:
            raise KernelSpecError(
                f"the kernelspec cannot be written to {_kernels_of(place)}: {error}: choose another place with --user, "
                "--sys-prefix or --prefix"
            ) from error
    made_spec = _read(folder)
    assert made_spec is not None
    return made_spec


def installed(*, user: bool = False, prefix: str | None = None) -> list[InstalledSpec]:
    """Return the kernelspecs of the trio kernel that Jupyter finds from this Python.

    Args:
        user: Whether to look only in the user's folder.
        prefix: The only environment to look in.

    Returns:
        They are in the order in which Jupyter finds them. Of two with one name, the first counts.

    Raises:
        KernelSpecError: Jupyter's client is not installed.
    """
    specs = (_read(folder) for kernels in _search(user=user, prefix=prefix) for folder in sorted(_list(kernels)))
    return [spec for spec in specs if spec is not None]


def uninstall(name: str = DEFAULT_NAME, *, user: bool = False, prefix: str | None = None) -> InstalledSpec:
    """Remove a kernelspec of the trio kernel.

    Args:
        name: Its name.
        user: Whether to look only in the user's folder.
        prefix: The only environment to look in.

    Returns:
        The removed kernelspec.

    Raises:
        KernelSpecError: There is none of that name, or it is not jchannel's, or it cannot be removed.
    """
    folders = _folders_of(name, _search(user=user, prefix=prefix))
    if not folders:
        raise KernelSpecError(f"there is no kernelspec {name!r}: `python -m jchannel kernel list` shows jchannel's")
    spec = _read(folders[0])
    if spec is None:
        raise KernelSpecError(
            f"the kernelspec {name!r} at {folders[0]} is not jchannel's: to remove it all the same, run "
            f"`jupyter kernelspec remove {name}`"
        )
    try:
        shutil.rmtree(spec.folder)
    except OSError as error:
        raise KernelSpecError(f"the kernelspec {name!r} at {spec.folder} cannot be removed: {error}") from error
    return spec


def _describe(display_name: str) -> dict[str, Any]:
    """Return the content of the kernelspec's file."""
    return {
        "argv": [sys.executable, "-m", "jchannel.kernel", "-f", "{connection_file}"],
        "display_name": display_name,
        "language": "python",
        "metadata": {"debugger": importlib.util.find_spec("debugpy") is not None, _MARK[0]: _MARK[1]},
    }


def _place(*, user: bool, prefix: str | None) -> dict[str, Any]:
    """Return where to install, as arguments of ``install_kernel_spec``."""
    from jupyter_core.paths import prefer_environment_over_user  # noqa: PLC0415 (it is an optional part)

    if user:
        return {"user": True}
    if prefix is not None:
        return {"prefix": prefix}
    return {"prefix": sys.prefix} if prefer_environment_over_user() else {"user": True}


def _kernels_of(place: dict[str, Any]) -> Path:
    from jupyter_core.paths import jupyter_data_dir  # noqa: PLC0415 (it is an optional part)

    data = Path(jupyter_data_dir()) if "user" in place else Path(place["prefix"]) / "share" / "jupyter"
    return data / "kernels"


def _known_folders() -> list[Path]:
    """Return the folders where Jupyter looks for kernelspecs, from this Python."""
    if importlib.util.find_spec("jupyter_client") is None:
        raise KernelSpecError("this needs jupyter_client, which is not installed: pip install 'jchannel[kernel]'")
    from jupyter_client.kernelspec import KernelSpecManager  # noqa: PLC0415 (it is an optional part)

    return [Path(folder) for folder in KernelSpecManager().kernel_dirs]


def _search(*, user: bool, prefix: str | None) -> list[Path]:
    known = _known_folders()
    return [_kernels_of(_place(user=user, prefix=prefix))] if user or prefix is not None else known


def _folders_of(name: str, places: list[Path]) -> list[Path]:
    return [folder for kernels in places for folder in _list(kernels) if folder.name.lower() == name.lower()]


def _list(kernels: Path) -> list[Path]:
    try:
        return [folder for folder in kernels.iterdir() if (folder / "kernel.json").is_file()]
    except OSError:  # It does not exist, or must not be read.
        return []


def _read(folder: Path) -> InstalledSpec | None:
    """Return the kernelspec in a folder, or ``None`` if it is not one of jchannel's."""
    try:
        spec = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
        key, value = _MARK
        if spec["metadata"][key] != value:
            return None
        return InstalledSpec(folder.name, spec["display_name"], spec["argv"][0], folder)
    except (OSError, ValueError, LookupError, TypeError):  # One of another package, of whatever form.
        return None

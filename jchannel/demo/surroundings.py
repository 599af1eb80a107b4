"""What the machine offers the demo: a display, a browser on it, a Chromium to run without one."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["NoSuchBrowserError", "can_show_window", "find_chromium", "how_to_install"]

_COMMANDS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC_APPLICATIONS: Final = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

_INSTALL: Final = {
    "debian": "sudo apt install chromium",
    "ubuntu": "sudo snap install chromium",
    "fedora": "sudo dnf install chromium",
    "arch": "sudo pacman -S chromium",
    "alpine": "sudo apk add chromium",
    "darwin": "brew install --cask chromium",
    "win32": "winget install Google.Chrome",
}


def can_show_window() -> bool:
    """Whether a browser can show its user a page: there is a display, and a browser on it."""
    if sys.platform not in ("darwin", "win32") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    with suppress(webbrowser.Error):
        webbrowser.get()
        return True
    return False


class NoSuchBrowserError(Exception):
    """The browser that was asked for by name cannot be run."""


def find_chromium(asked: str | None = None) -> Path | None:
    """A Chromium, or a browser built from it, that can run without a display; ``None`` where there is none.

    On Windows there is none: the two pipes that it is driven through need a POSIX system.

    Args:
        asked: The command or path of the only one to take; ``None`` to look for one.

    Raises:
        NoSuchBrowserError: The one asked for cannot be run.
    """
    if sys.platform == "win32":
        if asked is not None:
            raise NoSuchBrowserError("a browser without a window cannot be run on Windows: leave out --browser")
        return None
    if asked is not None:
        found = shutil.which(asked)
        if found is None:
            raise NoSuchBrowserError(f"there is no browser that can be run at {asked}")
        return Path(found)
    commands = (shutil.which(command) for command in (*_COMMANDS, *_MAC_APPLICATIONS))
    return next((Path(found) for found in commands if found is not None), None)


def how_to_install() -> str:
    """The command that installs a browser on this system."""
    names = [sys.platform]
    with suppress(OSError):
        release = platform.freedesktop_os_release()
        names += [release["ID"], *release.get("ID_LIKE", "").split()]
    return next((_INSTALL[name] for name in names if name in _INSTALL), _INSTALL["debian"])

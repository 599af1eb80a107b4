"""What the machine offers: a display with a browser on it."""

from __future__ import annotations

import os
import sys
import webbrowser
from contextlib import suppress

__all__ = ["can_show_window"]


def can_show_window() -> bool:
    """Return whether there is a display, and a browser on it."""
    if sys.platform not in ("darwin", "win32") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    with suppress(webbrowser.Error):
        webbrowser.get()
        return True
    return False

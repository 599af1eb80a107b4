"""The interpreter's switch interval: how soon the trio thread gets it beside threads of the user's that are busy.

CPython gives the interpreter to a thread that has waited for it for the switch interval, 5 ms, and the wait begins anew
whenever the busy thread lets go of it, be it for the microsecond of a small write. A script with steps of 1 ms so kept
calls waiting for 18 s. docs/architecture.md has the figures.

The switch interval is the whole process's, so it is changed only while somebody has asked for it, and put back after.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

__all__ = ["forget_sharers", "share_interpreter", "stop_sharing_interpreter"]

#: CPython's own, in seconds. Any other is somebody's choice, and stays.
_DEFAULT_INTERVAL: Final = 0.005
_SHORT_INTERVAL: Final = 0.0002

_lock = threading.Lock()
#: How many servers have asked for it.
_sharers = 0
_shortened = False


def share_interpreter() -> None:
    """Shorten the interpreter's switch interval until ``stop_sharing_interpreter`` has been called as often.

    One that somebody has set stays as it is.
    """
    global _sharers, _shortened  # noqa: PLW0603 (the interval is the process's)
    with _lock:
        _sharers += 1
        if _sharers == 1 and _is(_DEFAULT_INTERVAL):
            sys.setswitchinterval(_SHORT_INTERVAL)
            _shortened = True


def stop_sharing_interpreter() -> None:
    """Put the switch interval back, unless others still need it or somebody has set another one meanwhile."""
    global _sharers, _shortened  # noqa: PLW0603 (the interval is the process's)
    with _lock:
        _sharers -= 1
        if _sharers == 0 and _shortened:
            _shortened = False
            if _is(_SHORT_INTERVAL):
                sys.setswitchinterval(_DEFAULT_INTERVAL)


def forget_sharers() -> None:
    """Put the switch interval back in a forked process, where nobody shares it: their threads are not there."""
    global _sharers, _shortened, _lock  # noqa: PLW0603 (the interval is the process's)
    _lock = threading.Lock()
    _sharers = 0
    if _shortened and _is(_SHORT_INTERVAL):
        sys.setswitchinterval(_DEFAULT_INTERVAL)
    _shortened = False


def _is(interval: float) -> bool:
    # The interpreter keeps it in whole microseconds.
    return abs(sys.getswitchinterval() - interval) < _SHORT_INTERVAL / 2

"""What a ``timeout`` argument may be. Every face checks it here, before anything else happens."""

from __future__ import annotations

import math

__all__ = ["check_timeout"]


def check_timeout(timeout: float | None) -> float:
    """Checks a timeout and gives it as a number.

    Args:
        timeout: Seconds as ``int`` or ``float``; ``None`` for no limit.

    Returns:
        The seconds; infinity for no limit.

    Raises:
        TypeError: It is of another type. ``True`` and ``False`` are, too.
        ValueError: It is negative or not a number.
    """
    if timeout is None:
        return math.inf
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be seconds as int or float, or None for no limit, and not {timeout!r}")
    if not timeout >= 0:
        raise ValueError(f"timeout must not be negative, and it is {timeout!r}")
    try:
        return float(timeout)
    except OverflowError:
        return math.inf  # An int beyond every float.

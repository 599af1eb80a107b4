"""How much of an error's words is sent: as much as a person reads, and no more than a frame takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["MAX_NAME", "send_cut"]

#: The most characters of an error's name.
MAX_NAME: Final = 200

# The most characters of a message, and what of it and of a name fits into the smallest frame, at six bytes a character.
_MAX_TEXT: Final = 20_000
_MIN_TEXT: Final = 200


def send_cut(send: Callable[[int], None]) -> None:
    """Sends a message whose texts may have to be cut.

    Args:
        send: Sends it with texts of at most so many characters; raises ``ValueError`` when it is larger than a frame.
    """
    try:
        send(_MAX_TEXT)
    except ValueError:
        send(_MIN_TEXT)

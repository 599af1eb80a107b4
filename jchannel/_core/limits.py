"""The limits of everything that a peer controls: sizes, counts and times, each with a name and a default."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from jchannel._protocol.connection import FRAME_LIMIT
from jchannel._protocol.messages import MIN_FRAME_LIMIT

__all__ = ["MIN_FRAME_BYTES", "Limits"]

#: The least that ``Limits.frame_bytes`` may be: whatever the library itself has to say fits into it.
MIN_FRAME_BYTES: Final = MIN_FRAME_LIMIT


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a server takes from those who connect to it.

    Attributes:
        connections: TCP connections at once. One more is closed without a word.
        head_bytes: Size of an HTTP request's head. hypercorn's own limit for heads it reads itself is the same.
        handshake_seconds: Time for a request's head, a WebSocket handshake and a page's ``hello``, each.
        frame_bytes: Size of one WebSocket message in either direction, 4 KiB at least. For a page that says that its
            way carries less, as through a proxy, less holds.
        running_requests: Calls of one page that run or wait to be answered at once. One more is answered with an error.
        send_buffer_bytes: What may wait to be sent to one page before new calls and answers wait, too.
        cancel_seconds: How long a cancelled call waits for the far side to have ended it.
        close_seconds: How long closing waits for the far side to take note.
        claim_seconds: How long after it was shown a notebook's output may connect a page that knows no more than it.

    Raises:
        TypeError: A limit is not a number.
        ValueError: A limit is not positive.
    """

    connections: int = 128
    head_bytes: int = 16 * 2**10
    handshake_seconds: float = 10
    frame_bytes: int = FRAME_LIMIT
    running_requests: int = 16_384
    send_buffer_bytes: int = 4 * 2**20
    cancel_seconds: float = 0.5
    close_seconds: float = 1
    claim_seconds: float = 60

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.type == "int"
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                kind = "an int" if whole else "a number"
                raise TypeError(f"the limit {field.name} must be {kind}, and not {value!r}")
            if not 0 < value < math.inf:
                raise ValueError(f"the limit {field.name} must be positive and finite, and it is {value!r}")
        if self.frame_bytes < MIN_FRAME_BYTES:
            raise ValueError(
                f"the limit frame_bytes must be at least {MIN_FRAME_BYTES:,}, and it is {self.frame_bytes}"
            )

"""Posts: calls that nobody waits for. They leave in their order, and a failure of one is reported once."""

from __future__ import annotations

import threading
from typing import Any, Final

import outcome
import trio

from jchannel._core.endpoint import Endpoint
from jchannel._core.failures import Listener
from jchannel._core.limits import Limits
from jchannel._core.request import CANCELLED, Request
from jchannel._protocol.messages import Call
from jchannel.errors import BufferFullError

__all__ = ["Post", "PostRoom", "find_error", "size_of"]

#: What a post takes of the room beside its arguments: what it costs to remember it.
_BASE_SIZE: Final = 256


def size_of(message: Call) -> int:
    """Return what a post takes of the room, in bytes."""
    args = message.args
    return _BASE_SIZE + len(args.text) + sum(len(one.data) for one in args.attachments)


class PostRoom:
    """The room for the posts of one face of a channel that have no outcome yet. Safe in any thread."""

    def __init__(self) -> None:
        # A finalizer may post while this very thread holds it.
        self._lock = threading.RLock()
        self._bytes = 0
        self._count = 0

    def take(self, message: Call, limits: Limits) -> int:
        """Take room for a post, and return how much ``give_back`` gives back when it has its outcome.

        Args:
            message: The post.
            limits: ``send_buffer_bytes`` of them is how many bytes all posts may have together.

        Raises:
            BufferFullError: There is none left. One that is alone may be larger than all of it.
        """
        size, most = size_of(message), limits.send_buffer_bytes
        with self._lock:
            if self._count and self._bytes + size > most:
                raise BufferFullError(
                    f"{message.name!r} was not posted: {self._count:,} posts with {self._bytes:,} bytes are under way "
                    f"already, and with this one's {size:,} it would be more than {most:,} "
                    "(Limits.send_buffer_bytes): await a call now and then, or send only the newest with open_latest()"
                )
            self._bytes += size
            self._count += 1
        return size

    def give_back(self, size: int) -> None:
        """Give room back."""
        with self._lock:
            self._bytes -= size
            self._count -= 1


class Post:
    """A post of a program that runs in trio.

    Args:
        endpoint: The side of the channel.
        message: The call.
        limit: Seconds for the whole; infinity for no limit.
        room: Where it has its room.
        listener: Hears of its failure.
    """

    __slots__ = ("_endpoint", "_error", "_limit", "_listener", "_message", "_room", "_size", "_starting")

    def __init__(self, endpoint: Endpoint, message: Call, limit: float, room: PostRoom, listener: Listener) -> None:
        self._endpoint = endpoint
        self._message = message
        self._limit = limit
        self._room = room
        self._listener = listener
        self._size = 0
        self._starting = True
        self._error: Exception | None = None

    @trio.lowlevel.enable_ki_protection
    def send(self) -> None:
        """Make the request: it leaves before every one that is made later.

        Raises:
            BufferFullError: There is no room left.
            ClosedError, PageLostError, ValueError: It can never be sent.
        """
        self._size = self._room.take(self._message, self._endpoint.limits)
        outbox = self._endpoint.outbox
        outbox.enter(Request(outbox, self._message, limit=self._limit, watcher=self, is_awaited=False))
        self._starting = False
        if self._error is not None:
            raise self._error

    def note_done(self, request: Request) -> None:
        """Give its room back, and tell of its failure."""
        self._room.give_back(self._size)
        error = find_error(request.outcome)
        if error is None:
            return
        if self._starting:
            self._error = error
        else:
            self._listener.hear(error)


def find_error(result: outcome.Outcome[Any] | None) -> Exception | None:
    """Return the error of an outcome; ``None`` where it has none, or was cancelled."""
    if not isinstance(result, outcome.Error) or result is CANCELLED:
        return None
    assert isinstance(result.error, Exception)
    return result.error

"""The limits on what a peer controls, and on what waits for the user's code: each with a name and a default."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from jchannel._protocol.connection import FRAME_LIMIT
from jchannel._protocol.messages import MIN_FRAME_LIMIT
from jchannel._protocol.values import MAX_INTEGER

__all__ = ["LONG_TEXT", "MAX_NAME", "SHORT_TEXT", "Limits"]


#: The most characters of an error's name that are sent.
MAX_NAME: Final = 200

#: The most characters of an error's message that are sent: as much as a person reads.
LONG_TEXT: Final = 20_000

#: The characters that fit, with a name, into the smallest frame, at six bytes a character: for where that is too much.
SHORT_TEXT: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits of a server on those who connect to it.

    Attributes:
        connections: The number of concurrent TCP connections whose request carries the token: a page's WebSocket, and
            its streams over HTTP. Any further request is answered with 503. Those of strangers do not count.
        strangers: The number of concurrent TCP connections beside these: those without a request, and those that ask
            for what needs no token, such as the page itself. A further one is let in, and the one of them in which
            nothing has moved for the longest time is closed.
        stranger_bytes: The size of a request's body, and of a WebSocket message, that is read of a connection before it
            has shown the token, in bytes.
        head_bytes: The size of the head of an HTTP request, in bytes.
        handshake_seconds: The time for the head of a request, for a WebSocket handshake and for a page's ``hello``
            each, in seconds. Before a connection has shown the token, also the time for the body of its request, and
            for taking 64 KiB of the response.
        idle_seconds: How long a connection is kept between two HTTP requests, in seconds.
        frame_bytes: The size of a WebSocket message in either direction, in bytes; at least 4 KiB. A page whose
            connection allows less, as through a proxy, can ask for less.
        running_requests: The number of calls of one page that may run or wait for their answer at once. Any further one
            is answered with an error.
        running_bytes: The number of bytes of the messages of those calls together, until they are answered. Any further
            one is answered with an error, unless it would be the only one.
        send_buffer_bytes: The number of bytes that may wait to be sent to one page before new calls and answers wait,
            too: then no further call of the page's begins. When four times as much memory is taken by what has to be
            said all the same (errors, and what streams need), nothing more is read from the page until it takes some.
            Posts of a channel that have no answer yet may hold as many; any further one is refused with an error.
        http_streams: The number of streams of one page, of both directions, that travel over HTTP at once. Each may
            hold one of the browser's six connections to the server for as long as it lasts. Any further one travels in
            pieces over the WebSocket, which leaves the connections to the page's own requests. So does a stream of a
            page that is on the same machine, or near it, where that is the faster way. All streams of a Python peer
            travel so.
        streams: The number of streams of one page that may be open at once: those that come with its calls, and those
            that answer them. A stream that travels inside its message does not count. Any further one is refused with
            an error.
        channels: The number of channels that a server may have open in a Python peer at once. Any further one is
            refused with an error. How many a server opens is its own program's affair.
        stream_bytes: The number of bytes that may wait in those streams together. When it is reached, their sources are
            read no further than their readers ask for.
        cancel_seconds: How long a cancelled call waits for the far side to end it, in seconds.
        close_seconds: How long closing waits for the far side to confirm it, in seconds.
        cleanup_seconds: How long code of the user's may take to clean up when what it works for has ended, in seconds:
            the source of a stream that is closed, an async method on an asyncio loop that is cancelled. After that it
            is left to itself, so that it cannot keep a server from stopping.
        waiting_threads: The number of threads in which code of the user's may wait: handler methods that run in worker
            threads, sync iterables, and files that are not on a disk. Any further one waits for one of them, for
            ``thread_seconds``; a sync iterable fails at once.
        thread_seconds: How long code of the user's waits for a thread, beyond ``waiting_threads``, while none comes
            free, in seconds. After that it fails with an error that names this limit: those that hold the threads may
            wait for it.
        claim_seconds: How long a notebook's output can connect a page after it was shown, in seconds, if the page knows
            nothing but the output.

    Raises:
        TypeError: A limit is not a number.
        ValueError: A limit is not positive and finite, or ``frame_bytes`` is less than 4 KiB or beyond the integers of
            JavaScript.
    """

    connections: int = 128
    strangers: int = 64
    stranger_bytes: int = 64 * 2**10
    head_bytes: int = 16 * 2**10
    handshake_seconds: float = 10
    idle_seconds: float = 5
    frame_bytes: int = FRAME_LIMIT
    running_requests: int = 16_384
    running_bytes: int = 128 * 2**20
    send_buffer_bytes: int = 4 * 2**20
    http_streams: int = 3
    streams: int = 1_000
    channels: int = 1_000
    stream_bytes: int = 64 * 2**20
    cancel_seconds: float = 0.5
    close_seconds: float = 1
    cleanup_seconds: float = 5
    waiting_threads: int = 1_000
    thread_seconds: float = 1
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
        # The library's own messages fit into a frame of the minimum size.
        if self.frame_bytes < MIN_FRAME_LIMIT:
            raise ValueError(
                f"the limit frame_bytes must be at least {MIN_FRAME_LIMIT:,}, and it is {self.frame_bytes}"
            )
        if self.frame_bytes >= MAX_INTEGER:
            raise ValueError("the limit frame_bytes must be less than 2**53, as pages are told it: leave it out")

"""Forked processes: what they inherit of servers and peers, and must let go.

``os.fork``, which ``multiprocessing`` uses too, gives the child a copy of each descriptor of its parent, and what the
one closes the other keeps open: the port of a server that was stopped would be taken, and accept connections that
nobody answers, and a page would not hear that its connection was closed. So a child closes its copies at once. (What
``subprocess`` starts inherits no socket of Python's, with ``close_fds=False`` either.)

And it hears that what it holds is its parent's: a child has the threads and the tasks of nobody, so that nothing that
it asks of them would ever be done.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from jchannel._core.server import Server

__all__ = ["FORKED", "close_when_forked", "disown_when_forked"]

#: What a forked process is told of what is its parent's.
FORKED: Final = "the server belongs to the process that this one was forked from: start one of its own here"


_sockets: Final[weakref.WeakSet[trio.socket.SocketType]] = weakref.WeakSet()
_servers: Final[weakref.WeakSet[Server]] = weakref.WeakSet()


def close_when_forked(resource: trio.abc.AsyncResource) -> None:
    """Let a forked process close its copy of a stream's or a listener's socket. One in memory has none."""
    while isinstance(resource, trio.SSLStream | trio.SSLListener):
        resource = resource.transport_stream if isinstance(resource, trio.SSLStream) else resource.transport_listener
    if isinstance(resource, trio.SocketStream | trio.SocketListener):
        _sockets.add(resource.socket)


def disown_when_forked(server: Server) -> None:
    """Let a server hear in a forked process that it is the parent's."""
    _servers.add(server)


def _let_go() -> None:
    for socket in list(_sockets):
        # Detached, as trio closes a socket in its own thread only. Nothing is said to the far side: the connection is
        # the parent's, as it was.
        descriptor = socket.detach()
        if descriptor != -1:
            with suppress(OSError):
                os.close(descriptor)
    for server in list(_servers):
        server.disown()


if hasattr(os, "register_at_fork"):  # pragma: no branch (Windows has no fork)
    os.register_at_fork(after_in_child=_let_go)

"""The trio face of jchannel: the core, in which everything runs.

Its async functions keep trio's own rule: one that returns has executed a checkpoint, one that raises may have. An async
context manager executes one when it is entered or when it is left. Where it is otherwise, the docstring says so:
``MetaGenerator``'s.
"""

from __future__ import annotations

from jchannel._core.channel import Channel
from jchannel._core.invocation import time_left
from jchannel._core.limits import Limits
from jchannel._core.peer import Peer, PeerChannel, open_peer
from jchannel._core.server import Server, open_server
from jchannel._core.statistics import CallTotals, ChannelStatistics, ServerStatistics, SocketTotals
from jchannel._core.tree import CallNode, ChannelTree, PageNode, ServerTree, StreamNode

__all__ = [
    "CallNode",
    "CallTotals",
    "Channel",
    "ChannelStatistics",
    "ChannelTree",
    "Limits",
    "PageNode",
    "Peer",
    "PeerChannel",
    "Server",
    "ServerStatistics",
    "ServerTree",
    "SocketTotals",
    "StreamNode",
    "open_peer",
    "open_server",
    "time_left",
]

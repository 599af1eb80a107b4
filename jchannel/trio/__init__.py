"""The trio face of jchannel: the core, in which everything runs.

Its async functions keep trio's own rule: one that returns has executed a checkpoint, one that raises may have. An async
context manager executes one when it is entered or when it is left. Where it is otherwise, the docstring says so:
``MetaGenerator``'s.
"""

from __future__ import annotations

from jchannel.trio.channel import Channel
from jchannel.trio.limits import Limits
from jchannel.trio.peer import Peer, PeerChannel, open_peer
from jchannel.trio.running_call import time_left
from jchannel.trio.server import Server, open_server
from jchannel.trio.statistics import CallTotals, ChannelStatistics, ServerStatistics, SocketTotals
from jchannel.trio.tree import CallNode, ChannelTree, PageNode, ServerTree, StreamNode

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

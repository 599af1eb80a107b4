"""The trio face of jchannel: the core, in which everything runs."""

from __future__ import annotations

from jchannel.trio.channel import Channel
from jchannel.trio.limits import Limits
from jchannel.trio.peer import Peer, PeerChannel, open_peer
from jchannel.trio.server import Server, ServerStatistics, open_server

__all__ = ["Channel", "Limits", "Peer", "PeerChannel", "Server", "ServerStatistics", "open_peer", "open_server"]

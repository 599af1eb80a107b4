"""HTTP over one accepted stream, by hypercorn. This is the only place that knows hypercorn's inner parts.

``hypercorn.trio.tcp_server.TCPServer`` is not documented: the dependency is pinned to a minor version, and a test fails
when its shape changes.
"""

from __future__ import annotations

import logging
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from jchannel._core.asgi import AsgiApp
from jchannel._core.body import TakeBody
from jchannel._core.limits import Limits
from jchannel._core.replay import ReplayStream

__all__ = ["HttpServer"]


class HttpServer:
    """Serves an ASGI app on the streams it is given.

    Args:
        app: The app.
        limits: The server's limits.
    """

    def __init__(self, app: AsgiApp, limits: Limits) -> None:
        self._app = ASGIWrapper(cast("Any", TakeBody(app, limits.handshake_seconds)))
        self._config = Config()
        self._config.include_server_header = False
        self._config.h11_max_incomplete_size = limits.head_bytes
        # Its own loggers write to the terminal; requests are not logged at all, as their paths hold tickets.
        self._config.errorlog = logging.getLogger("jchannel.http")
        self._config.accesslog = None
        self._context = WorkerContext(None)

    async def serve(self, stream: ReplayStream) -> None:
        """Serves a stream until its end, and closes it.

        Cancelling it works also while the client does not read: hypercorn shields its sends, but closing the stream
        from outside wakes them.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_when_cancelled, stream)
            await _StreamServer(self._app, self._config, self._context, {}, cast("Any", stream))
            nursery.cancel_scope.cancel()


class _StreamServer(TCPServer):
    """hypercorn's server of one stream, which ends when its stream has ended."""

    async def _read_data(self) -> None:
        await super()._read_data()
        # Its timer for a client that asks nothing would go on for seconds, and the connection count for as long.
        await self.idle_task.stop()


async def _close_when_cancelled(stream: ReplayStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        await trio.aclose_forcefully(stream)

"""A server and pages that are connected in memory: no sockets, so a test may jump through time."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import trio
import trio.testing

from jchannel._core.auth import subprotocols
from jchannel._core.nursery import open_flat_nursery
from jchannel._core.transport import Link, LinkClosed
from jchannel._core.upgrade import open_websocket
from jchannel._protocol.connection import Connection, Role
from jchannel._protocol.messages import Beat, Hello, Message, Welcome
from jchannel.trio import Peer, Server, open_peer, open_server

AnyMessage = TypeVar("AnyMessage", bound=Message)
MemoryStream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts streams of memory."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](1000)

    def connect(self) -> MemoryStream:
        """Connects; gives the client's end."""
        client, server = trio.testing.memory_stream_pair()
        self._send.send_nowait(server)
        return client

    def connect_in_lockstep(self) -> trio.abc.Stream:
        """Connects by a stream whose sending waits for the receiver; gives the client's end."""
        client, server = trio.testing.lockstep_stream_pair()
        self._send.send_nowait(server)
        return client

    async def accept(self) -> trio.abc.Stream:
        """As trio's."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """As trio's."""
        await self._receive.aclose()


class MemoryServer:
    """A server in memory, with ways to connect to it."""

    def __init__(self, server: Server, listener: MemoryListener) -> None:
        self.server = server
        self.listener = listener

    async def connect(self) -> trio.abc.Stream:
        """Connects a stream with backpressure: what is sent waits until it is received."""
        await trio.lowlevel.checkpoint()
        return self.listener.connect_in_lockstep()

    @asynccontextmanager
    async def open_peer(self, handler: object = None, **options: Any) -> AsyncIterator[Peer]:
        """Connects a Python peer."""
        async with open_peer(self.server.page_url, handler, connect=self.connect, **options) as peer:
            yield peer

    @asynccontextmanager
    async def open_page(
        self,
        client: str = "page",
        *,
        offers: Sequence[str] | None = None,
        hello: bool = True,
        frame_limit: int | None = None,
    ) -> AsyncIterator[Page]:
        """Connects a page that does nothing by itself."""
        stream = self.listener.connect()
        offered = subprotocols(self.server.token) if offers is None else list(offers)
        link = await open_websocket(stream, host="localhost", path="/socket", subprotocols=offered, frame_bytes=2**30)
        async with open_flat_nursery() as nursery:
            page = Page(link, stream)
            nursery.start_soon(page.read)
            if hello:
                await page.send(Hello(client, frame_limit))
                page.welcome = await page.expect(Welcome)
            yield page
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()

    async def hold_page(self, task_status: trio.TaskStatus[Page]) -> None:
        """Connects a page for as long as the task lives: for a page that outlives its server."""
        async with self.open_page() as page:
            task_status.started(page)
            await trio.sleep_forever()

    async def hold_peer(self, handler: object = None, *, task_status: trio.TaskStatus[Peer]) -> None:
        """Connects a peer for as long as the task lives."""
        async with self.open_peer(handler) as peer:
            task_status.started(peer)
            await trio.sleep_forever()


class Page:
    """A page that a test plays: it sends what it is told, and gives what it receives. It answers beats by itself."""

    def __init__(self, link: Link, stream: MemoryStream) -> None:
        self.link = link
        self.stream = stream
        self.connection = Connection(Role.PAGE)
        self.welcome: Welcome
        self._messages: list[Message] = []
        self.beats = 0
        self._put, self._frames = trio.open_memory_channel[str | bytes](math.inf)
        self._lost: LinkClosed | None = None

    async def read(self) -> None:
        """Reads always, as a browser does, which answers pings by itself."""
        with self._put:
            try:
                while True:
                    self._put.send_nowait(await self.link.receive())
            except LinkClosed as closed:
                self._lost = closed

    async def receive_frame(self) -> str | bytes:
        """The next frame."""
        try:
            return await self._frames.receive()
        except trio.EndOfChannel:
            assert self._lost is not None
            raise self._lost from None

    async def send(self, *messages: Message) -> None:
        """Sends messages in one frame, and what follows it."""
        for message in messages:
            self.connection.send(message)
        while (frame := self.connection.next_frame()) is not None:
            await self.link.send(frame)

    async def receive(self) -> Message:
        """The next message."""
        while True:
            while not self._messages:
                self._messages = self.connection.receive(await self.receive_frame())
            message = self._messages.pop(0)
            if not isinstance(message, Beat):
                return message
            self.beats += 1
            with suppress(LinkClosed):  # What the server has said before it closed is received all the same.
                await self.send(message)

    async def expect(self, kind: type[AnyMessage]) -> AnyMessage:
        """The next message, which must be of this type."""
        message = await self.receive()
        assert isinstance(message, kind), message
        return message

    async def expect_lost(self) -> None:
        """The server has closed the connection, and sends nothing more."""
        try:
            while True:
                await self.receive()
        except LinkClosed:
            pass


@asynccontextmanager
async def open_memory_server(**options: Any) -> AsyncIterator[MemoryServer]:
    """Opens a server in memory."""
    listener = MemoryListener()
    async with open_server(listeners=[listener], **options) as server:
        yield MemoryServer(server, listener)

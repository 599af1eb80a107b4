"""The greeting of both sides: what is said on a link before there is a session, and where there will be none."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

import trio

from jchannel._core.transport import Link, LinkClosed
from jchannel._guarded import log
from jchannel._protocol.connection import Connection, Role, State
from jchannel._protocol.messages import Goodbye, Hello, Message
from jchannel.errors import PageLostError, ProtocolError, RefusedError

__all__ = ["SOCKET_PATH", "greet", "receive_hello", "refuse"]

#: Where the WebSocket is, below the server's base URL.
SOCKET_PATH: Final = "/socket"


async def receive_hello(link: Link, frame_limit: int, close_seconds: float) -> tuple[Connection, Hello] | None:
    """Wait for a page's hello. Return ``None`` where it says anything else; its link is closed then.

    Args:
        link: The page's link.
        frame_limit: The largest frame, in bytes.
        close_seconds: How long saying why it is refused may take.
    """
    connection = Connection(Role.SERVER, frame_limit=frame_limit)
    try:
        message = connection.receive(await link.receive())[0]
    except LinkClosed as closed:
        log(logging.DEBUG, "a page went before its hello: %s", closed)
        return None
    except ProtocolError as error:
        log(logging.WARNING, "a page broke the protocol: %s", error)
        refusal = RefusedError("protocol", f"the page broke the protocol: {error}")
        await refuse(link, connection, refusal, seconds=close_seconds)
        return None
    # A goodbye may stand in the same frame.
    return (connection, message) if isinstance(message, Hello) and connection.state is State.HELLO else None


async def refuse(link: Link, connection: Connection, refusal: RefusedError, *, seconds: float) -> None:
    """Say goodbye on a link that no session has, and close it: at once, where that takes longer than ``seconds``.

    Cancelling it closes the link without a word.
    """
    with trio.move_on_after(seconds):
        try:
            if connection.state is not State.ENDED:
                connection.send(Goodbye(refusal.reason, str(refusal)))
                frame = connection.next_frame()
                assert frame is not None
                await link.send(frame)
        except LinkClosed as closed:
            log(logging.DEBUG, "a refused page went before it could hear why: %s", closed)
        finally:
            await link.aclose()


async def greet(link: Link, client: str) -> tuple[Connection, list[Message]]:
    """Say hello as a page does, and wait for the welcome. Return the messages behind it in the same frame, too.

    Args:
        link: The link to the server.
        client: The name of this client.

    Raises:
        RefusedError: The server does not take this page.
        PageLostError: The connection was lost.
        ProtocolError: What answers is no jchannel server.
    """
    connection = Connection(Role.PAGE)
    connection.send(Hello(client))
    hello = connection.next_frame()
    assert hello is not None
    try:
        with suppress(LinkClosed):  # A server that refuses may close before it has heard anything; it said why.
            await link.send(hello)
        welcome, *others = connection.receive(await link.receive())
    except LinkClosed as closed:
        raise PageLostError(f"the server went during the handshake: {closed}") from closed
    if isinstance(welcome, Goodbye):
        raise RefusedError(welcome.reason, welcome.message)
    return connection, others

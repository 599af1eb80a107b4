"""A browser's DevTools protocol over a pair of byte streams: commands, their answers, and the browser's death.

Messages are JSON objects, each with a zero byte behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import trio

__all__ = ["COMMAND_SECONDS", "BrowserError", "DevTools"]

#: How long the browser may take to answer a command.
COMMAND_SECONDS: Final = 20.0

_CRASHED: Final = "Inspector.targetCrashed"


class BrowserError(Exception):
    """The browser could not be started, ended by itself, or did not do what it was asked for."""


class DevTools:
    """The connection to one browser.

    Args:
        commands: The stream that the browser reads.
        answers: The stream that it writes.
    """

    def __init__(self, commands: trio.abc.SendStream, answers: trio.abc.ReceiveStream) -> None:
        self._commands = commands
        self._answers = answers
        self._sending = trio.Lock()
        self._last_id = 0
        self._waiting: dict[int, _Answer] = {}

    async def run(self) -> None:
        """Receives what the browser sends, until the browser closes the connection.

        Raises:
            BrowserError: The page crashed, or what came is not the DevTools protocol.

        Cancelling it leaves the commands under way without an answer, as the end of the connection does.
        """
        buffer = bytearray()
        async for data in self._answers:
            searched = len(buffer)
            buffer += data
            while (end := buffer.find(b"\0", searched)) >= 0:
                self._take(bytes(buffer[:end]))
                del buffer[: end + 1]
                searched = 0

    async def command(self, method: str, params: Mapping[str, Any] | None = None, session: str = "") -> dict[str, Any]:
        """Sends a command and waits for its answer.

        Args:
            method: The command's name, such as ``Page.navigate``.
            params: Its parameters.
            session: The session of the page that it is for; empty for the browser itself.

        Raises:
            BrowserError: The browser refused the command, or did not answer it within ``COMMAND_SECONDS``.

        Cancelling it gives up waiting; the command may be carried out.
        """
        with trio.move_on_after(COMMAND_SECONDS):
            self._last_id += 1
            answer = self._waiting[self._last_id] = _Answer()
            await self._send(self._last_id, method, params or {}, session)
            await answer.arrived.wait()
            if "error" in answer.message:
                raise BrowserError(f"the browser refused {method}: {answer.message['error'].get('message')}")
            return dict(answer.message.get("result", {}))
        raise BrowserError(f"the browser did not answer {method} within {COMMAND_SECONDS:g} s")

    async def ask_to_close(self) -> None:
        """Asks the browser to close itself, without waiting until it has. Cancelling it may leave that out."""
        await self._send(self._last_id + 1, "Browser.close", {}, "")

    async def _send(self, id_: int, method: str, params: Mapping[str, Any], session: str) -> None:
        message: dict[str, Any] = {"id": id_, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        # To a browser that has gone nothing can be sent. `run` ends then, and whoever runs it knows why.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._sending:
                await self._commands.send_all(json.dumps(message).encode() + b"\0")

    def _take(self, data: bytes) -> None:
        try:
            message = json.loads(data)
            id_ = message.get("id")
        except (ValueError, AttributeError):
            raise BrowserError(f"the browser does not speak the DevTools protocol: it sent {data[:80]!r}") from None
        if message.get("method") == _CRASHED:
            raise BrowserError("the page crashed in the browser; it may have run out of memory")
        answer = self._waiting.pop(id_, None)
        if answer is not None:
            answer.message = message
            answer.arrived.set()


class _Answer:
    def __init__(self) -> None:
        self.arrived = trio.Event()
        self.message: dict[str, Any] = {}

"""What the facades' servers and channels have in common: all that needs no waiting."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from jchannel._bridge.handles import ChannelHandle, ServerHandle
from jchannel._core.limits import Limits
from jchannel._core.server import open_server
from jchannel._core.statistics import ChannelStatistics, ServerStatistics
from jchannel._core.tree import ChannelTree, ServerTree
from jchannel._notebook.output import ADVICE, NotebookFrontend, is_kernel

__all__ = ["ChannelFacade", "ServerFacade"]


class ServerFacade:
    """A server that one page at a time can connect to, seen from outside of trio."""

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        url: str | None = None,
        heartbeat: float = 15,
        *,
        static: str | Path | None = None,
        open_browser: bool = False,
        origins: Iterable[str] = (),
        tracebacks: bool = False,
        limits: Limits | None = None,
        notebook: bool | None = None,
    ) -> None:
        self._host = host
        self._url = url
        self._notebook = not open_browser and static is None if notebook is None else notebook
        self._handle = ServerHandle(
            partial(
                open_server,
                host,
                port,
                url=url,
                static=static,
                open_browser=open_browser,
                heartbeat=heartbeat,
                origins=origins,
                tracebacks=tracebacks,
                limits=limits,
            )
        )

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._handle.describe()}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """As IPython asks for: in notebooks, a panel that stays up to date. Nothing secret is in it."""
        return {"text/plain": repr(self), "text/html": self._handle.render()}

    def _meet_notebook(self, _: object = None) -> None:
        """Where a server that was just started runs in a notebook's kernel, has the notebook connect its page."""
        server = self._handle.running
        if server is None or not self._notebook or not is_kernel():
            return
        frontend = self._handle.frontend
        if frontend is None or frontend.claims is not server.claims:
            self._handle.frontend = frontend = NotebookFrontend(
                server.claims,
                host=self._host,
                port=urlsplit(server.url).port or 0,
                url=self._url,
                is_alone=lambda: self._handle.running is server and server.session is None,
                count_pages=lambda: server.pages,
            )
            server.page_advice = ADVICE
        frontend.show_if_alone()

    def _show_newest_page_the_way(self) -> None:
        """Has the notebook's page that shows the present cell connect, also where another one is connected."""
        if self._handle.frontend is not None:
            self._handle.frontend.show()

    @property
    def handle(self) -> ServerHandle:
        """The bridge's handle of the server, for the channels."""
        return self._handle

    @property
    def url(self) -> str:
        """The URL under which the server is reached, without a slash at its end.

        Raises:
            ClosedError: The server has not been started.
        """
        return self._handle.server.url

    @property
    def token(self) -> str:
        """The secret that lets a page connect. Whoever has it can call the handlers. Each start makes a new one.

        Raises:
            ClosedError: The server has not been started.
        """
        return self._handle.server.token

    @property
    def page_url(self) -> str:
        """The URL that a browser opens to connect. It carries the token, so it is as secret as the token is.

        Raises:
            ClosedError: The server has not been started.
        """
        return self._handle.server.page_url

    def statistics(self) -> ServerStatistics:
        """What the server has under way, and what it had since it was started.

        It can be asked in any thread and from a busy cell, and never waits.

        Raises:
            ClosedError: The server has not been started.
        """
        return self._handle.server.statistics()

    def tree(self) -> ServerTree:
        """What the server has under way: its page, its channels, and each of their calls and streams.

        ``print(server.tree())`` shows a person what hangs, and what it waits for. It can be asked in any thread and
        from a busy cell, and never waits. Nothing secret is in it.

        Raises:
            ClosedError: The server has not been started.
        """
        return self._handle.server.tree()


class ChannelFacade:
    """A channel between Python and whichever page is connected to a server, seen from outside of trio.

    Raises:
        TypeError: The server is not one of jchannel's facades, or the code is not a str.
    """

    def __init__(self, server: ServerFacade, code: str) -> None:
        if not isinstance(server, ServerFacade):
            raise TypeError(f"the server of a channel must be one that jchannel.start gave, and not {server!r}")
        self._handle = ChannelHandle(server.handle, code)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._handle.describe()}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """As IPython asks for: in notebooks, a panel that stays up to date. Nothing secret is in it."""
        return {"text/plain": repr(self), "text/html": self._handle.render()}

    @property
    def handler(self) -> object:
        """The object that handles calls from the page, or ``None``.

        Its public methods can be called and nothing else. It may be set at any time, and counts from the next call on.
        """
        return self._handle.handler

    @handler.setter
    def handler(self, handler: object) -> None:
        self._handle.handler = handler

    @property
    def context_timeout(self) -> float | None:
        """The timeout in seconds for opening and closing when the channel is used as a context manager. Default is 3.

        ``None`` for no limit.

        Raises:
            TypeError, ValueError: When it is set to what is not a timeout.
        """
        return self._handle.context_timeout

    @context_timeout.setter
    def context_timeout(self, timeout: float | None) -> None:
        self._handle.context_timeout = timeout

    def statistics(self) -> ChannelStatistics:
        """What the channel has under way, and what it had since it was opened last.

        It can be asked in any thread and from a busy cell, and never waits.

        Raises:
            ClosedError: The channel has not been opened.
        """
        return self._handle.channel.statistics()

    def tree(self) -> ChannelTree:
        """What the channel has under way, each call and stream. Its ``str`` is text for people.

        It can be asked in any thread and from a busy cell, and never waits.

        Raises:
            ClosedError: The channel has not been opened.
        """
        return self._handle.channel.tree()

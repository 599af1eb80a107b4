"""What the two facades' servers and channels have in common: all that needs no waiting."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

from jchannel._assembly import Assembly, PageKind, ServerOptions, find_page_kind
from jchannel._bridge.handles import ChannelHandle, ServerHandle
from jchannel._bridge.owner import Owner
from jchannel._core.arguments import check_timeout
from jchannel._core.limits import Limits
from jchannel._core.server import Server
from jchannel._core.statistics import ChannelStatistics, ServerStatistics
from jchannel._core.tree import ChannelTree, ServerTree
from jchannel._notebook.former import Formers
from jchannel._notebook.hearing import find_hearing
from jchannel._notebook.hosts import Host, PagelessFrontend, Patience, find_host
from jchannel._notebook.output import ADVICE, NotebookFrontend, find_cell, find_kernel, is_notebook
from jchannel._notebook.panel import render
from jchannel._notebook.widget import Widget, check_door, has_anywidget, open_widget
from jchannel._protocol.messages import Door
from jchannel._protocol.values import Conversion, Default, Nan

__all__ = ["ChannelFace", "ServerFace"]


class ServerFace:
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
        page: PageKind | None = None,
        origins: Iterable[str] = (),
        tracebacks: bool = False,
        limits: Limits | None = None,
        notebook: bool | None = None,
        share_interpreter: bool | None = None,
        ssl_context: ssl.SSLContext | None = None,
        default: Default | None = None,
        nan: Nan = "refuse",
        door: Door | None = None,
    ) -> None:
        self._door = check_door(door)
        conversion = Conversion(default, nan)
        page = find_page_kind() if page is None and not open_browser else page
        #: What is the same where the same server is asked for again.
        self._arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "url": url,
            "heartbeat": heartbeat,
            "page": page,
            "static": static,
            "origins": origins,
            "tracebacks": tracebacks,
            "limits": limits,
            "notebook": notebook,
            "share_interpreter": share_interpreter,
            "ssl_context": ssl_context,
            "default": default,
            "nan": nan,
            "door": door,
        }
        self._opens_browser = open_browser
        self._secure = ssl_context is not None
        self._host = host
        self._url = url
        self._notebook = not open_browser and page is None and static is None if notebook is None else notebook
        self._frontend: NotebookFrontend | None = None
        options = ServerOptions(
            host=host,
            port=port,
            url=url,
            static=static,
            open_browser=open_browser,
            page=page,
            heartbeat=heartbeat,
            origins=origins,
            tracebacks=tracebacks,
            limits=limits,
            ssl_context=ssl_context,
            conversion=conversion,
        )
        shares = is_notebook() if share_interpreter is None else share_interpreter
        self._handle = ServerHandle(partial(Assembly, options), shares_interpreter=shares, conversion=conversion)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._handle.describe()}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return a panel that stays up to date, for IPython to show in notebooks. Nothing secret is in it."""
        assembly = self._handle.assembly
        if assembly is None:
            return {"text/plain": repr(self), "text/html": render(self._handle.panel())}
        beside = "" if self._frontend is None else self._frontend.render_beside()
        return {"text/plain": repr(self), "text/html": beside + assembly.desk.panels.render(self._handle)}

    def _meet_notebook(self, _: object = None) -> None:
        """Where a server that was just started runs in a notebook's kernel, let the notebook connect its page.

        Where the notebook has no page, requests that find none say so.
        """
        assembly = self._handle.assembly
        if assembly is None or not self._handle.is_running or not self._notebook:
            return
        host = find_host()
        if host is not None and host.patience is not Patience.WAIT:
            self._meet_pageless_host(assembly, host)
        elif is_notebook():
            self._meet_page(assembly, ADVICE if host is None else host.advice)

    def _meet_page(self, assembly: Assembly, advice: str) -> None:
        server = assembly.server
        if self._frontend is None or self._frontend.claims is not assembly.desk:
            self._frontend = NotebookFrontend(
                assembly.desk,
                host=self._host,
                port=urlsplit(server.url).port or 0,
                # A notebook's page tries plain HTTP by itself; the name in a certificate is that in the server's URL.
                url=server.url if self._secure else self._url,
                is_alone=partial(_is_alone, self._handle.started_owner, server),
                count_pages=lambda: server.pages,
                door=self._door,
                make_widget=self._find_widgets(assembly),
            )
            server.advice = advice
            self._handle.on_page_wanted = self._frontend.show_if_alone
            self._handle.make_place = self._frontend.make_place
            self._handle.hearing = find_hearing(server, self._door, find_kernel()) if has_anywidget() else None
        self._frontend.show_if_alone()

    def _find_widgets(self, assembly: Assembly) -> Callable[[Callable[[], dict[str, Any]]], Widget] | None:
        """Return what makes a widget; ``None`` without anywidget. Widgets live on: it must not lead to the handle."""
        if not has_anywidget():
            return None
        return partial(open_widget, assembly.server, assembly.desk, self._handle.portal.post, find_kernel())

    def _meet_pageless_host(self, assembly: Assembly, host: Host) -> None:
        server = assembly.server
        server.advice = host.advice
        frontend = PagelessFrontend(
            host,
            server.url,
            is_alone=partial(_is_alone, self._handle.started_owner, server),
            is_open_to_others=lambda: assembly.is_open_to_others,
        )
        self._handle.on_page_wanted = frontend.want_page

    def _find_former(self) -> Self | None:
        """Return the server that the present cell has started with the same arguments when it was run before.

        It says in the cell that this one is given. ``None`` where there is none that runs.
        """
        cell = None if self._opens_browser else find_cell()
        if cell is None or not cell.place:
            return None
        former = cast("Self | None", _FORMERS.find(type(self), cell, self._arguments))
        if former is None:
            _FORMERS.note(self, cell, self._arguments)
            return None
        url = former._handle.server.url  # noqa: SLF001 (its own class's)
        cell.publish(
            {
                "text/plain": f"jchannel: the server at {url}, which this cell has started before, still runs, and is "
                "given again with its page and its channels. For a new one stop it first, with server.stop()."
            }
        )
        return former

    def _show_again(self, _: object = None) -> None:
        """Show an output in the present cell, as the one of its former run, which kept the page connected, is gone."""
        self._meet_notebook()
        self._show_newest_page_the_way()

    def _show_newest_page_the_way(self) -> None:
        """Let the notebook's page that shows the present cell connect, also where another one is connected."""
        if self._frontend is not None:
            self._frontend.show()

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
        token = str(self._handle.server.token)  # For whoever asks for it, it is shown.
        self._note_others()
        return token

    @property
    def page_url(self) -> str:
        """The URL that a browser opens to connect. It carries the token, so it is as secret as the token is.

        Raises:
            ClosedError: The server has not been started.
        """
        url = self._handle.server.page_url
        self._note_others()
        return url

    def issue_browser_url(self) -> str:
        """Return a URL that connects the page of the first who opens it, and nobody's after.

        It is for the command that starts a browser: other users of the machine can read commands, and tokens in them.
        The token is not in it, and so neither in the browser's history nor in its cache. Safe in any thread.

        Raises:
            ClosedError: The server has not been started.
        """
        self._handle.server  # noqa: B018 (it raises)
        self._note_others()
        assert self._handle.assembly is not None
        return str(self._handle.assembly.issue_browser_url())

    def _note_others(self) -> None:
        """Note that somebody is given what lets any page connect."""
        assert self._handle.assembly is not None
        self._handle.assembly.is_open_to_others = True

    def statistics(self) -> ServerStatistics:
        """Return what the server has under way, and what it had since it was started.

        Safe in any thread and from a busy cell; it never waits.

        Raises:
            ClosedError: The server has not been started.
        """
        return self._handle.server.statistics()

    def tree(self) -> ServerTree:
        """Return what the server has under way: its page, its channels, and each of their calls and streams.

        ``print(server.tree())`` shows a person what hangs, and what it waits for. Safe in any thread and from a busy
        cell; it never waits. Nothing secret is in it.

        Raises:
            ClosedError: The server has not been started.
        """
        return self._handle.server.tree()


def _is_running(server: ServerFace) -> bool:
    return server._handle.is_running  # noqa: SLF001 (the facades hold it for each other)


_FORMERS: Final = Formers[ServerFace](_is_running)


def _is_alone(owner: Owner[Assembly] | None, server: Server) -> bool:
    """Return whether a server is started and has no page. It must not lead to its handle, or it would keep that."""
    return owner is not None and not owner.stopping and not server.forked and not server.session


class ChannelFace:
    """A channel between Python and whichever page is connected to a server, seen from outside of trio.

    Raises:
        TypeError: The server is not one of jchannel's facades, or the code is not a str.
    """

    def __init__(self, server: ServerFace, code: str) -> None:
        if not isinstance(server, ServerFace):
            raise TypeError(f"the server of a channel must be one that jchannel.start gave, and not {server!r}")
        self._set_up(ChannelHandle(server._handle, code))  # noqa: SLF001 (the facades hold it for each other)

    @classmethod
    def _make(
        cls,
        server: ServerFace,
        code: str | None,
        module: str | None,
        handler: object,
        *,
        default: Default | None = None,
        nan: Nan | None = None,
    ) -> Self:
        """Make a channel of code or of a module, with its handler and its conversion.

        Raises:
            TypeError: The code or the module is not a str, or there are both or neither; or ``default`` cannot be
                called.
            ValueError: The module is empty, or ``nan`` is not one of its words.
        """
        channel = cls.__new__(cls)
        owner = server._handle  # noqa: SLF001 (as above)
        conversion = owner.conversion.override(default, nan)
        handle = ChannelHandle(owner, code, module=module, handler=handler, conversion=conversion)
        channel._set_up(handle)  # noqa: SLF001 (its own)
        return channel

    def _set_up(self, handle: ChannelHandle) -> None:
        self._handle = handle
        self._context_timeout: float | None = 3

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._handle.describe()}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return a panel that stays up to date, for IPython to show in notebooks. Nothing secret is in it."""
        assembly = self._handle.server.assembly
        panel = render(self._handle.panel()) if assembly is None else assembly.desk.panels.render(self._handle)
        return {"text/plain": repr(self), "text/html": panel}

    @property
    def handler(self) -> object:
        """The object that handles calls from the page, or ``None``.

        Its public methods can be called and nothing else; of a dict, the functions in it. It may be set at any time,
        and counts from the next call on. An exception that a method raises is the answer to its call, and ends nothing
        else. In a thread that holds for ``SystemExit``, too: a method that is to end the program tells the program, by
        an event for example.
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
        return self._context_timeout

    @context_timeout.setter
    def context_timeout(self, timeout: float | None) -> None:
        check_timeout(timeout)
        self._context_timeout = timeout

    def show(self) -> None:
        """Show the channel's element in the output of the present cell of a notebook.

        The element is what the channel's code draws in: ``channel.element`` in JavaScript. Without this it is shown in
        the output of the cell that has opened the channel. It is in one place at a time, where it was shown last.

        Outside of a notebook's cells it does nothing: there the page has the element in its place already. Safe in any
        thread and from a busy cell; it never waits for the page.

        Raises:
            ClosedError: The channel is not open.
        """
        self._handle.show()

    def statistics(self) -> ChannelStatistics:
        """Return what the channel has under way, and what it had since it was opened first.

        Safe in any thread and from a busy cell; it never waits.

        Raises:
            ClosedError: The channel has not been opened.
        """
        return self._handle.channel.statistics()

    def tree(self) -> ChannelTree:
        """Return what the channel has under way, each call and stream. Its ``str`` is text for people.

        Safe in any thread and from a busy cell; it never waits.

        Raises:
            ClosedError: The channel has not been opened.
        """
        return self._handle.channel.tree()

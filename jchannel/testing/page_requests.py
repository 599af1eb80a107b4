"""The requests that a scripted page makes from outside of trio: as data, and in their order, like the facades' own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import outcome

from jchannel._bridge.call import Call
from jchannel._bridge.jobs import Job, Running, TaskJob
from jchannel._bridge.portal import Portal
from jchannel._core.arguments import check_timeout
from jchannel._core.invocation import CURRENT
from jchannel._core.request import Request
from jchannel._protocol import messages
from jchannel.testing.page import Page, begin_request

__all__ = ["PageRequest"]


class PageRequest(Job[Any]):
    """A request in a page's first open channel. If there is none yet, it waits for one, in the order of its making.

    Args:
        portal: The way to the kit's trio.
        page: The page.
        pack: Makes the message now. What it raises is the outcome.
        timeout: Seconds for the whole; with a stream, without progress. ``None`` for no limit.
        source: What trio reads as the request's stream; ``None`` without one.
    """

    _call: Call[Any]

    def __init__(
        self,
        portal: Portal,
        page: Page,
        pack: Callable[[], messages.Request],
        timeout: float | None,
        source: object = None,
    ) -> None:
        self.portal = portal
        self._page = page
        self._message = outcome.capture(pack)
        self._timeout = timeout
        self._source = source
        self._parent = CURRENT.get()

    def start(self, call: Call[Any]) -> Running:
        """Make the request, or stand in line for a channel."""
        self._call = call
        begin = partial(
            begin_request,
            message=self._message.unwrap(),
            limit=check_timeout(self._timeout),
            source=self._source,
            parent=self._parent,
        )
        line = self._page._line
        channel = line.find_channel()
        if channel is not None:
            return begin(channel, watcher=self)
        return TaskJob(self.portal, partial(line.wait, line.stand(begin))).start(call)

    def note_done(self, request: Request) -> None:
        """Give the outcome to the call."""
        assert request.outcome is not None
        call = self._call
        del self._call  # It leads back here: without it, no garbage collector is needed.
        call.finish(request.outcome)

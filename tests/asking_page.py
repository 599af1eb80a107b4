"""A page that calls Python before it answers, for tests of who waits for whom: a handler for `peer_thread`."""

from typing import Any

from jchannel.trio import PeerChannel
from tests.peer_thread import PagePeer, PeerThread

__all__ = ["AskingPage", "AskingPeer"]


class AskingPage(PagePeer):
    """The handler.

    Attributes:
        channel: The channel that was opened last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channel: PeerChannel

    async def ask(self, *names: str) -> list[Any]:
        return [await self.channel.call(name, timeout=None) for name in names]


class AskingPeer(PeerThread):
    """A peer whose channels have an `AskingPage`.

    Attributes:
        page: The handler.
    """

    page: AskingPage

    def __init__(self, url: str) -> None:
        super().__init__(url, self._take_channel)
        self.page = AskingPage()

    def _take_channel(self, channel: PeerChannel, _: str) -> None:
        self.page.channel = channel

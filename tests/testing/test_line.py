"""The line of a page's requests, in the moments that no page comes to by itself."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio

from jchannel._core.peer import PeerChannel
from jchannel.testing.line import RequestLine


class FakeRequest:
    """A request with an outcome."""

    async def wait(self) -> str:
        await trio.lowlevel.checkpoint()
        return "an answer"


def begin(channel: PeerChannel) -> Any:
    return FakeRequest()


async def test_a_request_that_another_has_begun_goes_on_although_its_own_wait_has_failed() -> None:
    channels: list[PeerChannel] = []

    async def wait_channel() -> PeerChannel:
        await trio.lowlevel.checkpoint()
        channels.append(cast("PeerChannel", object()))
        line.find_channel()  # As another request does that is made now.
        raise trio.TooSlowError

    line = RequestLine(lambda: channels[0] if channels else None, wait_channel)
    assert await line.wait(line.stand(begin)) == "an answer"


async def test_a_request_whose_wait_has_failed_is_never_begun() -> None:
    begun: list[PeerChannel] = []

    async def wait_channel() -> PeerChannel:
        await trio.lowlevel.checkpoint()
        raise trio.TooSlowError

    line = RequestLine(lambda: None, wait_channel)
    turn = line.stand(begun.append)  # type: ignore[arg-type]
    with pytest.raises(trio.TooSlowError):
        await line.wait(turn)
    line._begin_all(cast("PeerChannel", object()))
    assert begun == []

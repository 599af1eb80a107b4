"""The face for trio, where trio does not run: the error names the face that is meant."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import jchannel.testing
import jchannel.trio


@pytest.mark.parametrize(
    ("name", "opening"),
    [
        ("open_server", jchannel.trio.open_server),
        ("open_server", jchannel.testing.open_server),
        ("open_server", jchannel.testing.open_pair),
        ("open_peer", lambda: jchannel.trio.open_peer("http://localhost:1")),
    ],
)
def test_the_face_for_trio_says_under_asyncio_what_to_use_there(name: str, opening: Any) -> None:
    async def program() -> None:
        manager: AbstractAsyncContextManager[object] = opening()
        with pytest.raises(RuntimeError) as caught:
            await manager.__aenter__()
        assert str(caught.value) == (
            f"jchannel.trio.{name} is for programs of trio's, which trio.run() starts, and no trio runs here: use "
            "jchannel.start() from asyncio and in notebooks, jchannel.sync.start() in a script, and "
            "jchannel.testing.AsyncioKit or SyncKit in their tests"
        )

    asyncio.run(program())

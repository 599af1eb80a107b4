"""``default=`` and ``nan=`` in every face: what they convert, where they run, and how they fail."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import jchannel
import jchannel.sync
import jchannel.testing
from jchannel.errors import KernelError
from jchannel.testing import AsyncioKit, SyncKit
from jchannel.trio import open_peer, open_server

DAY = dt.date(2026, 1, 2)


class Page:
    """Plays the page."""

    def same(self, value: Any) -> Any:
        return value

    async def size(self, stream: jchannel.MetaGenerator, value: Any) -> Any:
        return [len(await stream.join()), value]


class ThreadPage(Page):
    def size(self, stream: Any, value: Any) -> Any:
        return [len(stream.join()), value]


class Handler:
    """Returns what has to be converted."""

    def day(self) -> Any:
        return {"day": DAY, "nan": math.nan}

    async def later(self) -> Any:
        return self.day()

    @jchannel.background
    def beside(self) -> Any:
        return self.day()

    @jchannel.background
    async def in_trio(self) -> Any:
        return self.day()

    @jchannel.background
    def stream(self) -> Iterator[bytes]:
        yield b"bytes"

    def fraction(self) -> Any:
        return {1j}


class Converter:
    """A ``default`` that knows dates, and where it was asked for each."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def __call__(self, value: Any) -> Any:
        self.threads.append(threading.get_ident())
        if isinstance(value, dt.date):
            return value.isoformat()
        if isinstance(value, set):
            raise KeyError("no sets")
        raise TypeError(f"{value!r} cannot be sent")


CONVERTED = {"day": "2026-01-02", "nan": None}


async def test_in_trio_the_server_s_and_the_channel_s_convert_arguments_and_results() -> None:
    async with (
        open_server(port=0, default=str, nan="null") as server,
        open_peer(server.page_url, Page()) as peer,
        server.open_channel("", handler=Handler()) as channel,
        server.open_channel("", default=repr, nan="refuse") as other,
    ):
        assert await channel.call("same", [DAY, math.inf]) == ["2026-01-02", None]
        assert await channel.echo(DAY) == ["2026-01-02"]
        assert await channel.call_with_stream("size", b"ab", DAY) == [2, "2026-01-02"]
        far_side = await peer.wait_channel()
        assert await far_side.call("day") == CONVERTED
        assert await other.call("same", DAY) == "datetime.date(2026, 1, 2)"
        with pytest.raises(ValueError, match="is inf, which JSON has no form for"):
            await other.call("same", math.inf)


async def test_in_trio_what_default_raises_for_a_result_is_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        open_server(port=0) as server,
        open_peer(server.page_url) as peer,
        server.open_channel("", handler=Handler(), default=Converter()),
    ):
        far_side = await peer.wait_channel()
        with pytest.raises(KernelError, match="KeyError: 'no sets'") as caught:
            await far_side.call("fraction")
        assert caught.value.kind == "exception"
    assert "the handler method 'fraction' raised" in caplog.text


async def test_what_the_channel_does_with_nan_the_page_does_too() -> None:
    async with open_server(port=0, nan="keep") as server, open_peer(server.page_url, Page()) as peer:
        async with server.open_channel("", handler=Page()) as channel:
            assert str(await channel.call("same", [math.nan, math.inf])) == "[nan, inf]"
            assert str(await channel.echo(-math.inf)) == "[-inf]"
            far_side = await peer.wait_channel()
            assert str(await far_side.call("same", math.nan)) == "nan"
            assert str(await far_side.echo(math.nan)) == "[nan]"
        async with server.open_channel("", handler=Page(), nan="null") as channel:
            far_side = await peer.wait_channel()
            assert await far_side.call("same", [math.nan]) == [None]
        async with server.open_channel("", handler=Page(), nan="refuse") as channel:
            far_side = await peer.wait_channel()
            with pytest.raises(ValueError, match="is nan, which JSON has no form for"):
                await far_side.call("same", [math.nan])


@pytest.mark.parametrize(
    ("options", "kind"), [({"default": 5}, TypeError), ({"nan": "none"}, ValueError), ({"nan": 1}, ValueError)]
)
async def test_what_is_neither_is_refused_in_every_face(options: dict[str, Any], kind: type[Exception]) -> None:
    name = next(iter(options))
    with pytest.raises(kind, match=f"^{name} must be "):
        jchannel.Server(**options)
    with pytest.raises(kind, match=f"^{name} must be "):
        jchannel.sync.Server(port=0).open("", **options)
    async with open_server(port=0) as server:
        with pytest.raises(kind, match=f"^{name} must be "):
            async with server.open_channel("", **options):
                pass
    with pytest.raises(kind, match=f"^{name} must be "):
        async with open_server(**options):
            pass


def test_a_facade_s_server_has_them_for_its_channels() -> None:
    converter = Converter()
    server = jchannel.sync.Server(port=0, default=converter, nan="null")
    channel = jchannel.sync.Channel(server, "")
    with pytest.raises(jchannel.ClosedError):
        channel.call("same", [DAY, math.nan])
    assert len(converter.threads) == 1


@pytest.mark.parametrize("method", ["day", "later", "beside", "in_trio"])
def test_on_a_loop_results_are_converted_where_the_method_has_run(method: str) -> None:
    converter = Converter()

    async def program() -> None:
        async with AsyncioKit() as kit:
            page = await kit.open_page(Page())
            channel = await kit.server.open("", handler=Handler(), default=converter, nan="null")
            assert await channel.call("same", [DAY]) == ["2026-01-02"]
            assert await channel.echo(DAY) == ["2026-01-02"]
            assert await channel.call_with_stream("size", b"ab", DAY) == [2, "2026-01-02"]
            assert set(converter.threads) == {threading.get_ident()}
            converter.threads.clear()
            assert await page.call(method) == CONVERTED
            (thread,) = converter.threads
            assert (thread == threading.get_ident()) == (method in ("day", "later"))
            async with await page.call("stream") as stream:
                assert await stream.join() == b"bytes"

    asyncio.run(program())


class Failing:
    """Returns what a ``Converter`` refuses, or fails at."""

    def complex_here(self) -> Any:
        return 1j

    def set_here(self) -> Any:
        return {1}

    @jchannel.background
    def complex_beside(self) -> Any:
        return 1j

    @jchannel.background
    def set_beside(self) -> Any:
        return {1}


@pytest.mark.parametrize("place", ["here", "beside"])
def test_on_a_loop_a_result_that_default_refuses_is_an_error_and_is_asked_about_once(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    converter = Converter()

    async def program() -> None:
        async with AsyncioKit() as kit:
            page = await kit.open_page()
            await kit.server.open("", handler=Failing(), default=converter)
            with pytest.raises(KernelError, match="1j cannot be sent") as refused:
                await page.call(f"complex_{place}")
            assert refused.value.kind == "value"
            with pytest.raises(KernelError, match="no sets") as failed:
                await page.call(f"set_{place}")
            assert failed.value.kind == "exception"

    with caplog.at_level(logging.ERROR, "jchannel"):
        asyncio.run(program())
    assert len(converter.threads) == 2
    assert f"the handler method 'set_{place}' raised" in caplog.text
    assert f"complex_{place}" not in caplog.text


def test_in_the_blocking_facade_results_are_converted_in_the_method_s_thread() -> None:
    converter = Converter()

    class Asked:
        threads: list[int]

        def day(self) -> Any:
            self.threads = [threading.get_ident()]
            return {"day": DAY, "nan": math.nan}

        def stream(self) -> Iterator[bytes]:
            yield b"bytes"

    with SyncKit() as kit:
        page = kit.open_page(ThreadPage())
        handler = Asked()
        channel = kit.server.open("", handler=handler, default=converter, nan="null")
        assert channel.call("same", [DAY]) == ["2026-01-02"]
        assert channel.call_with_stream("size", b"ab", DAY) == [2, "2026-01-02"]
        converter.threads.clear()
        assert page.call("day") == CONVERTED
        assert converter.threads == handler.threads
        with page.call("stream") as stream:
            assert stream.join() == b"bytes"


async def test_the_kit_for_trio_converts_as_its_arguments_say() -> None:
    async with jchannel.testing.open_pair(default=str, nan="null") as (channel, _):
        assert await channel.echo(Decimal("1.5"), math.nan) == ["1.5", None]


def test_the_kits_for_the_facades_convert_as_their_arguments_say() -> None:
    async def program() -> None:
        async with AsyncioKit(default=str, nan="null") as kit:
            channel, _ = await kit.open_pair()
            assert await channel.echo(Decimal("1.5"), math.nan) == ["1.5", None]

    asyncio.run(program())
    with SyncKit(default=str, nan="null") as kit:
        channel, _ = kit.open_pair()
        assert channel.echo(Decimal("1.5"), math.nan) == ["1.5", None]


class Frontend:
    """Keeps what it is to draw."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self.drew = threading.Event()

    def draw(self, *args: object) -> None:
        self.values += args
        self.drew.set()


async def test_posts_and_newest_values_are_converted_as_calls_are() -> None:
    frontend = Frontend()
    async with jchannel.testing.open_pair(frontend, default=str, nan="null") as (channel, _):
        channel.post("draw", Decimal("1.5"), math.nan)
        async with channel.open_latest("draw") as latest:
            latest.set(Decimal("2.5"))
    assert frontend.values == ["1.5", None, "2.5"]


def test_posts_and_newest_values_of_the_facades_are_converted_as_calls_are() -> None:
    frontend = Frontend()
    with SyncKit(default=str, nan="null") as kit:
        channel, _ = kit.open_pair(frontend)
        channel.post("draw", Decimal("1.5"), math.nan)
        frontend.drew.wait()  # Each method has a thread of its own here, and the second one's may be the faster.
        with channel.open_latest("draw") as latest:
            latest.set(Decimal("2.5"))
    assert frontend.values == ["1.5", None, "2.5"]


async def test_a_page_of_the_kit_sends_numbers_as_its_channel_says() -> None:
    class Handler:
        def same(self, value: object) -> object:
            return value

    async with jchannel.testing.open_pair(handler=Handler(), nan="null") as (_, page):
        assert await page.call("same", math.nan) is None
        assert await page.echo(math.inf) == [None]

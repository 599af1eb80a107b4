"""The token, the tickets of streams, of outputs and of browsers are in no log, no repr and no traceback with locals."""

import asyncio
import copy
import gc
import io
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import pytest
import trio
import trio.testing

import jchannel
from jchannel._core.routes import Routes
from jchannel._core.server import Server as CoreServer
from jchannel._core.session import Session
from jchannel._core.stream_registry import StreamRegistry
from jchannel._core.transport import LinkClosed
from jchannel._core.upgrade import RejectedError
from jchannel._guarded import without_locals
from jchannel._notebook.desk import Claims
from jchannel._page.app import PageApp
from jchannel._protocol.messages import StreamInfo, Ticket
from jchannel._secret import HIDDEN, Secret, SecretBytes
from jchannel.trio import open_peer
from tests.core.helpers import HttpClient
from tests.core.http_streams import carry_over_http
from tests.core.memory import MemoryServer, open_memory_server

LARGE = 100_000


class Handler:
    """What both sides answer with."""

    async def count(self, stream: jchannel.MetaGenerator) -> int:
        return sum([len(chunk) async for chunk in stream])

    async def large(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield bytes(LARGE)
        yield bytes(LARGE)

    def fail(self) -> None:
        raise LookupError("the handler failed")


class LocalsFormatter(logging.Formatter):
    """Shows the local variables of every frame, as error reporters do."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's)
        return show(ei[1])


def show(error: BaseException) -> str:
    """A traceback with all that error reporters show."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


class Secrets:
    """Collects all secrets that are issued, and all that is logged, at all levels, by all loggers."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def remember(self, function: Callable[..., str]) -> Callable[..., str]:
        def issue(*args: Any) -> str:
            secret = function(*args)
            self.found.add(str(secret).rpartition("ticket=")[2])
            return secret

        return issue

    def find_in(self, text: str) -> set[str]:
        return {secret for secret in self.found if secret in text}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Secrets]:
    kept = Secrets()
    for owner, name in ((StreamRegistry, "issue_ticket"), (Claims, "issue"), (PageApp, "issue_ticket")):
        monkeypatch.setattr(owner, name, kept.remember(getattr(owner, name)))
    handler = logging.StreamHandler(kept.stream)
    handler.setFormatter(LocalsFormatter("%(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield kept
    root.setLevel(level)
    root.removeHandler(handler)


async def post(memory: MemoryServer, path: str, body: str) -> str:
    """Posts to the desk, as a notebook's page does."""
    stream = memory.listener.connect()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    await stream.send_all((head + body).encode())
    return b"".join([bytes(data) async for data in stream]).decode()


async def use(memory: MemoryServer, secrets: Secrets) -> None:
    """Does with a server all that has to do with a secret."""
    server = memory.server
    secrets.found.add(str(server.token))
    desk = server._assembly.desk
    claimed = await post(memory, f"{desk.path}claim", desk.issue())
    assert server.token in claimed
    http = HttpClient(memory.listener.connect())
    opened = await http.ask(server.issue_browser_url().removeprefix(server.url))
    assert server.token.encode() in opened.body
    await http.stream.aclose()
    async with memory.open_peer(Handler()) as peer, server.open_channel("code", handler=Handler()) as channel:
        carry_over_http(peer, server.url, memory.connect)
        async with await channel.call("large") as stream:
            assert sum([len(chunk) async for chunk in stream]) == 2 * LARGE
        far = await peer.wait_channel()
        async with await far.call("large") as stream:
            assert sum([len(chunk) async for chunk in stream]) == 2 * LARGE
        with pytest.raises(jchannel.errors.KernelError):
            await far.call("fail")


async def use_up(memory: MemoryServer, secrets: Secrets) -> None:
    """As `use`, where something is broken."""
    with suppress(Exception), trio.move_on_after(20):
        await use(memory, secrets)


async def test_no_log_of_a_server_has_a_secret(secrets: Secrets, autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory:
        await use(memory, secrets)
        # The URL of another server, whose token is a secret, too.
        wrong = "W" * 43
        secrets.found.add(wrong)
        with pytest.raises(jchannel.errors.RefusedError):
            async with open_peer(memory.server.url, token=wrong, connect=memory.connect):
                raise AssertionError
        assert len(secrets.found) >= 6
        assert "the handler failed" in secrets.text
        assert secrets.find_in(secrets.text) == set()


@contextmanager
def planted(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> Iterator[None]:
    """An error of the library in one of its methods."""

    def fail(*args: object, **options: object) -> None:
        raise LookupError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Routes, "__call__"),
        (Claims, "_claim"),
        (PageApp, "_redeem_ticket"),
        (StreamRegistry, "find_ticket"),
        (Session, "_handle"),
        (CoreServer, "_make_way"),
        (CoreServer, "_open_channels"),
    ],
)
async def test_no_traceback_of_an_error_of_the_library_has_a_secret_in_its_local_variables(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, owner: type, name: str
) -> None:
    async with open_memory_server() as memory:
        with planted(monkeypatch, owner, name):
            await use_up(memory, secrets)
        assert "planted" in secrets.text
        assert secrets.find_in(secrets.text) == set()


async def test_no_repr_has_a_secret(secrets: Secrets, autojump_clock: trio.testing.MockClock) -> None:
    shown: set[str] = set()

    def look() -> None:
        for thing in gc.get_objects():
            kind = type(thing)
            if str(getattr(kind, "__module__", "")).startswith("jchannel"):
                text = repr(thing)
                assert secrets.find_in(text) == set(), kind
                shown.add(kind.__qualname__)

    class Looking(Handler):
        async def large(self) -> AsyncIterator[bytes]:
            async for chunk in super().large():
                look()  # While its stream, its ticket and its request are under way.
                yield chunk

    async with open_memory_server() as memory:
        secrets.found.add(str(memory.server.token))
        async with (
            memory.open_peer(Looking()) as peer,
            memory.server.open_channel("code", handler=Looking()) as channel,
        ):
            for side in (channel, await peer.wait_channel()):
                async with await side.call("large") as stream:
                    assert sum([len(chunk) async for chunk in stream]) == 2 * LARGE
            look()
    assert len(secrets.found) >= 3
    assert {"Gate", "Server", "Session", "OutgoingStream", "Claims", "Acceptor"} <= shown


@pytest.mark.parametrize("message", [Ticket(1, "TICKET"), StreamInfo(1, None, None, "TICKET")])
def test_a_message_that_is_shown_does_not_show_its_ticket(message: object) -> None:
    assert "TICKET" not in repr(message)


async def test_an_error_of_a_peer_has_no_token_in_its_local_variables(autojump_clock: trio.testing.MockClock) -> None:
    token = "T" * 43

    async def refuse() -> trio.abc.Stream:
        raise OSError("no route")

    async def break_off() -> trio.abc.Stream:
        near, far = trio.testing.memory_stream_pair()
        await far.aclose()
        return near

    async def answer_nonsense() -> trio.abc.Stream:
        near, far = trio.testing.memory_stream_pair()
        await far.send_all(b"220 mail.example\r\n\r\n")
        return near

    async def reject() -> trio.abc.Stream:
        near, far = trio.testing.memory_stream_pair()
        await far.send_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        return near

    for connect in (refuse, break_off, answer_nonsense, reject, memory_silence):
        for url, given in ((f"http://localhost/#jchannel={token}", None), ("http://localhost", token)):
            with pytest.raises(Exception, match="localhost") as caught:
                async with open_peer(url, token=given, connect=connect):
                    raise AssertionError
            own = [entry for entry in frames_of(caught.value) if entry.tb_frame.f_code.co_filename != __file__]
            for entry in own:
                text = repr({name: repr(value) for name, value in entry.tb_frame.f_locals.items()})
                assert token not in text, entry.tb_frame.f_code


async def memory_silence() -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    near, far = trio.testing.memory_stream_pair()
    _SILENT.append(far)
    return near


_SILENT: list[object] = []


def frames_of(error: BaseException | None) -> Iterator[TracebackType]:
    """All entries of the tracebacks of an error and of what caused it."""
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        entry = one.__traceback__
        while entry is not None:
            yield entry
            entry = entry.tb_next
        left += [one.__cause__, one.__context__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]


# What hides them


def test_a_secret_is_a_str_like_every_other_but_for_its_repr() -> None:
    secret = Secret("abc")
    assert (secret, str(secret), f"{secret}", secret + "d", json.dumps({"x": secret})) == (
        "abc", "abc", "abc", "abcd", '{"x": "abc"}',
    )  # fmt: skip
    assert type(str(secret)) is str
    assert (repr(secret), f"{secret!r}", repr([secret])) == (HIDDEN, HIDDEN, f"[{HIDDEN}]")
    assert copy.copy(secret) == pickle.loads(pickle.dumps(secret)) == "abc"  # noqa: S301 (the test's own)
    assert (SecretBytes(b"abc"), repr(SecretBytes(b"abc"))) == (b"abc", HIDDEN)


def test_whoever_asks_for_the_token_is_shown_it() -> None:
    async def program() -> None:
        async with jchannel.Server(port=0) as server:
            assert server.token in repr(server.token)
            assert server.token in repr(server.page_url)

    asyncio.run(program())


def raise_with_locals() -> None:
    secret = "SECRET"
    try:
        raise_inner(secret)
    except LinkClosed as closed:
        raise RejectedError(len(secret)) from closed


def raise_inner(secret: str) -> None:
    raise LinkClosed(f"inner {len(secret)}")


def test_an_error_can_lose_its_local_variables_and_keeps_its_lines() -> None:
    with pytest.raises(RejectedError) as caught:
        raise_with_locals()
    group = ExceptionGroup("several", [caught.value, ValueError("never raised")])
    assert without_locals(group) is group
    shown = show(group)
    assert "SECRET" not in shown
    assert "in raise_with_locals" in shown
    assert "in raise_inner" in shown
    assert "in test_an_error_can" not in shown

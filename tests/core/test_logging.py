"""What is logged: by which logger, at which level, on one line, without secrets and without what users send."""

import ast
import dataclasses
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from jchannel import _guarded
from jchannel._guarded import LOGGERS, is_logged, log
from jchannel._protocol import messages
from jchannel._protocol.messages import Call, Pipe, Result, StreamInfo, outline
from jchannel._secret import Secret, SecretBytes
from jchannel.errors import KernelError, RefusedError, StateError
from tests.core.internals import lose_peer
from tests.core.memory import open_memory_server

CLOSED = "the peer has closed the connection"
PACKAGE = Path(_guarded.__file__).parent
DOCS = PACKAGE.parent / "docs" / "logging.md"


class Handler:
    """What both sides answer with."""

    def add(self, left: int, right: str) -> str:
        return f"{left} RESULT {right}"

    def fail(self) -> None:
        raise LookupError("MESSAGE")


def lines(caplog: pytest.LogCaptureFixture, *loggers: str, level: int = logging.DEBUG) -> list[str]:
    return [
        f"{record.levelname} {record.getMessage()}"
        for record in caplog.records
        if (record.name in loggers or not loggers) and record.levelno >= level
    ]


@pytest.fixture
def all_logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "jchannel"):
        yield caplog


# At INFO


async def test_at_info_the_life_of_a_server_and_of_its_page_is_told(
    all_logs: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_memory_server() as memory:
        async with memory.open_peer(Handler(), client="own"), memory.server.open_channel("code"):
            await trio.sleep(4)
    assert lines(all_logs, "jchannel.server", "jchannel.session", level=logging.INFO) == [
        "INFO the server has started at http://localhost:8889",
        "INFO the page 'own' has connected, and gets 0 channels",
        f"INFO the page 'own' is not connected any more, after 4.0 s: the page has closed the connection: {CLOSED}",
        "INFO the server at http://localhost:8889 is stopping",
        "INFO the server at http://localhost:8889 has stopped",
    ]
    assert lines(all_logs, "jchannel.peer", level=logging.INFO) == [
        "INFO connected to http://localhost:8889",
        f"INFO not connected to a server any more: {CLOSED}",
    ]


async def test_why_a_page_was_lost_is_told(
    all_logs: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_memory_server() as memory, memory.open_peer(client="lost") as peer:
        lose_peer(peer)
        await peer.wait_ended()
        await trio.testing.wait_all_tasks_blocked()
        last = lines(all_logs, "jchannel.session", level=logging.INFO)[-1]
        assert last.startswith(
            "INFO the page 'lost' is not connected any more, after 0.0 s: the connection to the page"
        )


async def test_a_page_with_the_token_that_is_refused_is_told(
    all_logs: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_memory_server() as memory, memory.open_peer():
        with pytest.raises(RefusedError):
            async with memory.open_peer():
                raise AssertionError
    assert (
        "INFO a page with the token was refused: another page is connected to this server, which takes one at a time"
        in (lines(all_logs, "jchannel.session"))
    )


async def test_a_server_that_fails_says_why_when_it_stops(
    all_logs: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("inside")

    with suppress(LookupError):
        async with open_memory_server() as memory:
            memory.server._core.start_soon(fail)
            await trio.sleep_forever()
    assert lines(all_logs, "jchannel.server")[-2:] == [
        "INFO the server at http://localhost:8889 is stopping, because of an error: LookupError('inside')",
        "INFO the server at http://localhost:8889 has stopped",
    ]


# At DEBUG


async def test_at_debug_each_message_is_told_without_what_it_carries(
    all_logs: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_memory_server() as memory, memory.open_peer(Handler()) as peer:
        async with memory.server.open_channel("CODE", handler=Handler()) as channel:
            await channel.call("add", 12345, "ARGUMENT")
            far = await peer.wait_channel()
            with pytest.raises(KernelError):
                await far.call("fail")
            await channel.echo(b"ATTACHMENT")
    wire = lines(all_logs, "jchannel.wire")
    for line in (
        "DEBUG to the page: call id=2 channel=1 name='add'",
        "DEBUG from the server: call id=2 channel=1 name='add' timeout=3.0",
        "DEBUG to the server: result id=2",
        "DEBUG from the page: result id=2",
        "DEBUG to the page: error id=1 name='LookupError' kind='exception'",
        "DEBUG from the server: echo id=3 channel=1",
    ):
        assert any(re.sub(r"timeout=[\d.]+", "timeout=3.0", found).startswith(line) for found in wire), (line, wire)
    text = "\n".join(lines(all_logs, "jchannel.wire", "jchannel.session", "jchannel.channel", "jchannel.server"))
    for carried in ("CODE", "12345", "ARGUMENT", "RESULT", "MESSAGE", "ATTACHMENT"):
        assert carried not in text


async def test_at_info_no_message_is_told(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    with caplog.at_level(logging.INFO, "jchannel"):
        async with open_memory_server() as memory, memory.open_peer(Handler()):
            async with memory.server.open_channel("code") as channel:
                await channel.call("add", 1, "2")
    assert lines(caplog, "jchannel.wire") == []


@pytest.mark.parametrize("kind", messages.Message.__args__)
def test_the_outline_of_a_message_has_no_value_no_text_and_no_ticket(kind: Any) -> None:
    values: dict[str, object] = dict.fromkeys((field.name for field in dataclasses.fields(kind)), "HIDDEN")
    stream = StreamInfo(3, None, b"HIDDEN", "HIDDEN") if kind in (Call, Pipe, Result) else 3
    shown = {"id": 1, "channel": 2, "stream": stream, "name": "shown", "kind": "kind", "reason": "reason"}
    shown |= dict.fromkeys(("timeout", "parent", "credit", "bytes"), 4)
    values |= {name: value for name, value in shown.items() if name in values}
    text = outline(kind(**values))
    assert text.startswith(kind.type)
    assert "HIDDEN" not in text


def test_a_name_that_the_page_has_made_up_is_short_in_an_outline() -> None:
    assert len(outline(Call(1, 1, "x" * 10_000, None))) < 200


# One line, and no secret


@pytest.mark.parametrize("pattern", ["%s", "%r"])
@pytest.mark.parametrize("make", [str, StateError])
def test_a_record_is_one_short_line_whatever_the_far_side_has_written(
    all_logs: pytest.LogCaptureFixture, make: Callable[[str], object], pattern: str
) -> None:
    log(logging.INFO, f"it said {pattern}", make("a\r\nCRITICAL root forged\x1b[31m\u2028\u202e" + "x" * 5_000))
    (line,) = lines(all_logs)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line) < 1_100


@pytest.mark.parametrize("secret", [Secret("SECRET"), SecretBytes(b"SECRET")])
def test_a_secret_is_hidden_in_a_record(all_logs: pytest.LogCaptureFixture, secret: object) -> None:
    log(logging.INFO, "%s and %r", secret, secret)
    assert "SECRET" not in all_logs.text


def test_what_a_log_handler_causes_below_a_warning_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    class Causing(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            log(logging.DEBUG, "quiet")
            log(logging.WARNING, "loud")

    logger, handler = logging.getLogger("jchannel"), Causing()
    logger.addHandler(handler)
    try:
        log(logging.WARNING, "first")
    finally:
        logger.removeHandler(handler)
    printed = capsys.readouterr().err
    assert "loud" in printed
    assert "quiet" not in printed


def test_a_logger_that_cannot_say_whether_it_logs_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> bool:
        raise LookupError

    assert is_logged("jchannel.wire", logging.CRITICAL)
    monkeypatch.setattr(logging.getLogger("jchannel.wire"), "isEnabledFor", fail)
    assert not is_logged("jchannel.wire", logging.CRITICAL)


# Names


def logging_modules() -> set[str]:
    """The modules that log without naming a logger."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name in ("kernel", "demo", "testing") or path.stem == "_guarded":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log":
                found.add(path.stem)
    return found


def test_every_module_that_logs_has_a_logger_and_every_logger_is_documented() -> None:
    assert logging_modules() <= LOGGERS.keys()
    documented = set(re.findall(r"^\| `(jchannel[.\w]*)`", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == {*LOGGERS.values(), "jchannel.wire"}


def test_what_no_table_names_is_logged_by_the_logger_above_all(all_logs: pytest.LogCaptureFixture) -> None:
    log(logging.INFO, "from a test")
    assert [record.name for record in all_logs.records] == ["jchannel"]

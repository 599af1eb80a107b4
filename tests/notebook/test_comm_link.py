"""Pages that are connected over a comm, which the tests play: what it sends, loses and refuses."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import jchannel.trio
from jchannel._core.server import ServerState
from jchannel._core.transport import LinkClosed
from jchannel._notebook.comm_link import MAX_LINKS, CommDesk, CommLink
from jchannel._notebook.desk import Claims
from jchannel._notebook.elements import Cell
from jchannel._protocol.comm import (
    COMM_BURST,
    COMM_GAP_SECONDS,
    COMM_MESSAGE_BYTES,
    COMM_RATE,
    COMM_WINDOW,
    CommConnection,
    CommMessage,
    CommState,
    decode_comm_message,
    encode_comm_message,
)
from jchannel._protocol.connection import Connection, Role
from jchannel._protocol.messages import Beat, Echo, Goodbye, Hello, Message, Open, Result, Welcome
from jchannel._protocol.values import pack
from tests.core.internals import server_core
from tests.core.memory import open_memory_server

NO_ARGS = pack([], field_name="args", shown_as="args")
NOTHING = pack(None, field_name="value", shown_as="result")


class Page:
    """A page over a comm: it takes what comes, and answers beats. Everything arrives at once."""

    def __init__(self, comm: Comm, name: str = "c1", client: str = "page") -> None:
        self.comm = comm
        self.wire = CommConnection(name, opens=True, frame_limit=2**26)
        self.connection = Connection(Role.PAGE)
        self.messages: list[Message] = []
        self.client = client
        comm.pages.append(self)

    def open(self, **hello: Any) -> None:
        self.flush()
        self.send(Hello(self.client, **hello))

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.connection.send(message)
        while (frame := self.connection.next_frame()) is not None:
            self.wire.send(frame)
        self.flush()

    def flush(self) -> None:
        while (message := self.wire.next_message(trio.current_time())) is not None:
            self.comm.desk.handle(self.comm.post, *encode_comm_message(message))

    def take(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if content.get("connection") != self.wire.name or self.wire.state is CommState.ENDED:
            return
        self.wire.receive(decode_comm_message(content, buffers))
        while (frame := self.wire.next_frame()) is not None:
            for message in self.connection.receive(frame):
                if isinstance(message, Beat):
                    self.send(message)
                else:
                    self.messages.append(message)
        self.flush()

    async def next(self) -> Any:
        with trio.fail_after(10):
            while not self.messages:
                await trio.testing.wait_all_tasks_blocked()
                if not self.messages:
                    await trio.sleep(0.01)
        return self.messages.pop(0)


class Comm:
    """A widget's comm."""

    def __init__(self, desk: CommDesk | None = None) -> None:
        self.pages: list[Page] = []
        self.posted: list[dict[str, Any]] = []
        self.held: list[tuple[dict[str, Any], list[bytes]]] = []
        self.error: Exception | None = None
        if desk is not None:
            self.desk = desk

    def post(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if self.error is not None:
            raise self.error
        self.posted.append(content)
        self.held.append((content, buffers))
        for page in self.pages:
            page.take(content, buffers)


@asynccontextmanager
async def open_comm(
    is_deaf: Callable[[], bool] | None = None, **options: Any
) -> AsyncIterator[tuple[Comm, jchannel.trio.Server]]:
    async with open_memory_server(**options) as memory:
        core = server_core(memory.server)
        claims = Claims(core.token, 60, core.gate.admit, run=call)
        yield Comm(CommDesk(core, claims, lambda: {"ticket": claims.issue()}, is_deaf)), memory.server


async def call(function: Any, *args: object) -> None:
    await trio.lowlevel.checkpoint()
    function(*args)


async def test_a_page_says_hello_over_a_comm_and_tells_by_which_door(autojump_clock: trio.testing.MockClock) -> None:
    async with open_comm() as (comm, server):
        page = Page(comm)
        page.open(door="comm", why="no port")

        assert isinstance(await page.next(), Welcome)
        statistics = server.statistics()
        assert (statistics.door, statistics.door_reason, statistics.page) == ("comm", "no port", "page")

        async with server.hold_channel("code") as channel, trio.open_nursery() as nursery:
            nursery.start_soon(channel.open)
            opened = await page.next()
            assert isinstance(opened, Open)
            page.send(Result(opened.id, NOTHING), Echo(1, opened.channel, NO_ARGS))
            assert isinstance(await page.next(), Result)


async def test_two_pages_are_told_apart_and_the_second_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_comm() as (comm, _):
        first, second = Page(comm, "c1", "first"), Page(comm, "c2", "second")
        first.open()
        assert isinstance(await first.next(), Welcome)

        second.open()

        goodbye = await second.next()
        assert isinstance(goodbye, Goodbye)
        assert goodbye.reason == "taken"
        await trio.testing.wait_all_tasks_blocked()
        assert second.wire.state is CommState.ENDED
        assert first.wire.state is CommState.OPEN


async def test_a_server_that_is_closed_says_goodbye_and_closes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_comm() as (comm, _):
        page = Page(comm)
        page.open()
        await page.next()
    assert (await page.next()).reason == "closed"
    assert page.wire.why_ended == "the server has closed the connection"
    comm.desk.handle(comm.post, {"type": "ask"}, [])  # Nobody answers any more.
    assert comm.posted[-1]["type"] == "close"


async def test_a_goodbye_that_stands_behind_messages_under_way_arrives_when_the_page_reads_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_comm() as (comm, server):
            page = Page(comm)
            page.open()
            await page.next()
            session = server_core(server).session
            assert session is not None
            comm.pages.clear()
            held = comm.held
            held.clear()
            while len(held) < COMM_WINDOW - 1:  # The first was the welcome.
                session.tell(Beat())
                await trio.testing.wait_all_tasks_blocked()

            async def read_on() -> None:
                await trio.testing.wait_all_tasks_blocked()
                assert server_core(server).state is ServerState.CLOSED
                for message in held:  # What is posted meanwhile comes behind it.
                    page.take(*message)

            nursery.start_soon(read_on)
        assert (await page.next()).reason == "closed"


async def test_a_page_that_opens_a_connection_when_the_server_is_closed_has_no_answer() -> None:
    async with open_comm() as (comm, _):
        pass
    comm.desk.handle(comm.post, *encode_comm_message(CommMessage("c1", "open", 1, 0)))
    assert comm.posted == []


async def test_a_page_that_is_gone_without_a_word_is_lost_when_it_does_not_answer_a_beat(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_comm(heartbeat=10) as (comm, server):
        page = Page(comm)
        page.open()
        await page.next()
        comm.pages.clear()

        await trio.sleep(2 * 10 + 1)

        assert not server.statistics().page_connected


async def test_a_lost_message_ends_the_connection_on_both_sides(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_comm() as (comm, server):
        page = Page(comm)
        page.open()
        await page.next()

        comm.desk.handle(comm.post, *encode_comm_message(CommMessage("c1", "data", 9, 1, b"")))
        await trio.testing.wait_all_tasks_blocked()

        assert not server.statistics().page_connected
        assert "messages were lost" in comm.posted[-1]["reason"]
        assert "a connection over a comm has ended" in caplog.text


class Host:
    """A host that hands over messages between cells only, and in any order."""

    def __init__(self) -> None:
        self.runs_cell = False

    def is_deaf(self) -> bool:
        return self.runs_cell


@pytest.mark.parametrize("heartbeat", [10, 0.5])
async def test_a_page_lives_while_a_cell_runs_that_keeps_it_from_being_heard(
    autojump_clock: trio.testing.MockClock, heartbeat: float
) -> None:
    host = Host()
    async with open_comm(host.is_deaf, heartbeat=heartbeat) as (comm, server):
        page = Page(comm)
        page.open()
        await page.next()
        comm.pages.clear()
        host.runs_cell = True

        await trio.sleep(10 * heartbeat)
        assert server.statistics().page_connected

        host.runs_cell = False
        await trio.sleep(3 * heartbeat)
        assert not server.statistics().page_connected


async def test_a_message_that_stays_missing_ends_the_connection_but_not_while_a_cell_runs(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host()
    async with open_comm(host.is_deaf) as (comm, server):
        page = Page(comm)
        page.open()
        await page.next()
        comm.pages.clear()
        comm.desk.handle(comm.post, *encode_comm_message(CommMessage("c1", "data", 9, 1, b"")))
        host.runs_cell = True
        await trio.sleep(COMM_GAP_SECONDS + 1)
        assert server.statistics().page_connected

        host.runs_cell = False
        await trio.sleep(COMM_GAP_SECONDS + 2)

        assert not server.statistics().page_connected
        words = "message 3 of its comm has not come within 10 s, and later ones have"
        assert comm.posted[-1]["reason"] == words
        assert words in caplog.text


async def test_a_comm_that_closes_ends_its_connections_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_comm() as (comm, server):
        page = Page(comm)
        page.open()
        await page.next()
        began = trio.current_time()

        comm.desk.end("its comm was closed")
        await trio.testing.wait_all_tasks_blocked()

        assert not server.statistics().page_connected
        assert trio.current_time() == began


async def test_a_comm_that_takes_nothing_ends_its_connections(autojump_clock: trio.testing.MockClock) -> None:
    async with open_comm() as (comm, server):
        page = Page(comm)
        page.open()
        await page.next()

        comm.error = RuntimeError("the socket is closed")
        comm.desk.handle(comm.post, {"type": "ask", "what": "config", "asked": "1"}, [])
        page.wire.send("[]")
        page.flush()
        await trio.testing.wait_all_tasks_blocked()

        assert not server.statistics().page_connected


async def test_what_is_no_message_and_what_belongs_to_no_connection_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_comm() as (comm, _):
        comm.desk.handle(comm.post, "text", [])
        assert "no message of a comm" in caplog.text
        comm.desk.handle(comm.post, {"connection": "c9", "type": "ack"}, [])
        comm.desk.handle(comm.post, *encode_comm_message(CommMessage("c9", "data", 2, 0, b"x")))
        assert comm.posted.pop()["reason"] == "the kernel does not know this connection"
        comm.desk.handle(comm.post, *encode_comm_message(CommMessage("c9", "close", 2, 0)))
        assert comm.posted == []


async def test_so_many_connections_are_open_and_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with open_comm() as (comm, _):
        for number in range(MAX_LINKS + 1):
            comm.desk.handle(comm.post, *encode_comm_message(CommMessage(f"c{number}", "open", 1, 0)))
        assert [content["type"] for content in comm.posted].count("opened") == MAX_LINKS
        assert "open already" in comm.posted[-1]["reason"]

        await trio.sleep(20)  # Nobody has said hello.
        comm.desk.handle(comm.post, *encode_comm_message(CommMessage("again", "open", 1, 0)))
        assert comm.posted[-1]["type"] == "opened"


@pytest.mark.parametrize("buffer", ["no Base64 §", None, 5])
async def test_a_buffer_that_is_no_bytes_ends_its_connection_at_once_and_the_page_hears_why(
    caplog: pytest.LogCaptureFixture, buffer: Any
) -> None:
    async with open_comm() as (comm, server):
        page = Page(comm)
        page.open()
        await page.next()
        content = {"connection": "c1", "type": "data", "number": 3, "acknowledged": 1}

        comm.desk.handle(comm.post, content, [buffer])
        await trio.testing.wait_all_tasks_blocked()

        assert not server.statistics().page_connected
        assert page.wire.why_ended == "the front end hands over something else than bytes, or Base64 of them"
        assert comm.posted[-1]["type"] == "close"
        assert "a connection over a comm has ended" in caplog.text


async def test_malformed_messages_of_a_connection_that_has_ended_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    async with open_comm() as (comm, _):
        Page(comm).flush()
        for _ in range(3):
            comm.desk.handle(comm.post, {"connection": "c1", "type": "ack"}, [])
        assert types(comm.posted) == ["opened", "close"]
        assert caplog.text.count("no message of a comm") == 1


def raises(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


async def test_a_page_that_comes_when_the_server_is_being_closed_is_let_go(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "jchannel")
    async with open_comm() as (comm, _):
        with monkeypatch.context() as patch:
            patch.setattr(comm.desk._server, "check_open", raises(jchannel.ClosedError("it is closed")))
            Page(comm).flush()
            await trio.testing.wait_all_tasks_blocked()
        assert "too late: it is closed" in caplog.text


async def test_an_error_of_the_librarys_ends_one_page_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_comm() as (comm, server):
        with monkeypatch.context() as patch:
            patch.setattr(comm.desk._server, "check_open", raises(ZeroDivisionError()))
            Page(comm).flush()
            await trio.testing.wait_all_tasks_blocked()
        assert "an error of jchannel has ended the session of a page" in caplog.text

        page = Page(comm, "c2")
        page.open()
        assert isinstance(await page.next(), Welcome)
        assert server.statistics().page_connected


class Place:
    """A place for the element of a channel."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def show(self, channel: int) -> None:
        self.shown.append(channel)


async def test_a_page_asks_for_a_ticket_for_panels_and_for_places(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_comm() as (comm, server):

        def ask(what: object, **more: object) -> Any:
            comm.desk.handle(comm.post, {"type": "ask", "asked": "a1", "what": what, **more}, [])
            told = comm.posted.pop()
            assert (told["type"], told["asked"]) == ("told", "a1")
            return told["answer"]

        claims = comm.desk._desk
        place = Place()
        monkeypatch.setattr(claims.elements, "find_place", {3: place}.get)
        assert ask("config")["ticket"].startswith("1.")
        name = claims.panels.render(server._panel).partition(f"{claims.server_id} ")[2].partition('"')[0]
        assert ask("panels", names=[name, 5])[name]["texts"]["state"] == "no page connected"
        assert ask("panels", names="1") is None
        assert ask("place", channel=3) == {}
        assert ask("place", channel=4) == {}
        assert ask("place", channel="3") is None
        assert ask("weather") is None
        await trio.testing.wait_all_tasks_blocked()
        assert place.shown == [3]


async def test_a_display_hook_that_raises_costs_the_place_of_an_element_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no display")

    async with open_comm() as (comm, server):
        comm.desk._desk.elements.note_connecting(Cell("cell 1", fail))
        comm.desk.handle(comm.post, {"type": "ask", "asked": "a1", "what": "place", "channel": 1}, [])
        await trio.testing.wait_all_tasks_blocked()

        assert server_core(server).state is ServerState.OPEN
        assert "a place for an element could not be shown" in caplog.text
        assert "no display" in caplog.text


@pytest.mark.parametrize("asked", [None, 1, "a" * 65, ["a"]])
async def test_a_question_without_a_short_name_has_no_answer(caplog: pytest.LogCaptureFixture, asked: object) -> None:
    async with open_comm() as (comm, _):
        comm.desk.handle(comm.post, {"type": "ask", "asked": asked, "what": "config"}, [])
        assert comm.posted == []
        assert "without a name of at most 64 characters" in caplog.text


async def test_the_connections_of_one_comm_share_its_pace(autojump_clock: trio.testing.MockClock) -> None:
    async with open_comm() as (comm, _):
        pages = [Page(comm, f"c{number}") for number in range(COMM_BURST // COMM_WINDOW + 2)]
        for page in pages:
            page.flush()
        comm.pages.clear()
        for link in comm.desk._links.values():
            for _ in range(COMM_WINDOW - 1):
                await link.send("x")
        assert len(comm.posted) == COMM_BURST

        await trio.sleep(1)

        assert len(comm.posted) == COMM_BURST + 2  # What waited of each of the last two left in one message.


# One link


@asynccontextmanager
async def open_link(host: Host | None = None) -> AsyncIterator[tuple[CommLink, list[dict[str, Any]]]]:
    """A link that a page has opened, and what it has posted."""
    posted: list[dict[str, Any]] = []
    connection = CommConnection("c1", opens=False, frame_limit=2**26, reorders=host is not None)
    link = CommLink(connection, lambda content, _: posted.append(content))
    link.handle(CommMessage("c1", "open", 1, 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        if host is not None:
            nursery.start_soon(link.watch, host.is_deaf, 1)
        yield link, posted
        nursery.cancel_scope.cancel()


def types(posted: Sequence[dict[str, Any]]) -> list[str]:
    return [content["type"] for content in posted]


async def test_more_messages_than_may_leave_at_once_leave_in_their_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_link() as (link, posted):
        for _ in range(COMM_BURST - 1):
            await link.send("x")
            link.handle(CommMessage("c1", "ack", 0, len(posted)))
        assert len(posted) == COMM_BURST
        moved = link.moved

        await link.send("late")

        assert len(posted) == COMM_BURST
        await trio.sleep(1.5 / COMM_RATE)
        assert len(posted) == COMM_BURST + 1
        assert link.moved == moved


async def test_that_messages_leave_is_no_sign_of_life_and_that_they_are_acknowledged_is() -> None:
    async with open_link() as (link, posted):
        moved = [link.moved]
        await link.send("x")
        moved.append(link.moved)
        link.handle(CommMessage("c1", "ack", 0, len(posted)))
        moved.append(link.moved)
        assert moved == [0, 0, 2]


async def test_a_sender_waits_while_much_is_unsent_and_is_told_of_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_link() as (link, posted):
        ended = False

        async def send() -> None:
            nonlocal ended
            with pytest.raises(LinkClosed, match="it is over"):
                await link.send(bytes((COMM_WINDOW + 2) * COMM_MESSAGE_BYTES))
            ended = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            assert len(posted) == COMM_WINDOW
            assert not ended
            link.end("it is over")
        with pytest.raises(LinkClosed, match="it is over"):
            await link.receive()
        with pytest.raises(LinkClosed, match="it is over"):
            await link.send("more")


async def test_closing_waits_until_what_was_sent_has_left(autojump_clock: trio.testing.MockClock) -> None:
    async with open_link() as (link, posted):
        for _ in range(COMM_WINDOW - 1):
            await link.send("x")
        await link.send("y")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert len(posted) == COMM_WINDOW
            with pytest.raises(LinkClosed, match="closed on this side"):
                await link.send("z")
            link.handle(CommMessage("c1", "ack", 0, COMM_WINDOW))
        assert types(posted)[-2:] == ["data", "close"]
        await link.aclose()


async def test_closing_that_is_cancelled_closes_without_a_word(autojump_clock: trio.testing.MockClock) -> None:
    async with open_link() as (link, posted):
        for _ in range(COMM_WINDOW):
            await link.send("x")
        with trio.move_on_after(1) as scope:
            await link.aclose()
        assert scope.cancelled_caught
        assert "close" not in types(posted)
        with pytest.raises(LinkClosed):
            await link.receive()


async def test_frames_that_come_out_of_order_are_received_in_order_and_a_gap_that_closes_ends_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_link(Host()) as (link, _):
        for numbers in ((4, 3), (2, 6), (5,)):
            for number in numbers:
                link.handle(CommMessage("c1", "data", number, 1, b"\0\1\0\0\0" + bytes([64 + number])))
            await trio.sleep(COMM_GAP_SECONDS - 1)
        assert [await link.receive() for _ in range(5)] == list("BCDEF")
        await trio.sleep(COMM_GAP_SECONDS + 1)
        link.handle(CommMessage("c1", "data", 7, 1, b"\0\1\0\0\0G"))
        assert await link.receive() == "G"


async def test_only_the_seconds_count_for_a_missing_message_in_which_the_page_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    host = Host()
    async with open_link(host) as (link, posted):
        link.handle(CommMessage("c1", "data", 3, 1, b""))
        await trio.sleep(1.5)
        for _ in range(COMM_GAP_SECONDS - 1):
            host.runs_cell = True  # It ends just before the message has been missing for the time that is allowed.
            await trio.sleep(COMM_GAP_SECONDS)
            host.runs_cell = False
            await trio.sleep(1)
            assert "close" not in types(posted)
        await trio.sleep(1)
        assert types(posted)[-1] == "close"


async def test_while_nothing_is_handed_over_silence_says_nothing(autojump_clock: trio.testing.MockClock) -> None:
    host = Host()
    async with open_link(host) as (link, _):
        before = link.moved
        assert link.moved == before
        host.runs_cell = True
        await trio.sleep(1.5)
        during = link.moved
        host.runs_cell = False
        await trio.sleep(1)
        assert before != during == link.moved


async def test_the_page_is_shown_that_this_side_lives_while_nothing_may_leave_as_a_cell_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    host = Host()
    async with open_link(host) as (link, posted):
        for _ in range(COMM_WINDOW):
            await link.send("x")
        await trio.sleep(1.5)
        assert len(posted) == COMM_WINDOW
        host.runs_cell = True
        await trio.sleep(3)
        assert types(posted[COMM_WINDOW:]) == ["ack"] * 3


async def test_frames_are_received_in_order_and_acknowledged_when_they_are_read() -> None:
    async with open_link() as (link, posted):
        for number in range(2, 11):
            link.handle(CommMessage("c1", "data", number, 1, b"\0\1\0\0\0" + bytes([64 + number])))
        assert [await link.receive() for _ in range(9)] == list("BCDEFGHIJ")
        assert types(posted) == ["opened", "ack"]

"""The server: which pages it admits, how it ends, and what it leaves behind."""

from __future__ import annotations

import errno
import gc
import logging
import socket
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
import trio
import trio.testing
import trio_websocket

from jchannel._core.auth import TOKEN_PREFIX
from jchannel._core.channel import ServerChannel
from jchannel._core.heartbeat import FIRST_BEAT_SECONDS
from jchannel._core.server import Server as CoreServer
from jchannel._core.session import Session
from jchannel._core.transport import Link
from jchannel._protocol.messages import Beat, Echo, Goodbye, Hello, Open
from jchannel._protocol.values import pack
from jchannel.errors import ClosedError, PageLostError, RefusedError, UnreachableError
from jchannel.trio import Limits, Peer, Server, open_peer, open_server
from tests.core.internals import (
    block_writing,
    close_server,
    count_entries,
    peer_core,
    peer_session,
    serve_pages_by,
    session_of,
    start_soon,
)
from tests.core.memory import Page, open_memory_server


class Adder:
    def add(self, a: int, b: int) -> int:
        return a + b

    async def hang(self) -> None:
        await trio.sleep_forever()


async def test_a_server_has_no_url_before_it_listens() -> None:
    server = CoreServer()
    with pytest.raises(ClosedError, match="the server is not started"):
        assert server.url


class TestAdmission:
    async def test_wait_page_returns_when_a_page_has_connected(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, trio.open_nursery() as nursery:
            nursery.start_soon(memory.server.wait_page)
            await trio.testing.wait_all_tasks_blocked()
            async with memory.open_page():
                await memory.server.wait_page()
                assert memory.server.statistics().page_connected

    async def test_wait_page_times_out_and_says_what_to_do(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory:
            with pytest.raises(trio.TooSlowError, match=r"longer than 5 s: .*open server\.page_url in a browser"):
                await memory.server.wait_page(timeout=5)

    async def test_wait_page_ends_with_the_server(self, autojump_clock: trio.testing.MockClock) -> None:
        async with trio.open_nursery() as nursery:
            async with open_memory_server() as memory:

                async def wait() -> None:
                    with pytest.raises(ClosedError, match="the server is closed"):
                        await memory.server.wait_page()

                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()

    async def test_a_second_page_is_told_that_one_is_connected(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page("one"):
            async with memory.open_page("two", hello=False) as second:
                await second.send(Hello("two"))
                assert (await second.expect(Goodbye)).reason == "taken"
                await second.expect_lost()
            assert memory.server.statistics().page_connected

    async def test_the_same_page_come_again_replaces_its_old_connection(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page("one") as old:
            async with memory.open_page("one"):
                assert (await old.expect(Goodbye)).reason == "replaced"
                await old.expect_lost()
                assert memory.server.statistics().page_connected
                await trio.testing.wait_all_tasks_blocked()
                assert memory.server.statistics().connections == 1

    async def test_a_page_can_connect_after_another_has_left(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory:
            for name in ("one", "two"):
                async with memory.open_page(name):
                    assert memory.server.statistics().page_connected
                await trio.testing.wait_all_tasks_blocked()
                assert not memory.server.statistics().page_connected

    async def test_a_page_with_a_wrong_token_is_told_so(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory:
            async with memory.open_page(offers=["jchannel.v1", TOKEN_PREFIX + "x"], hello=False) as page:
                goodbye = await page.expect(Goodbye)
                assert goodbye.reason == "token"
                assert memory.server.token not in goodbye.message
                await page.expect_lost()
            assert not memory.server.statistics().page_connected

    async def test_a_page_of_another_version_is_told_which_side_to_upgrade(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory:
            offers = ["jchannel.v2", TOKEN_PREFIX + memory.server.token]
            async with memory.open_page(offers=offers, hello=False) as page:
                goodbye = await page.expect(Goodbye)
                assert goodbye.reason == "version"
                assert "the server speaks jchannel.v1 and the page speaks jchannel.v2" in goodbye.message


class TestBrokenProtocol:
    async def test_a_frame_that_breaks_the_protocol_ends_the_connection_with_words(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            await page.link.send("nonsense")
            goodbye = await page.expect(Goodbye)
            assert goodbye.reason == "protocol"
            assert "not JSON" in goodbye.message
            await page.expect_lost()

    async def test_a_page_that_breaks_the_protocol_and_reads_nothing_is_cut_off(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        limits = Limits(close_seconds=3)
        async with open_memory_server(limits=limits, heartbeat=1) as memory, memory.open_page() as page:
            stop_reading(page)
            began = trio.current_time()
            await page.link.send("nonsense")
            session = session_of(memory.server)
            assert session is not None
            await session.wait_ended()
            assert trio.current_time() - began <= 2 * 3

    async def test_what_follows_a_broken_frame_is_not_read(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            await page.link.send("nonsense")
            await page.link.send("more nonsense")
            assert (await page.expect(Goodbye)).reason == "protocol"
            await page.expect_lost()

    async def test_a_page_may_say_goodbye(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            await page.send(Goodbye("closed", "the user has left"))
            await page.expect_lost()
            await trio.testing.wait_all_tasks_blocked()
            assert not memory.server.statistics().page_connected


class TestHeartbeat:
    async def test_a_page_gets_a_beat_in_every_period_and_answers_it(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(heartbeat=4) as memory, memory.open_page() as page:
            with trio.move_on_after(13):
                await page.receive()
            assert page.beats == 4  # The first one comes early.
            assert memory.server.statistics().page_connected

    async def test_a_peer_answers_beats(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server(heartbeat=4) as memory, memory.open_peer():
            await trio.sleep(100)
            assert memory.server.statistics().page_connected
            assert memory.server.statistics().socket.messages_received > 20

    async def test_a_page_that_does_not_answer_a_beat_in_time_is_lost(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(heartbeat=4) as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open, None)
                await page.expect(Open)  # From now on it receives nothing.
                await trio.sleep(4 + FIRST_BEAT_SECONDS - 0.1)
                assert memory.server.statistics().page_connected
                await trio.sleep(0.2)
                assert not memory.server.statistics().page_connected
                nursery.cancel_scope.cancel()

    async def test_a_page_is_not_lost_by_a_time_in_which_this_process_stood_still(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(heartbeat=4) as memory, memory.open_page() as page:
            await trio.sleep(FIRST_BEAT_SECONDS)
            await page.link.send('[{"type":"beat"}]')  # It has answered, and nobody has read it when time is over.
            autojump_clock.jump(60)
            await trio.sleep(1)
            assert memory.server.statistics().page_connected

    @pytest.mark.parametrize(("waited", "answers_after"), [(0, 0.1), (0, 2), (2, 0.1), (3.9, 0.1)])
    async def test_a_page_that_stood_still_as_long_as_this_process_has_time_to_answer(
        self, waited: float, answers_after: float, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(heartbeat=4) as memory, memory.open_page() as page:
            await trio.sleep(FIRST_BEAT_SECONDS + waited)
            autojump_clock.jump(60)
            await trio.sleep(answers_after)
            with trio.move_on_after(0.1):
                await page.receive()
            await trio.sleep(1)
            assert memory.server.statistics().page_connected

    async def test_a_page_whose_answer_takes_long_to_come_in_is_not_lost(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(heartbeat=4) as memory, memory.open_page() as page:
            for byte in SLOW_BEAT:
                await trio.sleep(1)
                await page.stream.send_all(byte)
            await trio.testing.wait_all_tasks_blocked()
            assert memory.server.statistics().page_connected
            assert memory.server.statistics().round_trip == pytest.approx(len(SLOW_BEAT), abs=1)

    async def test_a_page_whose_answer_stops_coming_in_is_lost(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server(heartbeat=4) as memory, memory.open_page() as page:
            for byte in SLOW_BEAT[:-1]:
                await trio.sleep(1)
                await page.stream.send_all(byte)
            await trio.sleep(8.5)
            assert not memory.server.statistics().page_connected

    async def test_a_page_that_is_lost_before_it_answers_a_beat_is_lost_once(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(heartbeat=4) as memory, memory.open_page() as page:
            stop_reading(page)
            await trio.sleep(2)
            await trio.aclose_forcefully(page.stream)
            await trio.testing.wait_all_tasks_blocked()
            assert not memory.server.statistics().page_connected

    async def test_an_error_in_writing_ends_the_session_and_nothing_else(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> NoReturn:
            raise RuntimeError("planted")

        async with open_memory_server() as memory:
            async with memory.open_page():
                session = session_of(memory.server)
                assert session is not None
                session._connection.next_frame = fail  # type: ignore[method-assign]
                session.tell(Beat())
                await session.wait_ended()
                assert session.why_ended == "an error of jchannel has ended the session"
            async with memory.open_page():
                assert memory.server.statistics().page_connected
        assert "planted" in caplog.text

    async def test_a_session_that_is_ending_beats_no_more(self, autojump_clock: trio.testing.MockClock) -> None:
        limits = Limits(close_seconds=20)
        async with open_memory_server(heartbeat=4, limits=limits) as memory, memory.open_page() as page:
            session = session_of(memory.server)
            assert session is not None
            with trio.move_on_after(1):
                await page.receive()  # It answers the first beat.
            block_writing(session)
            session.end("closed", "it was ended")
            await trio.sleep(10)
            assert not session.finished
            assert page.beats == 1
            await trio.sleep(11)
            assert session.finished


class TestBackpressure:
    async def test_calls_wait_while_too_much_is_waiting_to_be_sent(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        limits = Limits(send_buffer_bytes=1_000)
        async with open_memory_server(limits=limits) as memory, memory.open_peer(Adder()) as peer:
            async with memory.server.open_channel("code") as channel, trio.open_nursery() as nursery:
                waiting: list[int] = []

                async def echo() -> None:
                    assert len((await channel.echo("x" * 600))[0]) == 600
                    session = session_of(memory.server)
                    assert session is not None
                    waiting.append(session._connection.waiting_bytes)

                for _ in range(50):
                    nursery.start_soon(echo)
            assert len(waiting) == 50
            assert max(waiting) <= 2_000
            assert peer.connected

    async def test_a_call_that_waits_for_room_times_out(self, autojump_clock: trio.testing.MockClock) -> None:
        limits = Limits(send_buffer_bytes=1_000)
        async with open_memory_server(limits=limits) as memory, memory.open_peer() as peer:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                await channel.open()
                far = await peer.wait_channel()
                block_writing(session_of(memory.server))
                for _ in range(3):
                    nursery.start_soon(channel.echo, "x" * 600)
                    await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.TooSlowError, match="was not sent within 1 s: the page does not take"):
                    await channel.echo(timeout=1)
                block_writing(peer_session(peer))
                for _ in range(3):
                    nursery.start_soon(far.echo, "x" * 3_000_000)
                    await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.TooSlowError, match="was not sent within 1 s: the server does not take"):
                    await far.echo(timeout=1)
                nursery.cancel_scope.cancel()


class TestClosing:
    async def test_leaving_the_block_says_goodbye_and_ends_the_channels(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with trio.open_nursery() as nursery:
            goodbyes: list[Goodbye] = []
            opened = trio.Event()

            async def hold(server: Server) -> None:
                async with server.hold_channel("code") as channel:
                    opened.set()
                    with pytest.raises(ClosedError, match="its server was closed"):
                        await channel.open(timeout=None)

            async def listen(page: Page) -> None:
                await page.expect(Open)
                goodbyes.append(await page.expect(Goodbye))

            async with open_memory_server() as memory:
                page: Page = await nursery.start(memory.hold_page)
                nursery.start_soon(hold, memory.server)
                nursery.start_soon(listen, page)
                await opened.wait()
                await trio.testing.wait_all_tasks_blocked()
            await trio.testing.wait_all_tasks_blocked()
            assert goodbyes[0].reason == "closed"
            nursery.cancel_scope.cancel()
        with pytest.raises(ClosedError, match="the server is closed"):
            async with memory.server.open_channel("code"):
                pass

    async def test_a_page_that_does_not_read_delays_closing_by_the_limit_only(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with trio.open_nursery() as nursery:
            async with open_memory_server(limits=Limits(close_seconds=3)) as memory:
                stop_reading(await nursery.start(memory.hold_page))
                began = trio.current_time()
            assert trio.current_time() - began <= 2 * 3
            nursery.cancel_scope.cancel()

    async def test_a_page_that_says_hello_while_the_server_closes_is_told(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page(hello=False) as page:
            await close_server(memory.server)
            await page.send(Hello("late"))
            assert (await page.expect(Goodbye)).reason == "closed"

    async def test_a_session_that_is_ending_takes_nothing_more_from_its_page_and_sends_no_beat(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        limits = Limits(close_seconds=3)
        async with open_memory_server(limits=limits, heartbeat=1) as memory, memory.open_page() as page:
            session = session_of(memory.server)
            assert session is not None
            block_writing(session)
            began = trio.current_time()
            session.end("closed", "enough")
            await page.link.send("nonsense")
            await session.wait_ended()
            assert trio.current_time() - began <= 2 * 3

    async def test_an_error_in_the_block_comes_out_as_itself(self, autojump_clock: trio.testing.MockClock) -> None:
        error = LookupError("of the block")
        with pytest.raises(LookupError) as caught:
            async with open_memory_server() as memory, memory.open_page():
                raise error
        assert caught.value is error

    async def test_an_error_of_the_library_ends_the_session_with_a_goodbye_and_nothing_else(
        self,
        autojump_clock: trio.testing.MockClock,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        error = ZeroDivisionError()

        def serve(*_: object) -> None:
            raise error

        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            with monkeypatch.context() as patch:
                async with memory.open_page() as page:
                    patch.setattr(Session, "_handle", serve)
                    await page.send(Echo(1, 1, pack([], field_name="args", shown_as="args")))
                    goodbye = await page.expect(Goodbye)
                    assert (goodbye.reason, goodbye.message) == ("closed", "an error of jchannel has ended the session")
                    await page.expect_lost()
            (record,) = caplog.records
            assert record.exc_info is not None
            assert record.exc_info[1] is error
            async with memory.open_peer(Adder()):
                await channel.open()
                assert await channel.call("add", 1, 2) == 3

    async def test_an_error_of_the_library_while_a_page_connects_ends_its_session_and_nothing_else(
        self,
        autojump_clock: trio.testing.MockClock,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        async with open_memory_server() as memory, trio.open_nursery() as nursery:
            async with memory.server.hold_channel("code") as channel:
                nursery.start_soon(channel.open, None)
                await trio.testing.wait_all_tasks_blocked()
                with monkeypatch.context() as patch:
                    patch.setattr(ServerChannel, "attach", fail)
                    async with memory.open_page(hello=False) as page:
                        await page.send(Hello("page"))
                        await page.expect_lost()
                assert "an error of jchannel has ended the session" in caplog.text
                assert not memory.server.statistics().page_connected
                for client in ("page", "another"):
                    with trio.fail_after(100):
                        async with memory.open_peer(Adder(), client=client):
                            assert await channel.call("add", 1, 2) == 3

    async def test_two_hundred_connects_and_disconnects_leave_nothing(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, trio.open_nursery() as nursery:
            async with memory.server.hold_channel("code", handler=Adder()) as channel:
                await trio.testing.wait_all_tasks_blocked()
                before = trio.lowlevel.current_statistics().tasks_living
                nursery.start_soon(channel.open, None)
                for number in range(200):
                    async with memory.open_peer(Adder(), client=f"peer {number % 7}") as peer:
                        far = await peer.wait_channel()
                        assert await far.call("add", number, 1) == number + 1
                        # One of each kind is under way when the connection ends.
                        start_soon(far, ignore_loss, far.call, "hang")
                        nursery.start_soon(ignore_loss, channel.call, "hang")
                        await trio.testing.wait_all_tasks_blocked()
                await trio.testing.wait_all_tasks_blocked()
                assert memory.server.statistics().connections == 0
                assert memory.server.statistics().pending_requests == 0
                assert count_entries(channel) == (0, 0, 0, 0)
                assert trio.lowlevel.current_statistics().tasks_living == before


async def ignore_loss(call: object, name: str) -> None:
    with suppress(PageLostError, ClosedError):
        await call(name, timeout=None)  # type: ignore[operator]


#: The WebSocket frame of a beat with much white space, in pieces. Its mask is zero.
SLOW_BEAT = [b"\x81\xa0" + bytes(4), *(bytes([byte]) for byte in b'[{"type":"beat"}' + b" " * 15 + b"]")]


def stop_reading(page: Page) -> None:
    """From now on the page's end of the connection takes nothing."""

    async def receive_some(max_bytes: int | None = None) -> bytearray:
        await trio.sleep_forever()
        raise AssertionError

    page.stream.receive_stream.receive_some = receive_some  # type: ignore[method-assign]


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"heartbeat": 0}, ValueError, "heartbeat must be a positive, finite number"),
            ({"heartbeat": None}, TypeError, "heartbeat must be seconds as int or float, and not None"),
            ({"heartbeat": True}, TypeError, "heartbeat must be seconds as int or float, and not True"),
            ({"heartbeat": float("nan")}, ValueError, "heartbeat must be a positive, finite number"),
            ({"heartbeat": "15"}, TypeError, "'15'"),
            ({"limits": 5}, TypeError, "limits must be a Limits, and not 5"),
            ({"origins": "https://example.com"}, TypeError, "several strings"),
            ({"url": "ftp://example.com"}, ValueError, "url must be absolute"),
            ({"static": 5}, TypeError, "static must be the path of a folder"),
            ({"static": "/no/such/folder"}, ValueError, "there is none at '/no/such/folder'"),
            ({"port": 65_536}, ValueError, "from 0 to 65535"),
            ({"host": ""}, ValueError, "host must not be empty"),
        ],
    )
    async def test_a_bad_argument_is_refused_and_nothing_stays_open(
        self, options: dict[str, object], error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            async with open_server(**{"port": 0, **options}):  # type: ignore[arg-type]
                pass
        gc.collect()  # An open socket would be a ResourceWarning, which is an error.


class TestSockets:
    async def test_one_port_serves_pages_on_both_loopback_addresses(self) -> None:
        async with open_server(port=0) as server:
            port = server.url.rpartition(":")[2]
            for host in ("127.0.0.1", "[::1]", "localhost"):
                async with open_peer(f"http://{host}:{port}", Adder(), token=server.token):
                    async with server.open_channel("code") as channel:
                        assert await channel.call("add", 1, 2) == 3

    async def test_a_taken_port_is_an_error_that_names_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(OSError, match=f"port {port} of localhost is taken") as caught:
                async with open_server(port=port):
                    pass
            assert caught.value.errno == errno.EADDRINUSE

    async def test_the_plain_page_and_the_client_come_over_http(self) -> None:
        async with open_server(port=0) as server, httpx.AsyncClient() as client:
            page = await client.get(server.url, headers={"accept": "text/html"})
            assert page.status_code == 200
            assert "jchannel/inject.js" in page.text
            assert server.token not in page.text
            script = await client.get(f"{server.url}/jchannel/inject.js")
            assert script.headers["content-type"].startswith("text/javascript")

    async def test_an_application_serves_its_own_folder(self, tmp_path: Path) -> None:
        (tmp_path / "index.html").write_text("<!doctype html><head></head>mine")
        async with open_server(port=0, static=tmp_path) as server, httpx.AsyncClient() as client:
            page = await client.get(server.url, headers={"accept": "text/html"})
            assert page.text == '<!doctype html><head><script src="jchannel/inject.js"></script></head>mine'

    async def test_the_browser_is_opened_with_an_address_that_works_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[str] = []
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def remember(url: str) -> bool:
            opened.append(url)
            token.run_sync_soon(done.set)
            return True

        monkeypatch.setattr(webbrowser, "open", remember)
        async with open_server(port=0, open_browser=True) as server, httpx.AsyncClient() as client:
            await done.wait()
            (url,) = opened
            assert server.token not in url
            assert f'data-token="{server.token}"' in (await client.get(url)).text
            assert (await client.get(url)).status_code == 410

    async def test_a_browser_that_takes_for_ever_to_open_does_not_hold_up_the_servers_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released = threading.Event()
        monkeypatch.setattr(webbrowser, "open", lambda _: released.wait())
        async with open_server(port=0, open_browser=True):
            await trio.testing.wait_all_tasks_blocked()
        released.set()

    async def test_a_browser_that_cannot_be_opened_is_told_to_the_log_without_the_token(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        told = trio.Event()

        class Told(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                told.set()
                return True

        monkeypatch.setattr(webbrowser, "open", lambda _: False)
        with caplog.filtering(Told()):
            async with open_server(port=0, open_browser=True) as server:
                await told.wait()
        (message,) = caplog.messages
        assert message.startswith("no browser could be opened (open_browser=True): print server.page_url and open it")
        assert server.token not in caplog.text

    async def test_a_page_that_stops_reading_does_not_hold_up_the_servers_end(self) -> None:
        async with open_server(port=0, limits=Limits(close_seconds=0.2)) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", int(server.url.rpartition(":")[2]))
            request = b"GET /jchannel/inject.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
            for _ in range(200):
                with trio.move_on_after(0.01):
                    await stream.send_all(request)
        await stream.aclose()


class TestThePeer:
    async def test_a_peer_with_a_wrong_token_is_refused_with_the_servers_words(self) -> None:
        async with open_server(port=0) as server:
            with pytest.raises(RefusedError, match="the token is wrong") as caught:
                async with open_peer(server.url, token="wrong"):
                    pass
            assert caught.value.reason == "token"

    async def test_cancelling_a_peer_takes_no_time(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory:
            began = trio.current_time()
            with trio.move_on_after(5):
                async with memory.open_peer():
                    await trio.sleep_forever()
            assert trio.current_time() - began == pytest.approx(5)

    async def test_a_peer_without_a_token_is_refused(self) -> None:
        async with open_server(port=0) as server:
            with pytest.raises(RefusedError, match="the token is wrong"):
                async with open_peer(server.url):
                    pass

    async def test_a_peer_under_a_foreign_name_without_a_token_is_refused_without_words(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory:
            with pytest.raises(RefusedError, match="HTTP 403") as caught:
                async with open_peer("http://evil.example", connect=memory.connect):
                    pass
            assert caught.value.reason == "forbidden"

    async def test_a_server_that_is_not_there_is_an_error_of_the_system(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(UnreachableError, match="nothing listens there"):
            async with open_peer(f"http://127.0.0.1:{port}"):
                pass

    async def test_a_server_without_tls_under_an_https_address_is_given_up(self) -> None:
        async with open_server(port=0) as server:
            with pytest.raises(UnreachableError, match=r"there is no TLS with it: .* has a URL of http"):
                async with open_peer(server.page_url.replace("http", "https")):
                    pass

    async def test_a_server_that_says_nothing_is_given_up(self, autojump_clock: trio.testing.MockClock) -> None:
        client, server = trio.testing.memory_stream_pair()

        async def connect() -> trio.abc.Stream:
            return client

        with pytest.raises(trio.TooSlowError, match=r"^http://localhost did not answer the .* within 10 s$"):
            async with open_peer("http://localhost", connect=connect):
                pass
        assert await server.receive_some()
        assert await server.receive_some() == b""

    async def test_a_server_that_goes_during_the_handshake_is_a_lost_one(
        self, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with open_memory_server() as memory:

            async def go(link: Link, *_: object) -> None:
                await link.aclose()

            serve_pages_by(memory.server, go)
            with pytest.raises(PageLostError, match="the server went during the handshake"):
                async with memory.open_peer():
                    pass

    async def test_waiting_for_a_channel_ends_with_the_connection(self, autojump_clock: trio.testing.MockClock) -> None:
        async with trio.open_nursery() as nursery:
            async with open_memory_server() as memory:
                peer: Peer = await nursery.start(memory.hold_peer)

                async def wait() -> None:
                    with pytest.raises(PageLostError, match="no channel will be opened: the server has closed"):
                        await peer.wait_channel()

                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
            await peer.wait_ended()
            assert not peer.connected
            nursery.cancel_scope.cancel()

    async def test_the_calls_of_a_peer_whose_server_has_gone_say_so(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer, trio.open_nursery() as nursery:
            async with memory.server.hold_channel("code") as channel:
                nursery.start_soon(channel.open)
                far = await peer.wait_channel()
                await trio.testing.wait_all_tasks_blocked()
                session = session_of(memory.server)
                assert session is not None
                session.end("replaced", "somebody else has come")
                await peer.wait_ended()
                with pytest.raises(PageLostError, match="cannot be sent: the server has closed the connection: some"):
                    await far.call("add")
                nursery.cancel_scope.cancel()

    async def test_a_rejection_of_another_connection_in_the_block_passes_as_it_is(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory:
            with pytest.raises(trio_websocket.ConnectionRejected):
                async with memory.open_peer():
                    raise trio_websocket.ConnectionRejected(404, (), None)

    async def test_a_request_for_a_channel_that_the_peer_does_not_have_is_an_error(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code") as channel:
                peer_core(peer).channels.clear()
                with pytest.raises(ClosedError, match="the peer has no such channel"):
                    await channel.call("add", 1, 2)

    @pytest.mark.parametrize("url", [None, 5])
    async def test_the_url_of_a_server_must_be_a_string(self, url: str) -> None:
        with pytest.raises(TypeError, match="url must be a str"):
            async with open_peer(url):
                pass

"""Channels between a server and a page: opening, calling, closing, and what ends a call."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from jchannel._core.channel import Opening, ServerChannel
from jchannel._protocol.messages import (
    ERROR_KINDS,
    Call,
    Cancel,
    Close,
    Echo,
    Error,
    Goodbye,
    Hello,
    Open,
    Result,
    Welcome,
)
from jchannel._protocol.values import pack
from jchannel.errors import ClosedError, FrontendError, KernelError, PageLostError, StateError
from jchannel.trio import Channel, Limits, PeerChannel
from tests.core.internals import channel_core, count_entries_of, handle_frame
from tests.core.memory import MemoryServer, Page, open_memory_server


class Calculator:
    """A handler with something of each kind."""

    limit = 10

    def __init__(self) -> None:
        self.started = trio.Event()
        self.ended = trio.Event()

    @property
    def secret(self) -> int:
        raise AssertionError("a property's code ran")

    def add(self, a: int, b: int) -> int:
        return a + b

    async def add_later(self, a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    def fail(self) -> None:
        raise ValueError("no luck")

    def give_nan(self) -> dict[str, float]:
        return {"x": math.nan}

    async def hang(self) -> None:
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()

    def _hidden(self) -> None:
        raise AssertionError("a private method ran")


def result(id_: int, value: object) -> Result:
    return Result(id_, pack(value, field_name="value", shown_as="result"))


async def answer_open(page: Page, value: object = None) -> int:
    """Lets a page open a channel; gives the channel's number."""
    request = await page.expect(Open)
    await page.send(result(request.id, value))
    await trio.testing.wait_all_tasks_blocked()
    return request.channel


class TestCalls:
    async def test_python_calls_the_page_and_gets_the_value(self, autojump_clock: trio.testing.MockClock) -> None:
        async with (
            open_memory_server() as memory,
            memory.open_peer(Calculator()),
            memory.server.open_channel("code") as channel,
        ):
            assert await channel.call("add", 2, 3) == 5

    async def test_the_page_calls_python_and_gets_the_value(self, autojump_clock: trio.testing.MockClock) -> None:
        async with (
            open_memory_server() as memory,
            memory.open_peer() as peer,
            memory.server.open_channel("code", handler=Calculator()),
        ):
            channel = await peer.wait_channel()
            assert await channel.call("add", 2, 3) == 5
            assert await channel.call("add_later", 2, 3) == 5

    async def test_a_call_within_a_call_goes_the_other_way(self, autojump_clock: trio.testing.MockClock) -> None:
        class Relay:
            channel: PeerChannel

            async def ask_back(self, a: int) -> int:
                value: int = await self.channel.call("add", a, 1)
                return value

        relay = Relay()
        async with open_memory_server() as memory, memory.open_peer(relay) as peer:
            async with memory.server.open_channel("code", handler=Calculator()) as channel:
                relay.channel = await peer.wait_channel()
                assert await channel.call("ask_back", 41) == 42

    async def test_echo_gives_the_arguments_back(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code") as channel:
                assert await channel.echo(1, "two", [3.5, None], {"four": b"\x00\xff"}) == [
                    1,
                    "two",
                    [3.5, None],
                    {"four": b"\x00\xff"},
                ]
                assert await (await peer.wait_channel()).echo() == []

    async def test_two_thousand_calls_at_once_answer_correctly(self, autojump_clock: trio.testing.MockClock) -> None:
        answers: dict[int, int] = {}
        async with (
            open_memory_server() as memory,
            memory.open_peer(Calculator()),
            memory.server.open_channel("code") as channel,
        ):

            async def call(number: int) -> None:
                answers[number] = await channel.call("add_later", number, 1)

            async with trio.open_nursery() as nursery:
                for number in range(2_000):
                    nursery.start_soon(call, number)
            assert memory.server.statistics().pending_requests == 0
        assert answers == {number: number + 1 for number in range(2_000)}

    async def test_answers_may_come_out_of_order(self, autojump_clock: trio.testing.MockClock) -> None:
        answers: list[str] = []
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await answer_open(page)

                async def call(name: str) -> None:
                    answers.append(await channel.call(name))

                nursery.start_soon(call, "a")
                first = await page.expect(Call)
                nursery.start_soon(call, "b")
                second = await page.expect(Call)
                await page.send(result(second.id, second.name))
                await trio.testing.wait_all_tasks_blocked()
                await page.send(result(first.id, first.name))
        assert answers == ["b", "a"]

    async def test_methods_begin_in_the_order_of_their_calls(self, autojump_clock: trio.testing.MockClock) -> None:
        class Recorder:
            begun: list[int]

            def note(self, number: int) -> None:
                self.begun.append(number)

            async def note_and_wait(self, number: int) -> None:
                self.begun.append(number)
                await trio.lowlevel.checkpoint()

        handler = Recorder()
        handler.begun = []
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code", handler=handler) as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                number = await answer_open(page)
                calls = [
                    Call(
                        id_, number, ("note", "note_and_wait")[id_ % 2], pack([id_], field_name="args", shown_as="args")
                    )
                    for id_ in range(1, 51)
                ]
                await page.send(*calls, Cancel(20))
                await trio.testing.wait_all_tasks_blocked()
        assert handler.begun == [id_ for id_ in range(1, 51) if id_ != 20]

    async def test_waiting_calls_leave_in_one_frame(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await trio.testing.wait_all_tasks_blocked()
                for name in "abc":
                    nursery.start_soon(channel.call, name)
                await answer_open(page)
                frame = await page.receive_frame()
                assert len(page.connection.receive(frame)) == 3
                nursery.cancel_scope.cancel()

    async def test_of_calls_made_at_once_the_first_leaves_at_once_and_the_others_in_one_frame(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await answer_open(page)
                await trio.testing.wait_all_tasks_blocked()
                for name in "abc":
                    nursery.start_soon(channel.call, name)
                frames = [await page.receive_frame(), await page.receive_frame()]
                assert [len(page.connection.receive(frame)) for frame in frames] == [1, 2]
                nursery.cancel_scope.cancel()

    async def begin_to_open(self, memory: MemoryServer, channel: Channel, page: Page) -> tuple[ServerChannel, Opening]:
        """Begins to open a channel that no task holds yet, and lets the page call it in the same step."""
        other = ServerChannel(channel_core(channel).server, "code", handler=Calculator())
        opening = other.begin_open()
        number = other._id
        assert number is not None
        page.connection.send(Call(1, number, "add", pack([2, 3], field_name="args", shown_as="args")))
        frame = page.connection.next_frame()
        assert frame is not None
        handle_frame(memory.server, frame)
        return other, opening

    async def test_a_page_that_calls_before_the_channel_has_tasks_is_answered(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                other, opening = await self.begin_to_open(memory, channel, page)
                nursery.start_soon(other.hold, opening)
                await page.expect(Open)
                assert (await page.expect(Result)).value == 5
                other.shut("it was closed")

    async def test_a_channel_that_is_closed_before_it_has_tasks_ends_what_the_page_has_called(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel:
                other, opening = await self.begin_to_open(memory, channel, page)
                other.shut("it was closed")
                await other.hold(opening)
                assert count_entries_of(other) == (0, 0, 0, 0)


class TestErrors:
    async def test_an_exception_in_the_page_is_a_frontend_error(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await answer_open(page)

                async def play_page() -> None:
                    request = await page.expect(Call)
                    await page.send(
                        Error(request.id, "exception", "RangeError", "too far", "RangeError: too far\n  at f")
                    )

                nursery.start_soon(play_page)
                with pytest.raises(FrontendError, match="RangeError: too far") as caught:
                    await channel.call("f")
        error = caught.value
        assert (error.kind, error.name, error.message) == ("exception", "RangeError", "too far")
        assert error.stack == "RangeError: too far\n  at f"

    @pytest.mark.parametrize(
        ("name", "kind", "words"),
        [
            ("fail", "exception", "ValueError: no luck"),
            ("missing", "method", "has no such method; it has add, add_later, fail, give_nan, hang"),
            ("_hidden", "private", "underscore"),
            ("__init__", "private", "underscore"),
            ("limit", "callable", "of type int"),
            ("secret", "callable", "a property"),
            ("give_nan", "value", r"result\['x'\] is nan"),
        ],
    )
    async def test_what_cannot_be_called_is_an_error_and_the_channel_goes_on(
        self, autojump_clock: trio.testing.MockClock, name: str, kind: str, words: str
    ) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=Calculator()):
                channel = await peer.wait_channel()
                with pytest.raises(KernelError, match=words) as caught:
                    await channel.call(name)
                assert caught.value.kind == kind
                assert caught.value.stack is None
                assert await channel.call("add", 1, 1) == 2

    async def test_a_channel_without_a_handler_says_so(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code") as channel:
                with pytest.raises(KernelError, match=r"set channel\.handler") as caught:
                    await (await peer.wait_channel()).call("add")
                assert caught.value.kind == "handler"
                channel.handler = Calculator()
                assert await (await peer.wait_channel()).call("add", 1, 1) == 2

    async def test_a_traceback_is_sent_only_where_the_server_says_so(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(tracebacks=True) as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=Calculator()):
                with pytest.raises(KernelError) as caught:
                    await (await peer.wait_channel()).call("fail")
                assert caught.value.stack is not None
                assert 'raise ValueError("no luck")' in caught.value.stack

    async def test_an_exception_in_a_handler_is_logged_with_its_traceback(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=Calculator()):
                with pytest.raises(KernelError):
                    await (await peer.wait_channel()).call("fail")
        (record,) = caplog.records
        assert record.getMessage() == "the handler method 'fail' raised"
        assert record.exc_info is not None

    @pytest.mark.parametrize(
        ("args", "error", "words"),
        [
            ((1, {"x": [0, math.inf]}), ValueError, r"args\[1\]\['x'\]\[1\] is inf"),
            ((2**53 + 1,), ValueError, r"args\[0\] is 9007199254740993"),
            (({1: 2},), TypeError, r"args\[0\] has the key 1"),
            ((object(),), TypeError, r"args\[0\] is an object"),
        ],
    )
    async def test_a_value_that_json_would_change_is_refused_before_anything_is_sent(
        self, autojump_clock: trio.testing.MockClock, args: tuple[object, ...], error: type[Exception], words: str
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await answer_open(page)
                with pytest.raises(error, match=words):
                    await channel.call("f", *args)
                with pytest.raises(error, match=words):
                    await channel.echo(*args)
                nursery.start_soon(channel.call, "next")
                request = await page.expect(Call)
                assert request.name == "next"
                await page.send(result(request.id, None))

    async def test_a_call_larger_than_a_frame_is_refused_and_the_channel_goes_on(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with (
            open_memory_server(limits=Limits(frame_bytes=5_000)) as memory,
            memory.open_peer(Calculator()) as peer,
            memory.server.open_channel("code") as channel,
        ):
            with pytest.raises(ValueError, match="larger than the connection takes at once, 5,000 bytes"):
                await channel.call("add", "x" * 5_000)
            with pytest.raises(ValueError, match="5,000 bytes"):
                await (await peer.wait_channel()).call("add", "x" * 5_000)
            assert await channel.call("add", 1, 1) == 2

    async def test_a_result_larger_than_a_frame_is_an_error_of_its_call(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        class Large:
            def get(self) -> bytes:
                return bytes(5_000)

        async with open_memory_server(limits=Limits(frame_bytes=5_000)) as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=Large()):
                with pytest.raises(KernelError, match="larger than the connection takes at once") as caught:
                    await (await peer.wait_channel()).call("get")
                assert caught.value.kind == "value"

    async def test_an_error_that_is_larger_than_a_frame_is_cut(self, autojump_clock: trio.testing.MockClock) -> None:
        class Verbose:
            def fail(self) -> None:
                raise ValueError("\x00" * 10_000)

        limits = Limits(frame_bytes=4_096)
        async with open_memory_server(limits=limits, tracebacks=True) as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=Verbose()):
                with pytest.raises(KernelError) as caught:
                    await (await peer.wait_channel()).call("fail")
                assert caught.value.message == "\x00" * 200

    async def test_the_name_of_a_method_must_be_a_string(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            with pytest.raises(TypeError, match="must be a str, and not 5"):
                await channel.call(5)  # type: ignore[arg-type]

    async def test_more_calls_at_once_than_the_limit_are_answered_with_an_error(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(limits=Limits(running_requests=1)) as memory, memory.open_peer() as peer:
            handler = Calculator()
            async with (
                memory.server.open_channel("code", handler=handler),
                trio.open_nursery() as nursery,
            ):
                channel = await peer.wait_channel()
                nursery.start_soon(channel.call, "hang")
                await handler.started.wait()
                with pytest.raises(KernelError, match="too many calls at once: 1") as caught:
                    await channel.call("add", 1, 1)
                assert caught.value.kind == "busy"
                nursery.cancel_scope.cancel()
            async with memory.server.open_channel("code", handler=handler):
                await trio.testing.wait_all_tasks_blocked()
                (other,) = peer.channels.values()
                assert await other.call("add", 1, 1) == 2


class TestTimeouts:
    async def test_a_call_that_is_not_answered_in_time_is_cancelled_in_the_page(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Calculator()
        async with (
            open_memory_server() as memory,
            memory.open_peer(handler),
            memory.server.open_channel("code") as channel,
        ):
            with pytest.raises(trio.TooSlowError, match="the call of 'hang' was not answered within 2 s"):
                await channel.call("hang", timeout=2)
            assert trio.current_time() == pytest.approx(autojump_clock.current_time())
            assert handler.ended.is_set()
            assert memory.server.statistics().pending_requests == 0

    async def test_a_call_without_a_page_times_out_and_says_where_to_open_one(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(url="http://example.com/app") as memory:
            async with memory.server.hold_channel("code") as channel:
                with pytest.raises(
                    trio.TooSlowError, match=r"no page is connected to http://example\.com/app"
                ) as caught:
                    await channel.open(timeout=5)
            assert memory.server.token not in str(caught.value)
            assert memory.server.statistics().channels == 0

    async def test_a_call_waits_for_the_page_within_its_timeout(self, autojump_clock: trio.testing.MockClock) -> None:
        async with (
            open_memory_server() as memory,
            memory.server.hold_channel("code") as channel,
            trio.open_nursery() as nursery,
        ):

            async def open_and_call() -> None:
                await channel.open(timeout=10)
                assert await channel.call("add", 1, 2) == 3
                nursery.cancel_scope.cancel()

            nursery.start_soon(open_and_call)
            await trio.sleep(9)
            async with memory.open_peer(Calculator()):
                await trio.sleep_forever()

    async def test_no_timeout_waits_for_ever(self, autojump_clock: trio.testing.MockClock) -> None:
        async with (
            open_memory_server() as memory,
            memory.open_peer(Calculator()),
            memory.server.open_channel("code") as channel,
        ):
            with trio.move_on_after(10_000) as scope:
                await channel.call("hang", timeout=None)
            assert scope.cancelled_caught

    async def test_a_timeout_of_zero_sends_and_gives_up_at_once(self, autojump_clock: trio.testing.MockClock) -> None:
        async with (
            open_memory_server() as memory,
            memory.open_peer(Calculator()),
            memory.server.open_channel("code") as channel,
        ):
            with pytest.raises(trio.TooSlowError):
                await channel.call("add", 1, 2, timeout=0)
            assert await channel.call("add", 1, 2) == 3

    @pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (math.nan, ValueError), ("3", TypeError)])
    async def test_a_bad_timeout_is_refused_before_anything_is_sent(
        self, autojump_clock: trio.testing.MockClock, timeout: float, error: type[Exception]
    ) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            for ask in (channel.open, channel.close, channel.echo):
                with pytest.raises(error, match="timeout"):
                    await ask(timeout=timeout)
            with pytest.raises(error, match="timeout"):
                await channel.call("add", timeout=timeout)
            with pytest.raises(error, match="timeout"):
                channel.context_timeout = timeout
            with pytest.raises(error, match="timeout"):
                await memory.server.wait_page(timeout)
            assert channel.context_timeout == 3


class TestCancellation:
    async def test_a_cancelled_call_is_cancelled_in_the_page_and_others_go_on(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Calculator()
        async with (
            open_memory_server() as memory,
            memory.open_peer(handler),
            memory.server.open_channel("code") as channel,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.call, "hang")
                await handler.started.wait()
                nursery.cancel_scope.cancel()
            assert handler.ended.is_set()
            assert await channel.call("add", 1, 2) == 3
            assert memory.server.statistics().pending_requests == 0

    async def test_a_page_that_cancels_a_call_ends_the_scope_of_its_handler(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Calculator()
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.open_channel("code", handler=handler):
                channel = await peer.wait_channel()
                with trio.move_on_after(1):
                    await channel.call("hang", timeout=None)
                assert handler.ended.is_set()
                assert memory.server.statistics().running_requests == 0
                assert await channel.call("add", 1, 2) == 3

    async def test_a_cancel_in_the_same_frame_as_its_call_keeps_the_method_from_running(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        class Counter:
            calls = 0

            def count(self) -> None:
                self.calls += 1

        counter = Counter()
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code", handler=counter) as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                number = await answer_open(page)
                args = pack([], field_name="args", shown_as="args")
                await page.send(Call(1, number, "count", args), Cancel(1))
                answer = await page.expect(Error)
                assert (answer.id, answer.kind) == (1, "cancelled")
        assert counter.calls == 0

    async def test_a_cancel_that_crosses_the_answer_is_ignored(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with (
                memory.server.hold_channel("code", handler=Calculator()) as channel,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(channel.open)
                number = await answer_open(page)
                args = pack([1, 2], field_name="args", shown_as="args")
                await page.send(Call(1, number, "add", args))
                # The page has not read the answer when it cancels.
                page.connection._waiting.clear()
                await page.link.send('[{"type":"cancel","id":1}]')
                assert (await page.expect(Result)).value == 3
                await page.send(Echo(2, number, args))
                assert (await page.expect(Result)).value == [1, 2]

    async def test_a_page_that_does_not_confirm_a_cancellation_delays_it_by_the_limit(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server(limits=Limits(cancel_seconds=7)) as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await answer_open(page)
                began = trio.current_time()
                with pytest.raises(trio.TooSlowError):
                    await channel.call("ignored", timeout=2)
                assert trio.current_time() - began == pytest.approx(9)
                request = await page.expect(Call)
                assert (await page.expect(Cancel)).id == request.id
                # Its answer comes too late, and is dropped.
                await page.send(result(request.id, "late"))
                nursery.start_soon(channel.call, "next")
                assert (await page.expect(Call)).name == "next"
                nursery.cancel_scope.cancel()


class TestOpening:
    async def test_opening_gives_what_the_initialization_function_returned(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        opened: list[tuple[PeerChannel, str]] = []

        async def on_open(channel: PeerChannel, code: str) -> dict[str, str]:
            await trio.lowlevel.checkpoint()
            opened.append((channel, code))
            return {"from": "the page"}

        async with open_memory_server() as memory, memory.open_peer(on_open=on_open):
            async with memory.server.hold_channel("(channel) => {}") as channel:
                assert await channel.open() == {"from": "the page"}
                assert channel.is_open
                assert opened[0][1] == opened[0][0].code == "(channel) => {}"
                await channel.close()
                assert not channel.is_open

    async def test_an_initialization_function_that_raises_is_an_error_of_opening(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        def on_open(channel: PeerChannel, code: str) -> None:
            raise LookupError(code)

        async with open_memory_server() as memory, memory.open_peer(on_open=on_open):
            async with memory.server.hold_channel("the code") as channel:
                with pytest.raises(FrontendError, match="LookupError: the code"):
                    await channel.open()
                assert not channel.is_open
                assert memory.server.statistics().channels == 0
                with pytest.raises(ClosedError, match="the page could not open it"):
                    await channel.call("f")

    @pytest.mark.parametrize("kind", sorted(ERROR_KINDS))
    async def test_an_error_of_any_kind_that_answers_opening_ends_the_opening_alone(
        self, kind: str, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:

            async def refuse() -> None:
                request = await page.expect(Open)
                await page.send(Error(request.id, kind, "", "not now"))

            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(refuse)
                with pytest.raises((StateError, FrontendError, trio.TooSlowError), match="not now"):
                    await channel.open()
            assert memory.server.statistics().connections == 1

    async def test_a_channel_can_be_opened_again_after_closing(self, autojump_clock: trio.testing.MockClock) -> None:
        async with (
            open_memory_server() as memory,
            memory.open_peer(Calculator()),
            memory.server.hold_channel("code") as channel,
        ):
            for _ in range(3):
                await channel.open()
                assert await channel.call("add", 1, 2) == 3
                await channel.close()

    async def test_an_open_channel_cannot_be_opened(self, autojump_clock: trio.testing.MockClock) -> None:
        async with (
            open_memory_server() as memory,
            memory.open_peer(Calculator()),
            memory.server.open_channel("code") as channel,
        ):
            with pytest.raises(StateError, match="open already"):
                await channel.open()
            assert await channel.call("add", 1, 2) == 3

    async def test_opening_that_times_out_tells_the_page_to_forget_the_channel(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel:
                with pytest.raises(trio.TooSlowError, match="the page has not opened the channel yet"):
                    await channel.open(timeout=1)
                request = await page.expect(Open)
                assert (await page.expect(Cancel)).id == request.id
                assert (await page.expect(Close)).channel == request.channel

    async def test_closing_while_opening_ends_the_opening(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            async with trio.open_nursery() as nursery:

                async def open_it() -> None:
                    with pytest.raises(ClosedError, match=r"close\(\) was called"):
                        await channel.open(timeout=None)

                nursery.start_soon(open_it)
                await trio.testing.wait_all_tasks_blocked()
                await channel.close()

    async def test_code_that_is_larger_than_a_frame_is_refused(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server(limits=Limits(frame_bytes=4_096)) as memory, memory.open_peer():
            async with memory.server.hold_channel("x" * 4_096) as channel:
                with pytest.raises(ValueError, match="larger"):
                    await channel.open()
                assert memory.server.statistics().channels == 0

    async def test_code_must_be_a_string(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory:
            with pytest.raises(TypeError, match="a str of JavaScript, and not None"):
                async with memory.server.open_channel(None):
                    pass


class TestClosing:
    async def test_a_closed_channel_says_so(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer(Calculator()) as peer:
            async with memory.server.open_channel("code") as channel:
                far = await peer.wait_channel()
            with pytest.raises(ClosedError, match="the channel is closed: its block was left"):
                await channel.call("add", 1, 2)
            with pytest.raises(ClosedError, match="the server has closed it"):
                await far.call("add", 1, 2)
            assert "closed" in repr(channel)
            assert "closed" in repr(far)

    async def test_a_channel_that_was_never_opened_says_so(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            with pytest.raises(ClosedError, match=r"call open\(\) first"):
                await channel.call("add", 1, 2)

    async def test_closing_ends_the_calls_of_both_directions(self, autojump_clock: trio.testing.MockClock) -> None:
        near, far = Calculator(), Calculator()
        async with open_memory_server() as memory, memory.open_peer(far) as peer, trio.open_nursery() as nursery:

            async def call_and_fail(side: Channel | PeerChannel) -> None:
                with pytest.raises(ClosedError):
                    await side.call("hang", timeout=None)

            async with memory.server.hold_channel("code", handler=near) as channel:
                await channel.open()
                nursery.start_soon(call_and_fail, channel)
                nursery.start_soon(call_and_fail, await peer.wait_channel())
                await near.started.wait()
                await far.started.wait()
                await channel.close()
                assert near.ended.is_set()
                assert far.ended.is_set()
                assert memory.server.statistics().pending_requests == 0
                assert memory.server.statistics().running_requests == 0

    async def test_closing_a_closed_channel_does_nothing(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            await channel.close()

    async def test_closing_that_the_page_does_not_confirm_times_out_and_the_channel_is_closed(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await answer_open(page)
                with pytest.raises(trio.TooSlowError, match="closed all the same"):
                    await channel.close(timeout=1)
                assert not channel.is_open

    async def test_a_page_that_is_lost_while_closing_has_closed_the_channel(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                nursery.start_soon(channel.open)
                await answer_open(page)
                nursery.start_soon(channel.close)
                await page.expect(Close)
                await trio.aclose_forcefully(page.stream)

    async def test_an_error_in_the_block_comes_out_as_itself_and_the_page_is_told(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        error = RuntimeError("of the block")
        async with open_memory_server() as memory, memory.open_peer() as peer:
            with pytest.raises(RuntimeError) as caught:
                async with memory.server.open_channel("code"):
                    raise error
            assert caught.value is error
            assert not peer.channels

    async def test_a_handler_may_close_its_own_channel(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_memory_server() as memory, memory.open_peer() as peer:
            async with memory.server.hold_channel("code") as channel:

                class Closer:
                    async def leave(self) -> None:
                        await channel.close()

                channel.handler = Closer()
                await channel.open()
                with pytest.raises(ClosedError):
                    await (await peer.wait_channel()).call("leave")
                assert not channel.is_open

    async def test_closing_waits_for_the_clean_up_of_running_handler_methods(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        class Careful:
            cleaned = False

            async def work(self) -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(2)
                    self.cleaned = True

        handler = Careful()
        async with open_memory_server() as memory, memory.open_peer() as peer, trio.open_nursery() as nursery:

            async def call(channel: PeerChannel) -> None:
                with pytest.raises(ClosedError):
                    await channel.call("work", timeout=None)

            async with memory.server.hold_channel("code", handler=handler) as channel:
                await channel.open()
                nursery.start_soon(call, await peer.wait_channel())
                await trio.testing.wait_all_tasks_blocked()
                await channel.close()
                assert handler.cleaned

    async def test_a_call_to_a_channel_that_python_has_closed_is_an_error(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.open_page() as page:
            await page.send(Call(1, 99, "f", pack([], field_name="args", shown_as="args")))
            answer = await page.expect(Error)
            assert (answer.kind, answer.message) == ("channel", "the channel is closed in Python")


class TestALostPage:
    async def test_a_lost_page_ends_its_requests_with_an_error_that_says_so(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory:
            async with memory.server.hold_channel("code") as channel, trio.open_nursery() as nursery:
                async with memory.open_page() as page:
                    nursery.start_soon(channel.open)
                    await answer_open(page)

                    async def call() -> None:
                        with pytest.raises(PageLostError, match="It may have run; it is not sent again") as caught:
                            await channel.call("f", timeout=None)
                        assert "the connection to the page was lost" in str(caught.value)

                    nursery.start_soon(call)
                    await page.expect(Call)
            assert memory.server.statistics().pending_requests == 0

    async def test_a_lost_page_cancels_the_handler_methods_that_run_for_it(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        handler = Calculator()
        async with open_memory_server() as memory:
            async with memory.server.hold_channel("code", handler=handler) as channel, trio.open_nursery() as nursery:
                async with memory.open_page() as page:
                    nursery.start_soon(channel.open)
                    number = await answer_open(page)
                    await page.send(Call(1, number, "hang", pack([], field_name="args", shown_as="args")))
                    await handler.started.wait()
                await handler.ended.wait()

    async def test_channels_are_opened_again_in_order_before_anything_else_is_sent(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, trio.open_nursery() as nursery:
            async with (
                memory.server.hold_channel("first") as first,
                memory.server.hold_channel("second") as second,
            ):
                async with memory.open_page() as page:
                    for channel in (first, second):
                        nursery.start_soon(channel.open)
                        await answer_open(page)

                async def call(channel_call: str) -> None:
                    assert await second.call(channel_call, timeout=None) == "answer"

                nursery.start_soon(call, "waits for the page")
                await trio.testing.wait_all_tasks_blocked()
                async with memory.open_page(hello=False) as page:
                    await page.send(Hello("page"))
                    welcome = await page.expect(Welcome)
                    opens = [await page.expect(Open), await page.expect(Open)]
                    assert [request.code for request in opens] == ["first", "second"]
                    assert welcome.channels == tuple(request.channel for request in opens)
                    await page.send(*[result(request.id, None) for request in opens])
                    request = await page.expect(Call)
                    await page.send(result(request.id, "answer"))
                    await trio.testing.wait_all_tasks_blocked()

    async def test_opening_goes_on_in_the_page_that_comes_after_a_lost_one(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            async with trio.open_nursery() as nursery:
                opened: list[object] = []

                async def open_it() -> None:
                    opened.append(await channel.open(timeout=None))

                nursery.start_soon(open_it)
                async with memory.open_page() as page:
                    await page.expect(Open)
                async with memory.open_page() as page:
                    await answer_open(page, "at last")
                    await trio.testing.wait_all_tasks_blocked()
                assert opened == ["at last"]

    async def test_an_answer_to_opening_with_a_goodbye_behind_it_leaves_the_channel_to_the_next_page(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            async with trio.open_nursery() as nursery:
                async with memory.open_page() as page:
                    nursery.start_soon(channel.open, None)
                    request = await page.expect(Open)
                    await page.send(result(request.id, None), Goodbye("closed", "the page has closed"))
                    await trio.testing.wait_all_tasks_blocked()
                    assert "opening" in repr(channel)
                async with memory.open_page() as page:
                    await answer_open(page)
                    assert "open," in repr(channel)

    async def test_a_channel_that_a_new_page_cannot_open_is_closed_and_says_why(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
            async with trio.open_nursery() as nursery:
                async with memory.open_page() as page:
                    nursery.start_soon(channel.open)
                    await answer_open(page)
                async with memory.open_page() as page:
                    request = await page.expect(Open)
                    await page.send(Error(request.id, "exception", "TypeError", "gone"))
                    with pytest.raises(ClosedError, match="the page could not open it") as caught:
                        await channel.call("f")
                    assert isinstance(caught.value.__cause__, FrontendError)
        assert "could not be opened again" in caplog.text


async def test_the_repr_shows_the_state_and_no_secret(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, trio.open_nursery() as nursery:
        async with memory.server.hold_channel("code") as channel:
            assert "Channel closed" in repr(channel)
            nursery.start_soon(channel.open)
            await trio.testing.wait_all_tasks_blocked()
            assert "Channel opening" in repr(channel)
            async with memory.open_peer() as peer:
                await peer.wait_channel()
                await trio.testing.wait_all_tasks_blocked()
                assert "Channel open," in repr(channel)
                assert memory.server.token not in repr(channel) + repr(memory.server)
                assert "page connected" in repr(memory.server)


async def test_a_channel_has_its_code() -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        assert channel.code == "code"

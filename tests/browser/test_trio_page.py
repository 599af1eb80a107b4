"""The trio API and a page in real Chromium, through the page frontend."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from jchannel.errors import ClosedError, FrontendError, PageLostError
from jchannel.trio import Channel, Limits, Server, open_server
from tests.browser.chromium import BrowserThread, PageHandle
from tests.core.internals import channel_core, cut

CODE = """
(channel) => {
    class Handler {
        factor = 10;
        add(a, b) { return a + b; }
        async addLater(a, b) { await null; return a + b; }
        scale(x) { return this.factor * x; }
        nothing() {}
        identity(...args) { return args; }
        describe(value) { return `${value?.constructor?.name} ${value?.length} ${value?.shape}`; }
        fail() { throw new RangeError('too far'); }
        async failLater() { await null; throw 'no error at all'; }
        give(text) { return Function(`return ${text}`)(); }
        text = 'not a method';
        _hidden() { return 'hidden'; }
        async ask(name, ...args) {
            try {
                return await channel.call(name, ...args);
            } catch (error) {
                const name = error instanceof jchannel.KernelError ? 'KernelError' : error.constructor.name;
                return {class: name, name: error.name, message: error.message, kind: error.kind ?? null};
            }
        }
        async askGiven(name, text) { return this.ask(name, Function(`return ${text}`)()); }
        async askMany(n) {
            const answers = await Promise.all(Array.from({length: n}, (_, i) => channel.call('add', i, 1)));
            return answers.every((answer, i) => answer === i + 1);
        }
        hang() {
            const {signal} = channel;
            window.aborted = false;
            return new Promise((resolve) => signal.addEventListener('abort', () => {
                window.aborted = true;
                resolve();
            }));
        }
    }
    window.opened = (window.opened ?? 0) + 1;
    window.channel = channel;
    channel.handler = new Handler();
    return 'opened';
}
"""


class Handler:
    def __init__(self) -> None:
        self.hanging = trio.Event()
        self.ended = trio.Event()

    def add(self, a: int, b: int) -> int:
        return a + b

    async def add_later(self, a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    def identity(self, *args: Any) -> Any:
        return args

    def fail(self) -> None:
        raise LookupError("not here")

    text = "not a method"

    def give_infinity(self) -> Any:
        return {"deep": [0, float("inf")]}

    async def hang(self) -> None:
        self.hanging.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()


@asynccontextmanager
async def open_page(browser: BrowserThread, **options: Any) -> AsyncIterator[tuple[Server, PageHandle]]:
    """A server with a page connected."""
    async with open_server(port=0, **options) as server:
        page = await browser.open(server.page_url)
        await server.wait_page(60)
        yield server, page


@asynccontextmanager
async def open_channel(browser: BrowserThread, **options: Any) -> AsyncIterator[tuple[Channel, PageHandle]]:
    """A channel that is open in a page."""
    async with open_page(browser, **options) as (server, page), server.open_channel(CODE, handler=Handler()) as channel:
        yield channel, page
        assert page.console == []


class TestCalls:
    @pytest.mark.engines
    async def test_calls_of_both_kinds_answer_in_both_directions(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, _):
            assert await channel.call("add", 2, 3) == 5
            assert await channel.call("addLater", "a", "b") == "ab"
            assert await channel.call("nothing") is None
            assert await channel.call("ask", "add", 2, 3) == 5
            assert await channel.call("ask", "add_later", 2, 3) == 5

    async def test_a_javascript_method_keeps_this(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, _):
            assert await channel.call("scale", 4) == 40

    @pytest.mark.engines
    async def test_two_thousand_calls_at_once_answer_correctly_in_both_directions(self, browser: BrowserThread) -> None:
        answers: dict[int, int] = {}
        async with open_channel(browser) as (channel, _):

            async def call(number: int) -> None:
                answers[number] = await channel.call("add", number, 1)

            async with trio.open_nursery() as nursery:
                for number in range(2_000):
                    nursery.start_soon(call, number)
            assert answers == {number: number + 1 for number in range(2_000)}
            assert await channel.call("askMany", 2_000) is True

    @pytest.mark.engines
    async def test_echo_gives_json_values_back_unchanged(self, browser: BrowserThread) -> None:
        values: list[Any] = [
            None,
            True,
            0,
            -(2**53),
            2**53,
            0.1,
            -1e300,
            "",
            "Grüße \U0001f600 \u2028 \x00 \ud800",
            [],
            {},
            [[[]]],
            {"__proto__": 1, "a": {"b": [None]}},
        ]
        async with open_channel(browser) as (channel, _):
            assert await channel.echo(*values) == values

    @pytest.mark.engines
    async def test_numbers_of_the_page_arrive_as_what_it_holds_and_go_back(self, browser: BrowserThread) -> None:
        code = """
        (channel) => {
            const view = new DataView(new ArrayBuffer(8));
            const numbers = [2 ** 53 + 2, 2 ** 60, -(2 ** 63), Date.now() * 1e6, 1e21, 2 ** 70, 1.5e300, 5e-324, 0.1];
            for (let i = 0; i < 2000; i += 1) {
                crypto.getRandomValues(new Uint8Array(view.buffer));
                const random = view.getFloat64(0);
                if (Number.isFinite(random)) numbers.push(random);
                numbers.push(Number(view.getBigInt64(0) >> BigInt(i % 40)), Number(view.getBigInt64(0)) * 100);
            }
            channel.handler = {
                send: () => [numbers, new Float64Array(numbers)],
                isSame: (back) => back.length === numbers.length && back.every((n, i) => n === numbers[i]),
                ask: () => channel.call('identity', ...numbers),
            };
        }
        """
        async with open_page(browser) as (server, _), server.open_channel(code, handler=Handler()) as channel:
            numbers, doubles = await channel.call("send")
            assert numbers[1:3] == [2**60, -(2**63)]
            assert numbers == doubles.tolist()
            assert {type(number) for number in numbers if abs(number) >= 1e21} == {float}
            assert {type(number) for number in numbers if number % 1 == 0 and abs(number) < 1e21} == {int}
            assert await channel.call("isSame", numbers)
            assert await channel.call("isSame", await channel.echo(*numbers))
            assert await channel.call("isSame", await channel.call("ask"))

    async def test_a_value_of_the_page_is_asked_once_what_it_is(self, browser: BrowserThread) -> None:
        code = """
        (channel) => {
            let reads = 0;
            channel.handler = {
                count: () => ({ get reads() { return (reads += 1); }, bytes: new Uint8Array([1]) }),
                proxy: () => new Proxy({ a: 1 }, { get: (o, key) => (key === 'a' ? (reads += 1) : o[key]) }),
                list: () => Object.assign([1], { toJSON: () => ['by toJSON', new Uint8Array([2])] }),
            };
        }
        """
        async with open_page(browser) as (server, _), server.open_channel(code) as channel:
            assert await channel.call("count") == {"reads": 1, "bytes": b"\1"}
            assert await channel.call("proxy") == {"a": 2}
            assert await channel.call("list") == ["by toJSON", b"\2"]

    async def test_opening_gives_what_the_initialization_function_returned(self, browser: BrowserThread) -> None:
        async with open_page(browser) as (server, _), server.hold_channel(CODE) as channel:
            assert await channel.open() == "opened"


class TestBinary:
    @pytest.mark.engines
    async def test_bytes_travel_anywhere_inside_in_both_directions(self, browser: BrowserThread) -> None:
        data = bytes(range(256)) * 300
        values = [data, {"deep": [1, bytearray(b"abc"), {"empty": b""}]}, memoryview(b"view")]
        expected = [data, {"deep": [1, b"abc", {"empty": b""}]}, b"view"]
        async with open_channel(browser) as (channel, _):
            assert await channel.echo(*values) == expected
            assert await channel.call("identity", *values) == expected
            assert await channel.call("ask", "identity", *values) == expected
            assert await channel.call("describe", data) == f"Uint8Array {len(data)} undefined"

    @pytest.mark.parametrize(
        ("dtype", "javascript"),
        [
            ("int8", "Int8Array"),
            ("uint8", "Uint8Array"),
            ("int16", "Int16Array"),
            ("uint16", "Uint16Array"),
            ("int32", "Int32Array"),
            ("uint32", "Uint32Array"),
            ("int64", "BigInt64Array"),
            ("uint64", "BigUint64Array"),
            ("float32", "Float32Array"),
            ("float64", "Float64Array"),
        ],
    )
    async def test_arrays_keep_their_element_type_and_shape(
        self, browser: BrowserThread, dtype: str, javascript: str
    ) -> None:
        array = np.arange(6, dtype=dtype).reshape(2, 3)
        async with open_channel(browser) as (channel, _):
            assert await channel.call("describe", array) == f"{javascript} 6 2,3"
            (back,) = await channel.call("ask", "identity", array)
            assert back.dtype == array.dtype
            assert np.array_equal(back, array)

    @pytest.mark.parametrize("length", [1, 1_000, 1_000_000])
    async def test_the_advice_on_the_buffer_of_an_array_holds_for_every_size(
        self, browser: BrowserThread, length: int
    ) -> None:
        code = """
        (channel) => {
            channel.handler = {
                copy: (a) => new Float32Array(a.slice().buffer),
                view: (a) => new Float32Array(a.buffer, a.byteOffset, a.length),
                bytes: (a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength),
                move: (a) => structuredClone(a, { transfer: [(a = a.slice()).buffer] }),
            };
        }
        """
        array = np.arange(length, dtype=np.float32)
        async with open_page(browser) as (server, _), server.open_channel(code) as channel:
            for method in ("copy", "view", "move"):
                assert np.array_equal(await channel.call(method, array), array)
            assert await channel.call("bytes", array) == array.tobytes()

    @pytest.mark.engines
    async def test_typed_arrays_made_in_the_page_arrive_as_numpy_arrays(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, _):
            floats = await channel.call("give", "Float64Array.of(0.5, NaN)")
            assert floats.dtype == np.float64
            assert floats[0] == 0.5
            assert np.isnan(floats[1])
            pixels = await channel.call("give", "{pixels: new Uint8ClampedArray(4)}")
            assert pixels["pixels"].dtype == np.uint8
            assert await channel.call("give", "[new ArrayBuffer(2), new DataView(new ArrayBuffer(1))]") == [
                b"\0\0",
                b"\0",
            ]

    @pytest.mark.engines
    async def test_sixteen_mebibytes_travel_in_one_message(self, browser: BrowserThread) -> None:
        data = np.random.default_rng(1).bytes(16 * 2**20)
        async with open_channel(browser) as (channel, _):
            assert (await channel.echo(data, timeout=60))[0] == data


class TestErrors:
    @pytest.mark.engines
    async def test_what_the_page_changes_after_a_call_was_sent_as_it_was(self, browser: BrowserThread) -> None:
        """Large arrays are not copied, and more of them are sent than the browser takes at once."""
        code = """
        (channel) => {
            const bytes = new Uint8Array(12 * 2 ** 20);
            const send = (method, n) => {
                bytes.fill(n);
                const shared = new Uint8Array(new WebAssembly.Memory({ initial: 16 }).buffer).fill(n);
                const small = Uint8Array.of(n);
                const answer = method(bytes, small, shared, new DataView(bytes.buffer, n, 2 ** 18));
                bytes.fill(255);
                shared.fill(255);
                small[0] = 255;
                return answer;
            };
            channel.handler = {
                async call() {
                    const sums = (...args) => channel.call('sums', ...args);
                    const answers = Array.from({ length: 8 }, (_, n) => send(sums, n));
                    const last = send(sums, 8);
                    structuredClone(bytes, { transfer: [bytes.buffer] });
                    return Promise.all([...answers, last]);
                },
            };
        }
        """

        class Summing:
            def sums(self, *args: bytes) -> list[list[int]]:
                return [[len(data), *{data[0], data[len(data) // 2], data[-1]}] for data in args]

        async with open_page(browser) as (server, _), server.open_channel(code, handler=Summing()) as channel:
            assert await channel.call("call") == [
                [[12 * 2**20, n], [1, n], [16 * 2**16, n], [2**18, n]] for n in range(9)
            ]

    async def test_a_javascript_exception_brings_name_message_and_stack(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, _):
            with pytest.raises(FrontendError, match="RangeError: too far") as caught:
                await channel.call("fail")
            assert (caught.value.kind, caught.value.name, caught.value.message) == (
                "exception",
                "RangeError",
                "too far",
            )
            assert caught.value.stack is not None
            assert "fail" in caught.value.stack
            with pytest.raises(FrontendError, match="no error at all"):
                await channel.call("failLater")

    @pytest.mark.parametrize(
        ("name", "kind", "words"),
        [
            ("missing", "method", "missing"),
            ("_hidden", "private", "_hidden"),
            ("constructor", "private", "constructor"),
            ("__proto__", "private", "__proto__"),
            ("toString", "private", "toString"),
            ("text", "callable", "text"),
            ("handler.add", "method", "handler.add"),
        ],
    )
    async def test_what_cannot_be_called_in_the_page_is_an_error_and_the_channel_goes_on(
        self, browser: BrowserThread, name: str, kind: str, words: str
    ) -> None:
        async with open_channel(browser) as (channel, _):
            with pytest.raises(FrontendError) as caught:
                await channel.call(name)
            assert caught.value.kind == kind
            assert words in caught.value.message
            assert await channel.call("add", 1, 1) == 2

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("NaN", "result"),
            ("{a: [0, Infinity]}", "result.a[1]"),
            ("{when: new Map()}", "result.when"),
            ("[() => 1]", "result[0]"),
            ("[1n]", "result[0]"),
            ("{m: new Map()}", "result.m"),
        ],
    )
    async def test_a_result_that_json_would_change_is_refused_with_its_place(
        self, browser: BrowserThread, text: str, place: str
    ) -> None:
        async with open_channel(browser) as (channel, _):
            with pytest.raises(FrontendError) as caught:
                await channel.call("give", text)
            assert caught.value.kind == "value"
            assert place in caught.value.message
            refused = await channel.call("askGiven", "identity", text)
            assert refused["class"] in ("TypeError", "RangeError")
            assert place.replace("result", "args[0]") in refused["message"]

    @pytest.mark.parametrize(
        ("name", "kind", "words"),
        [
            ("fail", "exception", "not here"),
            ("missing", "method", "has no such method"),
            ("_hidden", "private", "underscore"),
            ("text", "callable", "not a method"),
            ("give_infinity", "value", "result['deep'][1] is inf"),
        ],
    )
    async def test_a_python_error_is_a_kernel_error_in_the_page(
        self, browser: BrowserThread, name: str, kind: str, words: str
    ) -> None:
        async with open_channel(browser) as (channel, _):
            error = await channel.call("ask", name)
            assert (error["class"], error["kind"]) == ("KernelError", kind)
            assert words in error["message"]
            assert error["message"].startswith("LookupError: ") or kind != "exception"
            assert await channel.call("ask", "add", 1, 1) == 2

    async def test_a_page_without_a_handler_says_so(self, browser: BrowserThread) -> None:
        async with open_page(browser) as (server, _), server.open_channel("() => {}") as channel:
            with pytest.raises(FrontendError) as caught:
                await channel.call("add")
            assert caught.value.kind == "handler"

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("(channel => {", "SyntaxError"),
            ("42", "TypeError"),
            ("() => { throw new Error('broken') }", "Error: broken"),
            ("async () => { null.x }", "TypeError"),
        ],
    )
    async def test_code_that_cannot_be_run_is_an_error_of_opening(
        self, browser: BrowserThread, code: str, words: str
    ) -> None:
        async with open_page(browser) as (server, page), server.hold_channel(code) as channel:
            with pytest.raises(FrontendError, match=words):
                await channel.open()
            assert page.console == []

    async def test_a_closed_channel_says_so_on_both_sides(self, browser: BrowserThread) -> None:
        async with open_page(browser) as (server, page):
            async with server.open_channel(CODE, handler=Handler()) as channel:
                pass
            with pytest.raises(ClosedError, match="the channel is closed"):
                await channel.call("add", 1, 2)
            call = "window.channel.call('add', 1, 2).catch((error) => error instanceof jchannel.StateError)"
            assert await page.evaluate(call) is True


class TestCancellation:
    @pytest.mark.engines
    async def test_a_call_that_times_out_aborts_the_signal_of_its_handler(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, page):
            with pytest.raises(trio.TooSlowError):
                await channel.call("hang", timeout=0.05)
            assert await page.evaluate("window.aborted") is True
            assert await channel.call("add", 1, 1) == 2

    async def test_a_reload_cancels_the_scope_of_a_python_handler(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, page):
            handler = channel.handler
            assert isinstance(handler, Handler)
            await page.evaluate("void window.channel.call('hang')")
            await handler.hanging.wait()
            await page.reload()
            await handler.ended.wait()


class TestLostPages:
    @pytest.mark.engines
    async def test_after_a_reload_the_channel_is_open_again(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, page):
            await page.evaluate("void (window.opened = 100)")
            await page.reload()
            assert await channel.call("add", 1, 1, timeout=60) == 2
            assert await page.evaluate("window.opened") == 1

    @pytest.mark.engines
    async def test_a_call_under_way_during_a_reload_is_lost_and_says_so(self, browser: BrowserThread) -> None:
        async with open_channel(browser) as (channel, page), trio.open_nursery() as nursery:

            async def hang() -> None:
                with pytest.raises(PageLostError, match="It may have run; it is not sent again"):
                    await channel.call("hang", timeout=None)

            nursery.start_soon(hang)
            await page.wait_for("window.aborted === false")
            await page.reload()

    @pytest.mark.engines
    async def test_a_lost_connection_comes_back_by_itself_and_the_page_keeps_its_channels(
        self, browser: BrowserThread
    ) -> None:
        async with open_channel(browser) as (channel, page):
            await page.evaluate("void (window.channel.handler.factor = 7)")
            for _ in range(3):
                await cut_connection(channel)
                assert await channel.call("scale", 6, timeout=60) == 42
            assert await page.evaluate("window.opened") == 1
            assert await page.evaluate("window.channel.call('add', 1, 2)") == 3

    @pytest.mark.engines
    async def test_the_client_stops_when_the_server_has_closed(self, browser: BrowserThread) -> None:
        async with open_page(browser) as (_, page):
            pass
        assert await page.wait_for("jchannel.client.state === 'stopped' && jchannel.client.stopReason") == {
            "reason": "closed",
            "message": "the server was closed",
        }
        assert page.console == []

    @pytest.mark.engines
    async def test_a_page_of_an_older_server_is_told_to_open_the_new_address(self, browser: BrowserThread) -> None:
        async with open_page(browser) as (server, page):
            port = int(server.url.rpartition(":")[2])
            old_url = server.page_url
        async with open_server(port=port) as server:
            page = await browser.open(old_url)
            stop = await page.wait_for("jchannel.client.state === 'stopped' && jchannel.client.stopReason")
            assert stop["reason"] == "token"
            assert not server.statistics().page_connected


async def cut_connection(channel: Channel) -> None:
    """Breaks the page's connection off on the server's side, as a network would."""
    session = channel_core(channel).server.session
    assert session is not None
    await cut(session)
    await session.wait_ended()


class TestAccess:
    @pytest.mark.engines
    async def test_the_token_does_not_stay_in_the_address_bar(self, browser: BrowserThread) -> None:
        async with open_page(browser) as (server, page):
            assert await page.evaluate("location.href") == f"{server.url}/"
            await page.reload()
            await page.wait_for("jchannel.client.state === 'connected'")

    async def test_a_page_without_the_token_says_which_address_to_open(self, browser: BrowserThread) -> None:
        async with open_server(port=0) as server:
            page = await browser.open(server.url)
            stop = await page.evaluate("jchannel.client.stopReason")
            assert "server.page_url" in stop["message"]
            assert not server.statistics().connections or not server.statistics().page_connected

    @pytest.mark.engines
    async def test_a_second_page_is_told_that_one_is_connected(self, browser: BrowserThread) -> None:
        async with open_page(browser) as (server, page):
            second = await browser.open(server.page_url)
            stop = await second.wait_for("jchannel.client.state === 'stopped' && jchannel.client.stopReason")
            assert stop["reason"] == "taken"
            assert await page.evaluate("jchannel.client.state") == "connected"

    async def test_a_page_of_another_version_hears_which_side_to_upgrade(self, browser: BrowserThread) -> None:
        async with open_server(port=0) as server:
            page = await browser.open(server.url)
            offers = json.dumps(["jchannel.v9", f"jchannel.token.{server.token}"])
            frame = await page.evaluate(
                f"""new Promise((resolve) => {{
                    const socket = new WebSocket('{server.url.replace("http", "ws")}/socket', {offers});
                    socket.onmessage = (event) => resolve(event.data);
                }})"""
            )
            (goodbye,) = json.loads(frame)
            assert goodbye["reason"] == "version"
            assert "the server speaks jchannel.v1 and the page speaks jchannel.v9" in goodbye["message"]

    async def test_a_page_of_another_origin_without_the_token_gets_nothing(self, browser: BrowserThread) -> None:
        async with open_server(port=0) as server, open_server(port=0) as other:
            page = await browser.open(other.url)
            events = await page.evaluate(
                f"""new Promise((resolve) => {{
                    const offers = ['jchannel.v1', 'jchannel.token.x'];
                    const socket = new WebSocket('{server.url.replace("http", "ws")}/socket', offers);
                    const events = [];
                    socket.onmessage = (event) => events.push(JSON.parse(event.data)[0].reason);
                    socket.onclose = () => resolve(events);
                }})"""
            )
            assert events == ["token"]
            assert not server.statistics().page_connected


class TestApplications:
    @pytest.mark.engines
    async def test_an_applications_own_page_gets_the_client(self, browser: BrowserThread, tmp_path: Path) -> None:
        (tmp_path / "index.html").write_text(
            "<!doctype html><html><head><title>mine</title></head><body></body></html>"
        )
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "page.html").write_text("<!doctype html><title>deeper</title>")
        async with open_page(browser, static=tmp_path) as (server, page):
            assert await page.evaluate("document.title") == "mine"
            async with server.open_channel(CODE) as channel:
                assert await channel.call("add", 1, 2) == 3
            await page.close()
            deeper = await browser.open(server.page_url.replace("/#", "/sub/page.html#"))
            await deeper.wait_for("jchannel.client.state === 'connected'")

    @pytest.mark.engines
    async def test_an_applications_module_imports_the_client(self, browser: BrowserThread, tmp_path: Path) -> None:
        (tmp_path / "index.html").write_text(
            "<!doctype html><title>module</title><script type='module'>"
            "import {connectPage} from './jchannel/jchannel.js'; window.client = connectPage();</script>"
        )
        async with open_page(browser, static=tmp_path) as (server, page), server.open_channel(CODE) as channel:
            assert await channel.call("add", 1, 2) == 3
            assert await page.evaluate("typeof jchannel") == "undefined"
            assert await page.evaluate("window.client.channels.size") == 1

    async def test_a_page_is_refused_more_than_the_server_takes_at_once(self, browser: BrowserThread) -> None:
        async with open_channel(browser, limits=Limits(frame_bytes=20_000)) as (channel, _):
            refused = await channel.call("askGiven", "identity", "new Uint8Array(30000)")
            assert "20,000" in refused["message"] or "20000" in refused["message"]
            assert await channel.call("ask", "add", 1, 1) == 2

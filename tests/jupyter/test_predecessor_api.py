"""Notebooks written for jupyter-jchannel 0.3.9 run here unchanged.

Each program uses the documented API of jupyter-jchannel and nothing else, as a notebook of its users would: imports,
names, positions and defaults of parameters are those of its documentation.
"""

import re
import socket

import pytest
from playwright.sync_api import expect

from tests.jupyter.conftest import Notebooks
from tests.jupyter.driver import Notebook
from tests.jupyter.lab import LabNotebook

# What the front ends do is shown elsewhere: here are programs.
pytestmark = pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)

START = "import jchannel\nserver = await jchannel.start(host='127.0.0.1', port={port})"

STOP = "await server.stop()"


def find_port() -> int:
    """A port that was free a moment ago: notebooks of the predecessor name theirs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def run(notebooks: Notebooks, *cells: str) -> tuple[Notebook, list[str]]:
    """Runs a notebook from top to bottom: the notebook, and the text of each cell's own outputs.

    `{port}` stands for a port.
    """
    port = find_port()
    notebook = notebooks.open([cell.replace("{port}", str(port)) for cell in cells])
    texts = []
    for n, _ in enumerate(cells):
        notebook.run(n)
        own = [output for output in notebook.outputs(n) if "data-jchannel" not in str(output)]
        assert not any(output["output_type"] == "error" for output in own), notebook.text(n)
        texts.append(notebook.text(n) if own else "")
    assert notebook.complaints == []
    return notebook, texts


def test_python_calls_javascript_as_in_its_tutorial(notebooks: Notebooks) -> None:
    _, texts = run(
        notebooks,
        START,
        """
text = await server.open('''
    (channel) => {
        channel.handler = {
            repeat(word, count) {
                return word.repeat(count);
            },
            async later(word) {
                await null;
                return [word, null, true, {nested: [1.5]}];
            },
        };
    };
''')""",
        "first = text.call('repeat', 'ab', 3)\nsecond = text.call('later', 'x')",
        "await second",
        "await first",
        "await text.echo(1, 'two', [3.5], {'four': None}, True)",
        "await text.call('repeat', 'ab', 3, timeout=10)",
        STOP,
    )

    assert texts[3:7] == [
        "['x', None, True, {'nested': [1.5]}]",
        "'ababab'",
        "[1, 'two', [3.5], {'four': None}, True]",
        "'ababab'",
    ]


def test_javascript_calls_python_from_the_console_as_in_its_tutorial(notebooks: Notebooks) -> None:
    notebook, _ = run(
        notebooks,
        START,
        "channel = await server.open('''\n    (channel) => {\n        self.kept = channel;\n    }\n''')",
        """
class Handler:
    def power(self, base, exponent):
        return base ** exponent

    def divide(self, a, b):
        return a / b

    async def wait(self, value):
        import asyncio
        await asyncio.sleep(0)
        return {'waited': value}

channel.handler = Handler()""",
    )
    page = notebook.page

    assert page.evaluate("kept.call('power', 2, 10)") == 1024
    assert page.evaluate("kept.call('wait', [1, 2])") == {"waited": [1, 2]}
    assert page.evaluate("kept.echo(1, 'two', [3.5], {four: null})") == [1, "two", [3.5], {"four": None}]
    said = page.evaluate("kept.call('divide', 1, 0).catch((error) => String(error))")
    assert said.endswith("ZeroDivisionError: division by zero")
    said = page.evaluate("kept.call('missing').catch((error) => String(error))")
    assert "missing" in said


def test_a_failure_in_the_page_is_a_frontend_error_with_the_exception_in_words(notebooks: Notebooks) -> None:
    _, texts = run(
        notebooks,
        START,
        "channel = await server.open('(channel) => { channel.handler = {up: (word) => word.toUpperCase()}; }')",
        """
from jchannel.types import FrontendError
for call in [channel.call('up', 1), channel.call('missing'), server.open('() => { throw new RangeError("mine"); }'),
             server.open('not JavaScript')]:
    try:
        await call
    except FrontendError as error:
        print(type(error).__name__, str(error).split(':')[0])""",
        STOP,
    )

    assert re.findall(r"FrontendError \w+", texts[2]) == [
        "FrontendError TypeError",
        "FrontendError TypeError",
        "FrontendError RangeError",
        "FrontendError SyntaxError",
    ]


def test_streams_are_arguments_and_results_of_calls_to_the_page_as_in_its_tutorial(notebooks: Notebooks) -> None:
    _, texts = run(
        notebooks,
        START,
        """
channel = await server.open('''
    (channel) => {
        channel.handler = {

            async count(stream, unit) {
                let total = 0;

                for await (const chunk of stream) {
                    total += chunk.length;
                }

                return `${total} ${unit}`;
            },

            async * shout(stream) {
                const decoder = new TextDecoder();
                const encoder = new TextEncoder();

                for await (const chunk of stream) {
                    yield encoder.encode(decoder.decode(chunk).toUpperCase());
                }
            },

            async * numbers(count) {
                for (let i = 0; i < count; i++) {
                    yield new Uint8Array([i]);
                }
            },

            async read(stream) {
                const records = [];
                for await (const record of stream.bySeparator()) {
                    records.push(record.length);
                }
                return records;
            },

            async read2(stream) {
                const records = [];
                for await (const record of stream.bySeparator(new Uint8Array([44]))) {
                    records.push(record.length);
                }
                return records;
            },

            async read3(stream) {
                const records = [];
                for await (const record of stream.byLimit(4)) {
                    records.push(record.length);
                }
                return records;
            },

            async read4(stream) {
                return (await stream.join()).length;
            },
        };
    }
''')""",
        """
async def source():
    yield b'ab,c\\n'
    yield bytearray(b'd')
    yield memoryview(b',efg\\nh')""",
        "await channel.call_with_stream('count', source(), 'bytes')",
        """
async for chunk in await channel.call_with_stream('shout', source()):
    print(chunk.decode(), end='|')""",
        "await (await channel.call('numbers', 300)).join() == bytes(i % 256 for i in range(300))",
        "[await channel.call_with_stream(name, source()) for name in ('read', 'read2', 'read3', 'read4')]",
        """
out = []
for read in (lambda s: s.by_separator(), lambda s: s.by_separator(','), lambda s: s.by_separator(b'g'),
             lambda s: s.by_limit(4), lambda s: s.by_limit(), lambda s: s):
    stream = await channel.pipe(source())
    out.append([bytes(chunk) async for chunk in read(stream)])
print(out[:5], b''.join(out[5]))""",
        STOP,
    )

    whole = b"ab,c\nd,efg\nh"
    assert texts[3] == f"'{len(whole)} bytes'"
    assert texts[4].replace("|", "") == whole.decode().upper()
    assert texts[5] == "True"
    assert texts[6] == "[[5, 6, 1], [3, 4, 5], [4, 4, 4], 12]"
    read = [
        [b"ab,c\n", b"d,efg\n", b"h"],
        [b"ab,", b"c\nd,", b"efg\nh"],
        [b"ab,c\nd,efg", b"\nh"],
        [b"ab,c", b"\nd,e", b"fg\nh"],
        [whole],
    ]
    assert texts[7] == f"{read} {whole!r}\n"


def test_streams_are_arguments_and_results_of_calls_to_python(notebooks: Notebooks) -> None:
    notebook, _ = run(
        notebooks,
        START,
        "channel = await server.open('(channel) => { self.kept = channel; }')",
        """
class Handler:
    async def count(self, stream, unit):
        total = 0
        async for chunk in stream:
            total += len(chunk)
        return f'{total} {unit}'

    async def lines(self, stream):
        return [record.decode() async for record in stream.by_separator()]

    async def shout(self, stream):
        async for chunk in stream:
            yield chunk.upper()

    async def numbers(self, count):
        for number in range(count):
            yield bytes([number])

channel.handler = Handler()""",
    )
    page = notebook.page
    page.evaluate(
        """() => {
            self.source = async function* () {
                yield new TextEncoder().encode('ab\\nc');
                yield new TextEncoder().encode('d\\n');
            };
            self.read = async (stream) => {
                let text = '';
                for await (const chunk of stream) text += new TextDecoder().decode(chunk);
                return text;
            };
        }"""
    )

    assert page.evaluate("kept.callWithStream('count', source(), 'bytes')") == "6 bytes"
    assert page.evaluate("kept.callWithStream('lines', source())") == ["ab\n", "cd\n"]
    assert page.evaluate("async () => await read(await kept.callWithStream('shout', source()))") == "AB\nCD\n"
    assert page.evaluate("async () => Array.from(await (await kept.call('numbers', 5)).join())") == [0, 1, 2, 3, 4]
    assert page.evaluate("async () => await read(await kept.pipe(source()))") == "ab\ncd\n"
    lengths = """async (how) => {
        const stream = await kept.pipe(source());
        const lengths = [];
        for await (const chunk of stream[how[0]](...how.slice(1))) lengths.push(chunk.length);
        return lengths;
    }"""
    assert page.evaluate(lengths, ["byLimit", 4]) == [4, 2]
    assert page.evaluate(lengths, ["byLimit"]) == [6]
    assert page.evaluate(lengths, ["bySeparator"]) == [3, 3]
    assert page.evaluate(lengths, ["bySeparator", "c"]) == [4, 2]


def test_servers_and_channels_are_made_and_opened_one_by_one(notebooks: Notebooks) -> None:
    _, texts = run(
        notebooks,
        """
import jchannel
from jchannel.channel import Channel
from jchannel.server import Server
from jchannel.types import MetaGenerator, StateError
server = Server('127.0.0.1', {port}, None, 30)
await server.start()""",
        """
channel = Channel(server, "(channel) => { channel.handler = {add: (a, b) => a + b}; return 'initialized'; }")
await channel.open()""",
        """
async def source():
    yield b'a'
print(await channel.call('add', 2, 3), isinstance(await channel.pipe(source()), MetaGenerator))
await channel.close()""",
        """
try:
    await channel.call('add', 2, 3)
except StateError:
    print('closed')""",
        "await server.stop()\nawait server.start()",
        "print(await channel.open(timeout=5), await channel.call('add', 3, 4))",
        """
try:
    await server.start()
except StateError:
    print('started')
try:
    await channel.open()
except StateError:
    print('open')""",
        "await channel.close(timeout=5)",
        STOP,
    )

    assert [texts[1], texts[2], texts[3]] == ["'initialized'", "5 True\n", "closed\n"]
    assert texts[5].endswith("initialized 7\n")
    assert texts[6] == "started\nopen\n"


def test_servers_and_channels_are_context_managers(notebooks: Notebooks) -> None:
    _, texts = run(
        notebooks,
        """
import jchannel
async with await jchannel.start('127.0.0.1', {port}) as server:
    async with await server.open('(channel) => { channel.handler = {add: (a, b) => a + b}; }') as channel:
        print(await channel.call('add', 2, 3))""",
        """
from jchannel.channel import Channel
from jchannel.server import Server
async with Server(port={port}) as server:
    channel = Channel(server, '(channel) => { channel.handler = {add: (a, b) => a + b}; }')
    print(channel.context_timeout)
    channel.context_timeout = 5
    async with channel:
        print(await channel.call('add', 3, 4))""",
    )

    assert texts[0].endswith("5\n")
    assert texts[1].endswith("3\n7\n")


def test_a_page_that_comes_back_has_its_channels(notebooks: Notebooks) -> None:
    notebook, _ = run(notebooks, START, "channel = await server.open('(channel) => { self.kept = channel; }')")
    notebook.set_source(
        1, "class Handler:\n    def add(self, a, b):\n        return a + b\nchannel.handler = Handler()"
    )
    notebook.run(1)
    notebook.save()

    notebook.reload()

    expect(notebook.output(0)).to_contain_text("connected to")
    notebook.page.wait_for_function("() => self.kept")
    assert notebook.page.evaluate("kept.call('add', 2, 3)") == 5


def test_a_server_has_the_url_that_the_page_uses_and_a_heartbeat(notebooks: Notebooks) -> None:
    _, texts = run(
        notebooks,
        """
import jchannel
server = await jchannel.start(host='127.0.0.1', port={port}, url='http://127.0.0.1:{port}', heartbeat=30)
channel = await server.open('(channel) => { channel.handler = {add: (a, b) => a + b}; }', timeout=5)
print(await channel.call('add', 2, 3))
await server.stop()""",
        """
server = await jchannel.start('127.0.0.1', {port}, 'http://127.0.0.1:{port}', 30)
channel = await server.open('() => "opened"', 5)
await server.stop()""",
    )

    assert texts[0].endswith("5\n")

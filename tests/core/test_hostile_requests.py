"""Requests that nobody should send: each gets its answer and at most a line in the log, and leaves nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio.testing

from tests.core.helpers import read_all
from tests.core.memory import open_memory_server

HOST = b"host: localhost\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
WEBSOCKET = b"GET /socket HTTP/1.1\r\n" + HOST + b"connection: upgrade\r\nupgrade: websocket\r\n"
KEY = b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
VERSION = b"sec-websocket-version: 13\r\n"
#: The server's token takes the place of TOKEN, and the path of its desk that of DESK.
TOKEN = b"sec-websocket-protocol: jchannel.v1, jchannel.token.TOKEN\r\n"


def get(target: bytes, headers: bytes = b"") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + headers + b"\r\n"


#: What is sent, and the status of the first answer; 0 for none.
ATTEMPTS = {
    # Other versions
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 505),
    "HTTP/2 by an upgrade": (
        get(b"/", b"connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"),
        200,
    ),
    "HTTP/2 beside a WebSocket": (get(b"/", b"connection: upgrade\r\nupgrade: websocket, h2c\r\n"), 200),
    "HTTP/3": (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/1.0 without a Host": (b"GET / HTTP/1.0\r\n\r\n", 421),
    # What is no HTTP
    "the hello of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400),
    "SSH": (b"SSH-2.0-OpenSSH_9.0\r\n", 0),
    "zeros": (bytes(100), 400),
    "empty lines": (b"\r\n\r\n\r\n", 400),
    "half a head": (b"GET / HTTP/1.1\r\nhost: loc", 0),
    # Hosts
    "no Host": (GET + b"\r\n", 400),
    "two Hosts": (GET + HOST + HOST + b"\r\n", 400),
    "a foreign Host": (GET + b"host: evil.example.org\r\n\r\n", 421),
    "a Host with a user": (GET + b"host: evil.example.org@localhost\r\n\r\n", 421),
    "a Host with a fragment": (GET + b"host: localhost#.evil.example.org\r\n\r\n", 421),
    "a Host with a path": (GET + b"host: evil.example.org/localhost\r\n\r\n", 421),
    "a Host that is not ASCII": (GET + b"host: localh\xf6st\r\n\r\n", 400),
    "a WebSocket with a Host that is not ASCII": (
        WEBSOCKET.replace(b"localhost", b"localh\xf6st") + VERSION + KEY + TOKEN + b"\r\n",
        400,
    ),
    "a Host with half an address": (GET + b"host: [::1\r\n\r\n", 421),
    "a Host with a zone": (GET + b"host: [::1%25lo]\r\n\r\n", 421),
    "a Host of IPv6": (GET + b"host: [::1]:8889\r\n\r\n", 200),
    "a Host in capital letters": (GET + b"host: LOCALHOST\r\n\r\n", 200),
    "a Host with a dot at its end": (GET + b"host: localhost.\r\n\r\n", 421),
    # Targets
    "a proxy's target": (get(b"http://evil.example.org/"), 400),
    "a proxy's target of this server": (get(b"http://localhost/"), 400),
    "CONNECT": (b"CONNECT evil.example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "OPTIONS of everything": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a target of 15 KiB": (get(b"/" + b"a" * 15_000), 404),
    "a target of 20 KiB": (get(b"/" + b"a" * 20_000), 431),
    "a percent sign": (get(b"/%"), 404),
    "an escape that is none": (get(b"/%zz"), 404),
    "a zero": (get(b"/index.html%00"), 404),
    "no UTF-8": (get(b"/%ff%fe"), 404),
    "half a surrogate": (get(b"/%ed%a0%80"), 404),
    "`..`": (get(b"/../../../../../../../../etc/passwd"), 404),
    "`..` in escapes": (get(b"/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd"), 404),
    "`..` with backslashes": (get(b"/..%5c..%5c..%5c..%5cetc%5cpasswd"), 404),
    "an absolute path": (get(b"//etc/passwd"), 404),
    "an absolute path in escapes": (get(b"/%2fetc%2fpasswd"), 404),
    "a name of 5,000 letters": (get(b"/" + b"a" * 5_000), 404),
    # Methods
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "a method in small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "a method of 10,000 letters": (b"G" * 10_000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "a method of signs": (b"!#$% / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "HEAD": (b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n", 200),
    # Headers
    "1,500 headers": (get(b"/", b"a: b\r\n" * 1_500), 200),
    "10,000 headers": (get(b"/", b"a: b\r\n" * 10_000), 431),
    "a header without a name": (get(b"/", b": x\r\n"), 400),
    "a header with a zero": (get(b"/", b"a: \0\r\n"), 400),
    "a space before the colon": (GET + b"host : localhost\r\n\r\n", 400),
    "line feeds alone": (b"GET / HTTP/1.1\nhost: localhost\n\n", 200),
    "a range": (get(b"/data", b"range: bytes=0-3\r\n"), 206),
    "a range beyond the end": (get(b"/data", b"range: bytes=999999999999-\r\n"), 416),
    "a range that is none": (get(b"/data", b"range: bytes=a-b,,\r\n"), 400),
    "1,000 ranges": (get(b"/data", b"range: bytes=" + b",".join([b"1-1"] * 1_000) + b"\r\n"), 200),
    "a date that is none": (get(b"/data", b"if-modified-since: \xff\xfe never\r\n"), 200),
    # Bodies
    "a negative length": (POST + b"content-length: -1\r\n\r\n", 400),
    "a length of 5,000 digits": (POST + b"content-length: " + b"1" * 5_000 + b"\r\n\r\n", 400),
    "two lengths": (POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
    "a length and chunks": (POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "an unknown encoding": (POST + b"transfer-encoding: gzip\r\n\r\n", 501),
    "a chunk without a size": (POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\n", 405),
    "a chunk of 10**30 bytes": (POST + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 25 + b"\r\n", 405),
    "a chunk's extension without an end": (POST + b"transfer-encoding: chunked\r\n\r\n1;" + b"a" * 90_000, 405),
    "trailers without an end": (POST + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 15_000, 405),
    "a body that is to be asked for": (POST + b"expect: 100-continue\r\ncontent-length: 5\r\n\r\n", 405),
    "an unknown expectation": (POST + b"expect: nothing\r\ncontent-length: 0\r\n\r\n", 405),
    "a GET with a body": (get(b"/data", b"content-length: 5\r\n") + b"hello", 200),
    "a claim without its body": (
        b"POST DESKclaim HTTP/1.1\r\n" + HOST + b"content-length: 50\r\n\r\n",
        200,
    ),
    "a ticket that is none": (get(b"/streams/" + b"A" * 22), 410),
    # WebSockets
    "a WebSocket without the token": (WEBSOCKET + VERSION + KEY + b"\r\n", 101),
    "a WebSocket of a foreign page": (WEBSOCKET + VERSION + KEY + b"origin: https://evil.example.org\r\n\r\n", 403),
    "a WebSocket of two pages": (
        WEBSOCKET + VERSION + KEY + b"origin: http://localhost\r\norigin: https://evil.example.org\r\n\r\n",
        403,
    ),
    "a WebSocket of a page without a name": (WEBSOCKET + VERSION + KEY + b"origin: \xff\xfe\r\n\r\n", 403),
    "a WebSocket by POST": (WEBSOCKET.replace(b"GET", b"POST") + VERSION + KEY + TOKEN + b"\r\n", 400),
    "a WebSocket over HTTP/1.0": (WEBSOCKET.replace(b"/1.1", b"/1.0") + VERSION + KEY + TOKEN + b"\r\n", 400),
    "a WebSocket of another version": (WEBSOCKET + b"sec-websocket-version: 8\r\n" + KEY + TOKEN + b"\r\n", 426),
    "a WebSocket of no version": (WEBSOCKET + KEY + TOKEN + b"\r\n", 426),
    "a WebSocket of two versions": (WEBSOCKET + VERSION + VERSION + KEY + TOKEN + b"\r\n", 426),
    "a WebSocket without a key": (WEBSOCKET + VERSION + TOKEN + b"\r\n", 400),
    "a WebSocket with a short key": (WEBSOCKET + VERSION + b"sec-websocket-key: AAAA\r\n" + TOKEN + b"\r\n", 400),
    "a WebSocket with a key that is none": (WEBSOCKET + VERSION + b"sec-websocket-key: !\r\n" + TOKEN + b"\r\n", 400),
    "a WebSocket with two keys": (WEBSOCKET + VERSION + KEY + KEY + TOKEN + b"\r\n", 400),
    "a WebSocket without a connection": (
        WEBSOCKET.replace(b"connection: upgrade\r\n", b"") + VERSION + KEY + TOKEN + b"\r\n",
        400,
    ),
    "a WebSocket with a body": (WEBSOCKET + VERSION + KEY + TOKEN + b"content-length: 5\r\n\r\nhello", 400),
    "a WebSocket with chunks": (
        WEBSOCKET + VERSION + KEY + TOKEN + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a WebSocket with a subprotocol that is no text": (
        WEBSOCKET + VERSION + KEY + b"sec-websocket-protocol: \xff\r\n\r\n",
        400,
    ),
    "a WebSocket with commas as subprotocols": (
        WEBSOCKET + VERSION + KEY + b"sec-websocket-protocol: ,,,\r\n\r\n",
        101,
    ),
    "a WebSocket with 2,000 subprotocols": (
        WEBSOCKET
        + VERSION
        + KEY
        + b"sec-websocket-protocol: "
        + b",".join(b"p%d" % i for i in range(2_000))
        + b"\r\n\r\n",
        101,
    ),
    "a WebSocket with extensions that are not ASCII": (
        WEBSOCKET + VERSION + KEY + TOKEN + b"sec-websocket-extensions: \x03\xc4\xae\r\n\r\n",
        101,
    ),
    "a WebSocket whose Host is no name of a machine": (
        WEBSOCKET.replace(b"localhost", b"local..host") + VERSION + KEY + TOKEN + b"\r\n",
        101,
    ),
    "a WebSocket whose Host is too long for one": (
        WEBSOCKET.replace(b"localhost", b"l" * 100) + VERSION + KEY + TOKEN + b"\r\n",
        101,
    ),
    "a WebSocket with extensions that are none": (
        WEBSOCKET + VERSION + KEY + TOKEN + b'sec-websocket-extensions: ;;;=,"\r\n\r\n',
        101,
    ),
    "a WebSocket and HTTP/2": (WEBSOCKET + b"upgrade: h2c\r\n" + VERSION + KEY + TOKEN + b"\r\n", 404),
    "a WebSocket at another path": (WEBSOCKET.replace(b"/socket", b"/other") + VERSION + KEY + TOKEN + b"\r\n", 404),
    "a WebSocket at a proxy's target": (
        WEBSOCKET.replace(b"/socket", b"http://localhost/socket") + VERSION + KEY + TOKEN + b"\r\n",
        400,
    ),
}


@pytest.mark.parametrize("half_closed", [False, True], ids=["waits", "half-closed"])
@pytest.mark.parametrize("attempt", list(ATTEMPTS))
async def test_what_nobody_should_send_gets_its_answer_and_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    attempt: str,
    half_closed: bool,  # noqa: FBT001 (a parameter)
) -> None:
    data, status = ATTEMPTS[attempt]
    caplog.set_level(logging.INFO)
    (tmp_path / "index.html").write_text("<title>Mine</title>")
    (tmp_path / "data").write_text("0123456789")
    async with open_memory_server(static=tmp_path) as memory:
        stream = memory.listener.connect()
        data = data.replace(b"TOKEN", memory.server.token.encode())
        await stream.send_all(data.replace(b"DESK", memory.server._assembly.desk.path.encode()))
        if half_closed:
            await stream.send_eof()
        answer = await read_all(stream)
        assert answer[:13] == (b"HTTP/1.1 %d " % status if status else b"")
        assert b"root:" not in answer
        await trio.testing.wait_all_tasks_blocked()
        assert memory.server.statistics().connections == 0
    records = [record for record in caplog.records if record.name != "jchannel.server"]  # That has started and stopped.
    lines = [(record.levelname, record.exc_info) for record in records]
    assert lines in ([], [("INFO", None)], [("WARNING", None)])

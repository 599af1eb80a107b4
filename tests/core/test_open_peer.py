"""What opening a peer raises: a documented error, whatever is wrong, that names the server and who is to blame."""

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
import trustme
from wsproto.utilities import generate_accept_token

from jchannel.errors import PageLostError, ProtocolError, RefusedError, UnreachableError
from jchannel.trio import Limits, open_peer, open_server
from tests.core.memory import open_memory_server

URL = "http://localhost:8889"
TOKEN = "T" * 43

Connect = Callable[[], Awaitable[trio.abc.Stream]]


async def open_failing(url: str = URL, *, connect: Connect | None = None, **options: object) -> None:
    """Opens a peer, which must fail."""
    async with open_peer(url, token=TOKEN, connect=connect, **options):  # type: ignore[arg-type]
        raise AssertionError


def answering(answer: bytes, *, end: bool = False) -> Connect:
    """Connects to what answers so, whatever it is asked."""
    held: list[object] = []

    async def connect() -> trio.abc.Stream:
        near, far = trio.testing.memory_stream_pair()
        held.append(far)
        await far.send_all(answer)
        if end:
            await far.send_eof()
        return near

    return connect


def raising(error: BaseException) -> Connect:
    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise error

    return connect


class BrokenStream(trio.abc.HalfCloseableStream):
    """A stream that is reset when it is read, or when it is written."""

    def __init__(self, *, at_send: bool, why: BaseException | None) -> None:
        self._at_send = at_send
        self._why = why

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._at_send:
            raise trio.BrokenResourceError from self._why

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError from self._why

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


# What cannot be reached


async def test_a_port_where_nothing_listens_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    text = rf"^{url} cannot be reached: .*Connection refused: nothing listens there"
    with pytest.raises(UnreachableError, match=text) as caught:
        await open_failing(url)
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_name_that_is_not_known_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    text = r"^http://jchannel\.invalid cannot be reached: the name of its host is not known \(Name or service not known"
    with pytest.raises(UnreachableError, match=text):
        await open_failing("http://jchannel.invalid")


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EMFILE, errno.ETIMEDOUT])
async def test_whatever_the_system_says_of_a_connection_is_said(number: int) -> None:
    error = OSError(number, "what the system says")
    with pytest.raises(UnreachableError, match=f"^{URL} cannot be reached: what the system says$") as caught:
        await open_failing(connect=raising(error))
    assert caught.value.__cause__ is error


async def test_several_addresses_that_cannot_be_reached_are_all_told() -> None:
    error = OSError("all attempts failed")
    error.__cause__ = ExceptionGroup("attempts", [OSError(1, "one"), OSError(2, "two"), OSError(2, "two")])
    with pytest.raises(UnreachableError, match=f"^{URL} cannot be reached: one; two$"):
        await open_failing(connect=raising(error))


async def test_what_connect_raises_besides_is_raised_as_it_is() -> None:
    with pytest.raises(LookupError, match=r"^the user's$"):
        await open_failing(connect=raising(LookupError("the user's")))


@pytest.mark.parametrize("status", [b"500 Oops", b"502 Bad Gateway", b"503 Unavailable", b"504 Timeout"])
async def test_a_proxy_that_cannot_reach_the_server_is_named(status: bytes) -> None:
    text = rf"^{URL} cannot be reached: the proxy before it answers HTTP {status[:3].decode()}$"
    with pytest.raises(UnreachableError, match=text):
        await open_failing(connect=answering(b"HTTP/1.1 %s\r\ncontent-length: 0\r\n\r\n" % status))


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
async def test_a_host_that_no_name_can_be_is_a_mistake_in_the_url(host: str) -> None:
    with pytest.raises(ValueError, match=r"^url names a host that cannot be one: "):
        await open_failing(f"http://{host}")


# What is no jchannel server


@pytest.mark.parametrize(
    "answer", [b"220 mail.example ESMTP\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n\r\n", b"\x15\x03\x01\0\2\2F\r\n\r\n"]
)
async def test_what_speaks_no_http_is_no_jchannel_server(answer: bytes) -> None:
    text = f"^what listens at {URL} is no jchannel server: what it answered is no HTTP: "
    with pytest.raises(ProtocolError, match=text):
        await open_failing(connect=answering(answer))


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"405 No", b"426 Upgrade Required"])
async def test_another_web_server_is_no_jchannel_server(status: bytes) -> None:
    text = f"^what listens at {URL} is no jchannel server: it answers HTTP {status[:3].decode()} to a WebSocket's"
    with pytest.raises(ProtocolError, match=text):
        await open_failing(connect=answering(b"HTTP/1.1 %s\r\ncontent-length: 2\r\n\r\nhi" % status))


@pytest.mark.parametrize("status", [b"200 OK", b"301 Elsewhere", b"403 Forbidden", b"502 Bad Gateway"])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
async def test_an_answer_whose_body_does_not_end_is_not_waited_for(
    status: bytes, line_end: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    head = line_end.join([b"HTTP/1.1 " + status, b"content-type: text/event-stream", b"", b""])
    with pytest.raises((ProtocolError, RefusedError, UnreachableError), match=f"HTTP {status[:3].decode()}"):
        await open_failing(connect=answering(head + b"data: x" * 100_000))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_where_it_leads_is_said(status: int) -> None:
    answer = b"HTTP/1.1 %d Elsewhere\r\nLocation: https://x.example/\r\ncontent-length: 0\r\n\r\n" % status
    text = f"^{URL} redirects with HTTP {status} to 'https://x\\.example/', and a peer follows no redirects"
    with pytest.raises(ProtocolError, match=text):
        await open_failing(connect=answering(answer))


ACCEPT = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def accepting(subprotocol: str | None, *frames: bytes) -> Connect:
    """Connects to what accepts a WebSocket as it is asked, and then sends frames."""

    async def connect() -> trio.abc.Stream:
        near, far = trio.testing.memory_stream_pair()

        async def accept() -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await far.receive_some()
            lines = [line.partition(b": ") for line in head.split(b"\r\n")]
            key = next(value for name, _, value in lines if name.lower() == b"sec-websocket-key")
            answer = ACCEPT + b"Sec-WebSocket-Accept: " + generate_accept_token(key) + b"\r\n"
            if subprotocol is not None:
                answer += b"Sec-WebSocket-Protocol: " + subprotocol.encode() + b"\r\n"
            await far.send_all(answer + b"\r\n" + b"".join(frames))
            _HELD.append(far)

        trio.lowlevel.spawn_system_task(accept)
        await trio.lowlevel.checkpoint()
        return near

    return connect


_HELD: list[object] = []


def text_frame(text: str) -> bytes:
    return bytes([0x81, len(text)]) + text.encode()


async def test_a_websocket_without_the_subprotocol_is_no_jchannel_server() -> None:
    text = f"^what listens at {URL} is no jchannel server: it opened a WebSocket without jchannel's subprotocol$"
    with pytest.raises(ProtocolError, match=text):
        await open_failing(connect=accepting(None))


async def test_a_subprotocol_that_was_not_offered_is_no_jchannel_server() -> None:
    with pytest.raises(ProtocolError, match=f"^what listens at {URL} is no jchannel server: "):
        await open_failing(connect=accepting("chat"))


@pytest.mark.parametrize(
    "frame", ["nonsense", "[]", "[[]]", '[{"type":"beat"}]', '[{"type":"welcome"}]', "null", "1e999"]
)
async def test_a_server_that_greets_in_another_way_is_none_or_broken(frame: str) -> None:
    text = f"^what listens at {URL} is no jchannel server, or a broken one: "
    with pytest.raises(ProtocolError, match=text):
        await open_failing(connect=accepting("jchannel.v1", text_frame(frame)))


# What is given


@pytest.mark.parametrize(
    "token", [TOKEN + "\n", TOKEN + "\r\nX: y", TOKEN + "\0", TOKEN + "\xfc", TOKEN + ", x", TOKEN + " "]
)
async def test_a_token_that_cannot_be_sent_is_a_mistake_and_is_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match=r"^token has characters that no token has") as caught:
        async with open_peer(URL, token=token):
            raise AssertionError
    assert TOKEN not in str(caught.value)


async def test_a_token_that_is_no_text_is_a_mistake_and_is_not_shown() -> None:
    with pytest.raises(TypeError, match=r"^token must be a str, and not bytes$"):
        async with open_peer(URL, token=TOKEN.encode()):  # type: ignore[arg-type]
            raise AssertionError


async def test_the_error_of_a_url_that_is_none_shows_it() -> None:
    with pytest.raises(ValueError, match=r"and not 'localhost:8889'$"):
        await open_failing("localhost:8889")


# Who refuses


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_without_words_is_forbidden(status: int) -> None:
    with pytest.raises(RefusedError, match=f"^{URL} refused the connection with HTTP {status}: ") as caught:
        await open_failing(connect=answering(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % status))
    assert caught.value.reason == "forbidden"


async def test_a_wrong_token_is_refused_in_the_servers_words() -> None:
    async with open_memory_server() as memory:
        with pytest.raises(RefusedError, match=r"^the token is wrong: ") as caught:
            await open_failing(memory.server.url, connect=memory.connect)
        assert caught.value.reason == "token"


# What is lost


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Sw", ACCEPT])
async def test_an_end_during_the_handshake_is_a_lost_connection(answer: bytes) -> None:
    with pytest.raises(PageLostError, match=f"^the connection to {URL} was lost: it ended during the handshake$"):
        await open_failing(connect=answering(answer, end=True))


@pytest.mark.parametrize("at_send", [True, False])
async def test_a_reset_during_the_handshake_is_a_lost_connection(*, at_send: bool) -> None:
    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return BrokenStream(at_send=at_send, why=None)

    with pytest.raises(PageLostError, match=f"^the connection to {URL} was lost: it (ended|broke off) during"):
        await open_failing(connect=connect)


async def test_what_the_system_says_of_a_reset_is_said() -> None:
    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return BrokenStream(at_send=False, why=ConnectionResetError(errno.ECONNRESET, "reset by peer"))

    with pytest.raises(PageLostError, match=r"it broke off during the handshake: \[Errno \d+\] reset by peer$"):
        await open_failing(connect=connect)


async def test_a_close_in_the_place_of_the_welcome_is_a_lost_connection() -> None:
    close = b"\x88\x02\x03\xe9"
    text = rf"^the connection to {URL} was lost: the server went during the handshake: .* 1001 \(GOING_AWAY\)$"
    with pytest.raises(PageLostError, match=text):
        await open_failing(connect=accepting("jchannel.v1", close))


# What takes too long


@pytest.mark.parametrize(
    ("connect", "says"),
    [
        (trio.sleep_forever, "could not be connected to"),
        (answering(b""), "did not answer the WebSocket's request"),
        (accepting("jchannel.v1"), "opened a WebSocket, and did not answer the hello"),
    ],
    ids=["connecting", "upgrading", "greeting"],
)
async def test_the_time_that_runs_out_says_what_was_waited_for(
    autojump_clock: trio.testing.MockClock, connect: Connect, says: str
) -> None:
    with pytest.raises(trio.TooSlowError, match=f"^{URL} {says} within 7 s$"):
        await open_failing(connect=connect, limits=Limits(handshake_seconds=7))


# TLS

CA = trustme.CA()
OTHER_CA = trustme.CA()


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def serving(*names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(*names).configure_cert(context)
    return context


@asynccontextmanager
async def listening(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Listens on a port, and gives its URL of https."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_is_not_trusted_says_what_to_pass() -> None:
    async with open_server("127.0.0.1", 0, ssl_context=serving("127.0.0.1")) as server:
        text = (
            f"^{server.url} cannot be reached: its certificate is not trusted: .*; .* pass an ssl_context that trusts"
        )
        with pytest.raises(UnreachableError, match=text):
            await open_failing(server.url)
        with pytest.raises(UnreachableError, match=text):
            await open_failing(server.url, ssl_context=trusting(OTHER_CA))


async def test_a_certificate_of_another_name_is_not_trusted() -> None:
    async with open_server("127.0.0.1", 0, ssl_context=serving("localhost")) as server:
        with pytest.raises(UnreachableError, match=r"its certificate is not trusted: IP address mismatch"):
            await open_failing(server.url, ssl_context=trusting(CA))


async def test_where_there_is_no_tls_the_error_says_so() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with listening(serve) as url:
        with pytest.raises(UnreachableError, match=f"^{url} cannot be reached: there is no TLS with it: .*; a server"):
            await open_failing(url)


async def test_an_end_during_the_handshake_of_tls_is_said() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()

    async with listening(serve) as url:
        with pytest.raises(UnreachableError, match=f"^{url} cannot be reached: (it broke off during|there is no TLS)"):
            await open_failing(url)


async def test_a_handshake_of_tls_that_takes_too_long_leaves_no_connection() -> None:
    ended = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            scope.cancel()
        ended.set()

    async with listening(serve) as url:
        with trio.CancelScope() as scope:
            await open_failing(url)
        await ended.wait()


async def test_an_ssl_context_is_checked() -> None:
    with pytest.raises(TypeError, match=r"^ssl_context must be an ssl\.SSLContext, or None"):
        await open_failing("https://localhost", ssl_context=True)
    with pytest.raises(ValueError, match=r"^ssl_context is for a URL of https, and this is http://localhost:8889$"):
        await open_failing(ssl_context=trusting(CA))
    with pytest.raises(ValueError, match=r"^ssl_context is for connections of jchannel's own"):
        await open_failing("https://localhost", ssl_context=trusting(CA), connect=answering(b""))

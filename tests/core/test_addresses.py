"""Where a server listens, and under which URL it is reached."""

import errno
from collections.abc import Callable

import pytest
import trio

from jchannel._core.addresses import base_url, check_host, check_port, check_url, open_listeners


class FakeSocket:
    """A listening socket that knows its port and whether it was closed."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.closed = False

    def getsockname(self) -> tuple[str, int]:
        return self.host, self.port

    def close(self) -> None:
        self.closed = True


class FakeListener:
    def __init__(self, host: str, port: int) -> None:
        self.socket = FakeSocket(host, port)


class FakeNetwork:
    """Stands for the machine's network: its free ports count up from 50000.

    Attributes:
        refusals: What opening a host and port fails with.
        opened: The sockets that were opened.
        names: The addresses of names.
    """

    def __init__(self) -> None:
        self.refusals: dict[tuple[str, int], int] = {}
        self.opened: list[FakeSocket] = []
        self.names: dict[str, list[str]] = {}
        self.on_open: Callable[[str], None] = lambda _: None
        self._free = 50_000

    @property
    def left_open(self) -> list[FakeSocket]:
        return [opened for opened in self.opened if not opened.closed]

    async def open_tcp_listeners(self, port: int, *, host: str) -> list[FakeListener]:
        self.on_open(host)
        await trio.lowlevel.checkpoint()
        if port == 0:
            port = self._free
            self._free += 1
        if (host, port) in self.refusals:
            number = self.refusals[host, port]
            raise OSError(number, errno.errorcode[number])
        listener = FakeListener(host, port)
        self.opened.append(listener.socket)
        return [listener]

    async def getaddrinfo(self, host: str, port: object, **_: object) -> list[tuple[object, ...]]:
        await trio.lowlevel.checkpoint()
        found = self.names.get(host, [host])
        return [(None, None, None, "", (address, port)) for address in found for _ in range(2)]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    fake = FakeNetwork()
    monkeypatch.setattr(trio, "open_tcp_listeners", fake.open_tcp_listeners)
    monkeypatch.setattr(trio.socket, "getaddrinfo", fake.getaddrinfo)
    return fake


async def listen(host: str, port: int | None) -> list[tuple[str, int]]:
    """The hosts and ports of the listeners."""
    return [listener.socket.getsockname() for listener in await open_listeners(host, port)]


# On real sockets


async def test_a_free_port_is_open_on_an_address() -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    async with listener:
        name, port = listener.socket.getsockname()
        assert (name, port > 0) == ("127.0.0.1", True)


async def test_localhost_is_loopback_on_one_port() -> None:
    listeners = await open_listeners("localhost", 0)
    try:
        names = [listener.socket.getsockname()[:2] for listener in listeners]
        assert {name for name, _ in names} <= {"127.0.0.1", "::1"}
        assert len({port for _, port in names}) == 1
    finally:
        for listener in listeners:
            listener.socket.close()


async def test_a_port_that_is_taken_is_an_os_error_that_names_it() -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port} of 127.0.0.1 is taken: stop what uses it, or") as caught:
            await open_listeners("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE


async def test_an_address_of_another_machine_is_an_os_error_that_names_it() -> None:
    with pytest.raises(OSError, match=r"port 0 of 192\.0\.2\.1 cannot be used: ") as caught:
        await open_listeners("192.0.2.1", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL


# Which addresses and which port


async def test_localhost_is_both_families_on_one_port(network: FakeNetwork) -> None:
    assert await listen("localhost", 7000) == [("127.0.0.1", 7000), ("::1", 7000)]
    assert await listen("localhost", 0) == [("127.0.0.1", 50_000), ("::1", 50_000)]
    assert len(network.left_open) == 4


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
@pytest.mark.parametrize(("missing", "left"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
async def test_a_machine_with_one_family_has_a_localhost(
    network: FakeNetwork, number: int, missing: str, left: str
) -> None:
    network.refusals[missing, 7000] = number
    assert await listen("localhost", 7000) == [(left, 7000)]


async def test_without_any_address_the_first_refusal_counts(network: FakeNetwork) -> None:
    network.refusals = {("127.0.0.1", 7000): errno.EADDRNOTAVAIL, ("::1", 7000): errno.EAFNOSUPPORT}
    with pytest.raises(OSError, match=r"port 7000 of localhost cannot be used: EADDRNOTAVAIL"):
        await open_listeners("localhost", 7000)


@pytest.mark.usefixtures("network")
async def test_the_default_port_is_taken_first() -> None:
    assert await listen("127.0.0.1", None) == [("127.0.0.1", 8889)]


async def test_where_the_default_port_is_taken_a_free_one_serves(network: FakeNetwork) -> None:
    network.refusals["::1", 8889] = errno.EADDRINUSE
    assert await listen("localhost", None) == [("127.0.0.1", 50_000), ("::1", 50_000)]
    assert [opened.port for opened in network.left_open] == [50_000, 50_000]


async def test_where_the_default_port_fails_otherwise_no_other_is_tried(network: FakeNetwork) -> None:
    network.refusals["127.0.0.1", 8889] = errno.EACCES
    with pytest.raises(OSError, match=r"port 8889 of 127.0.0.1 cannot be used: EACCES"):
        await open_listeners("127.0.0.1", None)


async def test_a_port_asked_for_by_number_is_never_exchanged(network: FakeNetwork) -> None:
    network.refusals["::1", 8889] = errno.EADDRINUSE
    with pytest.raises(OSError, match=r"port 8889 of localhost is taken"):
        await open_listeners("localhost", 8889)
    assert network.left_open == []


async def test_a_free_port_that_is_taken_on_the_other_family_is_exchanged(network: FakeNetwork) -> None:
    network.refusals = {("::1", 50_000): errno.EADDRINUSE, ("::1", 50_001): errno.EADDRINUSE}
    assert await listen("localhost", 0) == [("127.0.0.1", 50_002), ("::1", 50_002)]
    assert len(network.left_open) == 2


async def test_free_ports_are_tried_a_few_times_only(network: FakeNetwork) -> None:
    network.refusals = {("::1", port): errno.EADDRINUSE for port in range(50_000, 51_000)}
    with pytest.raises(OSError, match=r"of localhost is taken"):
        await open_listeners("localhost", 0)
    assert len(network.opened) == 16
    assert network.left_open == []


async def test_where_a_free_port_fails_otherwise_no_other_is_tried(network: FakeNetwork) -> None:
    network.refusals["::1", 50_000] = errno.EACCES
    with pytest.raises(OSError, match=r"port 50000 of localhost cannot be used: EACCES"):
        await open_listeners("localhost", 0)
    assert network.left_open == []


async def test_all_addresses_of_a_name_are_on_one_port(network: FakeNetwork) -> None:
    network.names["lab"] = ["10.0.0.1", "fd00::1"]
    assert await listen("lab", 0) == [("10.0.0.1", 50_000), ("fd00::1", 50_000)]


async def test_the_scope_of_an_address_is_kept(network: FakeNetwork) -> None:
    network.names["fe80::1%eth0"] = ["fe80::1"]
    assert await listen("fe80::1%eth0", 7000) == [("fe80::1%eth0", 7000)]


async def test_cancelling_it_leaves_no_socket_open(network: FakeNetwork) -> None:
    with trio.CancelScope() as scope:
        network.on_open = lambda host: scope.cancel() if host == "::1" else None
        await open_listeners("localhost", 0)
    assert scope.cancelled_caught
    assert len(network.opened) == 1
    assert network.left_open == []


# What is not a host, a port or a URL


@pytest.mark.parametrize("host", [None, 1, b"localhost"])
async def test_a_host_of_another_type_is_refused(host: object) -> None:
    with pytest.raises(TypeError, match=r"^host must be a str, and not "):
        await open_listeners(host, 0)  # type: ignore[arg-type]


def test_an_empty_host_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(ValueError, match=r"^host must not be empty: use '0\.0\.0\.0' or '::'"):
        check_host("")


@pytest.mark.parametrize("port", ["80", 80.0, True])
async def test_a_port_of_another_type_is_refused(port: object) -> None:
    with pytest.raises(TypeError, match=r"^port must be an int, or None for 8889 or a free one, and not "):
        await open_listeners("localhost", port)  # type: ignore[arg-type]


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_there_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=rf"^port must be from 0 to 65535, and it is {port}$"):
        check_port(port)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:80"),
        ("192.168.0.7", "http://192.168.0.7:80"),
        ("::1", "http://[::1]:80"),
        ("0.0.0.0", "http://localhost:80"),  # noqa: S104 (nothing listens there)
        ("::", "http://localhost:80"),
    ],
)
def test_the_url_of_a_server_can_be_opened_on_its_machine(host: str, url: str) -> None:
    assert base_url(host, 80) == url


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("https://hub.example.com", "https://hub.example.com"),
        ("http://hub.example.com:8000/", "http://hub.example.com:8000"),
        ("https://hub.example.com/user/anna/proxy/8889/", "https://hub.example.com/user/anna/proxy/8889"),
        ("HTTPS://[::1]:1/x//", "https://[::1]:1/x"),
    ],
)
def test_the_url_of_a_server_behind_a_proxy_has_no_slash_at_its_end(url: str, checked: str) -> None:
    assert check_url(url) == checked


@pytest.mark.parametrize("url", [1, None, b"https://hub.example.com"])
def test_a_url_of_another_type_is_refused(url: object) -> None:
    with pytest.raises(TypeError, match=r"^url must be a str, and not "):
        check_url(url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url", ["", "hub.example.com", "/proxy/8889", "ws://hub.example.com", "https://", "https://:80", "http://x:0"]
)
def test_a_url_that_is_not_absolute_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url must be absolute, such as https://example.com/proxy/8889, and not "):
        check_url(url)


@pytest.mark.parametrize("url", ["http://[", "http://x:port", "http://x:65536"])
def test_what_is_not_a_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not a URL: "):
        check_url(url)


@pytest.mark.parametrize("url", ["https://x/?a=1", "https://x/#a", "https://anna@x", "https://anna:secret@x/"])
def test_a_url_with_more_than_a_place_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url must have no user, query or fragment"):
        check_url(url)

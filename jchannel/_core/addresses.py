"""The addresses that a server listens on, and its URL."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import trio

from jchannel._guarded import text_of

__all__ = ["DEFAULT_PORT", "base_url", "check_host", "check_port", "check_url", "open_listeners"]

#: The port to try first if the user sets none.
DEFAULT_PORT: Final = 8889

_MAX_PORT: Final = 65_535

# How many free ports to try if the one that is free on IPv4 is taken on IPv6.
_FREE_PORT_ATTEMPTS: Final = 16


async def open_listeners(host: str, port: int | None) -> list[trio.SocketListener]:
    """Open the listening sockets, all on one port.

    Args:
        host: A name or an address. ``localhost`` means the loopback addresses of IPv4 and of IPv6.
        port: The port; 0 for any free one; ``None`` for the default port or, if that is taken, a free one.

    Raises:
        TypeError, ValueError: The host or the port is invalid.
        OSError: The port is taken, or the host is not an address of this machine. The message names it.

    Cancelling leaves no socket open.
    """
    check_host(host)
    check_port(port)
    if port is None:
        try:
            return await _open_on(host, DEFAULT_PORT)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            port = 0
    if port:
        return await _open_on(host, port)
    for _ in range(_FREE_PORT_ATTEMPTS - 1):
        try:
            return await _open_on(host, 0)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return await _open_on(host, 0)


def base_url(host: str, port: int, scheme: str = "http") -> str:
    """Return the URL of a server that listens on this host and port, without a slash at its end."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 (a comparison: nothing listens because of it)
        host = "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def check_url(url: str) -> str:
    """Check the URL of a server behind a proxy, and return it without a slash at its end.

    Raises:
        TypeError: ``url`` is not a str.
        ValueError: ``url`` is not an absolute http or https URL, or has a user, a query or a fragment.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, and not {url!r}")
    try:
        parts = urlsplit(url)
        valid = parts.port != 0
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {text_of(error)}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not valid:
        raise ValueError(f"url must be absolute, such as https://example.com/proxy/8889, and not {url!r}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("url must have no user, query or fragment: jchannel adds the token itself")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def check_host(host: object) -> None:
    """Check a host.

    Raises:
        TypeError: ``host`` is not a str.
        ValueError: ``host`` is empty.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, and not {host!r}")
    if not host:
        raise ValueError("host must not be empty: use '0.0.0.0' or '::' to listen on every address of IPv4 or of IPv6")


def check_port(port: object) -> None:
    """Check a port.

    Raises:
        TypeError: ``port`` is not an int or ``None``.
        ValueError: ``port`` is not from 0 to 65535.
    """
    if port is None:
        return
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an int, or None for {DEFAULT_PORT} or a free one, and not {port!r}")
    if not 0 <= port <= _MAX_PORT:
        raise ValueError(f"port must be from 0 to {_MAX_PORT}, and it is {port}")


async def _open_on(host: str, port: int) -> list[trio.SocketListener]:
    """Open the sockets of one host on one port. For port 0, all use the port that the first one gets."""
    listeners: list[trio.SocketListener] = []
    unavailable: list[OSError] = []
    try:
        for address in await _resolve(host):
            try:
                listeners += await trio.open_tcp_listeners(port, host=address)
            except OSError as error:
                # localhost works on a machine without IPv6 or without IPv4, too.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                unavailable.append(error)
            else:
                port = listeners[0].socket.getsockname()[1]
    except BaseException as error:
        for listener in listeners:
            listener.socket.close()
        if isinstance(error, OSError):
            raise _explain(error, host, port) from error
        raise
    if not listeners:
        raise _explain(unavailable[0], host, port) from unavailable[0]
    return listeners


def _explain(error: OSError, host: str, port: int) -> OSError:
    """Return the error with a message that names the host and the port."""
    problem = f"cannot be used: {error.strerror or error}"
    if error.errno == errno.EADDRINUSE:
        problem = "is taken: stop what uses it, or leave the port out to get a free one"
    return OSError(error.errno, f"port {port} of {host} {problem}")


async def _resolve(host: str) -> Sequence[str]:
    # Browsers resolve localhost to both, whatever the hosts file says, and another program could listen on a free ::1.
    if host == "localhost":
        return ("127.0.0.1", "::1")
    # One by one, because trio would open each address of a name on a free port of its own.
    found = await trio.socket.getaddrinfo(host, None, type=trio.socket.SOCK_STREAM, flags=trio.socket.AI_PASSIVE)
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    return addresses if len(addresses) > 1 else (host,)

"""Authentication of requests: by the token, and by the headers Host and Origin.

The port is on the user's machine, and every web page that the user visits can reach it. The token authenticates; Host
and Origin keep out requests that a browser can be tricked into sending.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from jchannel._protocol.connection import VERSION
from jchannel._secret import Secret
from jchannel.errors import RefusedError

__all__ = [
    "TOKEN_PREFIX",
    "Gate",
    "check_origins",
    "is_local_name",
    "make_token",
    "select_subprotocol",
    "subprotocols",
]

#: The prefix of the subprotocol that carries the token.
TOKEN_PREFIX: Final = "jchannel.token."  # noqa: S105 (the text before a token, not a token)

_VERSION_PREFIX: Final = "jchannel.v"

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_NOT_IN_ORIGINS: Final = re.compile(r"[\s/\\?#@%]")
# A Host header as browsers write it. A URL's parser finds a host in other things, too, such as `evil@localhost`.
_HOST: Final = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:/\\?#@%\[\]]+))(?::\d{0,5})?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*")
#: What a policy can name, and nothing that ends its list or its header. It knows no numeric addresses of IPv6.
_IN_POLICIES: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:\*\.)?[a-z0-9._-]+(?::(?:\d+|\*))?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _sources(name: str) -> list[str]:
    """Return the pages of a host, at any port, as a policy names them."""
    return [f"{scheme}://{name}:*" for scheme in _DEFAULT_PORTS]


_LOCAL_SOURCES: Final = [source for name in ("localhost", "*.localhost", "127.0.0.1") for source in _sources(name)]


def make_token() -> Secret:
    """Return a new token: 256 random bits as 43 characters that are valid in a header and in a URL."""
    return Secret(secrets.token_urlsafe(32))


def subprotocols(token: str) -> list[str]:
    """Return the subprotocols that a page with this token offers."""
    return [VERSION, Secret(TOKEN_PREFIX + token)]


@dataclass(slots=True)
class Gate:
    """The rules for which requests are accepted. More hosts and origins can be admitted later.

    Attributes:
        token: The server's token.
        hosts: The names of the server, in addition to ``localhost`` and numeric addresses.
        origins: The origins of pages that may connect, in addition to those of loopback and of the server itself, as
            browsers write them.
    """

    token: str = field(repr=False)
    hosts: frozenset[str]
    origins: frozenset[str]

    def allows_host(self, host: str) -> bool:
        """Return whether a Host header is one of this server's.

        In a DNS rebinding attack, the header has the name of the attacker's site. The attack needs a name, so numeric
        addresses are always allowed.
        """
        name = _host_name(host)
        return name in self.hosts or is_local_name(name) or _is_address(name)

    def admit(self, origin: str | None, host: str) -> None:
        """Allow the origin and the host of a page that has proved to be the user's own.

        Args:
            origin: The Origin header of the page's request, or ``None`` if it had none.
            host: The Host header.
        """
        # The sandboxed frames of every site have the origin `null`.
        if origin not in (None, "null"):
            self.origins |= {origin}
        if name := _host_name(host):
            self.hosts |= {name}

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Return whether a page of this origin may connect. Programs other than browsers send no origin."""
        if origin is None or origin.lower() in self.origins:
            return True
        name = _host_name(origin.partition("://")[2])
        return is_local_name(name) or _is_loopback(name) or (self.allows_host(host) and name == _host_name(host))

    def frame_policy(self, host: str) -> str:
        """Return the Content Security Policy that says which pages may show the server's pages in frames.

        They are those that may connect: the server's own, those of this machine and of the server's own host (a
        notebook beside it, at another port), and those that the user or a notebook's ticket has let in. Any other page
        could lay a frame with buttons of the user's under something that is to be clicked. An origin that no policy can
        name, such as ``null``, gets no frame.

        Args:
            host: The Host header of the request.
        """
        name = _host_name(host)
        own = _sources(name) if self.allows_host(host) else []
        named = [origin for origin in sorted(self.origins) if "://" in origin]
        sources = [source for source in (*_LOCAL_SOURCES, *own, *named) if _IN_POLICIES.fullmatch(source)]
        return " ".join(["frame-ancestors 'self'", *dict.fromkeys(sources)])

    def judge(self, offered: Sequence[str], origin: str | None, host: str) -> RefusedError | None:
        """Decide about a WebSocket request.

        Args:
            offered: The subprotocols that it offers.
            origin: Its Origin header.
            host: Its Host header.

        Returns:
            ``None`` if it is accepted; otherwise the error to send to its page. If the reason is ``forbidden``, the
            error must not be sent: a page of a foreign origin without the token learns nothing.
        """
        token = next((name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)), "")
        valid_token = hmac.compare_digest(token.encode(), self.token.encode())
        allowed_origin = self.allows_origin(origin, host)
        if not valid_token and not (allowed_origin and self.allows_host(host)):
            return RefusedError("forbidden", "the token is wrong, and the origin or the host is a foreign one")
        if not valid_token:
            message = "the token is wrong: the page is of a server that has ended; open the address of the present one"
            return RefusedError("token", message)
        if not allowed_origin:
            return RefusedError("origin", f"pages of {origin} may not connect{_advise_origin(origin)}")
        if VERSION not in offered:
            spoken = ", ".join(name for name in offered if name.startswith(_VERSION_PREFIX)) or "no version of it"
            advice = "upgrade the older side, or reload the page if it was loaded before an upgrade"
            return RefusedError("version", f"the server speaks {VERSION} and the page speaks {spoken}: {advice}")
        return None


def _advise_origin(origin: str | None) -> str:
    """Return what lets the pages of an origin in, as the end of a sentence; empty if nothing does."""
    try:
        check_origins([origin or ""])
    except ValueError:
        return ""
    return f": pass the origin to the server with origins=[{origin!r}]"


def select_subprotocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to accept: this version, or any other so that a browser learns why it is refused."""
    versions = [name for name in offered if name.startswith(_VERSION_PREFIX)]
    return VERSION if VERSION in versions else next(iter([*versions, *offered]), None)


def check_origins(origins: Iterable[str]) -> frozenset[str]:
    """Check the origins that a user allows, and return them as browsers write them.

    Raises:
        TypeError: ``origins`` is a single str or no iterable, or one of them is not a str.
        ValueError: One of them is not an origin, such as ``https://hub.example.com``, or not as any browser writes it.
    """
    if isinstance(origins, str):
        raise TypeError(f"origins must be several strings: write [{origins!r}]")
    if not isinstance(origins, Iterable):
        raise TypeError(f"origins must be several strings, such as ['https://example.com:8443'], and not {origins!r}")
    return frozenset(map(_check_origin, origins))


def _check_origin(origin: object) -> str:
    """Check one origin. What no browser sends would never match, and is refused with what one sends instead."""
    if not isinstance(origin, str):
        raise TypeError(f"an origin must be a str, and not {origin!r}")
    if "*" in origin:
        raise ValueError(f"{origin!r} would never match, as there are no wildcards: name each origin")
    written = _write_origin(origin)
    if written is None:
        hint = ", and 'null' for pages of files" if origin.lower().startswith("file:") else ""
        raise ValueError(
            f"{origin!r} is not an origin: write it as a browser does, such as https://example.com:8443{hint}"
        )
    if written != origin.lower():
        raise ValueError(f"{origin!r} would never match: a browser writes this origin as {written!r}")
    return written


def _write_origin(origin: str) -> str | None:
    """Return an origin as a browser writes it in the header; ``None`` if it is none."""
    if origin.lower() == "null":
        return "null"
    scheme, _, address = origin.lower().partition("://")
    # A page's origin has the scheme of the page and not that of its WebSocket.
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    if not _SCHEME.fullmatch(scheme) or _NOT_IN_ORIGINS.search(address):
        return None
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            host = f"[{ipaddress.IPv6Address(host).compressed}]"
        elif _NUMBER.fullmatch(host.rpartition(".")[2]):
            host = socket.inet_ntoa(socket.inet_aton(host))
        else:
            host = host.encode("idna").decode()
    except (ValueError, OSError):
        return None
    if not host:
        return None
    return f"{scheme}://{host}" if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{scheme}://{host}:{port}"


def is_local_name(name: str) -> bool:
    """Return whether browsers always resolve a host name to this machine."""
    return name == "localhost" or name.endswith(".localhost")


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port; empty if it is none."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found["address"] or found["name"]).lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback

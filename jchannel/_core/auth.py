"""Authentication of requests: by the token, and by the headers Host and Origin.

The port is on the user's machine, and every web page that the user visits can reach it. The token authenticates; Host
and Origin keep out requests that a browser can be tricked into sending.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from jchannel._protocol.connection import VERSION
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


def make_token() -> str:
    """Return a new token: 256 random bits as 43 characters that are valid in a header and in a URL."""
    return secrets.token_urlsafe(32)


def subprotocols(token: str) -> list[str]:
    """Return the subprotocols that a page with this token offers."""
    return [VERSION, TOKEN_PREFIX + token]


@dataclass(slots=True)
class Gate:
    """The rules for which requests are accepted. More hosts and origins can be admitted later.

    Attributes:
        token: The server's token.
        hosts: The names of the server, in addition to ``localhost`` and numeric addresses.
        origins: The origins of pages that may connect, in addition to those of loopback and of the server itself.
    """

    token: str
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
        if origin is None or origin in self.origins:
            return True
        name = _host_name(origin.partition("://")[2])
        return is_local_name(name) or _is_loopback(name) or (self.allows_host(host) and name == _host_name(host))

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
            message = f"pages of {origin} may not connect: pass the origin to the server with origins=[{origin!r}]"
            return RefusedError("origin", message)
        if VERSION not in offered:
            spoken = ", ".join(name for name in offered if name.startswith(_VERSION_PREFIX)) or "no version of it"
            advice = "upgrade the older side, or reload the page if it was loaded before an upgrade"
            return RefusedError("version", f"the server speaks {VERSION} and the page speaks {spoken}: {advice}")
        return None


def select_subprotocol(offered: Sequence[str]) -> str | None:
    """Return the subprotocol to accept: this version, or any other so that a browser learns why it is refused."""
    versions = [name for name in offered if name.startswith(_VERSION_PREFIX)]
    return VERSION if VERSION in versions else next(iter([*versions, *offered]), None)


def check_origins(origins: Iterable[str]) -> frozenset[str]:
    """Check the origins that a user allows, and return them in lower case.

    Raises:
        TypeError: ``origins`` is a single str, or one of them is not a str.
        ValueError: One of them is not an origin, such as ``https://hub.example.com``.
    """
    if isinstance(origins, str):
        raise TypeError(f"origins must be several strings: write [{origins!r}]")
    checked = set()
    for origin in origins:
        if not isinstance(origin, str):
            raise TypeError(f"an origin must be a str, and not {origin!r}")
        scheme, _, name = origin.partition("://")
        if not scheme or not _host_name(name) or any(character in "/?#@" for character in name):
            raise ValueError(
                f"{origin!r} is not an origin: write it as a browser does, such as https://example.com:8443"
            )
        checked.add(origin.lower())  # As browsers send it.
    return frozenset(checked)


def is_local_name(name: str) -> bool:
    """Return whether browsers always resolve a host name to this machine."""
    return name == "localhost" or name.endswith(".localhost")


def _host_name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback

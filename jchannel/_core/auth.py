"""Who may connect: the token, and the Host and Origin of a request.

The port is on the user's machine, and every web page the user visits can reach it. The token decides; Host and Origin
keep out what a browser can be made to send.
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

__all__ = ["TOKEN_PREFIX", "Gate", "check_origins", "make_token", "subprotocols"]

#: What the subprotocol that carries the token begins with.
TOKEN_PREFIX: Final = "jchannel.token."  # noqa: S105 (what stands before the token, and no token)

_VERSION_PREFIX: Final = "jchannel.v"


def make_token() -> str:
    """A new token: 256 random bits as 43 characters that may stand in a header and in a URL."""
    return secrets.token_urlsafe(32)


def subprotocols(token: str) -> list[str]:
    """The subprotocols that a page with this token offers."""
    return [VERSION, TOKEN_PREFIX + token]


@dataclass(slots=True)
class Gate:
    """Decides about requests. What is not allowed from the beginning can be admitted later.

    Attributes:
        token: The server's token.
        hosts: Names under which the server is reached, beside ``localhost`` and addresses in figures.
        origins: Origins of pages that may connect, beside those of loopback and of the server itself.
    """

    token: str
    hosts: frozenset[str]
    origins: frozenset[str]

    def allows_host(self, host: str) -> bool:
        """Whether a Host header is one of this server's.

        An attacker's page whose name was rebound to this machine's address sends its own name. A name is needed for
        that, so addresses in figures are always fine.
        """
        name = _host_name(host)
        return name in self.hosts or is_local_name(name) or _is_address(name)

    def admit(self, origin: str | None, host: str) -> None:
        """Lets pages of an origin connect under a name: those of a page that has shown that it is the user's own.

        Args:
            origin: The Origin header of its request, if it had one.
            host: The Host header.
        """
        # Every sandboxed frame of every site has the origin `null`.
        if origin not in (None, "null"):
            self.origins |= {origin}
        if name := _host_name(host):
            self.hosts |= {name}

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may connect. Programs that are no browsers send none."""
        if origin is None or origin in self.origins:
            return True
        name = _host_name(origin.partition("://")[2])
        return is_local_name(name) or _is_loopback(name) or (self.allows_host(host) and name == _host_name(host))

    def judge(self, offered: Sequence[str], origin: str | None, host: str) -> RefusedError | None:
        """Judges a WebSocket's request.

        Args:
            offered: The subprotocols it offers.
            origin: Its Origin header.
            host: Its Host header.

        Returns:
            ``None`` when it is welcome; else why it is not, in words for its page. The reason is ``forbidden`` where
            the words must not be sent: a page of a foreign origin without the token learns nothing.
        """
        token = next((name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)), "")
        known = hmac.compare_digest(token.encode(), self.token.encode())
        welcome_origin = self.allows_origin(origin, host)
        if not known and not (welcome_origin and self.allows_host(host)):
            return RefusedError("forbidden", "the token is wrong, and the origin or the host is a foreign one")
        if not known:
            message = "the token is wrong: the page is of a server that has ended; open the address of the present one"
            return RefusedError("token", message)
        if not welcome_origin:
            message = f"pages of {origin} may not connect: give the origin to the server with origins=[{origin!r}]"
            return RefusedError("origin", message)
        if VERSION not in offered:
            spoken = ", ".join(name for name in offered if name.startswith(_VERSION_PREFIX)) or "no version of it"
            advice = "upgrade the older side, or reload the page if it was loaded before an upgrade"
            return RefusedError("version", f"the server speaks {VERSION} and the page speaks {spoken}: {advice}")
        return None


def select_subprotocol(offered: Sequence[str]) -> str | None:
    """The subprotocol to accept: this version, or any that lets a browser hear why it is refused."""
    versions = [name for name in offered if name.startswith(_VERSION_PREFIX)]
    return VERSION if VERSION in versions else next(iter([*versions, *offered]), None)


def check_origins(origins: Iterable[str]) -> frozenset[str]:
    """Checks the origins that a user allows.

    Raises:
        TypeError: They are one str, or not all of them are str.
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
    """Whether a host's name is one that browsers always take for this machine."""
    return name == "localhost" or name.endswith(".localhost")


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
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

"""Looking at a server by its URL: whether it is reached, and whether a page could connect with the token.

It is asked as a page with a wrong token would ask, which disturbs nobody: whoever connects with the right one *is* the
page. What goes wrong is told in the words of ``jchannel.trio.open_peer``.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import trio

from jchannel._core.addresses import check_url
from jchannel._core.limits import Limits
from jchannel._core.peer import PeerOptions, open_peer
from jchannel._core.server import TAKEN
from jchannel._core.upgrade import RejectedError
from jchannel._doctor.findings import Cause, Finding, State, Subject
from jchannel._page.status import STATUS_PATH, make_key
from jchannel.errors import PageLostError, ProtocolError, RefusedError, UnreachableError

__all__ = ["SECONDS", "ask", "examine_server"]

#: How long the server may take for each answer, in seconds.
SECONDS: Final = 5.0

#: A token that no server has.
_NO_TOKEN: Final = "doctor"  # noqa: S105 (it opens nothing)

_MOVE: Final = "close it, or move to the newest page with server.move_to_newest_page()"


async def examine_server(url: str, *, seconds: float = SECONDS) -> list[Finding]:
    """Look at a server. Cancelling it closes the connections.

    Args:
        url: The URL of its page, with the token behind the ``#``, or that of the server.
        seconds: How long it may take for each answer.

    Raises:
        ValueError: It is no URL.
    """
    base, _, fragment = url.partition("#")
    base = check_url(base)
    token = parse_qs(fragment).get("jchannel", [""])[0]
    problem = await _reach(base, seconds)
    if problem is not None:
        return [problem]
    found = [_ok(f"it is reached at {base}, and WebSockets come through")]
    if not token:
        text = "the URL has no token, so more cannot be told: give the whole of server.page_url"
        return [*found, Finding(Subject.SERVER, State.NOTE, text)]
    status = await ask(base + STATUS_PATH, make_key(token), seconds=seconds)
    return [*found, _judge(base, status)]


async def ask(url: str, body: str | None = None, *, seconds: float = SECONDS) -> Any:
    """Return what a server answers in JSON to a GET, or to a POST with a body; ``None`` for any other answer.

    Cancelling it leaves a thread to itself, for some seconds.
    """
    return await trio.to_thread.run_sync(_ask, url, body, seconds, abandon_on_cancel=True)


def _ask(url: str, body: str | None, seconds: float) -> Any:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=seconds)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request("GET" if body is None else "POST", path, body)
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


async def _reach(base: str, seconds: float) -> Finding | None:
    """Ask for a WebSocket. Return why there is none."""
    options = PeerOptions(client="doctor", limits=Limits(handshake_seconds=seconds))
    try:
        async with open_peer(base, options, token=_NO_TOKEN):
            text = f"what listens at {base} takes any token: it is no jchannel server"
            return _problem(Cause.FOREIGN, text)
    except RefusedError as error:
        # The server itself says that the token is wrong.
        return None if error.reason == "token" else _problem(Cause.PROXY, str(error))
    except UnreachableError as error:
        return _problem(_find_cause(error), str(error))
    except trio.TooSlowError as error:
        text = f"{error}: its process is stopped, or code of it never lets another thread run"
        return _problem(Cause.STOPPED, text)
    except (PageLostError, ProtocolError) as error:
        return _problem(Cause.FOREIGN, str(error))


def _find_cause(error: BaseException) -> Cause:
    """Return the cause of an error, by the errors that have led to it."""
    if isinstance(error, RejectedError):
        return Cause.PROXY
    if isinstance(error, ssl.SSLError):
        return Cause.TLS
    if isinstance(error, socket.gaierror):
        return Cause.UNKNOWN_HOST
    if isinstance(error, ConnectionRefusedError):
        return Cause.REFUSED_PORT
    inner = error.exceptions if isinstance(error, ExceptionGroup) else [error.__cause__] if error.__cause__ else []
    causes = [cause for one in inner if (cause := _find_cause(one)) is not Cause.UNREACHABLE]
    return causes[0] if causes else Cause.UNREACHABLE


def _judge(base: str, status: Any) -> Finding:
    """Return what a server's status says of a page that would connect now."""
    kind = status.get("jchannel") if isinstance(status, dict) else None
    if kind == "refused":
        text = f"the token is not that of the server at {base}, but of one that has ended: take server.page_url again"
        return _problem(Cause.TOKEN, text)
    if kind != "status":
        text = f"{base} does not say how it is: it is of a version without that, or a proxy lets no POST through"
        return Finding(Subject.SERVER, State.NOTE, text)
    if status["page_seconds"] is not None:
        text = f"{TAKEN}: it has been connected for {status['page_seconds']:.0f} s. For another one {_MOVE}"
        return _problem(Cause.TAKEN, text)
    waiting = f", and {status['channels']} channels wait for one" if status["channels"] else ""
    text = f"no page is connected{waiting}: {status['advice']}"
    return Finding(Subject.SERVER, State.NOTE, text, Cause.NO_PAGE)


def _ok(text: str) -> Finding:
    return Finding(Subject.SERVER, State.OK, text)


def _problem(cause: Cause, text: str) -> Finding:
    return Finding(Subject.SERVER, State.PROBLEM, text, cause)

"""What the doctor has found, and the causes for which nothing connects."""

from __future__ import annotations

import enum
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Cause", "Finding", "State", "Subject", "prevents_connecting", "show", "to_json"]

_WIDTH: Final = 100


class Cause(enum.StrEnum):
    """Why no page connects. Those that only a browser can tell are also in ``jsclient/src/doctor/diagnosis.ts``."""

    #: Nothing prevents it, and no page has tried.
    NO_PAGE = "no-page"
    REFUSED_PORT = "refused-port"
    UNKNOWN_HOST = "unknown-host"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    PROXY = "proxy"
    #: What listens there is not the server.
    FOREIGN = "foreign"
    #: The process is there, and does not answer.
    STOPPED = "stopped"
    DEAD_KERNEL = "dead-kernel"
    TOKEN = "token"  # noqa: S105 (the name of a cause)
    ORIGIN = "origin"
    TAKEN = "taken"
    POLICY = "policy"
    MIXED_CONTENT = "mixed-content"
    LOCAL_NETWORK = "local-network"
    #: The machine has no address of its own to listen on, or a part of the package is missing.
    LOOPBACK = "loopback"
    PACKAGES = "packages"
    WEBSOCKET = "websocket"


class State(enum.StrEnum):
    """How good it is."""

    OK = "ok"
    NOTE = "note"
    #: It prevents connecting.
    PROBLEM = "problem"


class Subject(enum.StrEnum):
    """What was looked at, in the order in which it is shown."""

    MACHINE = "this machine"
    KERNEL = "this kernel"
    SERVER = "the server"
    NOTEBOOK = "the notebook"
    BROWSER = "the browser"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        subject: What was looked at.
        state: How good it is.
        text: What it is, in a sentence.
        cause: The cause for which nothing connects, where it is one.
    """

    subject: Subject
    state: State
    text: str
    cause: Cause | None = None


def prevents_connecting(findings: Iterable[Finding]) -> bool:
    """Return whether something was found that prevents connecting."""
    return any(finding.state is State.PROBLEM for finding in findings)


def show(findings: Sequence[Finding]) -> str:
    """Return the findings as text for people."""
    lines: list[str] = []
    for subject in Subject:
        found = [finding for finding in findings if finding.subject is subject]
        if found:
            lines += [*([""] if lines else []), subject.value.capitalize()]
        for finding in found:
            cause = "" if finding.cause is None else f"{finding.cause}: "
            lines += textwrap.wrap(
                f"{finding.state:<9}{cause}{finding.text}",
                _WIDTH,
                initial_indent="  ",
                subsequent_indent=" " * 11,
                break_long_words=False,
                break_on_hyphens=False,
            )
    verdict = "Something prevents connecting." if prevents_connecting(findings) else "Nothing prevents connecting."
    return "\n".join([*lines, "", verdict])


def to_json(findings: Sequence[Finding]) -> str:
    """Return the findings as JSON, for programs."""
    entries = [{"subject": one.subject, "state": one.state, "cause": one.cause, "text": one.text} for one in findings]
    return json.dumps({"prevented": prevents_connecting(findings), "findings": entries}, indent=2, ensure_ascii=False)

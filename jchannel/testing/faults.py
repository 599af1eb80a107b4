"""Faults of single messages: those that are dropped, sent twice, or sent in another order."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

from jchannel._core.transport import Link, NowaitLink
from jchannel._protocol.values import ALIGNMENT
from jchannel.testing.network import Transit

if TYPE_CHECKING:
    from jchannel.testing.explore import Exploration

__all__ = ["Direction", "Fault", "FaultyLink", "RawMessage", "check_seconds", "join_frame", "split_frame"]

#: The types of messages that travel in both directions, as docs/protocol.md names them. Those that carry the bytes of
#: streams, and count them, are left out: no connection loses a part of what it carries.
_EITHER: Final = ("beat", "echo", "call", "pipe", "result", "error", "cancel", "stop", "broken")

#: The types of messages that faults are for, by their receiver. Faults of the handshake would only make it wait.
_TYPES: Final = {"page": ("open", "close", "ticket", *_EITHER), "python": _EITHER}

_LENGTH: Final = struct.Struct("<I")

#: What stands in each frame of text with attachments, and may stand in others.
_ATTACHED: Final = '"attachments":'


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it stands in its frame.

    Attributes:
        fields: Its JSON.
        attachments: The bytes beside it.
    """

    fields: dict[str, Any]
    attachments: tuple[bytes, ...] = ()


class Fault:
    """A fault that waits for its messages.

    Attributes:
        hits: How many messages it has met.
    """

    def __init__(self, kind: Literal["drop", "duplicate", "reorder"], types: tuple[str, ...], count: int) -> None:
        self.hits: int = 0
        self._kind = kind
        self._types = types
        self._count = count
        self._caught: list[RawMessage] = []

    def __repr__(self) -> str:
        return f"<Fault: {self._kind} {', '.join(self._types)}, {self.hits} of {self._count}>"

    @property
    def done(self) -> bool:
        """Whether it has met all its messages, and does nothing any more."""
        return self.hits >= self._count

    def _forget(self) -> None:
        """Drop the messages it has caught, because their connection has ended."""
        self._caught.clear()

    def _meets(self, message: RawMessage) -> bool:
        """Return whether it is for a message."""
        return not self.done and message.fields.get("type") in self._types

    def _apply(self, message: RawMessage) -> list[RawMessage]:
        """Return what replaces a message that it has met."""
        self.hits += 1
        if self._kind == "drop":
            return []
        if self._kind == "duplicate":
            return [message, message]
        self._caught.append(message)
        if not self.done:
            return []
        caught, self._caught = self._caught[::-1], []
        return caught


@dataclass(frozen=True, slots=True)
class _Split:
    """A frame whose attachments follow it.

    Attributes:
        head: The frame.
        count: The number of its attachments.
        apart: Those that have come.
    """

    head: str
    count: int
    apart: list[bytes] = field(default_factory=list)


class Direction(Transit):
    """What happens to what goes in one direction, to the page or to Python.

    ``Page.to_page`` and ``Page.to_python`` are the two. What is set here holds for the connection of this page and for
    those to come. Its messages and the bytes of its streams travel on one.

    Attributes:
        held: Whether nothing passes.
        delay: Seconds from sending to arriving.
    """

    held: bool
    delay: float

    def __init__(self, to: Literal["page", "python"], changed: trio.lowlevel.ParkingLot | None = None) -> None:
        super().__init__(changed)
        self._to = to
        self._faults: list[Fault] = []
        self._split: _Split | None = None
        self._passing = 0  # Attachments that follow a frame which was left as it is.
        self._exploration: Exploration | None = None

    def hold(self) -> None:
        """Let nothing pass from now on, until ``release``.

        Up to 64 KiB of what is sent are under way then; whoever sends more waits.
        """
        self.held = True

    def release(self) -> None:
        """Let everything pass again, what has been held first."""
        self.held = False
        self._notify()

    def set_delay(self, seconds: float) -> None:
        """Delay all that is sent from now on. Nothing overtakes what was sent before it.

        Args:
            seconds: The delay; 0 for none.

        Raises:
            TypeError, ValueError: It is not a finite number of seconds. ``hold`` lets nothing pass.
        """
        self.delay = check_seconds(seconds, "a delay")

    def drop(self, *types: str, count: int = 1) -> Fault:
        """Lose messages, as no connection does by itself: to see what a program does when an answer never comes.

        Args:
            types: The types of the messages, as docs/protocol.md names them: ``result`` and ``error`` are the answers.
            count: How many messages of these types, the next ones.

        Returns:
            The fault, which knows how many messages it has met.

        Raises:
            TypeError, ValueError: There is no such message in this direction, or the count is not positive.
        """
        return self._add("drop", types, count)

    def duplicate(self, *types: str, count: int = 1) -> Fault:
        """Send messages twice. With a request or an answer that breaks the protocol, and the connection ends.

        Args, result and exceptions are those of ``drop``.
        """
        return self._add("duplicate", types, count)

    def reorder(self, *types: str, count: int = 2) -> Fault:
        """Keep messages until as many have come, and send them in reverse order. Others pass meanwhile.

        Answers may come in any order. Requests, and answers that carry streams, may not: the connection ends.

        Args, result and exceptions are those of ``drop``.
        """
        return self._add("reorder", types, count)

    def _draw_delay(self) -> float:
        return self.delay if self._exploration is None else self.delay + self._exploration._draw_delay()

    def _filter(self, frame: str | bytes) -> str | bytes | None:
        """Return what the faults leave of a frame; ``None`` for nothing.

        Where there are faults, one whose attachments follow it is kept until they have come, and has them inside then.
        """
        if self._passing:
            self._passing -= 1
            return frame
        self._faults = [fault for fault in self._faults if not fault.done]
        split = self._split
        if split is not None:
            assert isinstance(frame, bytes)
            split.apart.append(frame)
        elif isinstance(frame, str) and _ATTACHED in frame and (count := _count_attachments(frame)):
            if not self._faults:
                self._passing = count
                return frame
            split = _Split(frame, count)
        self._split = split if split is not None and len(split.apart) < split.count else None
        if self._split is not None:
            return None
        if split is not None:
            messages = split_frame(split.head, split.apart)
        elif self._faults:
            messages = split_frame(frame)
        else:
            return frame
        return join_frame([left for message in messages for left in self._filter_message(message)])

    def _begin_connection(self) -> None:
        """Drop what belongs to a connection that has ended."""
        self._split = None
        self._passing = 0
        for fault in self._faults:
            fault._forget()

    def _filter_message(self, message: RawMessage) -> list[RawMessage]:
        for fault in self._faults:
            if fault._meets(message):
                return fault._apply(message)
        return [message]

    def _add(self, kind: Literal["drop", "duplicate", "reorder"], types: tuple[str, ...], count: int) -> Fault:
        known = _TYPES[self._to]
        wrong = [name for name in types if name not in known]
        if wrong or not types:
            what = f"not {wrong[0]!r}" if wrong else "none was given"
            raise ValueError(f"name types of messages that go to {self._to}, {what}: {', '.join(known)}")
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"count must be an int, and not {count!r}")
        if count < 1:
            raise ValueError(f"count must be at least 1, and it is {count}")
        fault = Fault(kind, types, count)
        self._faults.append(fault)
        return fault


class FaultyLink(NowaitLink):
    """A page's link, with the faults of its two directions.

    Args:
        link: The link.
        to_python: What happens to what is sent.
        to_page: What happens to what is received.
    """

    def __init__(self, link: Link, to_python: Direction, to_page: Direction) -> None:
        self._link = link
        self._to_python = to_python
        self._to_page = to_page
        to_python._begin_connection()
        to_page._begin_connection()

    def send_nowait(self, frame: str | bytes) -> bool:
        """Send what the faults leave of a frame."""
        left = self._to_python._filter(frame)
        return left is None or self._link.send_nowait(left)

    async def flush(self) -> None:
        """Send what is left."""
        await self._link.flush()

    async def receive(self) -> str | bytes:
        """Return the next frame of which the faults leave something."""
        while (left := self._to_page._filter(await self._link.receive())) is None:
            pass
        return left

    @property
    def moved(self) -> int:
        """A number that changes whenever something has come in, or a part of a large frame has left."""
        return self._link.moved

    async def aclose(self) -> None:
        """Close the link."""
        await self._link.aclose()


def check_seconds(seconds: float, what: str) -> float:
    """Check a number of seconds, and return it.

    Args:
        seconds: The number.
        what: What it is, in messages for people.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative, infinite or not a number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{what} must be seconds as int or float, and not {seconds!r}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{what} must be finite and not negative, and it is {seconds!r}")
    return seconds


def _count_attachments(frame: str) -> int:
    """Return how many attachments follow a frame of text."""
    return sum(len(fields.get("attachments", ())) for fields in json.loads(frame))


def split_frame(frame: str | bytes, apart: Sequence[bytes] = ()) -> list[RawMessage]:
    """Split a frame of the protocol into its messages, without checking them.

    Args:
        frame: The frame.
        apart: The attachments that have followed it.
    """
    if isinstance(frame, str):
        left = iter(apart)
        return [
            RawMessage(fields, tuple(islice(left, len(fields.get("attachments", ()))))) for fields in json.loads(frame)
        ]
    offset = _LENGTH.size + _LENGTH.unpack_from(frame)[0]
    messages = []
    for fields in json.loads(frame[_LENGTH.size : offset]):
        attachments = []
        for attachment in fields.get("attachments", ()):
            offset += -offset % ALIGNMENT
            attachments.append(frame[offset : offset + attachment["size"]])
            offset += attachment["size"]
        messages.append(RawMessage(fields, tuple(attachments)))
    return messages


def join_frame(messages: list[RawMessage]) -> str | bytes | None:
    """Return a frame with messages; ``None`` if there are none."""
    if not messages:
        return None
    text = json.dumps([message.fields for message in messages], separators=(",", ":"), ensure_ascii=False)
    if not any("attachments" in message.fields for message in messages):
        return text
    return b"".join(_encode_binary(text, messages))


def _encode_binary(text: str, messages: list[RawMessage]) -> Iterator[bytes]:
    head = text.encode()
    offset = _LENGTH.size + len(head)
    yield _LENGTH.pack(len(head))
    yield head
    for message in messages:
        for data in message.attachments:
            padding = -offset % ALIGNMENT
            yield bytes(padding)
            yield data
            offset += padding + len(data)

"""The buffer of a stream: what has come, in its order, and who is woken by a change."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
import trio.testing

from jchannel._core import stream as buffer
from jchannel._core.stream import READ_AHEAD, Buffer


def test_what_is_put_is_taken_in_its_order() -> None:
    buffer = Buffer([b"ab", b"c"])
    buffer.put(b"def")
    assert buffer
    assert buffer.size == 6
    assert buffer.take() == b"abcdef"
    assert not buffer
    assert buffer.size == 0


@pytest.mark.parametrize(
    ("limit", "taken"),
    [(0, [b"abc", b"de", b"f"]), (4, [b"abc", b"def"]), (5, [b"abcde", b"f"]), (math.inf, [b"abcdef"])],
)
def test_what_is_taken_is_whole_pieces_up_to_a_limit_or_one_larger_piece(limit: float, taken: list[bytes]) -> None:
    buffer = Buffer([b"abc", b"de", b"f"])
    assert [buffer.take(limit) for _ in taken] == taken
    assert buffer.size == 0


def test_a_single_piece_is_not_copied() -> None:
    piece = bytes(1_000)
    assert Buffer([piece]).take() is piece


def test_pieces_are_taken_as_they_came() -> None:
    buffer = Buffer([b"ab", b"", b"c", b"d"])
    assert buffer.take_piece() == b"ab"
    assert buffer.size == 2
    assert buffer.take_pieces() == [b"", b"c", b"d"]
    assert (buffer.size, bool(buffer)) == (0, False)
    assert buffer.take_pieces() == []


def test_it_is_full_from_its_limit_on() -> None:
    buffer = Buffer()
    assert buffer.limit == READ_AHEAD
    buffer.put(bytes(READ_AHEAD - 1))
    fullness = [buffer.full]
    buffer.put(b"x")
    fullness.append(buffer.full)
    buffer.limit += 1
    fullness.append(buffer.full)
    assert fullness == [False, True, False]
    buffer.clear()
    assert buffer.size == 0


def test_its_limit_is_the_one_of_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Buffer()
    monkeypatch.setattr(buffer, "READ_AHEAD", 5)
    assert (before.limit, Buffer().limit) == (READ_AHEAD, 5)


CHANGES: dict[str, Callable[[Buffer], object]] = {
    "put": lambda buffer: buffer.put(b"x"),
    "put_short": lambda buffer: buffer.put_short(b"x"),
    "take": lambda buffer: buffer.take(),
    "take_within": lambda buffer: buffer.take_within(1),
    "take_piece": lambda buffer: buffer.take_piece(),
    "take_pieces": lambda buffer: buffer.take_pieces(),
    "clear": lambda buffer: buffer.clear(),
    "notify": lambda buffer: buffer.notify(),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_every_change_wakes_all_who_wait(name: str) -> None:
    buffer = Buffer([b"piece"])
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(buffer.wait_changed)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        CHANGES[name](buffer)


@pytest.mark.parametrize(
    ("limit", "taken"),
    [(1, [b"a", b"b", b"c", b"d"]), (2, [b"ab", b"c", b"de", b"f"]), (4, [b"abc", b"def"]), (10, [b"abcdef"])],
)
def test_what_is_taken_within_a_limit_may_be_the_beginning_of_a_piece(limit: int, taken: list[bytes]) -> None:
    buffer = Buffer([b"abc", b"def"])
    assert [buffer.take_within(limit) for _ in taken] == taken
    assert buffer.size == 6 - sum(map(len, taken))


def test_short_pieces_are_joined_and_others_are_not() -> None:
    buffer = Buffer()
    for _ in range(5_000):
        buffer.put_short(b"x")
    buffer.put_short(bytes(4_000))
    buffer.put_short(b"y")
    assert buffer.size == 9_001
    assert [len(piece) for piece in buffer.take_pieces()] == [4_096, 904, 4_001]


async def test_waiting_can_be_cancelled() -> None:
    buffer = Buffer()
    with trio.CancelScope() as scope:
        scope.cancel()
        await buffer.wait_changed()
    assert scope.cancelled_caught
    buffer.put(b"x")
    assert buffer.take() == b"x"

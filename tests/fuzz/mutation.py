"""A plain mutation fuzzer of bytes: what a seeded generator makes of examples. The same seed makes the same bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["Mutator"]

#: Numbers at the edges of what the readers of a number take.
_NUMBERS: Final = (
    *(b"0", b"-1", b"1", b"4294967295", b"9007199254740991", b"9007199254740992", b"1e400", b"-0", b"0.5", b"1e-400"),
    b"9" * 30,
    b"9" * 401,
)

_DIGITS: Final = re.compile(rb"\d+")

#: What a mutation may make of its input, at most: a fuzzer that makes everything larger becomes slow.
_MOST: Final = 20_000


class Mutator:
    """Makes new inputs of examples.

    Args:
        examples: Inputs that are right, or nearly.
        words: What the inputs are made of: inserted as a whole.
        seed: Which ones come, and in which order.
    """

    def __init__(self, examples: Sequence[bytes], words: Sequence[bytes], seed: int | str) -> None:
        self._examples = examples
        self._words = words
        self._random = random.Random(seed)  # noqa: S311 (no secret: it can be repeated)
        self._steps: tuple[Callable[[bytes], bytes], ...] = (
            self._set_byte,
            self._flip_bit,
            self._insert_bytes,
            self._insert_word,
            self._insert_word,
            self._delete,
            self._repeat,
            self._move,
            self._cut,
            self._splice,
            self._set_number,
            self._set_number,
        )

    def next(self) -> bytes:
        """Returns the next input."""
        data = self._random.choice(self._examples)
        # Mostly one change: what is nearly right comes further than what is noise.
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 8))):
            data = self._random.choice(self._steps)(data)[:_MOST]
        return data

    def _place(self, data: bytes) -> int:
        return self._random.randint(0, len(data))

    def _span(self, data: bytes) -> tuple[int, int]:
        begin = self._place(data)
        return begin, min(len(data), begin + self._random.choice((1, 1, 2, 4, 8, 30, 200)))

    def _set_byte(self, data: bytes) -> bytes:
        place = self._place(data)
        return data[:place] + bytes([self._random.randrange(256)]) + data[place + 1 :]

    def _flip_bit(self, data: bytes) -> bytes:
        place = self._place(data)
        changed = bytes(byte ^ (1 << self._random.randrange(8)) for byte in data[place : place + 1])
        return data[:place] + changed + data[place + 1 :]

    def _insert_bytes(self, data: bytes) -> bytes:
        place = self._place(data)
        return data[:place] + self._random.randbytes(self._random.choice((1, 2, 4, 16, 64))) + data[place:]

    def _insert_word(self, data: bytes) -> bytes:
        begin, end = self._span(data)
        return data[:begin] + self._random.choice(self._words) + data[self._random.choice((begin, end)) :]

    def _delete(self, data: bytes) -> bytes:
        begin, end = self._span(data)
        return data[:begin] + data[end:]

    def _repeat(self, data: bytes) -> bytes:
        begin, end = self._span(data)
        return data[:end] + data[begin:end] * self._random.choice((1, 1, 2, 50)) + data[end:]

    def _move(self, data: bytes) -> bytes:
        begin, end = self._span(data)
        rest = data[:begin] + data[end:]
        place = self._place(rest)
        return rest[:place] + data[begin:end] + rest[place:]

    def _cut(self, data: bytes) -> bytes:
        return data[: self._place(data)]

    def _splice(self, data: bytes) -> bytes:
        other = self._random.choice(self._examples)
        return data[: self._place(data)] + other[self._place(other) :]

    def _set_number(self, data: bytes) -> bytes:
        numbers = list(_DIGITS.finditer(data))
        if not numbers:
            return self._insert_word(data)
        begin, end = self._random.choice(numbers).span()
        return data[:begin] + self._random.choice(_NUMBERS) + data[end:]

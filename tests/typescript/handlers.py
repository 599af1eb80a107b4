"""A handler with the types that travel, and with some that do not."""

# ruff: noqa: ANN001, ANN002, ANN201, ARG004, FBT001, PYI061 (how users annotate is what is tested)

from __future__ import annotations

import asyncio
import enum
import functools
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

import jchannel

if TYPE_CHECKING:
    from decimal import Decimal

UserId = NewType("UserId", int)
Number = TypeVar("Number", int, float)
Bounded = TypeVar("Bounded", bound=str)
Free = TypeVar("Free")


class Point(TypedDict):
    """A place in the plane."""

    x: float
    y: float
    label: NotRequired[str]


class Node(TypedDict, total=False):
    children: list[Node]
    content_type: str


@dataclass
class Box:
    """Two corners."""

    low: Point
    high: Point | None


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Shape(enum.Enum):
    ROUND = 1


class Pair(NamedTuple):
    left: int
    right: str


class Base:
    def ping(self) -> None:
        """Answer."""


class Handler(Base):
    """Answers the page.

    What ends a comment is kept out: */
    """

    size = 5
    call_me = functools.partial(int, base=2)

    class Inner:
        """A class is no method."""

    @property
    def hidden(self) -> int:
        raise AssertionError

    def _private(self) -> int:
        raise AssertionError

    def add(self, a: int, b: float = 2) -> float:
        """Add two numbers."""
        raise AssertionError

    def untyped(self, a, *rest):  # type: ignore[no-untyped-def]
        raise AssertionError

    def delete(self, delete: str, mode: Literal["a", 3, None, b"x", Color.RED], *, flag: bool = False) -> Color | None:
        raise AssertionError

    def must(self, *, key: int) -> int:
        raise AssertionError

    async def upload(self, stream: jchannel.MetaGenerator, name: str) -> int:
        """Take a file.

        Args:
            stream: The file.
            name: Its name.
        """
        raise AssertionError

    async def record(self, seconds: float) -> AsyncIterator[bytes]:
        yield b""

    @jchannel.background
    def records(self):  # type: ignore[no-untyped-def]
        yield b""

    def read(self, source: Iterator[bytes]) -> Path | None:
        raise AssertionError

    def points(self, points: Sequence[Point], by: Mapping[str, list[int]]) -> dict[str, tuple[Point, ...]]:
        raise AssertionError

    def tree(self, node: Node, pair: tuple[int, str], any_: tuple, table: dict) -> Node:  # type: ignore[type-arg]
        raise AssertionError

    def box(self, box: Box) -> Box:
        raise AssertionError

    def image(self, pixels: npt.NDArray[np.uint8], any_: np.ndarray[Any, Any]) -> npt.NDArray[np.floating[Any]]:
        raise AssertionError

    def one(self) -> npt.NDArray[np.float32]:
        raise AssertionError

    def raw(self, data: bytes, view: memoryview) -> bytearray:
        raise AssertionError

    def pair(self) -> Pair:
        raise AssertionError

    def later(self) -> asyncio.Task[int]:
        raise AssertionError

    def soon(self) -> Awaitable[str | int]:
        raise AssertionError

    def counts(self) -> dict[Color, int]:
        raise AssertionError

    def variables(self, user: UserId, number: Number, bounded: Bounded, free: Free) -> Annotated[list[Number], "all"]:
        raise AssertionError

    def anything(self, value: Any, *values: int | str) -> object:
        raise AssertionError

    @staticmethod
    def plain(a: bool) -> np.float32:
        raise AssertionError

    @classmethod
    def make(cls) -> list[Color]:
        raise AssertionError


class Wrong:
    """What does not travel, or cannot be resolved."""

    def missing(self, price: Decimal) -> int:
        raise AssertionError

    def shape(self) -> Shape:
        raise AssertionError

    def member(self) -> Literal[Shape.ROUND]:
        raise AssertionError

    def late(self, name: str, stream: AsyncIterator[bytes]) -> list[Path]:
        raise AssertionError

    def path(self, path: Path) -> None:
        raise AssertionError

    def keys(self) -> dict[int, dict[bool, str]]:
        raise AssertionError

    def complex(self) -> npt.NDArray[np.complex128]:
        raise AssertionError

    def forward(self) -> list[Broken]:
        raise AssertionError

    def odd(self) -> Odd:  # type: ignore[valid-type]
        raise AssertionError

    def delta(self) -> np.timedelta64:
        raise AssertionError


class Broken(TypedDict):
    price: Decimal


#: An annotation that is no type.
Odd = ...


class Empty:
    """It has no method."""


class _Empty:
    pass


handler = Handler()

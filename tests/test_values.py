"""The tables of docs/values.md, row by row: in the kit, and in the client, which runs in Node."""

from __future__ import annotations

import array
import collections
import ctypes
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import importlib.util
import json
import math
import pathlib
import re
import shutil
import types
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import attrs
import numpy as np
import pydantic
import pytest
import trio
import trio.testing

import jchannel._client
from jchannel._protocol.values import Conversion, pack
from jchannel.testing import open_page
from jchannel.testing import open_server as open_memory_server
from jchannel.trio import Channel, open_server
from tests.conftest import CHECKOUT

CLIENT = pathlib.Path(jchannel._client.__file__).parent / "static" / "jchannel.js"
TEXT = (CHECKOUT / "docs/values.md").read_text()


class Point(NamedTuple):
    x: int
    y: list[int]


class Colour(enum.IntEnum):
    RED = 1


class Mode(enum.StrEnum):
    FAST = "fast"


class Plain(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Record:
    number: int
    name: str


@attrs.define
class Attrs:
    number: int


class Model(pydantic.BaseModel):
    number: int


NAMES: dict[str, Any] = {
    thing.__name__: thing
    for thing in (
        *(array, attrs, collections, ctypes, dataclasses, dt, decimal, fractions, math, pathlib, types, uuid),
        *(Point, Colour, Mode, Plain, Record, Attrs, Model),
    )
} | {"numpy": np}
for package in ("pandas", "polars"):  # They are large, and not for every Python.
    if importlib.util.find_spec(package) is not None:
        NAMES[package] = importlib.import_module(package)


def read(text: str, **names: Any) -> Any:
    return eval(text, NAMES | names)  # noqa: S307 (the project's own documentation)


def rows(first: str) -> Iterator[tuple[str, ...]]:
    """Each row of the table whose heading begins so: the code of its cells, once for each of the first cell."""
    (table,) = re.findall(rf"^\| {re.escape(first)} \|\n\| [- |]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    for line in table.splitlines():
        values, *others = line.strip("| ").split(" | ")
        # What stands in brackets says of which class a value is.
        for value in re.findall(r"`([^`]+)`", re.sub(r" \(an? [^)]*\)$", "", values)):
            if value.partition(".")[0] in NAMES or not value.startswith(("pandas", "polars")):
                yield (value, *(code for cell in others for code in re.findall(r"`([^`]+)`", cell)))


TRAVELS = list(rows("Python has | JavaScript gets | and gives back"))
REFUSED = list(rows("Python has | is refused; this travels | as JavaScript's"))
WITH_NAN = list(rows('Python has | with `nan="null"` JavaScript gets | with `nan="keep"`'))
FROM_JAVASCRIPT = list(rows("JavaScript has | Python gets | and gives back"))
REFUSED_IN_JAVASCRIPT = list(rows("JavaScript has | is refused; this travels | Python gets"))


def same(value: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return (
            isinstance(value, np.ndarray)
            and (value.dtype, value.shape) == (expected.dtype, expected.shape)
            and bool(np.array_equal(value, expected, equal_nan=True))
        )
    # The page of the kit, which is Python, gives a float that is whole back as a float.
    number = isinstance(value, float) and type(expected) is int
    return (number or type(value) is type(expected)) and bool(value == expected)


class Page:
    def same(self, value: Any) -> Any:
        return value


@asynccontextmanager
async def open_kit(**options: Any) -> AsyncIterator[Channel]:
    async with open_memory_server() as server, open_page(server, Page()):
        async with server.open_channel("", **options) as channel:
            yield channel


async def advice_on(channel: Channel, value: Any) -> str:
    """The line that the refusal of a value advises."""
    with pytest.raises((TypeError, ValueError)) as caught:
        await channel.call("same", value)
    text = str(caught.value).replace("send it as a str", "send str(value)")
    (line,) = re.findall(r"send (.+?)(?:, or convert each one with default=)?$", text)
    return str(line)


def test_the_tables_are_found() -> None:
    assert min(map(len, (TRAVELS, REFUSED, WITH_NAN, FROM_JAVASCRIPT, REFUSED_IN_JAVASCRIPT))) > 2


async def test_the_kit_gives_back_what_the_table_says(autojump_clock: trio.testing.MockClock) -> None:
    async with open_kit() as channel:
        for value, *_, back in TRAVELS:
            assert same(await channel.call("same", read(value)), read(back)), value


async def test_a_refusal_gives_the_line_that_the_table_says_and_that_line_travels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_kit() as channel:
        for text, line, _ in REFUSED:
            value = read(text)
            assert await advice_on(channel, value) == line, text
            await channel.call("same", read(line, value=value))


async def test_nan_is_null_where_it_is_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    async with open_kit(nan="null") as channel:
        assert await channel.call("same", [1.5, math.nan, {"a": -math.inf}]) == [1.5, None, {"a": None}]
        assert same(await channel.call("same", read("numpy.array([numpy.nan])")), np.array([math.nan]))


CODE = """
(channel) => {
    const read = (text, value) => Function('value', `return (${text});`)(value);
    channel.handler = {
        isSame: (value, text, shape) =>
            globalThis.isDeepStrictEqual(value, read(text)) &&
            (shape == null || globalThis.isDeepStrictEqual(value.shape, read(shape))),
        give: (text, value) => read(text, value === undefined ? undefined : read(value)),
    };
}
"""


async def test_the_client_gets_and_gives_what_the_tables_say() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("Node is not on this machine: scripts/setup says what to install")
    async with open_server(port=0) as server, trio.open_nursery() as nursery:
        options = json.dumps({"url": server.url, "token": server.token})
        program = (
            "import {isDeepStrictEqual} from 'node:util'; globalThis.isDeepStrictEqual = isDeepStrictEqual; "
            f"import {{connect}} from {json.dumps(CLIENT.as_uri())}; connect({options});"
        )
        command = [node, "--experimental-websocket", "--input-type=module", "--eval", program]
        nursery.start_soon(partial(trio.run_process, command, check=False, capture_stdout=True, capture_stderr=True))
        await server.wait_page(20)
        async with server.open_channel(CODE) as channel:
            wrong = [row async for row in find_wrong(channel)]
            wrong += [row async for row in find_wrong_of_javascript(channel)]
        async with server.open_channel(CODE, nan="null") as null, server.open_channel(CODE, nan="keep") as keep:
            wrong += [row async for row in find_wrong_with_nan(null, keep)]
        nursery.cancel_scope.cancel()
    assert wrong == []


async def find_wrong(channel: Channel) -> AsyncIterator[object]:
    """Each row of which the client says another thing than the table."""
    for value, script, *shape, _ in TRAVELS:
        if not await channel.call("isSame", read(value), script, *shape[1:]):
            yield value
    for value, line, script in REFUSED:
        if not await channel.call("isSame", read(line, value=read(value)), script):
            yield value


async def find_wrong_with_nan(null: Channel, keep: Channel) -> AsyncIterator[object]:
    """Each row of which the client says another thing than the table of NaN, and what it gives back otherwise."""
    for value, with_null, with_keep in WITH_NAN:
        if not await null.call("isSame", read(value), with_null):
            yield value
        if not await keep.call("isSame", read(value), with_keep):
            yield value
    for channel, back in ((null, "[None, None]"), (keep, "[nan, inf]")):
        if str(await channel.call("give", "[NaN, Infinity]")) != back:
            yield back
    if str(await keep.echo(math.nan)) != "[nan]":
        yield "echo"


async def find_wrong_of_javascript(channel: Channel) -> AsyncIterator[object]:
    """Each row of which Python says another thing than the table."""
    for script, value, back in FROM_JAVASCRIPT:
        given = await channel.call("give", script)
        if not same(given, read(value)) or not await channel.call("isSame", given, back):
            yield script
    for script, line, value in REFUSED_IN_JAVASCRIPT:
        with pytest.raises(jchannel.FrontendError, match="result is "):
            await channel.call("give", script)
        if not same(await channel.call("give", line, script), read(value)):
            yield script


def test_the_function_of_the_documentation_converts_frames_and_what_is_missing() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    names: dict[str, Any] = {"datetime": dt, "pandas": pandas, "polars": polars}
    (code,) = re.findall(r"^```python\n(def plain\(value\):\n.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    exec(code, names)  # noqa: S102 (it is ours)
    when = dt.date(2026, 1, 2)
    frames = [pandas.DataFrame({"when": [when, None], "x": [1.5, None]}), polars.DataFrame({"when": [when, None]})]
    frames[0]["when"] = pandas.to_datetime(frames[0]["when"])
    packed = pack(frames, field_name="value", shown_as="result", conversion=Conversion(names["plain"], "null"))
    assert json.loads(packed.text) == [
        [{"when": "2026-01-02T00:00:00", "x": 1.5}, {"when": None, "x": None}],
        [{"when": "2026-01-02"}, {"when": None}],
    ]

"""The interface that is written for a handler's class."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from jchannel._client import read_static
from jchannel._typescript.interface import write_types
from tests.conftest import CHECKOUT
from tests.typescript import handlers

TSC = CHECKOUT / "jsclient/node_modules/.bin/tsc"

WRITTEN = write_types(handlers.Handler, source="handlers.py:Handler", client="./jchannel/jchannel.js")

#: What a page does with the interface, and what the compiler finds in it.
PAGE = """
import type { Channel, Initialize, MetaGenerator } from './jchannel/jchannel.js';
import type { Handler, Point } from './handlers.js';

interface Page { draw(points: Point[]): void }

const initialize: Initialize<{ python: Handler; page: Page }> = async (channel) => {
  channel.handler = { draw: (points) => { console.log(points.length); } };
  const sum: number = await channel.call('add', 2);
  const color: 'red' | 'blue' | null = await channel.call('delete', 'x', 'a');
  const size: number = await channel.callWithStream('upload', new Blob(), 'name');
  const film: MetaGenerator = await channel.call('record', 3);
  const array = await channel.call('one');
  const shape: number[] = array.shape;
  const first: number | undefined = array[0];
  const raw: Uint8Array = await channel.call('raw', new Uint8Array(3), new DataView(new ArrayBuffer(3)));
  await channel.call('points', [{ x: 1, y: 2 }, { x: 1, y: 2, label: 'here' }] as const, { a: [1] });
  const [left, right] = await channel.call('pair');
  // @ts-expect-error -- there is no such method
  await channel.call('must');
  // @ts-expect-error -- a part is missing
  await channel.call('points', [{ x: 1 }], {});
  // @ts-expect-error -- this one takes a stream
  await channel.call('upload', 'name');
  return [sum, color, size, film, shape, first, raw, left + 1, right.length];
};
export default initialize;
"""


DATACLASS = "a dataclass, which does not travel by itself: return dataclasses.asdict() of it"


def line_of(name: str, text: str = WRITTEN.text) -> str:
    (line,) = re.findall(rf"^ +({re.escape(name)}\(.*)$", text, re.MULTILINE)
    return str(line)


@pytest.mark.parametrize(
    "line",
    [
        "ping(): null;",
        "add(a: number, b?: number): number;",
        "untyped(a: unknown, ...rest: unknown[]): unknown;",
        'delete(delete_: string, mode: "a" | 3 | null | Uint8Array | "red"): "red" | "blue" | null;',
        "upload(stream: MetaGenerator, name: string): number;",
        "record(seconds: number): MetaGenerator;",
        "records(): MetaGenerator;",
        "read(source: MetaGenerator): MetaGenerator | null;",
        "points(points: readonly Point[], by: Readonly<Record<string, readonly number[]>>): Record<string, Point[]>;",
        (
            "tree(node: Node, pair: readonly [number, string], any_: readonly unknown[], "
            "table: Readonly<Record<string, unknown>>): Node;"
        ),
        "box(box: Box): Box;",
        "one(): Float32Array & { shape: number[] };",
        "raw(data: Uint8Array | ArrayBuffer | DataView, view: ArrayBufferView): Uint8Array;",
        "pair(): [left: number, right: string];",
        "later(): number;",
        "soon(): string | number;",
        'counts(): Partial<Record<"red" | "blue", number>>;',
        "variables(user: number, number: number, bounded: string, free: unknown): number[];",
        "anything(value: unknown, ...values: (number | string)[]): unknown;",
        "plain(a: boolean): number;",
        'make(): ("red" | "blue")[];',
        "call_me(...args: unknown[]): unknown;",
    ],
)
def test_a_method_has_the_types_that_travel(line: str) -> None:
    assert line_of(line.partition("(")[0]) == line


def test_an_array_of_any_element_is_one_of_the_typed_arrays() -> None:
    line = line_of("image")
    assert line.startswith("image(pixels: Uint8Array, any_: Int8Array | Uint8Array | ")
    assert line.endswith(": (Float32Array | Float64Array) & { shape: number[] };")


def test_what_a_page_cannot_call_is_not_there() -> None:
    for name in ("_private", "hidden", "size", "Inner", "must"):
        assert f"  {name}" not in WRITTEN.text


def test_types_with_names_are_declared_once_and_may_contain_themselves() -> None:
    assert WRITTEN.text.count("export interface Point {") == 1
    assert (
        "/** A place in the plane. */\nexport interface Point {\n  x: number;\n  y: number;\n  label?: string;\n}\n"
        in (WRITTEN.text)
    )
    assert "export interface Node {\n  children?: Node[];\n  content_type?: string;\n}\n" in WRITTEN.text
    assert "/** Two corners. */\nexport interface Box {\n  low: Point;\n  high: Point | null;\n}\n" in WRITTEN.text


def test_docstrings_are_comments_that_end_where_they_end() -> None:
    assert (
        "/**\n * Answers the page.\n *\n * What ends a comment is kept out: *\\/\n */\nexport interface Handler {"
        in (WRITTEN.text)
    )
    assert "  /** Add two numbers. */\n  add(" in WRITTEN.text
    assert "  /**\n   * Take a file.\n   *\n   * Args:\n   *     stream: The file.\n" in WRITTEN.text


def test_what_has_no_type_or_does_not_travel_is_said() -> None:
    assert list(WRITTEN.remarks) == [
        "Handler.call_me() is no function: its arguments and its result are unknown",
        "Handler.untyped(): a has no type: it is unknown",
        "Handler.untyped(): rest has no type: it is unknown",
        "Handler.untyped(): its result has no type: it is unknown",
        "Handler.must() cannot be called by a page, as key is needed and can be given by its name only: it is left out",
        "Handler.box(): box is a Box, and receives a dict with its fields",
        f"Handler.box(): its result is a Box, {DATACLASS}",
    ]


def test_what_does_not_travel_is_unknown() -> None:
    written = write_types(handlers.Wrong, source="x", client="x")
    assert line_of("missing", written.text) == "missing(price: unknown): number;"
    assert line_of("shape", written.text) == "shape(): unknown;"
    assert line_of("member", written.text) == "member(): unknown;"
    assert line_of("late", written.text) == "late(name: string, stream: unknown): unknown[];"
    assert line_of("path", written.text) == "path(path: unknown): null;"
    assert line_of("keys", written.text) == "keys(): Record<string, Record<string, string>>;"
    assert line_of("forward", written.text) == "forward(): Broken[];"
    assert "export interface Broken {\n  price: unknown;\n}" in written.text
    assert "import" not in written.text
    assert [remark.partition(" ")[2] for remark in written.remarks] == [
        "price has a type that cannot be resolved, name 'Decimal' is not defined: it is unknown",
        "its result is a Shape, an Enum that does not travel: send its value, or make it a StrEnum or an IntEnum",
        "its result is a Shape, an Enum that does not travel: send its value, or make it a StrEnum or an IntEnum",
        "stream is a stream, which can be the first argument of a method, or its result: it is unknown",
        "its result is a stream, which can be the first argument of a method, or its result: it is unknown",
        "path is a Path, and receives none: a stream arrives as a MetaGenerator",
        "its result has keys that are no str, and JSON has no others",
        "its result is an array of complex128, which JavaScript has no typed array for: it is unknown",
        "has annotations that cannot be resolved: name 'Decimal' is not defined",
        "its result is Ellipsis, which is not known here: it is unknown",
        "its result is a timedelta64, which does not travel: it is unknown",
    ]


def test_a_class_without_methods_is_an_empty_interface_and_this_is_said() -> None:
    written = write_types(handlers.Empty, source="x", client="x")
    assert "export interface Empty {\n}\n" in written.text
    assert written.remarks == ("Empty has no public methods",)
    assert "/**" not in write_types(handlers._Empty, source="x", client="x").text


def test_two_types_of_one_name_have_two_names() -> None:
    module = types.ModuleType("others")
    code = """
from typing import TypedDict
Point = TypedDict("Point", {"x-y": int})
class Handler:
    def point(self) -> Point: ...
    def handler(self) -> "list[Self_]": ...
Self_ = TypedDict("Handler", {})
"""
    sys.modules["others"] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 (mypy takes no two types of one name)
        text = write_types(module.Handler, source="x", client="x").text
    finally:
        del sys.modules["others"]
    assert line_of("handler", text) == "handler(): Handler2[];"
    assert 'export interface Point {\n  "x-y": number;\n}' in text


class Alias:
    """What the statement `type` makes, from Python 3.12 on."""

    __name__ = "Json"
    __value__ = list[int]


class Aliased:
    def load(self, key: Alias()) -> Alias(): ...  # type: ignore[valid-type]


def test_the_statement_type_is_an_alias() -> None:
    text = write_types(Aliased, source="x", client="x").text
    assert "export type Json = number[];" in text


def test_the_compiler_takes_what_is_written_and_finds_mistakes_with_it(tmp_path: Path) -> None:
    (tmp_path / "jchannel").mkdir()
    (tmp_path / "jchannel/jchannel.d.ts").write_bytes(read_static("jchannel.d.ts"))
    (tmp_path / "handlers.ts").write_text(WRITTEN.text)
    (tmp_path / "page.ts").write_text(PAGE)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    options = {
        "strict": True,
        "noUncheckedIndexedAccess": True,
        "exactOptionalPropertyTypes": True,
        "noEmit": True,
        "target": "es2022",
        "module": "nodenext",
        "lib": ["es2022", "dom", "dom.iterable"],
        "types": [],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["page.ts"]}))
    done = subprocess.run(
        [TSC, "-p", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")

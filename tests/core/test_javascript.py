"""The stack of an error in JavaScript as a note, from what each browser writes."""

import copy
import pickle
from typing import Any

import pytest

from jchannel._core.javascript import explain_stack
from jchannel.errors import FrontendError

CODE = "(channel) => {\n\tlet wide = 5;\r\n    draw(wide, wide);\u2028last\n}"


def explain(*lines: str, code: str = CODE, number: int | None = 1) -> list[str]:
    note = explain_stack("\n".join(lines), code, number)
    return [] if note is None else note.split("\n")[1:]


@pytest.mark.parametrize(
    "line",
    [
        "    at Object.draw (jchannel-channel-1.js:3:5)",
        "    at async draw (jchannel-channel-1.js:3:5)",
        "draw@jchannel-channel-1.js:3:5",
        "draw@jchannel-channel.js:3:5\n@\nrun@http://localhost/jchannel/inject.js:1:1\n@http://localhost/x.js:1:1",
    ],
    ids=["V8", "V8, async", "SpiderMonkey", "JavaScriptCore"],
)
def test_a_place_in_the_code_is_shown_with_its_line(line: str) -> None:
    assert explain(line) == [
        "  jchannel-channel-1.js:3:5, in draw",
        "    draw(wide, wide);",
        "    ^",
    ]


@pytest.mark.parametrize("line", ["    at jchannel-channel-1.js:2:6", "@jchannel-channel-1.js:2:6"])
def test_a_place_outside_of_a_function_has_no_name(line: str) -> None:
    assert explain(line) == ["  jchannel-channel-1.js:2:6", "    let wide = 5;", "        ^"]


def test_the_first_line_is_counted_without_the_clients_bracket() -> None:
    assert explain("    at f (jchannel-channel-1.js:1:2)")[0] == "  jchannel-channel-1.js:1:1, in f"
    assert explain("    at f (jchannel-channel-1.js:1:1)")[0] == "  jchannel-channel-1.js:1:1, in f"
    assert explain("    at f (http://localhost/x.js:1:2)") == ["  http://localhost/x.js:1:2, in f"]


def test_lines_end_where_javascript_ends_them() -> None:
    assert explain("@jchannel-channel-1.js:4:1")[1] == "    last"
    assert explain("@jchannel-channel-1.js:5:1")[1] == "    }"


@pytest.mark.parametrize(
    "place", ["jchannel-channel-2.js:3:5", "jchannel-channel-1.js:6:1", "jchannel-channel-1.js:0:1"]
)
def test_a_place_that_the_code_does_not_have_is_shown_without_a_line(place: str) -> None:
    assert explain(f"@{place}") == [f"  {place}"]


@pytest.mark.parametrize(
    "script",
    ["jchannel/inject.js", "jchannel/jchannel.js?v=1", "jchannel/notebook/the-name/client.js"],
)
def test_what_lies_below_the_client_is_not_shown(script: str) -> None:
    assert explain(
        "TypeError: x",
        "    at f (http://localhost/page.js:7:1)",
        "    at Array.map (<anonymous>)",
        "    at g (http://localhost/page.js:9:1)",
        "    at Reflect.apply (<anonymous>)",
        f"    at http://localhost:8889/{script}:3:99",
        "    at h (http://localhost/page.js:1:1)",
    ) == ["  http://localhost/page.js:7:1, in f", "  http://localhost/page.js:9:1, in g"]


@pytest.mark.parametrize("stack", [None, "", "TypeError: x", "x: y\n    at Array.map (<anonymous>)", "x" * 70_000])
def test_a_stack_without_places_gives_no_note(stack: str | None) -> None:
    assert explain_stack(stack, CODE, 1) is None


def test_a_long_stack_is_cut() -> None:
    assert len(explain(*(f"@x.js:{line}:1" for line in range(50)))) == 10


def test_a_long_line_is_shown_round_its_place() -> None:
    code = "  " + "a" * 500 + "b" + "c" * 500
    _, line, mark = explain("@jchannel-channel-1.js:1:504", code=code)
    assert len(line) == 164
    assert line[len(mark) - 1] == "b"


def test_nothing_of_the_page_moves_the_terminals_cursor() -> None:
    assert explain("\x1b[2Jdraw@\x1b[2Jx.js:3:5") == ["   [2Jx.js:3:5, in  [2Jdraw"]


@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301
def test_a_note_is_copied_with_its_error(copied: Any) -> None:
    error = FrontendError("exception", "TypeError", "x", "stack")
    assert not hasattr(copied(error), "__notes__")
    error.add_note("note")
    again = copied(error)
    again.add_note("another")
    assert (error.__notes__, again.__notes__) == (["note"], ["note", "another"])

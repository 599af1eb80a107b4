"""The stack of an error in JavaScript, as a note that shows the lines of the user's code as Python's tracebacks do."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["explain_stack"]

#: A line of a stack that has a place: as V8 writes it, ``at draw (channel.js:4:21)`` or ``at channel.js:4:21``, or as
#: the others do, ``draw@channel.js:4:21``. The repetitions are possessive: no stack takes more time than its length.
_V8: Final = re.compile(
    r"\s++at (?:async )?(?:(?P<function>[^()]*+)\()?(?P<file>[^\s()]+?):(?P<line>\d+):(?P<column>\d+)\)?"
)
_OTHERS: Final = re.compile(r"(?P<function>[^@\s]*+)@(?P<file>\S+?):(?P<line>\d+):(?P<column>\d+)")

#: The client's own scripts. What is below them in a stack is the client's, too.
_CLIENT: Final = re.compile(r"/jchannel/(?:inject\.js|jchannel\.js|notebook/[^/]+/client\.js)(?:[?#].*)?$")

#: What the client calls the code of a channel, and what stands for it where the browser does not know its name.
_CODE_NAME: Final = "jchannel-channel-{}.js"
_NAMELESS_CODE: Final = "jchannel-channel.js"
_CODE: Final = re.compile(r"jchannel-channel-\d+\.js")

_LINE_END: Final = re.compile("\r\n|[\n\r\u2028\u2029]")

#: The most places that are shown, and the most characters of each part.
_MOST_PLACES: Final = 10
_MOST_CHARACTERS: Final = 160


def explain_stack(stack: str | None, code: str, number: int | None) -> str | None:
    """Return a note for an error in JavaScript.

    Args:
        stack: The stack, as its browser writes it; ``None`` where there is none.
        code: The code of the channel.
        number: The number of the channel.

    Returns:
        The places in the user's code, the innermost first, with their lines where they are the channel's; ``None`` if
        the stack has none.
    """
    own_name = _CODE_NAME.format(number)
    lines = _LINE_END.split(code)
    places: list[str] = []
    for text in (stack or "").split("\n"):
        found = _V8.fullmatch(text) or _OTHERS.fullmatch(text)
        if found is None:
            continue
        file = own_name if found["file"] == _NAMELESS_CODE else found["file"]
        if _CLIENT.search(file) or len(places) == _MOST_PLACES:
            break
        line, column = int(found["line"][:9]), int(found["column"][:9])
        # The client puts a bracket before the code.
        if line == 1 and _CODE.fullmatch(file):
            column = max(column - 1, 1)
        function = _clean((found["function"] or "").rstrip().removeprefix("Object."))
        place = f"  {_clean(file)}:{line}:{column}{f', in {function}' if function else ''}"
        if file == own_name and 0 < line <= len(lines):
            place += _quote(lines[line - 1], column)
        places.append(place)
    return "\n".join(["JavaScript, the innermost call first:", *places]) if places else None


def _quote(line: str, column: int) -> str:
    """Return a line of code, a long one in part, and a mark below the column, as lines that follow another one."""
    begin = max(0, column - 1 - _MOST_CHARACTERS // 2)
    part = line[begin : begin + _MOST_CHARACTERS].rstrip()
    indent = len(part) - len(part.lstrip())
    mark = " " * (column - 1 - begin - indent) + "^"
    return f"\n    {_clean(part.lstrip())}\n    {mark}"


def _clean(text: str) -> str:
    """Return a text of the far side's that cannot move the terminal's cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MOST_CHARACTERS])

"""Where a script may stand in an HTML page, and in which encoding the page is.

The tokenizer is that of the HTML standard, as far as it matters here. ``html.parser`` is none: what it takes for a
comment, a tag and the end of a script differs from what browsers do, and between versions of Python.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["find_charset", "insert_script"]

# The repetitions are possessive, so that no page takes more time than its length, and what does not end is no token.
_TOKEN: Final = re.compile(
    r"(?P<space>[\t\n\f\r ]++)"
    r"|(?P<text>[^<\t\n\f\r ][^<]*+|<(?![a-zA-Z!/?]))"
    # A doctype is one, too: it may stand wherever a comment may, and `>` ends it even in quotes.
    r"|(?P<comment><!--(?:-?>|.*?--!?>)|<(?:[?]|!(?!--)|/(?![a-zA-Z]))[^>]*+>)"
    r"|(?P<tag><(?P<slash>/?)(?P<name>[a-zA-Z][^\t\n\f\r />]*+))",
    re.DOTALL,
)
_BETWEEN: Final = re.compile(r"[\t\n\f\r /]*+")
_ATTRIBUTE: Final = re.compile(
    r"(?P<name>[^\t\n\f\r />][^\t\n\f\r />=]*+)"
    r"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    r"""(?:"(?P<double>[^"]*+)"|'(?P<single>[^']*+)'|(?P<plain>[^\t\n\f\r >"'][^\t\n\f\r >]*+)|(?=>))"""
    r"|(?![\t\n\f\r ]*+=))"
)

#: The elements whose content is text, whatever stands in it, up to their end tag.
_TEXT_ELEMENTS: Final = frozenset(
    ["iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp"]
)

#: The elements that a head may contain, and those round it.
_HEAD_ELEMENTS: Final = frozenset({"base", "basefont", "bgsound", "head", "html", "link", "meta"}) | frozenset(
    {"noframes", "noscript", "script", "style", "template", "title"}
)

#: Where browsers look for the name of the encoding, in bytes, also behind the head.
_PRESCAN_BYTES: Final = 1024

#: The byte-order marks, which count more than any name, and the encodings that they stand for.
_MARKS: Final = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}

_META_CHARSET: Final = re.compile(
    r"""charset[\t\n\f\r ]*=[\t\n\f\r ]*(?:"([^"]*)"|'([^']*)'|([^\t\n\f\r ;"']+))""", re.IGNORECASE
)
_XML_ENCODING: Final = re.compile(r"""<\?xml[^>]*?\sencoding\s*=\s*(?:"([^">]*)"|'([^'>]*)')""")
_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9_.:+-]*")

#: The types of classic scripts, of which the first is that of a script that names none.
_SCRIPT_TYPES: Final = ("", "text/javascript", "application/javascript", "application/x-javascript", "text/ecmascript")

_CLIENT_SCRIPT: Final = re.compile(r"(?:[^?#]*/)?jchannel/inject\.js(?:[?#].*)?", re.DOTALL)
_CLIENT_MODULE: Final = re.compile(r"(?:[^?#]*/)?jchannel/jchannel\.js(?:[?#].*)?", re.DOTALL)

# Comments and texts in JavaScript. Regular expressions and the inside of templates are not told from other code.
_JAVASCRIPT: Final = re.compile(
    r"""(?P<skip>//[^\n]*+|/\*.*?\*/|`(?:\\.|[^`\\])*+`)|(?P<quoted>"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')""",
    re.DOTALL,
)
_IMPORTING: Final = re.compile(r"\bimport\s*(?:\(\s*|(?P<names>[\w\s{},*$]*)\bfrom\s*)$")


@dataclass(frozen=True, slots=True)
class _Token:
    """A piece of a page.

    Attributes:
        kind: ``space``, ``comment`` (or a doctype), ``text``, ``start`` or ``end`` (tags).
        begin: Where it begins.
        end: Where it ends.
        name: A tag's name, in lower case.
        attributes: A tag's attributes, their names in lower case.
        content: What stands between the tags of an element that contains text only.
    """

    kind: str
    begin: int
    end: int
    name: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    content: str = ""


def insert_script(page: bytes, url: str) -> bytes:
    """Insert the client's script into a page, unless the page loads the client itself.

    It stands at the beginning of the head, behind what may come before that: so the page keeps its doctype, the
    attributes of its tags, and its order. It is the first script that runs, and the page's base URL and policy, which
    are further behind, do not apply to it.

    Args:
        page: The page.
        url: The URL of the script.

    Returns:
        The page with the script, in the encoding of the page.
    """
    mark = _find_mark(page)
    codec = _MARKS.get(mark, "utf-8").replace("utf-8", "latin-1")  # All others have the ASCII characters as they are.
    content = page[len(mark) :]
    even = len(content) // 2 * 2 if codec != "latin-1" else len(content)
    text = content[:even].decode(codec, "surrogatepass")
    if _loads_client(text):
        return page
    place = len(mark) + len(text[: _find_place(text)].encode(codec, "surrogatepass"))
    return page[:place] + f'<script src="{url}"></script>'.encode(codec) + page[place:]


def find_charset(page: bytes) -> str | None:
    """Return the encoding of a page, for the header: a browser does not look into a page whose header has one.

    Returns:
        The encoding that the page names; without one UTF-8, if it is that; ``None`` if nothing says what it is.
    """
    mark = _find_mark(page)
    if mark:
        return _MARKS[mark].removesuffix("-le").removesuffix("-be")
    named = _find_named_charset(page.decode("latin-1"))
    if named is not None:
        return named
    try:
        page.decode()
    except UnicodeDecodeError:
        return None
    return "utf-8"


def _find_mark(page: bytes) -> bytes:
    return next((mark for mark in _MARKS if page.startswith(mark)), b"")


def _find_named_charset(text: str) -> str | None:
    """Return the encoding that a page names where browsers look for it."""
    in_head = True
    for token in _tokens(text):
        in_head = in_head and (token.kind in ("space", "comment") or token.name in _HEAD_ELEMENTS)
        if not in_head and token.begin >= _PRESCAN_BYTES:
            break
        if token.kind == "start" and token.name == "meta":
            label = token.attributes.get("charset")
            if label is None and (token.attributes.get("http-equiv") or "").lower() == "content-type":
                label = _first_group(_META_CHARSET.search(token.attributes.get("content") or ""))
            charset = _make_charset(label)
            if charset is not None:
                return charset
    return _make_charset(_first_group(_XML_ENCODING.match(text)))


def _first_group(match: re.Match[str] | None) -> str | None:
    return None if match is None else next((group for group in match.groups() if group is not None), None)


def _make_charset(label: str | None) -> str | None:
    """Return an encoding as it is written in a header, and meant in a page; ``None`` if it is none."""
    name = "" if label is None else label.strip("\t\n\f\r ").lower()
    if not _LABEL.fullmatch(name):
        return None
    if name.startswith("utf-16"):
        return "utf-8"  # Whoever could read the name has not read UTF-16.
    return "windows-1252" if name == "x-user-defined" else name


def _find_place(text: str) -> int:
    """Return where the head of a page begins, behind its tag if it has one."""
    place = 0
    for token in _tokens(text):
        if token.kind == "start" and token.name == "head":
            return token.end
        # Browsers ignore most end tags before the head.
        ignored = token.kind == "end" and token.name not in ("head", "body", "html", "br")
        if not (ignored or token.kind in ("space", "comment") or (token.kind == "start" and token.name == "html")):
            break
        place = token.end
    return place


def _loads_client(text: str) -> bool:
    """Return whether a page has a script that connects it."""
    if "jchannel/inject.js" not in text and "jchannel/jchannel.js" not in text:
        return False
    templates = 0
    for token in _tokens(text):
        if token.name == "template":
            templates += 1 if token.kind == "start" else -1
        elif token.kind == "start" and token.name == "script" and templates <= 0 and _is_client(token):
            return True
    return False


def _is_client(script: _Token) -> bool:
    kind = (script.attributes.get("type") or "").strip().lower()
    source = script.attributes.get("src")
    if kind == "module":
        return source is None and _imports_client(script.content)
    if source is None or kind not in _SCRIPT_TYPES or script.attributes.get("nomodule") is not None:
        return False
    return _CLIENT_SCRIPT.fullmatch(source.strip()) is not None


def _imports_client(code: str) -> bool:
    """Return whether a module imports what connects a page: all of the client's module, or a name such as that."""
    before, position = "", 0
    for match in _JAVASCRIPT.finditer(code):
        before += code[position : match.start()]
        position = match.end()
        quoted = match["quoted"]
        if quoted is not None:
            importing = _IMPORTING.search(before) if _CLIENT_MODULE.fullmatch(quoted[1:-1]) else None
            if importing is not None and re.search(r"^$|\*|\bconnect", importing["names"] or ""):
                return True
            before = ""
    return False


def _tokens(text: str) -> Iterator[_Token]:
    """Yield the pieces of a page one after the other, up to the first that does not end."""
    position = 0
    while match := _TOKEN.match(text, position):
        begin, position = position, match.end()
        name = (match["name"] or "").lower()
        if not name:
            assert match.lastgroup is not None
            yield _Token(match.lastgroup, begin, position)
            continue
        attributes, position = _read_attributes(text, position)
        if text[position : position + 1] != ">":
            return
        position += 1
        if match["slash"]:
            yield _Token("end", begin, position, name)
            continue
        content = _read_content(text, position, name)
        yield _Token("start", begin, position, name, attributes, content)
        position += len(content)


def _read_attributes(text: str, position: int) -> tuple[dict[str, str], int]:
    """Return the attributes of a tag, and where they end."""
    attributes: dict[str, str] = {}
    while match := _ATTRIBUTE.match(text, _skip(text, position)):
        position = match.end()
        value = match["double"] or match["single"] or match["plain"] or ""
        attributes.setdefault(match["name"].lower(), html.unescape(value))
    return attributes, _skip(text, position)


def _skip(text: str, position: int) -> int:
    match = _BETWEEN.match(text, position)
    assert match is not None
    return match.end()


def _read_content(text: str, position: int, name: str) -> str:
    """Return what follows a start tag and is text, whatever stands in it."""
    if name == "plaintext":
        return text[position:]
    if name not in _TEXT_ELEMENTS:
        return ""
    end = re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE).search(text, position)
    return text[position : len(text) if end is None else end.start()]

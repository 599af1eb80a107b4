"""The declarations of TypeScript for the class of a handler: one interface of its methods, and the types in it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jchannel._guarded import text_of
from jchannel._typescript.annotations import STREAM, UNKNOWN, Declaration, Position, Translator, resolve, write_name

__all__ = ["Written", "write_types"]

#: What no parameter may be called in TypeScript.
_RESERVED: Final = re.compile(
    "arguments|await|break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|eval|export|extends|false|"
    "finally|for|function|if|implements|import|in|instanceof|interface|let|new|null|package|private|protected|public|"
    "return|static|super|switch|this|throw|true|try|typeof|var|void|while|with|yield"
)

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        text: The module of TypeScript.
        remarks: What is not typed in it, or is not there, one sentence each.
    """

    text: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of a class.

    Attributes:
        name: Its name.
        function: What is called, or ``None`` where that cannot be looked into.
        bound: Whether the first parameter is the object or the class.
    """

    name: str
    function: Callable[..., Any] | None
    bound: bool


def write_types(cls: type, *, source: str, client: str) -> Written:
    """Write the interface of a handler's methods, as the page sees them.

    Args:
        cls: The class. Its public methods are what the page may call.
        source: Where the class is, for the first line.
        client: The module that the client's types are imported from.
    """
    translator = Translator(cls.__name__)
    methods = [line for method in _find_methods(cls) for line in _write_method(cls, method, translator)]
    if not methods:
        translator.remark("has no public methods", cls.__qualname__)
    handler = Declaration(
        cls.__name__, vars(cls).get("__doc__") or "", "\n".join([f"interface {cls.__name__} {{", *methods, "}"])
    )
    parts = [f"// Written by `python -m jchannel types {source}`. To change it, change the class and write it again."]
    if translator.uses_streams:
        parts.append(f"import type {{ {STREAM} }} from {json.dumps(client)};")
    parts += [
        "\n".join([*_write_doc(declaration.doc, ""), f"export {declaration.text}"])
        for declaration in (handler, *translator.declarations)
    ]
    return Written("\n\n".join(parts) + "\n", tuple(translator.remarks))


def _find_methods(cls: type) -> Iterator[_Method]:
    """Yield the methods that the page may call, those of the base classes first, without running any code of them."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__[:-1]) for name in vars(base) if name[:1] != "_")
    for name in names:
        found = inspect.getattr_static(cls, name)
        is_bound = not isinstance(found, staticmethod)
        function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
        if inspect.isfunction(function):
            yield _Method(name, function, is_bound)
        elif not isinstance(found, type) and callable(getattr(cls, name, None)):
            yield _Method(name, None, is_bound)


def _write_method(cls: type, method: _Method, translator: Translator) -> list[str]:
    shown = f"{cls.__qualname__}.{method.name}()"
    if method.function is None:
        translator.remark("is no function: its arguments and its result are unknown", shown)
        return [f"  {write_name(method.name)}(...args: {UNKNOWN}[]): {UNKNOWN};"]
    names = _Names(cls, method.function)
    parameters = list(inspect.signature(method.function).parameters.values())[1 if method.bound else 0 :]
    needed = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    if needed:
        text = f"cannot be called by a page, as {needed[0]} is needed and can be given by its name only: it is left out"
        translator.remark(text, shown)
        return []
    written = []
    for index, parameter in enumerate(parameters):
        position = Position.ARGUMENT if index else Position.FIRST_ARGUMENT
        if parameter.kind in _POSITIONAL:
            mark = ":" if parameter.default is parameter.empty else "?:"
            text = _translate(parameter.annotation, position, f"{shown}: {parameter.name}", names, translator)
            written.append(f"{_write_parameter(parameter.name)}{mark} {text}")
        elif parameter.kind is parameter.VAR_POSITIONAL:
            text = _translate(parameter.annotation, Position.ARGUMENT, f"{shown}: {parameter.name}", names, translator)
            written.append(f"...{_write_parameter(parameter.name)}: {f'({text})' if ' ' in text else text}[]")
    result = _write_result(method.function, shown, names, translator)
    doc = _write_doc(method.function.__doc__ or "", "  ")
    return [*doc, f"  {write_name(method.name)}({', '.join(written)}): {result};"]


def _write_result(function: Callable[..., Any], shown: str, names: _Names, translator: Translator) -> str:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return translator.stream()
    annotation = inspect.signature(function).return_annotation
    return _translate(annotation, Position.RESULT, f"{shown}: its result", names, translator)


def _translate(annotation: object, position: Position, place: str, names: _Names, translator: Translator) -> str:
    if annotation is inspect.Parameter.empty:
        return translator.remark(f"has no type: it is {UNKNOWN}", place)
    try:
        meant = resolve(annotation, names.globals, names.locals)
    except Exception as error:  # noqa: BLE001 (an annotation may be any expression)
        return translator.remark(f"has a type that cannot be resolved, {text_of(error)}: it is {UNKNOWN}", place)
    return translator.translate(meant, position, place)


class _Names:
    """The names that the annotations of a method may use.

    Args:
        cls: The class.
        function: The method.
    """

    def __init__(self, cls: type, function: Callable[..., Any]) -> None:
        original = inspect.unwrap(function)
        self.globals: Mapping[str, object] = original.__globals__
        variables = {one.__name__: one for one in getattr(original, "__type_params__", ())}
        # Not its methods: one may be called `list`.
        self.locals: Mapping[str, object] = {
            **{name: value for name, value in vars(cls).items() if isinstance(value, type)},
            cls.__name__: cls,
            **variables,
        }


def _write_parameter(name: str) -> str:
    return f"{name}_" if _RESERVED.fullmatch(name) else name


def _write_doc(doc: str, indent: str) -> list[str]:
    """Return a docstring as a comment, one line each."""
    lines = inspect.cleandoc(doc).replace("*/", "*\\/").splitlines()
    if not lines:
        return []
    if len(lines) == 1:
        return [f"{indent}/** {lines[0]} */"]
    return [f"{indent}/**", *(f"{indent} * {line}".rstrip() for line in lines), f"{indent} */"]

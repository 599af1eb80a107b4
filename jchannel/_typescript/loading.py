"""Finding the class of a handler by its name on the command line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from types import ModuleType

from jchannel._guarded import name_of, text_of

__all__ = ["TargetError", "load_class"]


class TargetError(Exception):
    """There is no class under that name. The message says what is wrong, and with what."""


def load_class(target: str) -> type:
    """Import the class of a handler. This runs the module that it is in.

    Args:
        target: A file and a name in it, such as ``handler.py:Handler``, or a module and a name. The name may be that of
            a class, of one within a class (``Outer.Inner``), or of an object, whose class is meant.

    Raises:
        TargetError: There is no such file, module or name, or the module raises.
    """
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise TargetError(f"{target!r} names no class: write handler.py:Handler, or package.module:Handler")
    module = _import_file(Path(place)) if place.endswith(".py") else _import(place, None)
    try:
        found: object = reduce(getattr, name.split("."), module)
    except AttributeError:
        classes = [key for key, value in vars(module).items() if _is_defined_in(module, value)]
        has = f"; it has {', '.join(classes)}" if classes else ""
        raise TargetError(f"there is no {name} in {place}{has}") from None
    cls = found if isinstance(found, type) else type(found)
    if cls.__module__ == "builtins" or issubclass(cls, Mapping | ModuleType):
        raise TargetError(f"{name} in {place} is a {cls.__name__}: the handler must be a class, or an object of one")
    return cls


def _is_defined_in(module: ModuleType, value: object) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TargetError(f"there is no file {str(path)!r}")
    # A module of that name may be there already, as that of `types.py` is.
    name = path.stem if path.stem not in sys.modules else f"_jchannel_{path.stem}"
    sys.path.insert(0, str(path.resolve().parent))  # As where Python runs the file.
    try:
        return _import(name, path)
    finally:
        del sys.path[0]


def _import(name: str, path: Path | None) -> ModuleType:
    shown = name if path is None else str(path)
    try:
        if path is None:
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        # Whoever looks for the names in an annotation finds them by the module's name.
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise TargetError(f"{shown} cannot be imported: {name_of(error)}: {text_of(error)}") from error
    return module

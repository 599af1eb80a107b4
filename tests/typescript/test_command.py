"""The command ``python -m jchannel types``, and how it finds a class."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jchannel.__main__ import main
from jchannel._client import read_static
from tests.conftest import FreshPython

Capture = pytest.CaptureFixture[str]

HANDLER = """
from dataclasses import dataclass
from helper import NUMBER

class Handler:
    def add(self, a: int, b) -> int:
        return a + b + NUMBER

class Outer:
    class Inner:
        def name(self) -> str: ...

handler = Handler()
functions = {"add": len}

class Lazy:
    def __get__(self, instance, owner=None):
        raise AttributeError

class Strange:
    lazy = Lazy()

def function(): ...
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a handler, whose module is forgotten afterwards."""
    (tmp_path / "my_handler.py").write_text(HANDLER)
    (tmp_path / "helper.py").write_text("NUMBER = 1")
    for name in ("my_handler", "helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "my_handler.py"


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the modules that a test has imported."""
    monkeypatch.setattr(sys, "modules", sys.modules.copy())


def test_it_prints_the_interface_of_a_class_in_a_file_and_says_what_has_no_type(file: Path, capsys: Capture) -> None:
    before = list(sys.path)
    assert main(["types", f"{file}:Handler"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"// Written by `python -m jchannel types {file}:Handler`. ")
    assert out.endswith("export interface Handler {\n  add(a: number, b: unknown): number;\n}\n")
    assert err == "python -m jchannel types: Handler.add(): b has no type: it is unknown\n"
    assert sys.path == before


@pytest.mark.parametrize("name", ["Outer.Inner", "handler"])
def test_a_class_may_be_within_another_one_or_that_of_an_object(file: Path, capsys: Capture, name: str) -> None:
    assert main(["types", f"{file}:{name}"]) == 0
    assert f"export interface {'Inner' if '.' in name else 'Handler'} {{" in capsys.readouterr().out


def test_a_class_may_be_in_a_module(capsys: Capture) -> None:
    assert main(["types", "tests.typescript.handlers:Handler", "--import", "../client.js"]) == 0
    assert '\nimport type { MetaGenerator } from "../client.js";\n' in capsys.readouterr().out


def test_a_file_may_have_the_name_of_a_module_that_is_there(file: Path, capsys: Capture) -> None:
    assert main(["types", f"{file.rename(file.with_name('json.py'))}:Handler"]) == 0
    assert "export interface Handler" in capsys.readouterr().out


def test_it_writes_a_file_in_a_folder_that_it_makes(file: Path, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "page" / "handler.d.ts"
    assert main(["types", f"{file}:Handler", "--output", str(output)]) == 0
    assert "export interface Handler" in output.read_text(encoding="utf-8")
    assert capsys.readouterr().out == ""


def test_it_prints_the_types_of_the_client(capsys: Capture) -> None:
    assert main(["types", "--client"]) == 0
    assert capsys.readouterr().out == read_static("jchannel.d.ts").decode()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("my_handler.py", "'my_handler.py' names no class: write handler.py:Handler, or package.module:Handler"),
        ("missing.py:Handler", "there is no file 'missing.py'"),
        ("no_such_module:Handler", "no_such_module cannot be imported: ModuleNotFoundError: No module named 'no_such"),
        ("my_handler.py:Nobody", "there is no Nobody in my_handler.py; it has Handler, Outer"),
        ("helper.py:Nobody", "there is no Nobody in helper.py\n"),
        ("raises.py:Handler", "raises.py cannot be imported: ValueError: no"),
        ("exits.py:Handler", "exits.py cannot be imported: SystemExit: 3"),
    ],
)
def test_what_is_wrong_is_said(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, target: str, words: str
) -> None:
    file.with_name("raises.py").write_text("raise ValueError('no')")
    file.with_name("exits.py").write_text("import sys; sys.exit(3)")
    monkeypatch.chdir(file.parent)
    assert main(["types", target]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"python -m jchannel types: error: {words}")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert main(["types", "--client", "--output", str(tmp_path)]) == 1
    assert "error: " in capsys.readouterr().err


def test_a_class_or_the_client_is_needed(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["types"])
    assert caught.value.code == 2
    assert "required" in capsys.readouterr().err


def test_the_command_loads_no_numpy_and_nobody_else_loads_the_command(fresh_python: FreshPython) -> None:
    program = """
import contextlib, io, sys
from jchannel.__main__ import main
with contextlib.redirect_stdout(io.StringIO()):
    main([])
    assert not [name for name in sys.modules if name.startswith("jchannel._typescript")]
    main(["types", "--client"])
print("numpy" in sys.modules)
"""
    assert fresh_python(program) == "False\n"


@pytest.mark.parametrize(("name", "kind"), [("function", "function"), ("functions", "dict"), ("sys", "module")])
def test_what_is_no_object_of_a_class_is_refused(file: Path, capsys: Capture, name: str, kind: str) -> None:
    file.write_text(f"import sys\n{HANDLER}")
    assert main(["types", f"{file}:{name}"]) != 0
    assert f"{name} in {file} is a {kind}: the handler must be a class, or an object of one" in capsys.readouterr().err


def test_an_attribute_that_cannot_be_read_of_the_class_is_left_out(file: Path, capsys: Capture) -> None:
    assert main(["types", f"{file}:Strange"]) == 0
    assert "lazy" not in capsys.readouterr().out

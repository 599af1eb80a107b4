"""The command line, ``python -m jchannel``."""

import io
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from jchannel.__main__ import main
from jchannel.demo import show
from jchannel.demo.show import DATA, Options
from tests.conftest import FreshPython

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """What the demo was run with, instead of running."""
    runs: list[Options] = []

    def run(options: Options) -> int:
        runs.append(options)
        return 7

    monkeypatch.setattr(show, "run_demo", run)
    return runs


def test_without_a_command_it_prints_help(capsys: Capture) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "demo" in out
    assert "kernel" in out
    assert "types" in out
    assert "doctor" in out


def test_the_demo_has_defaults(runs: list[Options]) -> None:
    assert main(["demo"]) == 7
    assert runs == [Options()]
    assert runs[0].file == DATA


@pytest.mark.parametrize(
    ("face", "expected"),
    [
        (["--headless"], {"headless": True}),
        (["--browser", "mine"], {"browser": "mine"}),
        (["--no-browser"], {"no_browser": True}),
    ],
)
def test_the_demo_takes_options(runs: list[Options], face: list[str], expected: dict[str, Any]) -> None:
    main(["demo", "my.csv", "--encoding", "cp1252", "--output", "out", "--port", "0", *face])
    assert runs == [Options(file=Path("my.csv"), encoding="cp1252", output=Path("out"), port=0, **expected)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "x"], "'x' is not a port, a number from 0 to 65535"),
        (["--port", "65536"], "'65536' is not a port"),
        (["--headless", "--no-browser"], "not allowed with argument --headless"),
    ],
)
def test_wrong_arguments_are_bad_input(capsys: Capture, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demo", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["demo", "--help"], ["demo", "--no-browser", "--port", "0"]])
def test_what_only_the_kernel_needs_is_loaded_by_the_kernel_only(
    fresh_python: FreshPython, arguments: list[str]
) -> None:
    program = f"""
import contextlib, io, sys
from jchannel.__main__ import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    assert main({arguments}) == 0
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(sorted({{"IPython", "ipykernel", "jupyter_client", "trio_asyncio"}} & loaded))
print([name for name in sys.modules if name.startswith("jchannel.kernel")])
"""
    assert fresh_python(program) == "[]\n[]\n"


def test_help_loads_no_trio(fresh_python: FreshPython) -> None:
    program = """
import contextlib, io, sys
from jchannel.__main__ import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main(["--help"])
print("trio" in sys.modules)
"""
    assert fresh_python(program) == "False\n"


def test_a_name_that_the_terminal_cannot_write_is_written_in_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    main([])
    print("größe", file=terminal, flush=True)
    assert written.getvalue().endswith(b"gr\\xf6\\xdfe\n")


def test_a_stream_in_the_place_of_the_terminal_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert main([]) == 0
    assert "demo" in out.getvalue()


def test_it_can_be_run_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys, "argv", ["jchannel"])
    monkeypatch.delitem(sys.modules, "jchannel.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("jchannel", run_name="__main__")
    assert caught.value.code == 0
    assert "demo" in capsys.readouterr().out

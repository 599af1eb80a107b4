"""The kernelspec, and the command that installs it."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest

from jchannel.__main__ import main
from jchannel.kernel import spec

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of Jupyter, and the only one that Jupyter looks into."""
    folder = tmp_path / "user"
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setattr("jupyter_core.paths.ENV_JUPYTER_PATH", [])
    monkeypatch.setattr("jupyter_core.paths.SYSTEM_JUPYTER_PATH", [])
    return folder


def write_foreign(
    kernels: Path, text: str = '{"argv": ["other"], "display_name": "Other", "language": "other"}'
) -> Path:
    folder = kernels / spec.DEFAULT_NAME
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(text)
    return folder


def test_install_says_what_it_has_done_and_the_spec_starts_this_python(data: Path, capsys: Capture) -> None:
    assert main(["kernel", "install", "--user"]) == 0
    folder = data / "kernels" / "jchannel-trio"
    assert capsys.readouterr().out == (
        f"Installed 'jchannel-trio', which notebooks show as 'Python 3 (trio)', in {folder}\n"
    )
    written = json.loads((folder / "kernel.json").read_text())
    assert written["argv"] == [sys.executable, "-m", "jchannel.kernel", "-f", "{connection_file}"]
    assert written["metadata"] == {"debugger": True, "jchannel": "trio"}
    assert (folder / "logo-svg.svg").is_file()


@pytest.mark.parametrize("preferred", ["0", "1"])
def test_without_a_place_it_goes_where_jupyter_prefers(
    preferred: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", preferred)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    place = tmp_path / "environment" / "share" / "jupyter" if preferred == "1" else data
    assert spec.install().folder == place / "kernels" / "jchannel-trio"


def test_names_and_prefixes_are_chosen(tmp_path: Path) -> None:
    place = ["--prefix", str(tmp_path / "mine")]
    assert main(["kernel", "install", *place, "--name", "Mine", "--display-name", "My trio"]) == 0
    folder = tmp_path / "mine" / "share" / "jupyter" / "kernels" / "mine"
    assert spec.installed(prefix=str(tmp_path / "mine")) == [
        spec.InstalledSpec("mine", "My trio", sys.executable, folder)
    ]
    assert spec.installed() == []


def test_an_earlier_one_is_replaced_and_removed() -> None:
    spec.install(user=True)
    spec.install(display_name="Newer", user=True)
    assert [found.display_name for found in spec.installed()] == ["Newer"]
    assert main(["kernel", "uninstall"]) == 0
    assert spec.installed() == []


def test_list_shows_them(data: Path, capsys: Capture) -> None:
    assert main(["kernel", "list"]) == 0
    assert "not installed: `python -m jchannel kernel install`" in capsys.readouterr().out
    spec.install(user=True)
    write_foreign(data / "kernels" / "beside")
    assert main(["kernel", "list", "--user"]) == 0
    assert capsys.readouterr().out == (
        f"jchannel-trio  'Python 3 (trio)'\n  Python: {sys.executable}\n"
        f"  folder: {data / 'kernels' / 'jchannel-trio'}\n"
    )


def test_a_spec_that_is_not_ours_is_replaced_only_when_that_is_asked_for(data: Path, capsys: Capture) -> None:
    folder = write_foreign(data / "kernels")
    assert main(["kernel", "install", "--user"]) == 1
    assert capsys.readouterr().err == (
        f"python -m jchannel kernel: error: there is a kernelspec 'jchannel-trio' that is not jchannel's, at {folder}: "
        "take another name with --name, or replace it with --replace\n"
    )
    assert main(["kernel", "install", "--user", "--replace"]) == 0
    assert len(spec.installed()) == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"metadata": {"jchannel": "other"}}', '{"metadata": {"jchannel": "trio"}}']
)
def test_a_spec_that_is_not_ours_is_never_removed(text: str, data: Path, capsys: Capture) -> None:
    folder = write_foreign(data / "kernels", text)
    assert main(["kernel", "uninstall"]) == 1
    assert "is not jchannel's: to remove it all the same, run `jupyter kernelspec remove jchannel-trio`" in (
        capsys.readouterr().err
    )
    assert folder.is_dir()


def test_what_is_not_there_cannot_be_removed(capsys: Capture) -> None:
    assert main(["kernel", "uninstall", "--name", "mine"]) == 1
    assert "there is no kernelspec 'mine': `python -m jchannel kernel list` shows jchannel's" in capsys.readouterr().err


def test_a_wrong_name_is_refused(capsys: Capture) -> None:
    assert main(["kernel", "install", "--user", "--name", "my kernel"]) == 1
    assert "'my kernel' is no name of a kernelspec" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    assert main(["kernel", "install", "--prefix", str(tmp_path / "file")]) == 1
    assert "cannot be written to" in capsys.readouterr().err


def test_what_cannot_be_removed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    spec.install(user=True)

    def fail(folder: Path) -> None:
        raise PermissionError(f"not yours: {folder}")

    monkeypatch.setattr(shutil, "rmtree", fail)
    assert main(["kernel", "uninstall"]) == 1
    assert "cannot be removed: not yours" in capsys.readouterr().err


def test_python_3_14_is_refused() -> None:
    with pytest.raises(spec.KernelSpecError, match=r"trio-asyncio, which does not import on Python 3\.14 and later"):
        spec.check_parts((3, 14))


@pytest.mark.parametrize("arguments", [["install"], ["list"], ["uninstall"]])
def test_a_missing_package_is_named(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main(["kernel", *arguments]) == 1
    assert "which is not installed: pip install 'jchannel[kernel]'" in capsys.readouterr().err


def test_without_a_command_it_prints_help(capsys: Capture) -> None:
    assert main(["kernel"]) == 0
    assert "uninstall" in capsys.readouterr().out

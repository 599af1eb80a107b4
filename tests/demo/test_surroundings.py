"""What the demo finds on a machine."""

import platform
import shutil
import sys
import webbrowser
from pathlib import Path

import pytest

from jchannel.demo.surroundings import NoSuchBrowserError, can_show_window, find_chromium, how_to_install


@pytest.fixture(autouse=True)
def _bare_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux without a display and without a browser."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _command: None)
    monkeypatch.setattr(webbrowser, "get", object)


def offer(monkeypatch: pytest.MonkeyPatch, *commands: str) -> None:
    """Puts commands on the path."""
    monkeypatch.setattr(shutil, "which", lambda command: f"/bin/{command}" if command in commands else None)


def test_there_is_no_window_without_a_display() -> None:
    assert not can_show_window()


@pytest.mark.parametrize("variable", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_there_is_a_window_on_a_display(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, ":0")
    assert can_show_window()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_there_is_a_window_on_systems_that_have_one(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert can_show_window()


def test_there_is_no_window_without_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    def get() -> object:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "get", get)
    assert not can_show_window()


def test_there_may_be_no_chromium() -> None:
    assert find_chromium() is None


def test_the_first_chromium_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "google-chrome", "chromium-browser")
    assert find_chromium() == Path("/bin/chromium-browser")


def test_one_that_is_asked_for_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "chromium", "mine")
    assert find_chromium("mine") == Path("/bin/mine")
    with pytest.raises(NoSuchBrowserError, match="there is no browser that can be run at yours"):
        find_chromium("yours")


def test_none_is_run_without_a_window_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "chromium")
    monkeypatch.setattr(sys, "platform", "win32")
    assert find_chromium() is None
    with pytest.raises(NoSuchBrowserError, match="leave out --browser"):
        find_chromium("chromium")


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ({"ID": "debian"}, "sudo apt install chromium"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "sudo snap install chromium"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "sudo dnf install chromium"),
        ({"ID": "something"}, "sudo apt install chromium"),
    ],
)
def test_how_to_install_depends_on_the_system(
    monkeypatch: pytest.MonkeyPatch, release: dict[str, str], command: str
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert how_to_install() == command


def test_systems_without_a_release_file_have_their_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> dict[str, str]:
        raise OSError

    monkeypatch.setattr(platform, "freedesktop_os_release", read)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert how_to_install() == "brew install --cask chromium"

"""What the demo finds on a machine."""

import sys
import webbrowser

import pytest

from jchannel.demo.surroundings import can_show_window


@pytest.fixture(autouse=True)
def _bare_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux without a display."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(webbrowser, "get", object)


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

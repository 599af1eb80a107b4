"""Which Chromium is found on a machine, and what it is told."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from jchannel._page.chromium import find_chromium, headless_flags, how_to_install


def test_there_may_be_no_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _command: None)
    assert find_chromium() is None


def test_the_first_chromium_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ("google-chrome", "chromium-browser")
    monkeypatch.setattr(shutil, "which", lambda command: f"/bin/{command}" if command in there else None)
    assert find_chromium() == Path("/bin/chromium-browser")


@pytest.mark.parametrize(
    ("system", "command"),
    [
        ("linux", "sudo apt install chromium"),
        ("darwin", "brew install --cask chromium"),
        ("win32", "winget install Google.Chrome"),
    ],
)
def test_how_to_install_depends_on_the_system(monkeypatch: pytest.MonkeyPatch, system: str, command: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert how_to_install() == command


@pytest.mark.parametrize("user", [0, 1000])
def test_chromium_is_told_to_run_without_its_sandbox_where_it_would_refuse_to_run_with_it(
    monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert ("--no-sandbox" in headless_flags()) == (user == 0)

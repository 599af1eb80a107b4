"""The examples of docs/testing.md, run as they stand, each by the plugins that its users have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.jupyter.child import COVERAGE

EXAMPLES = dict(
    re.findall(
        r"^```python\n# (test_\w+\.py)\n(.*?)^```$",
        (CHECKOUT / "docs/testing.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)

#: pytest-trio's mode takes every async test for its own, and pytest-asyncio's fixtures are none of its.
NO_PLUGIN = ("-p", "no:trio", "-p", "no:asyncio")
PLUGINS = {
    "test_plain_trio.py": NO_PLUGIN,
    "test_plain_asyncio.py": NO_PLUGIN,
    "test_pytest_asyncio.py": ("-p", "no:trio", "-o", "asyncio_default_fixture_loop_scope=function"),
    "test_sync.py": NO_PLUGIN,
    "test_at_rest.py": NO_PLUGIN,
    "test_explore.py": NO_PLUGIN,
}
WITH_TRIO = ("-p", "no:asyncio", "-o", "trio_mode=true")


def test_every_example_is_found() -> None:
    text = (CHECKOUT / "docs/testing.md").read_text()
    assert len(EXAMPLES) == text.count("```python")
    assert set(PLUGINS) < set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(EXAMPLES[name])
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\npythonpath = {CHECKOUT}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PLUGINS.get(name, WITH_TRIO), name],
        cwd=tmp_path,
        # Not measured: the tests of the kit do what these show, and a run takes half of the time.
        env={name: value for name, value in os.environ.items() if name != COVERAGE},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "warning" not in done.stdout

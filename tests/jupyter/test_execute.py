"""The example notebooks as continuous integration runs them: `jupyter execute`, and a page of the server's own.

No browser shows the notebooks, and nobody reads them. A startup file of IPython's plays the reader, who picks a file
and clicks the buttons on which cells wait, so that the notebooks stay as they are.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.jupyter.process import private_environment
from tests.jupyter.server import CHECKOUT, write_kernelspec

TIMEOUT = 110.0
"""Seconds that a notebook may take: a guard and no assertion."""

EXAMPLES = sorted((CHECKOUT / "examples").glob("*.ipynb"))

#: What the reader does. His own channel is opened in each server that a cell has started.
READER = '''
CODE = """(channel) => {
    const act = () => {
        const input = document.querySelector('input[type=file]:not(:disabled)');
        if (input !== null && input.onchange !== null) {
            const files = new DataTransfer();
            files.items.add(new File(['0123456789'], 'picked.txt'));
            input.files = files.files;
            input.onchange();
        }
        for (const button of document.querySelectorAll('button:not(:disabled)')) {
            // The training is stopped when its first curve is there.
            if (button.textContent === 'Done' || document.querySelector('polyline[points]') !== null) {
                button.click();
            }
        }
    };
    setInterval(act, 100);
}"""


def read(result):
    server = get_ipython().user_ns.get("server")
    if server is not None and server not in readers and server.statistics().page_connected:
        readers[server] = server.open(CODE, timeout=60)


readers = {}
get_ipython().events.register("post_run_cell", read)
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    environment = private_environment(tmp_path, CHECKOUT)
    write_kernelspec(Path(environment["JUPYTER_DATA_DIR"]))
    kernel = [sys.executable, "-m", "jchannel", "kernel", "install", "--user"]
    subprocess.run(kernel, env=environment, check=True, capture_output=True)
    startup = Path(environment["IPYTHONDIR"]) / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "reader.py").write_text(READER)
    return environment | {"JCHANNEL_PAGE": "headless"}


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_runs_where_no_browser_shows_it(path: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "jupyter", "execute", "--output", str(tmp_path / "done.ipynb"), str(path)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert result.returncode == 0, result.stdout
    assert (tmp_path / "done.ipynb").exists()

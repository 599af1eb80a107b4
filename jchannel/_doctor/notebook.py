"""Looking at the servers that a saved notebook's outputs belong to: whether their kernel is still there."""

from __future__ import annotations

import html
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import trio

from jchannel._doctor.findings import Cause, Finding, State, Subject
from jchannel._doctor.server import SECONDS, ask
from jchannel._guarded import text_of

__all__ = ["NotebookError", "examine_notebook"]

_CONFIG: Final = re.compile(r'data-jchannel="([^"]*)"')

_RUN: Final = "run the cell with jchannel.start() again"


class NotebookError(Exception):
    """The file is no notebook. The message says why."""


async def examine_notebook(path: Path, *, seconds: float = SECONDS) -> list[Finding]:
    """Ask the server of a notebook's newest output whether it is still there. Cancelling it leaves a thread to itself.

    Raises:
        NotebookError: The file cannot be read, or is no notebook.
    """
    try:
        notebook = json.loads(await trio.Path(path).read_text(encoding="utf-8"))
        configs = sorted(_find_configs(notebook), key=lambda config: float(config["issued"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotebookError(f"{path} is no notebook that can be read: {text_of(error)}") from error
    if not configs:
        text = f"no output of {path.name} connects its page: {_RUN}, and save the notebook"
        return [Finding(Subject.NOTEBOOK, State.NOTE, text, Cause.NO_PAGE)]
    config = configs[-1]
    base = config["url"] or f"http://{config['host'] or 'localhost'}:{config['port']}"
    answer = await ask(
        f"{base}/jchannel/notebook/{config['server']}/proof?nonce={secrets.token_hex(16)}", seconds=seconds
    )
    if isinstance(answer, dict) and "proof" in answer:
        text = f"the server of its newest output runs at {base}. If its page does not connect, the output says why"
        return [Finding(Subject.NOTEBOOK, State.OK, text)]
    gone = f"{base} does not answer for it: the kernel behind its newest output is not running any more, or not here"
    return [Finding(Subject.NOTEBOOK, State.PROBLEM, f"{gone}. Start the kernel, and {_RUN}", Cause.DEAD_KERNEL)]


def _find_configs(notebook: Any) -> Iterator[dict[str, Any]]:
    """Yield what the outputs of a notebook know of their servers."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            text = output.get("data", {}).get("text/html", "")
            for found in _CONFIG.findall("".join(text)):
                yield json.loads(html.unescape(found))

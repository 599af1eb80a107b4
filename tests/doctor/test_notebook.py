"""A saved notebook whose kernel is gone is told from one whose server runs."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest

from jchannel._doctor.findings import Cause, State
from jchannel._doctor.notebook import NotebookError, examine_notebook
from jchannel.trio import Server, open_server


def write(path: Path, *configs: dict[str, Any]) -> Path:
    """Writes a notebook with outputs as `NotebookFrontend` renders them."""
    outputs = [
        {"data": {"text/html": [f'<div data-jchannel="{html.escape(json.dumps(config))}"', "></div>"]}}
        for config in configs
    ]
    cells = [{"cell_type": "markdown"}, {"outputs": [{"name": "stdout"}, *outputs]}]
    path.write_text(json.dumps({"cells": cells}))
    return path


def config_of(server: Server, issued: float = 2, **changes: Any) -> dict[str, Any]:
    port = int(server.url.rpartition(":")[2])
    name = server._assembly.desk.server_id
    return {"server": name, "host": "localhost", "port": port, "url": None, "issued": issued, **changes}


async def test_a_server_that_runs_is_found_by_the_newest_output(tmp_path: Path) -> None:
    async with open_server(port=0) as server:
        old = {**config_of(server, 1), "server": "another", "port": 1}
        path = write(tmp_path / "a.ipynb", config_of(server), old)
        (found,) = await examine_notebook(path)
        assert (found.state, found.cause) == (State.OK, None)
        write(path, config_of(server, host="", url=server.url))
        (found,) = await examine_notebook(path)
        assert found.state is State.OK


async def test_a_kernel_that_has_ended_is_named(tmp_path: Path) -> None:
    async with open_server(port=0) as server:
        path = write(tmp_path / "a.ipynb", config_of(server, host=""))
    (found,) = await examine_notebook(path)
    assert (found.state, found.cause) == (State.PROBLEM, Cause.DEAD_KERNEL)
    assert "the kernel behind its newest output is not running any more" in found.text


async def test_another_server_at_the_port_of_a_kernel_that_has_ended_is_not_taken_for_it(tmp_path: Path) -> None:
    async with open_server(port=0) as server:
        path = write(tmp_path / "a.ipynb", {**config_of(server), "server": "x" * 22})
        (found,) = await examine_notebook(path)
    assert found.cause is Cause.DEAD_KERNEL


async def test_a_notebook_may_have_no_output_that_connects(tmp_path: Path) -> None:
    (found,) = await examine_notebook(write(tmp_path / "a.ipynb"))
    assert (found.state, found.cause) == (State.NOTE, Cause.NO_PAGE)
    assert "no output of a.ipynb connects its page" in found.text


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"cells": [5]}', '{"cells": [{"outputs": [{"data": 5}]}]}'])
async def test_what_is_no_notebook_is_an_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "a.ipynb"
    if text is not None:
        path.write_text(text)
    with pytest.raises(NotebookError, match=r"a\.ipynb is no notebook that can be read"):
        await examine_notebook(path)

"""The status that a server tells whoever has its token."""

from __future__ import annotations

import json

import pytest

from jchannel._assembly import Assembly, ServerOptions
from jchannel._page.status import STATUS_PATH, make_key
from tests.page.helpers import call


async def test_whoever_has_the_token_hears_whether_a_page_is_connected() -> None:
    server = Assembly(ServerOptions()).server
    response = await call(server.routes, STATUS_PATH, method="POST", body=[make_key(server.token).encode()])
    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert json.loads(response.body) == {
        "jchannel": "status",
        "page_seconds": None,
        "channels": 0,
        "advice": "open server.page_url in a browser",
    }


@pytest.mark.parametrize("body", [b"", b"x", make_key("another").encode(), b"x" * 1000])
async def test_nobody_else_hears_anything(body: bytes) -> None:
    server = Assembly(ServerOptions()).server
    response = await call(server.routes, STATUS_PATH, method="POST", body=[body])
    assert (response.status, json.loads(response.body)) == (200, {"jchannel": "refused"})
    assert server.token not in make_key(server.token)


@pytest.mark.parametrize(("method", "path"), [("GET", STATUS_PATH), ("POST", f"{STATUS_PATH}/more")])
async def test_there_is_nothing_else(method: str, path: str) -> None:
    server = Assembly(ServerOptions()).server
    assert (await call(server.routes, path, method=method)).status == 404

"""The desk for notebooks: the proof that it is the server, and tickets that are changed into the token."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import pytest

from jchannel._client import read_static
from jchannel._notebook.desk import Claims
from tests.page.helpers import AppResponse, call

NONCE = "n" * 16


class Desk:
    """The desk of a server whose token is `token`, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.admitted: list[tuple[str | None, str]] = []
        self.claims = Claims("token", 60, lambda origin, host: self.admitted.append((origin, host)), lambda: self.now)

    async def ask(self, name: str, **options: Any) -> AppResponse:
        return await call(lambda scope, receive, send: self.claims.serve(name, scope, receive, send), "/", **options)

    async def claim(self, ticket: str, **options: Any) -> Any:
        return json.loads((await self.ask("claim", method="POST", body=[ticket.encode()], **options)).body)

    async def prove(self, query: str) -> Any:
        return json.loads((await self.ask("proof", query=query)).body)

    def expected(self, key: str) -> dict[str, str]:
        text = f"jchannel {self.claims.server_id} {NONCE}"
        return {"proof": hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()}


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_ticket_is_changed_into_the_token_and_lets_its_page_connect(desk: Desk) -> None:
    ticket = desk.claims.issue()

    assert await desk.claim(ticket, headers={"origin": "https://hub"}, host="hub") == {"token": "token"}

    assert desk.admitted == [("https://hub", "hub")]


async def test_a_ticket_works_once(desk: Desk) -> None:
    ticket = desk.claims.issue()
    await desk.claim(ticket)

    assert await desk.claim(ticket) == {"refused": "ticket"}
    assert await desk.prove(f"nonce={NONCE}&ticket={ticket.partition('.')[0]}") == {"refused": "ticket"}
    assert len(desk.admitted) == 1


async def test_a_ticket_ends_when_its_time_is_over(desk: Desk) -> None:
    ticket = desk.claims.issue()
    desk.now = 60

    assert await desk.claim(ticket) == {"refused": "ticket"}
    assert desk.admitted == []


async def test_a_program_without_an_origin_or_a_host_may_claim_too(desk: Desk) -> None:
    assert await desk.claim(desk.claims.issue(), host=None) == {"token": "token"}
    assert desk.admitted == [(None, "")]


@pytest.mark.parametrize("body", [[b""], [b"1"], [b"1."], [b"1.wrong"], [b"2.x"], [b"\xff"], [b"1." + b"x" * 200]])
async def test_what_is_no_ticket_is_refused_and_uses_none_up(desk: Desk, body: Sequence[bytes]) -> None:
    ticket = desk.claims.issue()

    response = await desk.ask("claim", method="POST", body=body)

    assert json.loads(response.body) == {"refused": "ticket"}
    assert desk.admitted == []
    assert await desk.claim(ticket) == {"token": "token"}


async def test_a_ticket_may_come_in_parts_and_a_flood_is_not_read(desk: Desk) -> None:
    ticket = desk.claims.issue().encode()
    parts = [b"x" * 60] * 3

    refused = await desk.ask("claim", method="POST", body=parts)
    response = await desk.ask("claim", method="POST", body=[ticket[:5], ticket[5:]])

    assert json.loads(refused.body) == {"refused": "ticket"}
    assert json.loads(response.body) == {"token": "token"}


async def test_the_oldest_of_too_many_tickets_gives_way(desk: Desk) -> None:
    first, second, *_ = [desk.claims.issue() for _ in range(101)]

    assert await desk.claim(first) == {"refused": "ticket"}
    assert await desk.claim(second) == {"token": "token"}


async def test_the_server_proves_that_it_knows_the_token(desk: Desk) -> None:
    assert await desk.prove(f"nonce={NONCE}") == desk.expected("token")


async def test_the_server_proves_that_it_knows_a_ticket_and_does_not_use_it_up(desk: Desk) -> None:
    ticket = desk.claims.issue()

    assert await desk.prove(f"nonce={NONCE}&ticket=1") == desk.expected(ticket)
    assert await desk.claim(ticket) == {"token": "token"}


@pytest.mark.parametrize("query", ["", "nonce=short", f"nonce={'n' * 65}", "nonce=nnnnnnnnnnnnnnnn%20"])
async def test_only_a_nonce_is_signed(desk: Desk, query: str) -> None:
    assert (await desk.ask("proof", query=query)).status == 400


async def test_the_script_is_there_for_pages_of_every_origin(desk: Desk) -> None:
    response = await desk.ask("client.js")

    assert response.body == read_static("notebook.js")
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "method"), [("client.js", "POST"), ("proof", "POST"), ("claim", "GET"), ("", "GET"), ("x", "GET")]
)
async def test_there_is_nothing_else(desk: Desk, name: str, method: str) -> None:
    assert (await desk.ask(name, method=method)).status == 404


async def test_no_answer_may_be_kept(desk: Desk) -> None:
    for response in (await desk.ask("proof", query=f"nonce={NONCE}"), await desk.ask("claim", method="POST")):
        assert response.headers["cache-control"] == "no-store"

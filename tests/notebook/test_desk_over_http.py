"""The desk for notebooks in a whole server: what it opens to a page, and to whom it stays shut."""

import json

import h11

from tests.core.helpers import HttpClient, read_all
from tests.core.memory import MemoryServer, open_memory_server

HUB = "https://hub.example.org"
HOST = "hub.example.org"


async def claim(memory: MemoryServer, ticket: str, origin: str = HUB, host: str = HOST) -> dict[str, str]:
    """Claims over HTTP, as a page behind a proxy does."""
    stream = memory.listener.connect()
    body = ticket.encode()
    head = h11.Connection(h11.CLIENT).send(
        h11.Request(
            method="POST",
            target=f"{memory.server._assembly.desk.path}claim",
            headers=[("host", host), ("origin", origin), ("content-length", str(len(body))), ("connection", "close")],
        )
    )
    await stream.send_all((head or b"") + body)
    response = await read_all(stream)
    answer: dict[str, str] = json.loads(response.rpartition(b"\r\n\r\n")[2])
    return answer


async def test_a_claim_admits_the_page_of_a_hub_under_the_hub_s_name() -> None:
    async with open_memory_server() as memory:
        client = HttpClient(memory.listener.connect())
        assert (await client.ask("/", host=HOST)).status == 421

        assert await claim(memory, memory.server._assembly.desk.issue()) == {"token": memory.server.token}

        assert (await client.ask("/", host=HOST)).status == 200


async def test_without_a_good_ticket_a_foreign_name_and_origin_stay_shut_out() -> None:
    async with open_memory_server() as memory:
        client = HttpClient(memory.listener.connect())

        assert await claim(memory, "1.guess") == {"refused": "ticket"}

        assert (await client.ask("/", host=HOST)).status == 421


async def test_under_a_foreign_name_nothing_is_told_without_the_server_s_public_name() -> None:
    async with open_memory_server() as memory:
        client = HttpClient(memory.listener.connect())

        for name in ("client.js", "proof?nonce=nnnnnnnnnnnnnnnn"):
            assert (await client.ask(f"/jchannel/notebook/other/{name}", host=HOST)).status == 421
            assert (await client.ask(f"/jchannel/notebook/other/{name}")).status == 404
            assert (await client.ask(f"{memory.server._assembly.desk.path}{name}", host=HOST)).status == 200


async def test_the_desk_is_found_where_a_proxy_leaves_the_url_s_path() -> None:
    async with open_memory_server(url="https://hub.example.org/user/me/proxy/8889") as memory:
        client = HttpClient(memory.listener.connect())

        response = await client.ask(f"/user/me/proxy/8889{memory.server._assembly.desk.path}client.js", host=HOST)

        assert response.status == 200


async def test_a_claim_whose_body_does_not_come_whole_is_none() -> None:
    async with open_memory_server() as memory:
        ticket = memory.server._assembly.desk.issue()
        stream = memory.listener.connect()
        head = f"POST {memory.server._assembly.desk.path}claim HTTP/1.1\r\nhost: {HOST}\r\n"
        await stream.send_all(f"{head}content-length: {len(ticket) + 1}\r\n\r\n{ticket}".encode())
        await stream.send_eof()
        assert json.loads((await read_all(stream)).rpartition(b"\r\n\r\n")[2]) == {"refused": "ticket"}
        assert await claim(memory, ticket) == {"token": memory.server.token}

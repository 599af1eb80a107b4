"""The app that serves the client and a page of it."""

import re
from pathlib import Path

import pytest
import trio
import trio.testing

from jchannel._core.auth import Gate
from jchannel._page.app import CLIENT_PATH, PageApp
from tests.core.helpers import HttpClient, serve_http
from tests.page.helpers import call

GATE = Gate("token", frozenset({"hub.example.com"}), frozenset())

KHTML = "(KHTML, like Gecko)"
SAFARI = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 {KHTML} Version/26.0 Safari/605.1.15"
CHROME_ON_IOS = f"Mozilla/5.0 (iPad; CPU OS 26_0) AppleWebKit/605.1.15 {KHTML} CriOS/156.0.0.0 Safari/604.1"
CHROME = f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 {KHTML} Chrome/156.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"


def open_app(folder: str | Path | None = None, prefix: str = "") -> PageApp:
    return PageApp(folder, prefix, GATE)


async def test_the_plain_page_loads_the_client_from_beside_itself() -> None:
    response = await call(open_app(), "/")
    assert response.status == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-length"] == str(len(response.body))
    assert b'<script src="jchannel/inject.js"></script>' in response.body
    assert not re.search(rb"""(src|href)=["']?(https?:|/)""", response.body)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("inject.js", "text/javascript; charset=utf-8"),
        ("jchannel.js", "text/javascript; charset=utf-8"),
        ("jchannel.d.ts", "text/plain; charset=utf-8"),
    ],
)
async def test_the_client_is_served_to_pages_of_any_origin(name: str, content_type: str) -> None:
    response = await call(open_app(), CLIENT_PATH + name)
    assert (response.status, response.headers["content-type"]) == (200, content_type)
    assert response.headers["access-control-allow-origin"] == "*"
    assert len(response.body) > 100


@pytest.mark.parametrize("name", ["", "index.html", "missing.js", "../page.py", "inject.js/", "..\\page.py"])
async def test_the_client_has_no_other_files(name: str) -> None:
    response = await call(open_app(), CLIENT_PATH + name)
    assert (response.status, response.body) == (404, b"The client has no such file.")


@pytest.mark.parametrize("path", ["/missing", "/index.html", "//", "", "*", "/jchannel"])
async def test_without_a_folder_there_is_nothing_else(path: str) -> None:
    assert (await call(open_app(), path)).status == 404


@pytest.mark.parametrize("path", ["/", f"{CLIENT_PATH}inject.js", "/missing"])
async def test_no_response_may_be_sniffed_or_kept_without_asking_or_give_the_address_away(path: str) -> None:
    headers = (await call(open_app(), path)).headers
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["content-security-policy"] == GATE.frame_policy("localhost:8889")


@pytest.mark.parametrize("agent", [SAFARI, CHROME_ON_IOS])
@pytest.mark.parametrize("path", ["/", "/missing"])
async def test_webkit_which_would_lose_the_page_gets_no_policy_for_openers(
    tmp_path: Path, agent: str, path: str
) -> None:
    (tmp_path / "index.html").write_text("<title>Mine</title>")
    for app in (open_app(), open_app(tmp_path)):
        headers = (await call(app, path, headers={"user-agent": agent})).headers
        assert "cross-origin-opener-policy" not in headers
        assert headers["content-security-policy"] == GATE.frame_policy("localhost:8889")


@pytest.mark.parametrize("agent", [CHROME, FIREFOX])
async def test_every_other_browser_gets_a_policy_for_openers(agent: str) -> None:
    headers = (await call(open_app(), "/", headers={"user-agent": agent})).headers
    assert headers["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_only_get_and_head_are_answered(method: str) -> None:
    assert (await call(open_app(), "/", method=method)).status == 405


async def test_head_over_http_has_the_headers_and_no_body() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, open_app(), near)
        await far.send_all(b"HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        head = bytes(await far.receive_some())
        whole = await HttpClient(far).ask("/")
        nursery.cancel_scope.cancel()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(whole.body) in head


# Host


@pytest.mark.parametrize("host", ["evil.example.org", "evil.example.org:8889", ""])
@pytest.mark.parametrize("path", ["/", f"{CLIENT_PATH}inject.js", f"{CLIENT_PATH}open"])
async def test_a_name_that_was_bound_to_this_machine_gets_nothing(host: str, path: str) -> None:
    response = await call(open_app(), path, headers={"host": host})
    assert (response.status, response.body) == (421, b"This server is not available under this name.")


@pytest.mark.parametrize("host", ["127.0.0.1:8889", "[::1]:8889", "hub.example.com"])
async def test_a_name_of_the_server_s_own_is_answered(host: str) -> None:
    assert (await call(open_app(), "/", headers={"host": host})).status == 200


async def test_a_request_that_names_no_host_gets_nothing() -> None:
    assert (await call(open_app(), "/", host=None)).status == 421


# Behind a proxy


@pytest.mark.parametrize("path", ["/", "/proxy/8889/"])
async def test_the_page_is_served_with_the_prefix_and_without_it(path: str) -> None:
    assert (await call(open_app(prefix="/proxy/8889"), path)).status == 200


@pytest.mark.parametrize("path", ["/proxy/8889", "/proxy/88890/", "/other/"])
async def test_another_prefix_is_another_path(path: str) -> None:
    assert (await call(open_app(prefix="/proxy/8889"), path)).status == 404


async def test_the_client_is_served_with_the_prefix() -> None:
    assert (await call(open_app(prefix="/proxy/8889"), "/proxy/8889/jchannel/inject.js")).status == 200


async def test_a_prefix_with_escapes_is_recognised() -> None:
    assert (await call(open_app(prefix="/user/anna%40example.com"), "/user/anna@example.com/")).status == 200


# Tickets


async def test_a_ticket_leads_to_its_target_once() -> None:
    app = open_app()
    path, _, query = app.issue_ticket("secret").partition("?")
    assert "secret" not in path + query
    first = await call(app, path, query=query)
    assert (first.status, first.body.count(b'data-token="secret"')) == (200, 1)
    second = await call(app, path, query=query)
    assert second.status == 410
    assert b"secret" not in second.body


async def test_no_browser_stores_the_response_to_a_ticket_and_its_script_alone_runs_in_it() -> None:
    app = open_app()
    path, _, query = app.issue_ticket("secret").partition("?")
    response = await call(app, path, query=query)
    assert response.headers["cache-control"] == "no-store"
    assert not any("secret" in value for value in response.headers.values())
    (nonce,) = re.findall(rb'<script nonce="([\w-]+)"', response.body)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert f"script-src 'nonce-{nonce.decode()}'" in policy
    assert "frame-ancestors 'none'" in policy
    assert b"{" + b"nonce}" not in response.body


async def test_only_a_page_that_is_opened_uses_a_ticket_up() -> None:
    app = open_app()
    path, _, query = app.issue_ticket("secret").partition("?")
    for method in ("HEAD", "POST"):
        assert (await call(app, path, query=query, method=method)).status == 404
    assert (await call(app, path, query=query)).status == 200


async def test_each_ticket_is_of_its_own() -> None:
    app = open_app()
    tickets = [app.issue_ticket(token) for token in ("one", "two")]
    assert tickets[0] != tickets[1]
    for ticket, token in zip(reversed(tickets), ("two", "one"), strict=True):
        path, _, query = ticket.partition("?")
        assert f'data-token="{token}"'.encode() in (await call(app, path, query=query)).body


@pytest.mark.parametrize("query", ["", "ticket=", "ticket=wrong", "other=1", "ticket=%ff"])
async def test_what_is_no_ticket_leads_nowhere(query: str) -> None:
    app = open_app()
    app.issue_ticket("secret")
    assert (await call(app, f"{CLIENT_PATH}open", query=query)).status == 410


# The application's own folder


async def test_a_folder_of_the_application_s_own_takes_the_place_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>Mine</title>")
    for folder in (tmp_path, str(tmp_path)):
        assert b"<title>Mine</title>" in (await call(open_app(folder), "/")).body


async def test_beside_a_folder_the_client_is_served_as_ever(tmp_path: Path) -> None:
    (tmp_path / "jchannel").mkdir()
    (tmp_path / "jchannel" / "inject.js").write_text("mine")
    assert (await call(open_app(tmp_path), f"{CLIENT_PATH}inject.js")).body != b"mine"


@pytest.mark.parametrize("path", ["/", "/data.csv", "/missing", "/sub"])
async def test_a_folder_has_the_headers_of_the_pages_of_the_servers_own(tmp_path: Path, path: str) -> None:
    (tmp_path / "index.html").write_text("<title>Mine</title>")
    (tmp_path / "data.csv").write_text("1,2")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("")
    headers = (await call(open_app(tmp_path), path)).headers
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    # A service worker of the application's is known by the referrer of what it fetches.
    assert headers["referrer-policy"] == "same-origin"
    # A page of the application's may open a window of another origin, and talk to it.
    assert headers["cross-origin-opener-policy"] == "same-origin-allow-popups"
    assert headers["content-security-policy"] == GATE.frame_policy("localhost:8889")


async def test_a_folder_is_served_below_the_prefix_too(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    app = open_app(tmp_path, "/proxy/8889")
    assert (await call(app, "/proxy/8889/data.csv")).body == b"1,2"


@pytest.mark.parametrize("folder", [1, b"folder", True])
def test_a_folder_of_another_type_is_refused(folder: object) -> None:
    with pytest.raises(TypeError, match=r"^static must be the path of a folder, and not "):
        open_app(folder)  # type: ignore[arg-type]


def test_a_folder_that_there_is_not_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (tmp_path / "missing", file, "\0"):
        with pytest.raises(ValueError, match=r"^static must be the path of a folder, and there is none at "):
            open_app(path)

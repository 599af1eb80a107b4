"""An application's own folder of static files."""

from pathlib import Path

import pytest
import trio
import trio.testing

from jchannel._core.asgi import AsgiApp, Message, Receive, Scope, Send
from jchannel._core.auth import Gate
from jchannel._page.app import PageApp
from jchannel._page.measured import cut_to_length
from jchannel._page.site import open_site
from tests.core.helpers import HttpClient, serve_http
from tests.page.helpers import AppResponse, call

SCRIPT = b'<script src="jchannel/inject.js"></script>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with pages at several depths, and a secret beside it."""
    site = tmp_path / "site"
    (site / "docs" / "deep").mkdir(parents=True)
    (site / "empty folder").mkdir()
    (site / "a&b c").mkdir()
    for page in ("index.html", "docs/index.html", "docs/deep/page.html", "a&b c/index.html"):
        (site / page).write_text(f"<!DOCTYPE html><html><head><title>{page}</title></head></html>")
    (site / "data.csv").write_text("0123456789")
    (tmp_path / "secret.txt").write_text("secret")
    (site / "link.txt").symlink_to(tmp_path / "secret.txt")
    return site


@pytest.fixture
def site(folder: Path) -> AsgiApp:
    return open_site(folder)


async def test_a_file_is_served_as_it_is(site: AsgiApp) -> None:
    response = await call(site, "/data.csv")
    assert (response.status, response.body) == (200, b"0123456789")
    assert response.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=2-9"}])
async def test_a_file_that_grows_while_it_is_served_has_the_length_that_was_measured(
    folder: Path, site: AsgiApp, headers: dict[str, str]
) -> None:
    async def grow(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_grow(message: Message) -> None:
            if message["type"] == "http.response.start":
                (folder / "data.csv").write_text("0123456789" * 2)
            await send(message)

        await site(scope, receive, send_and_grow)

    response = await call(grow, "/data.csv", headers=headers)
    assert response.body == (b"23456789" if headers else b"0123456789")
    assert response.headers["content-length"] == str(len(response.body))


async def test_an_answer_without_a_measured_length_is_sent_as_it_is() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc"})

    assert (await call(cut_to_length(app), "/")).body == b"abc"


async def test_a_range_of_a_file_is_served(site: AsgiApp) -> None:
    response = await call(site, "/data.csv", headers={"range": "bytes=2-4"})
    assert (response.status, response.body) == (206, b"234")
    assert response.headers["content-range"] == "bytes 2-4/10"


async def test_a_file_that_the_browser_has_is_not_sent_again(site: AsgiApp) -> None:
    tag = (await call(site, "/data.csv")).headers["etag"]
    response = await call(site, "/data.csv", headers={"if-none-match": tag})
    assert (response.status, response.body) == (304, b"")


async def test_head_has_the_headers_and_no_body(site: AsgiApp) -> None:
    response = await call(site, "/data.csv", method="HEAD")
    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-length"] == "10"


async def test_head_of_a_page_over_http_has_the_length_of_the_page_with_the_script(folder: Path) -> None:
    near, far = trio.testing.memory_stream_pair()
    app = PageApp(folder, "", Gate("token", frozenset(), frozenset()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, app, near)
        await far.send_all(b"HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        head = bytes(await far.receive_some())
        page = await HttpClient(far).ask("/")
        nursery.cancel_scope.cancel()
    assert SCRIPT in page.body
    assert b"content-length: %d\r\n" % len(page.body) in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "script"),
    [
        ("/", SCRIPT),
        ("/index.html", SCRIPT),
        ("/docs/", b'<script src="../jchannel/inject.js"></script>'),
        ("/docs/index.html", b'<script src="../jchannel/inject.js"></script>'),
        ("/docs/deep/page.html", b'<script src="../../jchannel/inject.js"></script>'),
    ],
)
async def test_a_page_loads_the_client_from_the_server_s_base_whatever_its_depth(
    site: AsgiApp, path: str, script: bytes
) -> None:
    response = await call(site, path)
    assert response.status == 200
    assert b"<head>" + script + b"<title>" in response.body
    assert response.headers["content-length"] == str(len(response.body))
    assert response.headers["cache-control"] == "no-cache"


async def test_a_page_is_sent_whole_whatever_range_is_asked_for(site: AsgiApp) -> None:
    response = await call(site, "/", headers={"range": "bytes=2-4"})
    assert response.status == 200
    assert SCRIPT in response.body


async def test_a_page_of_the_application_s_own_for_what_is_missing_has_the_client(folder: Path, site: AsgiApp) -> None:
    (folder / "404.html").write_text("<head></head>lost")
    response = await call(site, "/docs/missing")
    assert response.status == 404
    assert response.body == b'<head><script src="../jchannel/inject.js"></script></head>lost'


@pytest.mark.parametrize(
    "path",
    [
        "/missing",
        "/../secret.txt",
        "/docs/../../secret.txt",
        "/..",
        "//secret.txt",
        "/..\\secret.txt",
        "/link.txt",
        "/\0",
        "/" + "x" * 5000,
        "/data.csv/x",
        "/empty folder/",
    ],
)
async def test_what_is_not_in_the_folder_is_missing(site: AsgiApp, path: str) -> None:
    response = await call(site, path)
    assert response.status == 404
    assert b"secret" not in response.body


async def test_an_absolute_path_leads_nowhere_else(folder: Path, site: AsgiApp) -> None:
    assert (await call(site, f"/{folder.parent}/secret.txt")).status == 404


async def test_no_escape_in_a_path_leads_out_of_the_folder(folder: Path) -> None:
    near, far = trio.testing.memory_stream_pair()
    app = PageApp(folder, "", Gate("token", frozenset(), frozenset()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_http, app, near)
        client = HttpClient(far)
        for target in ("/../secret.txt", "/%2e%2e/secret.txt", "/%2e%2e%2fsecret.txt", "/docs/..%2f..%2fsecret.txt"):
            response = await client.ask(target)
            assert response.status == 404
            assert b"secret" not in response.body
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("/docs", "", "./docs/"),
        ("/docs", "a=1&b=%20", "./docs/?a=1&b=%20"),
        ("/a&b c", "", "./a%26b%20c/"),
    ],
)
async def test_a_folder_without_its_slash_is_found_by_an_address_that_any_proxy_lets_through(
    site: AsgiApp, path: str, query: str, location: str
) -> None:
    response = await call(site, path, query=query)
    assert response.status == 307
    assert response.headers["location"] == location


async def test_only_get_and_head_are_answered(site: AsgiApp) -> None:
    assert (await call(site, "/data.csv", method="POST")).status == 405


# The pages


async def send(folder: Path, page: bytes, **headers: str) -> AppResponse:
    (folder / "page.html").write_bytes(page)
    return await call(
        open_site(folder), "/page.html", headers={name.replace("_", "-"): v for name, v in headers.items()}
    )


@pytest.mark.parametrize(
    ("page", "content_type"),
    [
        (b"<p>plain", "text/html; charset=utf-8"),
        (b"<meta charset=windows-1252>\xfc", "text/html; charset=windows-1252"),
        ("\ufeff<p>B\u00fccher".encode("utf-16"), "text/html; charset=utf-16"),
        (b"<p>B\xfccher", "text/html"),
    ],
)
async def test_a_page_is_sent_in_the_encoding_that_it_has(folder: Path, page: bytes, content_type: str) -> None:
    assert (await send(folder, page)).headers["content-type"] == content_type


@pytest.mark.parametrize(
    "page",
    [
        b'<head><script src="/jchannel/inject.js"></script>',
        b'<script type="module">import * as jchannel from "../jchannel/jchannel.js";</script>',
    ],
)
async def test_a_page_that_loads_the_client_itself_is_left_as_it_is(folder: Path, page: bytes) -> None:
    assert (await send(folder, page)).body == page


@pytest.mark.parametrize("purpose", ["document", "iframe", "object"])
async def test_a_page_that_becomes_a_document_has_the_client(folder: Path, purpose: str) -> None:
    response = await send(folder, b"<p>part", sec_fetch_dest=purpose)
    assert response.body == SCRIPT + b"<p>part"
    assert response.headers["vary"] == "Sec-Fetch-Dest, Referer, Accept"


async def test_a_page_that_a_service_worker_fetches_has_the_client(folder: Path) -> None:
    worker = {"sec_fetch_dest": "empty", "referer": "http://localhost:8889/sw.js?v=1"}
    assert (await send(folder, b"<p>part", **worker)).body == SCRIPT + b"<p>part"
    page = {"sec_fetch_dest": "empty", "referer": "http://localhost:8889/page.html"}
    assert (await send(folder, b"<p>part", **page)).body == b"<p>part"


@pytest.mark.parametrize("referrer", ["http://[::1", "http://[x", "//[::1:2]]a"])
async def test_a_referrer_that_is_no_address_is_none(folder: Path, referrer: str) -> None:
    response = await send(folder, b"<p>part", sec_fetch_dest="empty", referer=referrer)
    assert (response.status, response.body) == (200, b"<p>part")


@pytest.mark.parametrize("name", ["loop", "loop.html"])
async def test_a_file_that_cannot_be_served_is_missing(
    folder: Path, site: AsgiApp, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / name).symlink_to(name)
    response = await call(site, f"/{name}")
    assert response.status == 404
    [record] = caplog.records
    assert record.exc_info is None
    assert "a file of the application cannot be served" in record.getMessage()


@pytest.mark.parametrize(("accept", "has_client"), [("text/html,application/xhtml+xml;q=0.9", True), ("*/*", False)])
async def test_where_a_browser_does_not_say_what_for_it_is_what_it_accepts_that_counts(
    folder: Path, accept: str, *, has_client: bool
) -> None:
    assert (await send(folder, b"<p>part", accept=accept)).body == (SCRIPT if has_client else b"") + b"<p>part"


async def test_a_script_is_asked_for_again_by_each_page(folder: Path) -> None:
    (folder / "channel.js").write_text("export default 1;")
    response = await call(open_site(folder), "/channel.js")
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("purpose", ["empty", "script", "image"])
async def test_a_page_that_a_script_fetches_is_sent_as_it_is(folder: Path, purpose: str) -> None:
    response = await send(folder, b"<p>part", sec_fetch_dest=purpose)
    assert response.body == b"<p>part"
    assert response.headers["vary"] == "Sec-Fetch-Dest, Referer, Accept"
    assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(("name", "content_type"), [("style.css", "text/css"), ("code.mjs", "text/javascript")])
async def test_styles_and_scripts_have_the_encoding_of_the_page_that_loads_them(
    folder: Path, name: str, content_type: str
) -> None:
    (folder / name).write_bytes(b"/* \xfc */")
    response = await call(open_site(folder), f"/{name}")
    assert (response.headers["content-type"], response.body) == (content_type, b"/* \xfc */")

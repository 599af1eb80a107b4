"""Who may connect."""

import ast
import re
from typing import Any

import pytest

from jchannel._core.auth import (
    Gate,
    check_origins,
    is_local_name,
    make_token,
    select_subprotocol,
    subprotocols,
)

TOKEN = make_token()
GATE = Gate(TOKEN, frozenset({"hub.example.com"}), frozenset({"https://lab.example.com:8443"}))
OFFER = subprotocols(TOKEN)
LOCAL = "http://localhost:8889"
FOREIGN = "https://evil.example.org"


def test_a_token_has_43_characters_that_a_subprotocol_may_have_and_none_is_like_another() -> None:
    assert len(TOKEN) == 43
    assert all(character.isalnum() or character in "-_" for character in TOKEN)
    assert make_token() != TOKEN


def test_a_page_offers_the_version_and_then_the_token() -> None:
    assert subprotocols("secret") == ["jchannel.v1", "jchannel.token.secret"]


# Host


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8889",
        "LOCALHOST:8889",
        "lab.localhost",
        "127.0.0.1:8889",
        "192.168.0.7",
        "[::1]:8889",
        "hub.example.com",
        "hub.example.com:443",
    ],
)
def test_a_host_of_the_server_is_allowed(host: str) -> None:
    assert GATE.allows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", ":8889", "evil.example.org", "localhost.example.org", "notlocalhost", "127.0.0.1.example.org"),
        *("[::1", "[x]", "[::1%25lo]", "localhost.", "localhost:123456", "localhost:x", "local host", "localhost "),
        # A parser of URLs finds `localhost` in each of these.
        *("evil.example.org@localhost", "localhost/", "localhost#.evil.example.org", "localhost?x", "LOCALHOST\\x"),
    ],
)
def test_any_other_host_is_not_allowed(host: str) -> None:
    assert not GATE.allows_host(host)


def test_only_localhost_and_what_is_below_it_is_a_local_name() -> None:
    assert is_local_name("localhost")
    assert is_local_name("a.b.localhost")
    assert not is_local_name("localhost.com")
    assert not is_local_name("")


# Origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "localhost:8889"),
        (None, "evil.example.org"),
        (LOCAL, "localhost:8889"),
        ("http://localhost:8888", "127.0.0.1:8889"),
        ("http://127.0.0.1:8888", "localhost:8889"),
        ("http://[::1]:8888", "localhost:8889"),
        ("https://lab.example.com:8443", "localhost:8889"),
        ("https://hub.example.com", "hub.example.com"),
        ("http://192.168.0.7:8889", "192.168.0.7:8889"),
    ],
)
def test_a_page_of_this_machine_or_of_the_server_may_connect(origin: str | None, host: str) -> None:
    assert GATE.allows_origin(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (FOREIGN, "localhost:8889"),
        ("https://lab.example.com", "localhost:8889"),
        ("https://hub.example.com", "localhost:8889"),
        (FOREIGN, "evil.example.org"),
        ("http://192.168.0.8", "192.168.0.7"),
        ("null", "localhost:8889"),
        ("null", ""),
        ("", "localhost:8889"),
        ("http://[", "localhost:8889"),
        ("localhost", "localhost:8889"),
    ],
)
def test_a_page_of_another_origin_may_not_connect(origin: str, host: str) -> None:
    assert not GATE.allows_origin(origin, host)


# A WebSocket's request


def judge(offered: list[str], origin: str | None = LOCAL, host: str = "localhost:8889") -> tuple[str, str]:
    """The reason and the message of the refusal; both are empty where there is none."""
    refusal = GATE.judge(offered, origin, host)
    return (refusal.reason, str(refusal)) if refusal else ("", "")


def test_a_page_with_the_token_is_welcome() -> None:
    assert judge(OFFER) == ("", "")


def test_a_program_with_the_token_is_welcome() -> None:
    assert judge(OFFER, origin=None) == ("", "")


@pytest.mark.parametrize(
    "offered",
    [
        [],
        ["jchannel.v1"],
        ["jchannel.v1", "jchannel.token."],
        ["jchannel.v1", "jchannel.token.ä"],
        ["jchannel.v1", "jchannel.token." + make_token()],
        ["jchannel.v1", f"jchannel.token.{TOKEN[:-1]}"],
        ["jchannel.v1", "jchannel.token.wrong", f"jchannel.token.{TOKEN}"],
    ],
)
def test_a_page_without_the_token_is_refused_with_advice(offered: list[str]) -> None:
    reason, message = judge(offered)
    assert reason == "token"
    assert "open the address of the present one" in message


def test_a_foreign_page_with_the_token_is_refused_with_the_setting_that_lets_it_in() -> None:
    reason, message = judge(OFFER, FOREIGN)
    assert reason == "origin"
    assert f"origins=['{FOREIGN}']" in message


@pytest.mark.parametrize(("origin", "host"), [(FOREIGN, "localhost:8889"), (None, "evil.example.org")])
def test_a_foreign_page_without_the_token_is_forbidden_to_connect(origin: str | None, host: str) -> None:
    assert judge(["jchannel.v1"], origin, host)[0] == "forbidden"


def test_a_page_of_another_version_is_refused_with_both_versions() -> None:
    reason, message = judge(["jchannel.v7", OFFER[1], "jchannel.v8"])
    assert reason == "version"
    assert message.startswith("the server speaks jchannel.v1 and the page speaks jchannel.v7, jchannel.v8: ")


def test_a_page_of_no_version_is_refused() -> None:
    reason, message = judge(OFFER[1:])
    assert reason == "version"
    assert "the page speaks no version of it" in message


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (OFFER, "jchannel.v1"),
        (["jchannel.v2", "jchannel.v1"], "jchannel.v1"),
        (["jchannel.token.x", "jchannel.v2"], "jchannel.v2"),
        (["other", "another"], "other"),
        ([], None),
    ],
)
def test_some_offered_subprotocol_is_selected_so_that_a_browser_can_hear_why_it_is_refused(
    offered: list[str], selected: str | None
) -> None:
    assert select_subprotocol(offered) == selected


# The origins that a user allows


def test_origins_are_kept_as_browsers_send_them() -> None:
    origins = [
        "https://Hub.example.com",
        "http://[::1]:8080",
        "https://xn--bcher-kva.example",
        "http://192.168.0.7",
        "vscode-webview://0a1b",
        "null",
    ]
    assert check_origins(origins) == {origin.lower() for origin in origins}
    assert check_origins(()) == frozenset()


def test_a_single_origin_is_not_taken_for_several() -> None:
    with pytest.raises(TypeError, match=r"origins must be several strings: write \['https://a.example'\]"):
        check_origins("https://a.example")


@pytest.mark.parametrize("origin", [None, 1, b"https://a.example", ["https://a.example"]])
def test_an_origin_of_another_type_is_refused(origin: object) -> None:
    with pytest.raises(TypeError, match=r"^an origin must be a str, and not "):
        check_origins([origin])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "hub.example.com",
        "://hub.example.com",
        "https://",
        "https://hub.example.com/",
        "https://hub.example.com/lab",
        "https://hub.example.com?x",
        "https://hub.example.com#x",
        "https://user@hub.example.com",
        "https://hub example.com",
        "https://hub..example.com",
        "https://hub.example.com:x",
        "https://hub.example.com:65536",
        "https://1.2.3.4.5",
        "http://[",
        "http://[x::y]",
    ],
)
def test_what_is_not_an_origin_is_refused_with_an_example(origin: str) -> None:
    with pytest.raises(ValueError, match=r"is not an origin: write it as a browser does, such as https://example"):
        check_origins([origin])


@pytest.mark.parametrize(
    ("origin", "written"),
    [
        ("https://hub.example.com:443", "https://hub.example.com"),
        ("HTTP://Hub.Example.com:80", "http://hub.example.com"),
        ("https://hub.example.com:0443", "https://hub.example.com"),
        ("https://hub.example.com:08443", "https://hub.example.com:8443"),
        ("https://hub.example.com:", "https://hub.example.com"),
        ("wss://hub.example.com", "https://hub.example.com"),
        ("ws://hub.example.com:8889", "http://hub.example.com:8889"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("http://[0:0::0:1]:8888", "http://[::1]:8888"),
        ("http://127.1:8888", "http://127.0.0.1:8888"),
        ("http://0x7f.0.0.1", "http://127.0.0.1"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_with_the_one_that_it_sends(origin: str, written: str) -> None:
    with pytest.raises(ValueError, match="would never match: a browser writes this origin as ") as caught:
        check_origins([origin])
    assert str(caught.value).endswith(repr(written))
    assert check_origins([written]) == {written}


@pytest.mark.parametrize("origin", ["*", "https://*", "https://*.example.com"])
def test_an_origin_with_a_wildcard_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match=r"would never match, as there are no wildcards: name each origin$"):
        check_origins([origin])


def test_the_address_of_a_file_is_refused_with_the_origin_of_files() -> None:
    with pytest.raises(ValueError, match=r"and 'null' for pages of files$"):
        check_origins(["file:///home/me/page.html"])


@pytest.mark.parametrize("origins", [None, 5, object()])
def test_what_is_no_collection_of_origins_is_refused_with_an_example(origins: Any) -> None:
    with pytest.raises(TypeError, match=r"^origins must be several strings, such as \['https://example.com:8443'\]"):
        check_origins(origins)


@pytest.mark.parametrize("origin", ["null", "https://Evil.example.org:8443", "vscode-webview://0A1b"])
def test_the_setting_that_a_refusal_names_lets_the_page_in(origin: str) -> None:
    _, message = judge(OFFER, origin)
    (setting,) = re.findall(r"origins=(\[.*\])$", message)
    gate = Gate(TOKEN, frozenset(), check_origins(ast.literal_eval(setting)))
    assert gate.judge(OFFER, origin, "localhost:8889") is None


@pytest.mark.parametrize("origin", ["", "http://[", "https://evil.example.org:443", "https://*"])
def test_a_refusal_names_no_setting_that_would_be_refused(origin: str) -> None:
    assert judge(OFFER, origin) == ("origin", f"pages of {origin} may not connect")


# What is admitted later


def test_a_page_that_was_admitted_may_connect_from_its_origin_under_its_name() -> None:
    gate = Gate(TOKEN, frozenset({""}), frozenset())
    assert gate.judge(OFFER, FOREIGN, "hub.example.org") is not None

    gate.admit(FOREIGN, "hub.example.org:443")

    assert gate.allows_host("hub.example.org")
    assert gate.judge(OFFER, FOREIGN, "hub.example.org") is None
    assert gate.judge(OFFER, "https://other.example.org", "hub.example.org") is not None


@pytest.mark.parametrize("origin", [None, "null"])
def test_what_is_no_origin_and_no_name_is_never_admitted(origin: str | None) -> None:
    gate = Gate(TOKEN, frozenset(), frozenset())

    gate.admit(origin, "")

    assert gate == Gate(TOKEN, frozenset(), frozenset())


def test_being_admitted_is_no_token() -> None:
    gate = Gate(TOKEN, frozenset(), frozenset())
    gate.admit(FOREIGN, "hub.example.org")

    refusal = gate.judge(subprotocols("wrong"), FOREIGN, "hub.example.org")

    assert refusal is not None
    assert refusal.reason == "token"


# Frames


def test_pages_of_this_machine_and_of_the_allowed_origins_may_show_the_servers_pages_in_frames() -> None:
    policy = GATE.frame_policy("localhost:8889").split()
    assert policy[:2] == ["frame-ancestors", "'self'"]
    assert {"http://localhost:*", "http://127.0.0.1:*", "http://*.localhost:*"} <= set(policy)
    assert policy[-1] == "https://lab.example.com:8443"


@pytest.mark.parametrize("name", ["192.168.0.7", "hub.example.com"])
def test_a_notebook_at_another_port_of_the_same_host_may_show_them(name: str) -> None:
    policy = GATE.frame_policy(f"{name}:8889").split()
    assert {f"http://{name}:*", f"https://{name}:*"} <= set(policy)


@pytest.mark.parametrize("host", ["evil.example.org", "", "a; script-src *"])
def test_a_host_that_is_not_the_servers_is_not_named(host: str) -> None:
    assert GATE.frame_policy(host) == GATE.frame_policy("localhost")


def test_a_page_that_has_shown_a_ticket_may_show_them_too() -> None:
    gate = Gate(TOKEN, frozenset(), frozenset())
    assert "https://hub.example.org" not in gate.frame_policy("localhost")
    gate.admit("https://hub.example.org", "hub.example.org")
    assert gate.frame_policy("localhost").endswith(" https://hub.example.org")


@pytest.mark.parametrize(
    "origin",
    ["null", "https://[::1]:1", "https://a.example.org; script-src *", "https://a *", "https://a\r\nx: y", "*"],
)
def test_an_origin_that_no_policy_can_name_is_not_in_it(origin: str) -> None:
    gate = Gate(TOKEN, frozenset(), frozenset({origin}))
    assert gate.frame_policy("localhost") == Gate(TOKEN, frozenset(), frozenset()).frame_policy("localhost")

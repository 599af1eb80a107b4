"""Panels: how a server or a channel shows in a notebook."""

import gc
import hashlib
import hmac
import html
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from jchannel._notebook.desk import Claims
from jchannel._notebook.panel import (
    Figure,
    Panel,
    Panels,
    format_bytes,
    format_count,
    format_latency,
    format_span,
    render,
)
from tests.page.helpers import call

NOON = time.struct_time((2026, 11, 3, 12, 0, 0, 1, 307, 0), {"tm_zone": "UTC", "tm_gmtoff": 0})
NOTE = "as of 2026-11-03 12:00:00 UTC"


@dataclass(eq=False)
class Thing:
    """What a panel is about."""

    said: Panel = field(
        default_factory=lambda: Panel("thing", "http://x", "fine", "good", (Figure("calls", "Calls", "3"),))
    )

    def panel(self) -> Panel:
        return self.said


def make_panels() -> Panels:
    return Panels("server", lambda: NOON)


def make_key(claims: Claims) -> str:
    return hmac.new(b"token", f"jchannel panels {claims.server_id}".encode(), hashlib.sha256).hexdigest()


async def ask(claims: Claims, question: str, method: str = "POST") -> Any:
    response = await call(
        lambda scope, receive, send: claims.serve("panels", scope, receive, send),
        "/",
        method=method,
        body=[question.encode()],
    )
    return json.loads(response.body) if response.status == 200 else response.status


def test_a_panel_says_what_it_is_about_and_of_when_it_is() -> None:
    text = make_panels().render(Thing())

    words = html.unescape(re.sub(r"(<[^>]*>)+", "|", text))
    assert words == f"|● |thing| |fine|http://x| |{NOTE}|Calls|3|"


def test_a_panel_has_a_name_that_stays_the_same() -> None:
    panels, thing, other = make_panels(), Thing(), Thing()

    first = panels.render(thing)

    assert 'data-jchannel-panel="server 1"' in first
    assert panels.render(thing) == first
    assert 'data-jchannel-panel="server 2"' in panels.render(other)


def test_a_panel_has_no_script_and_escapes_what_it_says() -> None:
    nasty = '"><script>alert(1)</script>'
    text = render(Panel(nasty, nasty, nasty, "good", (Figure("calls", nasty, nasty),)), nasty, lambda: NOON)

    assert "<script" not in text
    assert text.count("&quot;&gt;&lt;script&gt;") == 7


def test_a_panel_without_figures_has_no_list() -> None:
    assert "<dl" not in render(Panel("thing", "", "not started", "off"))


def test_a_panel_has_styles_in_its_elements_alone_and_is_no_live_region() -> None:
    text = make_panels().render(Thing())

    assert "<style" not in text
    assert 'aria-live="off"' in text
    assert 'role="group"' in text


def test_panels_are_reported_by_their_names_and_unknown_ones_are_left_out() -> None:
    panels, thing = make_panels(), Thing()
    panels.render(thing)
    thing.said = Panel("thing", "http://x", "slow", "busy", (Figure("calls", "Calls", "4"),))

    assert panels.report(["1", "2", ""]) == {
        "1": {"mood": "busy", "texts": {"state": "slow", "calls": "4"}, "note": NOTE}
    }


def test_panels_keep_nothing_alive() -> None:
    panels, thing = make_panels(), Thing()
    panels.render(thing)
    del thing
    gc.collect()

    assert panels.report(["1"]) == {}


async def test_the_desk_reports_panels_to_who_knows_the_token() -> None:
    claims, thing = Claims("token", 60, lambda *_: None), Thing()
    claims.panels.render(thing)

    answer = await ask(claims, f"{make_key(claims)} 1 2")

    assert list(answer["panels"]) == ["1"]
    assert answer["panels"]["1"]["texts"] == {"state": "fine", "calls": "3"}


@pytest.mark.parametrize("question", ["", "1", "token 1", f"{'0' * 64} 1", "é 1"])
async def test_the_desk_reports_nothing_without_the_key(question: str) -> None:
    claims, thing = Claims("token", 60, lambda *_: None), Thing()
    claims.panels.render(thing)

    assert await ask(claims, question) == {"refused": "key"}


async def test_the_desk_does_not_read_a_question_that_is_too_long() -> None:
    claims = Claims("token", 60, lambda *_: None)

    assert await ask(claims, f"{make_key(claims)} {'1 ' * 500}") == {"refused": "key"}


async def test_the_desk_reports_panels_to_no_other_method() -> None:
    assert await ask(Claims("token", 60, lambda *_: None), "", method="GET") == 404


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (102_348, "99.9 KiB"),
        (102_399, "100 KiB"),
        (1_048_000, "1023 KiB"),
        (1_048_570, "1.0 MiB"),
        (1_363_149, "1.3 MiB"),
        (5 * 1024**4, "5.0 TiB"),
        (5000 * 1024**4, "5000 TiB"),
    ],
)
def test_bytes_have_a_unit_and_two_or_three_digits(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.000_94, "0.9 ms"),
        (0.0251, "25.1 ms"),
        (0.25, "250 ms"),
        (0.9996, "1.0 s"),
        (12, "12.0 s"),
    ],
)
def test_latencies_are_in_milliseconds_or_seconds(seconds: float | None, text: str) -> None:
    assert format_latency(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (125, "2 min 5 s"),
        (3600, "1 h 0 min"),
        (93_784, "1 d 2 h"),
    ],
)
def test_spans_have_their_two_largest_units(seconds: float | None, text: str) -> None:
    assert format_span(seconds) == text


def test_counts_have_their_thousands_apart_and_the_right_word() -> None:
    assert [format_count(0), format_count(12_345)] == ["0", "12,345"]
    assert [format_count(1, "call", "calls"), format_count(2, "call", "calls")] == ["1 call", "2 calls"]

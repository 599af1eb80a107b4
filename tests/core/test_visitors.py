"""Who is connected: how strangers make room, and what the token changes."""

import logging

import pytest

from jchannel._core.visitors import Visitors
from jchannel.trio import Limits

LIMITS = Limits(strangers=3, connections=2)


async def test_as_many_strangers_as_the_limit_stay() -> None:
    visitors = Visitors(LIMITS)
    strangers = [visitors.enter() for _ in range(3)]
    assert not any(stranger.scope.cancel_called for stranger in strangers)
    assert visitors.count == 3


async def test_of_one_stranger_more_the_one_that_has_been_silent_for_longest_is_closed() -> None:
    visitors = Visitors(LIMITS)
    first, second, third = (visitors.enter() for _ in range(3))
    first.note_move()
    fourth = visitors.enter()
    assert [stranger.scope.cancel_called for stranger in (first, second, third, fourth)] == [False, True, False, False]
    assert visitors.count == 3


async def test_who_has_shown_the_token_is_closed_for_nobody() -> None:
    visitors = Visitors(LIMITS)
    page = visitors.enter()
    assert page.show_token()
    strangers = [visitors.enter() for _ in range(10)]
    assert not page.scope.cancel_called
    assert [stranger.scope.cancel_called for stranger in strangers] == [True] * 7 + [False] * 3
    assert visitors.count == 4


async def test_as_many_as_the_limit_may_have_shown_the_token(caplog: pytest.LogCaptureFixture) -> None:
    visitors = Visitors(LIMITS)
    first, second, third = (visitors.enter() for _ in range(3))
    assert first.show_token()
    assert second.show_token()
    assert caplog.text == ""
    assert not third.show_token()
    assert "2 connections with it are open (Limits.connections)" in caplog.text
    first.leave()
    assert third.show_token()
    assert visitors.count == 2


async def test_who_shows_the_token_twice_counts_once() -> None:
    visitors = Visitors(LIMITS)
    page = visitors.enter()
    assert [page.show_token() for _ in range(3)] == [True] * 3
    assert visitors.count == 1


async def test_behind_a_request_with_the_token_comes_a_stranger_again() -> None:
    visitors = Visitors(LIMITS)
    page = visitors.enter()
    page.show_token()
    page.end_request()
    assert not page.known
    for _ in range(3):
        visitors.enter()
    assert page.scope.cancel_called


async def test_the_end_of_a_strangers_request_changes_nothing() -> None:
    visitors = Visitors(LIMITS)
    stranger = visitors.enter()
    stranger.end_request()
    assert visitors.count == 1


async def test_who_leaves_counts_no_more_however_often_it_is_said() -> None:
    visitors = Visitors(LIMITS)
    strangers = [visitors.enter() for _ in range(4)]
    for stranger in strangers * 2:
        stranger.note_move()
        stranger.leave()
        stranger.note_move()
    assert visitors.count == 0


async def test_a_crowd_of_strangers_is_logged_once_each_time_that_it_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    visitors = Visitors(LIMITS)
    for _ in range(2):
        caplog.clear()
        strangers = [visitors.enter() for _ in range(50)]
        assert [record.getMessage() for record in caplog.records] == [
            "3 connections without the token are open (Limits.strangers): silent ones are closed for new ones"
        ]
        for stranger in strangers:
            stranger.leave()

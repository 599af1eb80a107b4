"""The table of routes: what answers an HTTP request, by the beginning of its path."""

from __future__ import annotations

import pytest
import trio

from jchannel._core.asgi import Message, Receive, Scope, Send
from jchannel._core.routes import Route, Routes


class Answers:
    """Routes that note what they are asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def make(self, name: str) -> Route:
        async def answer(rest: str, scope: Scope, receive: Receive, send: Send) -> None:
            await trio.lowlevel.checkpoint()
            self.asked.append((name, rest))

        return answer

    async def fall_back(self, scope: Scope, receive: Receive, send: Send) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append(("fallback", scope.get("path", "")))


async def receive() -> Message:
    raise AssertionError


async def ask(routes: Routes, path: str, kind: str = "http") -> list[Message]:
    """Asks for a path; gives what is sent."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await routes({"type": kind, "path": path}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/streams/abc", ("streams", "abc")),
        ("/streams/", ("streams", "")),
        ("/streams/a/b", ("streams", "a/b")),
        ("/streams", ("fallback", "/streams")),
        ("/desk", ("desk", "")),
        ("/desk/more", ("desk", "/more")),
        ("/", ("fallback", "/")),
        ("/other/streams/abc", ("fallback", "/other/streams/abc")),
        ("/proxy/8889/streams/abc", ("streams", "abc")),
        ("/proxy/8889/desk", ("desk", "")),
        ("/proxy/8889/", ("fallback", "/proxy/8889/")),
    ],
)
async def test_the_beginning_of_the_path_decides_with_the_prefix_or_without(path: str, asked: tuple[str, str]) -> None:
    answers, routes = Answers(), Routes("/proxy/8889")
    routes.add("/streams/", answers.make("streams"))
    routes.add("/desk", answers.make("desk"))
    routes.fallback = answers.fall_back
    await ask(routes, path)
    assert answers.asked == [asked]


async def test_until_there_is_a_fallback_the_rest_is_not_found() -> None:
    sent = await ask(Routes(""), "/anything")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 404


async def test_the_route_of_two_that_fit_is_the_one_that_was_added_first() -> None:
    answers, routes = Answers(), Routes("")
    routes.add("/a/", answers.make("first"))
    routes.add("/a/b/", answers.make("second"))
    await ask(routes, "/a/b/c")
    assert answers.asked == [("first", "b/c")]

"""The elements in which channels draw: which cell of a notebook shows them, and when."""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

import jchannel.sync
from jchannel._notebook.desk import Claims
from jchannel._notebook.elements import Cell, Elements
from jchannel.errors import ClosedError
from jchannel.server import start
from tests.notebook.kernel import FakeKernel
from tests.page.helpers import call
from tests.peer_thread import PeerThread


class Channel:
    """A channel, as far as a place looks at it."""

    def __init__(self, number: int | None) -> None:
        self.number = number


class Notebook:
    """A notebook's cells, and what they show."""

    def __init__(self) -> None:
        self.elements = Elements("server")
        self.shown: list[str] = []

    def cell(self, name: str) -> Cell:
        return Cell(name, lambda bundle: self.shown.append(f"{name}: {number_of(bundle['text/html'])}"))

    def ask(self, channel: int) -> None:
        """What the desk does when the page asks for a place."""
        place = self.elements.find_place(channel)
        assert place is not None
        place.show(channel)


def number_of(text: str) -> str:
    found = re.search('data-jchannel-element="server ([0-9]+)"', text)
    assert found is not None
    return found[1]


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


def test_the_cell_that_has_opened_a_channel_shows_its_element_once(notebook: Notebook) -> None:
    notebook.elements.note_connecting(notebook.cell("start"))
    first, second = (notebook.elements.make_place(notebook.cell(name)) for name in ("one", "two"))
    first.hold(Channel(1))
    second.hold(Channel(2))

    for channel in (1, 2, 1, 2):
        notebook.ask(channel)

    assert notebook.shown == ["one: 1", "two: 2"]


def test_where_a_page_was_connected_anew_the_cell_that_did_it_shows_the_elements(notebook: Notebook) -> None:
    places = [notebook.elements.make_place(notebook.cell("open")) for _ in range(2)]
    for number, place in enumerate(places):
        place.hold(Channel(number))
        notebook.ask(number)

    notebook.elements.note_connecting(notebook.cell("again"))
    for number in (0, 1, 1):
        notebook.ask(number)

    assert notebook.shown == ["open: 0", "open: 1", "again: 0", "again: 1"]


def test_a_channel_that_no_cell_has_opened_is_shown_by_the_one_that_connected_the_page(notebook: Notebook) -> None:
    assert notebook.elements.find_place(1) is None

    notebook.elements.note_connecting(notebook.cell("start"))
    notebook.ask(1)

    assert notebook.shown == ["start: 1"]


def test_a_channel_that_is_gone_has_no_place(notebook: Notebook) -> None:
    place = notebook.elements.make_place(notebook.cell("open"))
    place.hold(Channel(1))
    assert notebook.elements.find_place(1) is place
    del place
    assert notebook.elements.find_place(1) is None


def test_a_channel_that_was_closed_at_once_has_no_place(notebook: Notebook) -> None:
    place = notebook.elements.make_place(notebook.cell("open"))
    place.hold(Channel(None))
    assert notebook.elements.find_place(1) is None


def test_a_place_says_what_is_missing_until_the_page_fills_it(kernel: FakeKernel) -> None:
    elements = Elements("server")
    elements.make_place(Cell("x", kernel.published.append)).show(7)

    [bundle] = kernel.published
    assert bundle["text/plain"].endswith("Run the cells of this notebook to draw it again.")
    assert f">{bundle['text/plain']}</span></div>" in bundle["text/html"]
    place = '<div class="jchannel-element" data-jchannel-element="server 7" data-jchannel-order="0">'
    assert place in bundle["text/html"]


# Asked for by the page


def key_of(claims: Claims) -> str:
    text = f"jchannel panels {claims.server_id}"
    return hmac.new(b"token", text.encode(), hashlib.sha256).hexdigest()


async def ask_desk(claims: Claims, body: str) -> Any:
    response = await call(
        lambda scope, receive, send: claims.serve("element", scope, receive, send),
        "/",
        method="POST",
        body=[body.encode()],
    )
    return json.loads(response.body)


async def test_the_desk_lets_a_cell_show_a_place_for_a_page_that_is_connected(kernel: FakeKernel) -> None:
    claims = Claims("token", 60, lambda *_: None)
    place = claims.elements.make_place(Cell("x", kernel.published.append))
    place.hold(Channel(3))

    assert await ask_desk(claims, "guess 3") == {"refused": "key"}
    for number in ("4", "", "x", "3 ", "٣", "3" * 17):
        assert await ask_desk(claims, f"{key_of(claims)} {number}") == {"refused": "element"}
    assert kernel.published == []

    assert await ask_desk(claims, f"{key_of(claims)} 3") == {"shown": True}
    assert len(kernel.published) == 1


# The facades


@pytest.fixture
def server(kernel: FakeKernel) -> Iterator[jchannel.sync.Server]:
    with jchannel.sync.Server(port=0) as server, PeerThread(server.page_url):
        yield server


def elements_of(server: Any) -> Elements:
    elements = server._handle.assembly.desk.elements
    assert isinstance(elements, Elements)
    return elements


def ask(server: Any, channel: Any) -> None:
    """What the desk does when the page asks for a place."""
    number = channel._handle.channel.number
    place = elements_of(server).find_place(number)
    assert place is not None
    place.show(number)


def test_a_channel_is_shown_in_its_own_cell_and_then_where_the_user_shows_it(
    server: jchannel.sync.Server, kernel: FakeKernel
) -> None:
    shown: list[str] = []
    kernel.shell.display_pub.publish = lambda _: shown.append(kernel.shell.display_pub.parent_header["msg_id"])
    kernel.enter("cell 2")
    channel = server.open("code")
    ask(server, channel)
    assert shown == ["cell 2"]

    kernel.enter("cell 3")
    channel.show()
    ask(server, channel)
    assert shown == ["cell 2", "cell 3"]

    channel.close()
    with pytest.raises(ClosedError, match="the channel is closed, and shows nothing"):
        channel.show()
    kernel.enter("cell 4")
    channel.open()
    ask(server, channel)
    assert shown == ["cell 2", "cell 3", "cell 4"]


def test_what_is_shown_before_the_page_asks_is_not_shown_twice(
    server: jchannel.sync.Server, kernel: FakeKernel
) -> None:
    channel = server.open("code")
    before = len(kernel.published)
    channel.show()
    ask(server, channel)
    channel.show()
    assert len(kernel.published) == before + 2  # It was told to, twice.


def test_a_channel_of_the_asyncio_facade_is_shown_in_the_cell_that_opens_it(kernel: FakeKernel) -> None:
    async def program() -> list[dict[str, Any]]:
        async with await start(port=0) as server:
            with PeerThread(server.page_url):
                channel = await server.open("code")
                before = len(kernel.published)
                ask(server, channel)
                return kernel.published[before:]

    [bundle] = asyncio.run(program())
    assert 'class="jchannel-element"' in bundle["text/html"]


def test_outside_of_a_cell_nothing_is_shown(kernel: FakeKernel) -> None:
    with jchannel.sync.Server(port=0, notebook=False) as server:
        channel = jchannel.sync.Channel(server, "code")
        with pytest.raises(ClosedError):
            channel.show()
        with PeerThread(server.page_url):
            channel.open()
            channel.show()
    assert kernel.published == []


def test_a_message_of_a_widget_shows_nothing(server: jchannel.sync.Server, kernel: FakeKernel) -> None:
    kernel.enter("comm 1", "comm_msg")
    channel = server.open("code")
    before = len(kernel.published)
    channel.show()
    assert len(kernel.published) == before

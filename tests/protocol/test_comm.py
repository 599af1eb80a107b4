"""Connections over the messages of a comm, by the golden vectors that the client's suite reads, too."""

from __future__ import annotations

import base64
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from jchannel._protocol.comm import (
    COMM_BURST,
    COMM_WINDOW,
    CommConnection,
    CommMessage,
    CommState,
    decode_comm_message,
    encode_comm_message,
)
from jchannel.errors import ProtocolError

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "comm.json").read_text(encoding="utf-8"))


def bytes_of(shown: dict[str, Any]) -> bytes:
    return base64.b64decode(shown["base64"], validate=True) + bytes(shown["zeros"])


def frame_of(shown: dict[str, Any]) -> str | bytes:
    return str(shown["text"]) if "text" in shown else bytes_of(shown["data"])


def take(connection: CommConnection) -> list[str | bytes]:
    frames = []
    while (frame := connection.next_frame()) is not None:
        frames.append(frame)
    return frames


def check_next(connection: CommConnection, step: dict[str, Any]) -> None:
    message = connection.next_message(step["now"])
    if step["message"] is None:
        assert message is None
        return
    assert message is not None
    content, buffers = encode_comm_message(message)
    assert list(content.items()) == list(step["message"]["content"].items())
    assert buffers == [bytes_of(shown) for shown in step["message"]["buffers"]]


def receive(connection: CommConnection, step: dict[str, Any]) -> None:
    buffers = [bytes_of(shown) for shown in step["buffers"]]
    with pytest.raises(ProtocolError) if step["error"] else nullcontext():
        connection.receive(decode_comm_message(step["content"], buffers))


def run_step(connection: CommConnection, step: dict[str, Any]) -> None:
    match step["do"]:
        case "send":
            connection.send(frame_of(step["frame"]))
            assert connection.waiting_bytes == step["waiting"]
        case "next":
            check_next(connection, step)
        case "wait":
            assert connection.wait(step["now"]) == pytest.approx(step["seconds"])
        case "take":
            assert take(connection) == [frame_of(shown) for shown in step["frames"]]
        case "close":
            connection.close(step["reason"])
        case "end":
            connection.end(step["why"])
        case "why":
            pass
        case do:
            assert do == "receive"
            receive(connection, step)
    if "state" in step:
        assert connection.state is CommState[step["state"].upper()]
    if "whyEnded" in step:
        assert connection.why_ended == step["whyEnded"]


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["name"]) for vector in VECTORS])
def test_what_goes_over_a_comm_is_as_it_is_written(vector: dict[str, Any]) -> None:
    connection = CommConnection("c1", opens=vector["opens"], frame_limit=vector["frameLimit"])
    for step in vector["steps"]:
        run_step(connection, step)


def test_a_content_that_has_no_fields_is_no_message() -> None:
    with pytest.raises(ProtocolError):
        decode_comm_message("text", [])


def test_a_front_end_may_hand_over_a_buffer_as_base64() -> None:
    content = {"connection": "c1", "type": "data", "number": 2, "acknowledged": 1}
    assert decode_comm_message(content, [base64.b64encode(b"bytes").decode()]).data == b"bytes"


def test_a_sign_of_life_leaves_where_nothing_else_may() -> None:
    connection = CommConnection("c1", opens=False, frame_limit=100)
    connection.receive(CommMessage("c1", "open", 1, 0))
    signs = []
    for _ in range(COMM_WINDOW):
        signs.append(connection.make_sign(0))
        connection.send("x")
        connection.next_message(0)
    connection.send("x")
    assert connection.next_message(0) is None

    assert [*signs, connection.make_sign(0)] == [None] * COMM_WINDOW + [CommMessage("c1", "ack", 0, 1)]


def test_signs_of_life_keep_to_the_pace_and_end_with_the_connection() -> None:
    connection = CommConnection("c1", opens=False, frame_limit=100)
    connection.receive(CommMessage("c1", "open", 1, 0))
    for _ in range(COMM_WINDOW):
        connection.send("x")
        connection.next_message(0)
    signs = [connection.make_sign(0) for _ in range(COMM_BURST - COMM_WINDOW + 1)]
    assert [sign is None for sign in signs] == [False] * (COMM_BURST - COMM_WINDOW) + [True]
    assert connection.make_sign(1) is not None
    connection.end("it is over")
    assert connection.make_sign(1) is None


# Where messages come out of order: on the kernel's side only, so that the client's suite has nothing of it.


def frame_message(number: int, acknowledged: int = 1) -> CommMessage:
    """A message with a frame that is its number."""
    return CommMessage("c1", "data", number, acknowledged, b"\0\2\0\0\0" + f"{number:02}".encode())


@pytest.fixture
def unordered() -> CommConnection:
    """A connection that is open, and that takes messages in any order."""
    connection = CommConnection("c1", opens=False, frame_limit=100, reorders=True)
    connection.receive(CommMessage("c1", "open", 1, 0))
    assert connection.next_message(0) == CommMessage("c1", "opened", 1, 1)
    return connection


def test_messages_that_come_out_of_order_are_put_back_into_it(unordered: CommConnection) -> None:
    for number in (3, 5, 4):
        unordered.receive(frame_message(number))
    missing = [unordered.missing]
    assert take(unordered) == []

    unordered.receive(frame_message(2))

    assert [*missing, unordered.missing] == [2, None]
    assert take(unordered) == ["02", "03", "04", "05"]
    unordered.receive(frame_message(6))
    assert take(unordered) == ["06"]


def test_what_came_too_early_is_not_acknowledged(unordered: CommConnection) -> None:
    unordered.receive(frame_message(3))
    unordered.send("x")
    message = unordered.next_message(0)
    assert message is not None
    assert message.acknowledged == 1


def test_an_acknowledgement_that_comes_late_takes_nothing_back(unordered: CommConnection) -> None:
    for _ in range(3):
        unordered.send("x")
        unordered.next_message(0)
    unordered.receive(frame_message(3, acknowledged=4))
    unordered.receive(frame_message(2, acknowledged=2))
    assert unordered.acknowledged == 4
    with pytest.raises(ProtocolError, match="acknowledged, and 4 were sent"):
        unordered.receive(frame_message(4, acknowledged=5))


def test_a_close_that_overtakes_messages_waits_for_them(unordered: CommConnection) -> None:
    unordered.receive(CommMessage("c1", "close", 4, 1, reason="the page is left"))
    unordered.receive(frame_message(3))
    assert unordered.state is CommState.OPEN

    unordered.receive(frame_message(2))

    assert unordered.why_ended == "the page is left"
    assert take(unordered) == ["02", "03"]


def test_a_close_without_a_number_waits_for_nothing(unordered: CommConnection) -> None:
    unordered.receive(frame_message(3))
    unordered.receive(CommMessage("c1", "close", 0, 0, reason="a message was lost"))
    assert unordered.why_ended == "a message was lost"


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_message_that_comes_twice_ends_the_connection(unordered: CommConnection, number: int) -> None:
    unordered.receive(frame_message(2))
    unordered.receive(frame_message(4))
    with pytest.raises(ProtocolError, match="messages were lost"):
        unordered.receive(frame_message(number))
    assert unordered.missing is None


def test_no_more_are_kept_than_may_be_under_way(unordered: CommConnection) -> None:
    for number in range(3, COMM_WINDOW + 2):
        unordered.receive(frame_message(number))
    with pytest.raises(ProtocolError, match="are under way"):
        unordered.receive(frame_message(COMM_WINDOW + 2))

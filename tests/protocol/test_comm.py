"""Connections over the messages of a comm, by the golden vectors that the client's suite reads, too."""

from __future__ import annotations

import base64
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from jchannel._protocol.comm import CommConnection, CommState, decode_comm_message, encode_comm_message
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

"""Faults of messages: which they meet, what they leave, and frames that are taken apart and put together again."""

from __future__ import annotations

import json
import math

import pytest

from jchannel._core.transport import NowaitLink
from jchannel._protocol.connection import Connection, Role
from jchannel._protocol.frames import decode_frame, encode_frames
from jchannel._protocol.messages import Call, Echo, Hello, Welcome, encode
from jchannel._protocol.values import pack
from jchannel.testing.faults import Direction, FaultyLink, RawMessage, check_seconds, join_frame, split_frame


def frame(*types: str) -> str:
    return json.dumps([{"type": kind, "n": number} for number, kind in enumerate(types)])


def numbers(filtered: str | bytes | None) -> list[int]:
    return [] if filtered is None else [message["n"] for message in json.loads(filtered)]


def make_binary_frame() -> bytes:
    connection = Connection(Role.PAGE)
    connection.send(Hello("page"))
    connection.next_frame()
    far = Connection(Role.SERVER)
    far.receive('[{"type":"hello","client":"page"}]')
    far.send(Welcome(15, 2**20, 0.5, ()))
    welcome = far.next_frame()
    assert welcome is not None
    connection.receive(welcome)
    args = (b"odd", [b"some more"])
    connection.send(Call(1, 1, "f", pack(args, field_name="args", shown_as="args")))
    connection.send(Echo(2, 1, pack((b"the last",), field_name="args", shown_as="args")))
    made = connection.next_frame()
    assert isinstance(made, bytes)
    return made


def test_without_a_fault_a_frame_passes_as_it_is() -> None:
    assert Direction("page")._filter("not even JSON") == "not even JSON"


def test_what_is_dropped_is_the_next_messages_of_the_types() -> None:
    direction = Direction("python")
    fault = direction.drop("result", "error", count=2)
    assert numbers(direction._filter(frame("call", "error", "result", "result"))) == [0, 3]
    assert fault.hits == 2
    assert fault.done


def test_a_frame_of_which_nothing_is_left_is_not_sent() -> None:
    direction = Direction("python")
    direction.drop("result")
    assert direction._filter(frame("result")) is None


def test_what_is_duplicated_comes_twice_in_a_row() -> None:
    direction = Direction("python")
    direction.duplicate("result")
    assert numbers(direction._filter(frame("result", "call"))) == [0, 0, 1]


def test_what_is_reordered_waits_for_the_last_of_them_and_the_rest_passes() -> None:
    direction = Direction("python")
    fault = direction.reorder("result", count=3)
    assert numbers(direction._filter(frame("result", "call", "result"))) == [1]
    assert repr(fault) == "<Fault: reorder result, 2 of 3>"
    assert numbers(direction._filter(frame("call", "result"))) == [0, 1, 2, 0]


def test_what_is_reordered_is_lost_with_its_connection() -> None:
    direction = Direction("python")
    direction.reorder("result", count=2)
    assert direction._filter(frame("result")) is None
    direction._begin_connection()
    assert numbers(direction._filter(frame("call", "result"))) == [0, 1]


def test_the_first_of_two_faults_has_its_messages_first() -> None:
    direction = Direction("python")
    first, second = direction.drop("result"), direction.drop("result", "call")
    assert direction._filter(frame("result", "result")) is None
    assert (first.hits, second.hits) == (1, 1)
    assert direction._filter("raw again") == "raw again"


def test_a_binary_frame_is_taken_apart_and_put_together_again() -> None:
    binary = make_binary_frame()
    messages = split_frame(binary)
    assert [message.attachments for message in messages] == [(b"odd", b"some more"), (b"the last",)]
    joined = join_frame(messages[::-1])
    assert joined is not None
    assert [message.args for message in decode_frame(joined) if isinstance(message, Call | Echo)] == [
        [b"the last"],
        [b"odd", [b"some more"]],
    ]


def make_split_frame() -> list[str | bytes]:
    call, echo = (
        encode(message)
        for message in (
            Call(1, 1, "f", pack((b"first", b"second"), field_name="args", shown_as="args")),
            Echo(2, 1, pack((b"third",), field_name="args", shown_as="args")),
        )
    )
    return encode_frames([call, echo], apart_from=0)


def test_a_frame_whose_attachments_follow_it_is_left_as_it_is_where_there_are_no_faults() -> None:
    direction = Direction("python")
    head, *apart = make_split_frame()
    assert direction._filter(head) is head
    direction.drop("call")
    for data in apart:
        assert direction._filter(data) is data
    assert direction._filter('[{"type":"call","id":1,"channel":1,"name":"f","args":[]}]') is None


@pytest.mark.parametrize("dropped", ["beat", "call", "echo"])
def test_a_frame_whose_attachments_follow_it_is_kept_until_they_have_come_where_there_are(dropped: str) -> None:
    direction = Direction("python")
    direction.drop(dropped)
    *frames, last = make_split_frame()
    for frame in frames:
        assert direction._filter(frame) is None
    left = direction._filter(last)
    assert isinstance(left, bytes)
    messages: list[Call | Echo] = [Call(1, 1, "f", [b"first", b"second"]), Echo(2, 1, [b"third"])]
    assert decode_frame(left) == [message for message in messages if message.type != dropped]
    assert direction._filter('[{"type":"ack","bytes":1}]') == '[{"type":"ack","bytes":1}]'


def test_a_frame_whose_attachments_have_not_come_is_lost_with_its_connection() -> None:
    direction = Direction("python")
    direction.drop("beat")
    head, *_ = make_split_frame()
    assert direction._filter(head) is None
    direction._begin_connection()
    assert direction._filter('[{"type":"ack","bytes":1}]') == '[{"type":"ack","bytes":1}]'


def test_a_value_may_hold_what_looks_like_attachments() -> None:
    frame = '[{"type":"result","id":1,"value":{"attachments":[1]}}]'
    assert Direction("python")._filter(frame) == frame


def test_what_is_left_of_a_binary_frame_may_be_text() -> None:
    messages = [*split_frame(make_binary_frame()), RawMessage({"type": "beat"})]
    assert join_frame(messages[2:]) == '[{"type":"beat"}]'


async def test_what_comes_in_is_that_of_the_link() -> None:
    class Inner(NowaitLink):
        moved = 3

        def send_nowait(self, frame: str | bytes) -> bool: ...  # type: ignore[empty-body]
        async def flush(self) -> None: ...
        async def receive(self) -> str | bytes: ...  # type: ignore[empty-body]
        async def aclose(self) -> None: ...

    assert FaultyLink(Inner(), Direction("python"), Direction("page")).moved == 3


@pytest.mark.parametrize("to", ["page", "python"])
def test_a_fault_names_messages_of_its_direction(to: str) -> None:
    direction = Direction("page" if to == "page" else "python")
    wrong = "welcome" if to == "page" else "open"
    with pytest.raises(ValueError, match=f"go to {to}, not '{wrong}': .*, result"):
        direction.drop("result", wrong)
    with pytest.raises(ValueError, match="none was given"):
        direction.reorder()


def test_a_count_is_a_positive_integer() -> None:
    direction = Direction("page")
    with pytest.raises(TypeError, match="must be an int"):
        direction.drop("call", count=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be an int"):
        direction.drop("call", count=True)
    with pytest.raises(ValueError, match="at least 1"):
        direction.drop("call", count=0)


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_a_delay_is_a_finite_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="a delay must be finite and not negative"):
        Direction("page").set_delay(seconds)


@pytest.mark.parametrize("seconds", ["1", None, True])
def test_seconds_are_a_number(seconds: object) -> None:
    with pytest.raises(TypeError, match="the time must be seconds"):
        check_seconds(seconds, "the time")  # type: ignore[arg-type]

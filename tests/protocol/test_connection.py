"""What may follow what on a connection, and how what waits becomes frames."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jchannel._protocol.connection import (
    BATCH_LIMIT,
    FRAME_LIMIT,
    PIECE_LIMIT,
    PIECES_BESIDE_MESSAGES,
    PIECES_UNDER_WAY,
    QUIET_BYTES,
    QUIET_SECONDS,
    Connection,
    Role,
    State,
)
from jchannel._protocol.frames import APART_FROM, HEAD_LIMIT, encode_frame
from jchannel._protocol.messages import (
    MIN_FRAME_LIMIT,
    Ack,
    Beat,
    Broken,
    Call,
    Cancel,
    Close,
    Credit,
    Echo,
    End,
    Error,
    Goodbye,
    Hello,
    Message,
    Open,
    Piece,
    Pipe,
    Result,
    Stop,
    StreamInfo,
    Welcome,
    encode,
)
from jchannel._protocol.values import MAX_INTEGER, Packed, pack
from jchannel.errors import ProtocolError
from tests.protocol.strategies import messages, packed

EMPTY = Packed("[]")
ONE_OF_EACH: tuple[Message, ...] = (
    Hello("x"),
    Welcome(1, FRAME_LIMIT, 0.5, ()),
    Goodbye("closed", ""),
    Beat(),
    Open(1, 1, ""),
    Close(1, 1),
    Echo(1, 1, EMPTY),
    Call(1, 1, "", EMPTY),
    Result(1, EMPTY),
    Error(1, "busy", "", ""),
    Cancel(1),
)


def frame(*batch: Message) -> str | bytes:
    return encode_frame([encode(message) for message in batch])


def connect() -> tuple[Connection, Connection]:
    """A server's connection and a page's, both ready."""
    server, page = Connection(Role.SERVER), Connection(Role.PAGE)
    page.send(Hello("x"))
    move(page, server)
    server.send(Welcome(15, FRAME_LIMIT, 0.5, ()))
    move(server, page)
    return server, page


def move(sender: Connection, receiver: Connection) -> list[Message]:
    """Takes everything that waits from the one side to the other."""
    received = []
    while (waiting := sender.next_frame()) is not None:
        received += receiver.receive(waiting)
    return received


def in_state(role: Role, state: State) -> Connection:
    """A connection of a side in a state, with a request of each side under way where that is possible."""
    server, page = Connection(Role.SERVER), Connection(Role.PAGE)
    steps = {
        State.OPENING: 0,
        State.HELLO: 1,
        State.READY: 2,
        State.ENDED: 3,
    }[state]
    conversation: list[tuple[Connection, Connection, list[Message]]] = [
        (page, server, [Hello("x")]),
        (server, page, [Welcome(1, FRAME_LIMIT, 0.5, ()), Echo(1, 1, EMPTY)]),
        (page, server, [Echo(1, 1, EMPTY), Goodbye("closed", "")]),
    ]
    for sender, receiver, batch in conversation[:steps]:
        for message in batch:
            sender.send(message)
        move(sender, receiver)
    if state is State.READY:
        page.send(Echo(1, 1, EMPTY))
        move(page, server)
    connection = server if role is Role.SERVER else page
    assert connection.state is state
    return connection


ALLOWED = {
    (Role.PAGE, State.OPENING): {"hello", "goodbye"},
    (Role.SERVER, State.OPENING): {"goodbye"},
    (Role.PAGE, State.HELLO): {"goodbye"},
    (Role.SERVER, State.HELLO): {"welcome", "goodbye"},
    (Role.PAGE, State.READY): {"goodbye", "beat", "echo", "call", "result", "error", "cancel"},
    (Role.SERVER, State.READY): {"goodbye", "beat", "open", "close", "echo", "call", "result", "error", "cancel"},
    (Role.PAGE, State.ENDED): set[str](),
    (Role.SERVER, State.ENDED): set[str](),
}


@pytest.mark.parametrize(("role", "state"), list(itertools.product(Role, State)))
@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: message.type)
def test_a_side_sends_what_its_state_allows_and_nothing_else(role: Role, state: State, message: Message) -> None:
    connection = in_state(role, state)
    if isinstance(message, Open | Close | Echo | Call):
        message = type(message)(connection.next_id(), *[getattr(message, name) for name in message.__slots__[1:]])
    if message.type in ALLOWED[role, state]:
        connection.send(message)
        assert connection.next_frame() == frame(message)
    else:
        with pytest.raises(ProtocolError, match=f"may not send '{message.type}' while"):
            connection.send(message)
        assert connection.next_frame() is None


@pytest.mark.parametrize(("role", "state"), list(itertools.product(Role, State)))
@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: message.type)
def test_a_side_receives_what_its_state_allows_and_nothing_else(role: Role, state: State, message: Message) -> None:
    far_role = Role.PAGE if role is Role.SERVER else Role.SERVER
    connection = in_state(role, state)
    if isinstance(message, Open | Close | Echo | Call):
        message = type(message)(2, *[getattr(message, name) for name in message.__slots__[1:]])
    if message.type in ALLOWED[far_role, state]:
        assert [received.type for received in connection.receive(frame(message))] == [message.type]
    else:
        with pytest.raises(ProtocolError, match=f"may not send '{message.type}' while"):
            connection.receive(frame(message))


def test_a_page_takes_the_frame_limit_from_the_welcome() -> None:
    server, page = Connection(Role.SERVER), Connection(Role.PAGE)
    page.send(Hello("x"))
    move(page, server)
    server.send(Welcome(15, 5000, 0.5, ()))
    move(server, page)
    assert (server.frame_limit, page.frame_limit) == (5000, 5000)


@pytest.mark.parametrize(
    ("way", "limit", "smaller"), [(5_000, 6_000, 5_000), (6_000, 5_000, 5_000), (None, 5_000, 5_000)]
)
def test_both_sides_take_the_smaller_one_of_the_limits_of_the_way_and_of_the_server(
    way: int | None, limit: int, smaller: int
) -> None:
    server, page = Connection(Role.SERVER, frame_limit=limit), Connection(Role.PAGE)
    page.send(Hello("x", way))
    move(page, server)
    server.send(Welcome(15, server.frame_limit, 0.5, ()))
    move(server, page)
    assert (server.frame_limit, page.frame_limit) == (smaller, smaller)


def test_a_page_keeps_to_the_limit_of_its_way_where_the_server_does_not_know_of_it() -> None:
    page = Connection(Role.PAGE)
    page.send(Hello("x", 5_000))
    page.receive(frame(Welcome(15, FRAME_LIMIT, 0.5, ())))
    assert page.frame_limit == 5_000


def test_no_batch_is_larger_than_the_way_carries() -> None:
    server, page = Connection(Role.SERVER), Connection(Role.PAGE)
    page.send(Hello("x", 4_096))
    move(page, server)
    server.send(Welcome(15, server.frame_limit, 0.5, ()))
    for number in range(1, 101):
        server.send(Open(number, 1, "x" * 100))
    sizes = []
    while (sent := server.next_frame()) is not None:
        sizes.append(len(sent))
    assert 3_900 < max(sizes) <= 4_096


def test_requests_are_counted_by_each_side_on_its_own() -> None:
    server, page = connect()
    assert (server.next_id(), page.next_id()) == (1, 1)
    server.send(Open(1, 1, ""))
    assert (server.next_id(), page.next_id()) == (2, 1)


def test_a_request_with_another_id_than_the_next_is_not_sent() -> None:
    server, _ = connect()
    with pytest.raises(ProtocolError, match="the next request's id is 1 and not 2"):
        server.send(Close(2, 1))


def test_a_request_is_under_way_until_it_is_answered() -> None:
    server, page = connect()
    server.send(Echo(1, 1, EMPTY))
    move(server, page)
    assert (server.unanswered, page.running) == (1, 1)
    page.send(Result(1, EMPTY))
    assert page.running == 0
    assert move(page, server) == [Result(1, [])]
    assert server.unanswered == 0


def test_requests_are_answered_in_any_order() -> None:
    server, page = connect()
    for number in (1, 2, 3):
        server.send(Echo(number, 1, EMPTY))
    move(server, page)
    page.send(Error(3, "busy", "", ""))
    page.send(Result(1, EMPTY))
    page.send(Result(2, EMPTY))
    assert [message.type for message in move(page, server)] == ["error", "result", "result"]
    assert (server.unanswered, page.running) == (0, 0)


def test_a_cancelled_request_is_still_answered() -> None:
    server, page = connect()
    server.send(Echo(1, 1, EMPTY))
    server.send(Cancel(1))
    assert [message.type for message in move(server, page)] == ["echo", "cancel"]
    page.send(Error(1, "cancelled", "", ""))
    move(page, server)
    assert server.unanswered == 0


def test_a_cancel_of_a_request_that_has_been_answered_is_not_sent() -> None:
    server, page = connect()
    server.send(Echo(1, 1, EMPTY))
    move(server, page)
    page.send(Result(1, EMPTY))
    move(page, server)
    server.send(Cancel(1))
    assert server.next_frame() is None


def test_a_cancel_that_has_crossed_its_answer_is_received() -> None:
    server, _ = connect()
    assert server.receive(frame(Cancel(7))) == [Cancel(7)]


def test_a_second_answer_is_not_sent() -> None:
    server, page = connect()
    server.send(Echo(1, 1, EMPTY))
    move(server, page)
    page.send(Result(1, EMPTY))
    with pytest.raises(ProtocolError, match="there is no request 1 to answer"):
        page.send(Error(1, "busy", "", ""))


def test_a_second_answer_that_is_received_breaks_the_protocol() -> None:
    server, page = connect()
    server.send(Echo(1, 1, EMPTY))
    move(server, page)
    server.receive(frame(Result(1, EMPTY)))
    with pytest.raises(ProtocolError, match="there is no request 1 that waits for an answer"):
        server.receive(frame(Result(1, EMPTY)))


def test_an_answer_to_nothing_breaks_the_protocol() -> None:
    server, _ = connect()
    with pytest.raises(ProtocolError, match="there is no request 9 that waits"):
        server.receive(frame(Error(9, "busy", "", "")))


@pytest.mark.parametrize("number", [4, 5])
def test_an_id_that_does_not_grow_breaks_the_protocol(number: int) -> None:
    server, _ = connect()
    server.receive(frame(Echo(5, 1, EMPTY)))
    with pytest.raises(ProtocolError, match=f"the id {number} does not follow 5"):
        server.receive(frame(Echo(number, 1, EMPTY)))


def test_an_id_may_be_left_out() -> None:
    server, _ = connect()
    server.receive(frame(Echo(5, 1, EMPTY), Echo(9, 1, EMPTY)))
    assert server.running == 2


# Frames


def test_nothing_waits_at_first() -> None:
    connection = Connection(Role.PAGE)
    assert (connection.next_frame(), connection.waiting_bytes) == (None, 0)


def test_what_waits_leaves_in_one_frame() -> None:
    server, _ = connect()
    batch = (Open(1, 1, "x"), Cancel(1), Close(2, 1))
    for message in batch:
        server.send(message)
    assert server.waiting_bytes == sum(encode(message).size for message in batch)
    assert server.next_frame() == frame(*batch)
    assert (server.next_frame(), server.waiting_bytes) == (None, 0)


def test_a_batch_ends_before_it_exceeds_its_limit() -> None:
    server, _ = connect()
    code = "x" * (BATCH_LIMIT // 4)
    for number in range(1, 6):
        server.send(Open(number, 1, code))
    sizes = []
    while (waiting := server.next_frame()) is not None:
        sizes.append(len(json.loads(waiting)))
        assert len(waiting) - 2 <= BATCH_LIMIT
    assert sizes == [3, 2]


def test_a_batch_may_be_as_large_as_its_limit() -> None:
    server, _ = connect()
    empty = encode(Open(1, 1, "")).size
    first = Open(1, 1, "x" * (BATCH_LIMIT // 2 - empty))
    second = Open(2, 1, "x" * (BATCH_LIMIT // 2 - empty - 1 - 16))  # What a frame takes beside its messages.
    server.send(first)
    server.send(second)
    assert server.next_frame() == frame(first, second)


def test_a_message_larger_than_a_batch_leaves_alone() -> None:
    server, _ = connect()
    large = Open(1, 1, "x" * (BATCH_LIMIT + 1))
    small = Close(2, 1)
    server.send(large)
    server.send(small)
    assert [server.next_frame(), server.next_frame()] == [frame(large), frame(small)]


def test_a_beat_overtakes_what_waits() -> None:
    server, _ = connect()
    large = Open(1, 1, "x" * (BATCH_LIMIT + 1))
    server.send(large)
    server.send(Beat())
    assert server.waiting_bytes == encode(large).size + encode(Beat()).size
    assert [server.next_frame(), server.next_frame()] == [frame(Beat()), frame(large)]


def test_attachments_that_leave_apart_follow_their_frame_before_all_else() -> None:
    server, page = connect()
    large = bytes(APART_FROM)
    server.send(Call(1, 1, "f", pack((large, large), field_name="args", shown_as="args")))
    server.send(Cancel(1))
    before = server.waiting_bytes
    head = server.next_frame()
    assert isinstance(head, str)
    assert (server.sent_messages, server.sent_size) == (1, len(head))
    assert page.receive(head) == []
    assert page.received_size == 0
    server.send(Beat())
    received: list[Message] = []
    assert server.waiting
    for data in (large, large):
        assert page.expected_size == len(data)
        assert server.waiting_bytes >= len(data)
        sent = server.next_frame()
        assert sent is data
        assert (server.sent_messages, server.sent_size) == (0, len(data))
        received += page.receive(sent)
    assert received == [Call(1, 1, "f", [large, large])]
    assert page.expected_size == 0
    assert page.received_size == len(head) + 2 * len(large)
    assert before > page.received_size
    assert move(server, page) == [Beat(), Cancel(1)]
    assert server.waiting_bytes == 0
    assert not server.waiting


@pytest.mark.parametrize("extra", [0, 1])
def test_a_frame_with_its_attachments_is_not_larger_than_its_limit(extra: int) -> None:
    server, page = connect()
    large = bytes(APART_FROM)
    server.send(Call(1, 1, "f", pack((large, large), field_name="args", shown_as="args")))
    head = server.next_frame()
    assert isinstance(head, str)
    page.frame_limit = len(head) + 2 * len(large) - extra
    if extra:
        with pytest.raises(ProtocolError, match=r"a frame of 1,048,\d\d\d bytes came, and 1,048,\d\d\d are the most"):
            page.receive(head)
    else:
        assert page.receive(head) == []


@pytest.mark.parametrize("extra", [0, 1])
def test_a_frame_whose_attachments_are_apart_is_refused_above_a_limit_of_its_own(extra: int) -> None:
    server, page = connect()
    large = bytes(APART_FROM)
    server.send(Call(1, 1, "f", pack((large, ""), field_name="args", shown_as="args")))
    head = server.next_frame()
    assert isinstance(head, str)
    head = head.replace('""', f'"{"x" * (HEAD_LIMIT - len(head) + extra)}"')
    if extra:
        with pytest.raises(ProtocolError, match="a frame of 262,145 bytes has its attachments apart, and 262,144 are"):
            page.receive(head)
    else:
        assert page.receive(head) == []


def test_a_small_limit_holds_for_attachments_that_are_apart_too() -> None:
    server, page = connect()
    server.send(Call(1, 1, "f", pack((bytes(APART_FROM),), field_name="args", shown_as="args")))
    head = server.next_frame()
    assert isinstance(head, str)
    page.frame_limit = 5_000
    with pytest.raises(ProtocolError, match="and 5,000 are the most"):
        page.receive(head.replace("524288", "4990"))


@pytest.mark.parametrize("wrong", ['[{"type":"beat"}]', bytes(APART_FROM + 1), b""])
def test_nothing_stands_between_a_frame_and_its_attachments(wrong: str | bytes) -> None:
    server, page = connect()
    server.send(Call(1, 1, "f", pack((bytes(APART_FROM),), field_name="args", shown_as="args")))
    head = server.next_frame()
    assert head is not None
    page.receive(head)
    with pytest.raises(ProtocolError, match="a frame came in the place of an attachment of 524,288 bytes"):
        page.receive(wrong)


def test_a_message_larger_than_a_frame_is_refused_with_both_sizes_and_leaves_no_trace() -> None:
    server = Connection(Role.SERVER, frame_limit=1000)
    server.receive(frame(Hello("x")))
    server.send(Welcome(15, 1000, 0.5, ()))
    server.next_frame()
    with pytest.raises(ValueError, match=r"a message of 1,\d\d\d bytes is larger .* 1,000 bytes: send less at a time"):
        server.send(Open(1, 1, "x" * 1000))
    assert (server.next_id(), server.unanswered, server.next_frame()) == (1, 0, None)


def test_an_answer_larger_than_a_frame_can_be_given_again() -> None:
    server, _ = connect()
    server.frame_limit = 1000
    server.receive(frame(Echo(1, 1, EMPTY)))
    with pytest.raises(ValueError, match="send less at a time, or bytes as a stream"):
        server.send(Result(1, Packed("[" + "1," * 1000 + "1]")))
    server.send(Error(1, "value", "", ""))
    assert server.next_frame() == frame(Error(1, "value", "", ""))


def test_no_frame_is_larger_than_its_limit() -> None:
    server, _ = connect()
    largest = FRAME_LIMIT - 16 - encode(Open(1, 1, "")).size
    server.send(Open(1, 1, "x" * largest))
    sent = server.next_frame()
    assert isinstance(sent, str)
    assert len(sent) <= FRAME_LIMIT
    with pytest.raises(ValueError, match="is larger than the connection takes at once"):
        server.send(Open(2, 1, "x" * (largest + 1)))


batches = st.lists(messages, min_size=1, max_size=3).map(lambda batch: frame(*map(packed, batch)))


@given(st.sampled_from(Role), st.sampled_from(State), st.lists(st.text() | st.binary() | batches, max_size=4))
def test_any_frames_give_messages_or_a_protocol_error(role: Role, state: State, received: list[str | bytes]) -> None:
    connection = in_state(role, state)
    for given_frame in received:
        try:
            assert connection.receive(given_frame)
        except ProtocolError:
            return


STREAM = StreamInfo(1, None, None, "x" * 22)


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        (Open(1, 1, ""), Result(1, Packed("null"), StreamInfo(1))),
        (Close(1, 1), Result(1, Packed("null"), StreamInfo(1))),
        (Echo(1, 1, EMPTY), Result(1, Packed("null"), StreamInfo(1))),
        (Pipe(1, 1, STREAM), Result(1, Packed("null"))),
        (Call(1, 1, "f", EMPTY), Result(1, Packed("5"), StreamInfo(1))),
        (Call(1, 1, "f", EMPTY), Result(1, Packed("null"), StreamInfo(1, 4, b"abc"))),
    ],
)
def test_a_stream_comes_only_where_one_can_be(asked: Message, result: Message) -> None:
    server, page = connect()
    server.send(asked)
    move(server, page)
    with pytest.raises(ProtocolError):
        server.receive(frame(result))


@pytest.mark.parametrize(
    ("asked", "result"),
    [
        (Pipe(1, 1, STREAM), Result(1, Packed("null"), StreamInfo(1))),
        (Call(1, 1, "f", EMPTY), Result(1, Packed("null"), StreamInfo(1, 3, b"abc"))),
        (Call(1, 1, "f", EMPTY, STREAM), Error(1, "busy", "", "")),
        (Pipe(1, 1, STREAM), Error(1, "busy", "", "")),
    ],
)
def test_a_request_with_a_stream_is_answered(asked: Message, result: Message) -> None:
    server, page = connect()
    server.send(asked)
    move(server, page)
    assert server.receive(frame(result))
    assert server.unanswered == 0


@pytest.mark.parametrize("message", [Stop(1), Broken(1, "Error", ""), Credit(1, 1), Piece(1, b"x"), End(1)])
def test_what_is_said_of_a_stream_that_was_never_announced_is_refused(message: Message) -> None:
    server, page = connect()
    page.send(message)
    with pytest.raises(ProtocolError, match="no stream 1 has been announced"):
        move(page, server)


PIECE = Piece(1, bytes(PIECE_LIMIT))


def connect_with_streams() -> tuple[Connection, Connection]:
    """Two connections on which each side has announced a stream, whose number is 1."""
    server, page = connect()
    server.send(Pipe(1, 1, StreamInfo(1, ticket=22 * "x")))
    page.send(Pipe(1, 1, StreamInfo(1)))
    move(server, page)
    move(page, server)
    return server, page


def send_pieces(sender: Connection) -> int:
    """Send as many pieces as may be under way, and return their bytes."""
    sent = 0
    while sender.piece_room:
        sender.send(PIECE)
        sent += PIECE_LIMIT
    return sent


def stay_quiet(sender: Connection, receiver: Connection, begin: float = 0, end: float = QUIET_SECONDS) -> None:
    """Let as many pieces arrive without a message beside them as have to arrive fast, between two points in time."""
    sender.window.note_time(begin)
    for _ in range(QUIET_BYTES // PIECE_LIMIT):
        sender.send(PIECE)
        move(sender, receiver)
        if receiver.window.ack_due:
            receiver.send(Ack(receiver.window.ack_due))
            move(receiver, sender)
    assert sender.window.under_way == 0
    sender.window.note_time(end)


def test_pieces_are_under_way_until_they_are_acknowledged() -> None:
    server, page = connect_with_streams()
    rooms = []
    for _ in range(PIECES_BESIDE_MESSAGES // PIECE_LIMIT):
        rooms.append(server.piece_room)
        server.send(PIECE)
    assert rooms == [PIECE_LIMIT] * len(rooms)
    assert server.piece_room == 0
    move(server, page)
    page.send(Ack(1))
    move(page, server)
    assert server.piece_room == 0
    page.send(Ack(PIECE_LIMIT - 1))
    move(page, server)
    assert server.piece_room == PIECE_LIMIT


def test_pieces_are_acknowledged_when_half_of_what_may_be_under_way_has_arrived() -> None:
    server, page = connect_with_streams()
    half = PIECES_BESIDE_MESSAGES // 2
    for _ in range(half // PIECE_LIMIT - 1):
        page.send(PIECE)
    page.send(Piece(1, bytes(PIECE_LIMIT - 1)))
    move(page, server)
    assert server.window.ack_due == 0
    page.send(Piece(1, b"x"))
    move(page, server)
    assert server.window.ack_due == half
    server.send(Ack(server.window.ack_due))
    assert server.window.ack_due == 0


def test_more_bytes_of_pieces_than_may_be_under_way_are_refused() -> None:
    server, page = connect_with_streams()
    for _ in range(PIECES_UNDER_WAY // PIECE_LIMIT):
        page.send(PIECE)
    move(page, server)
    page.send(Piece(1, b"x"))
    with pytest.raises(ProtocolError, match="more than 1,048,576 bytes of pieces are under way"):
        move(page, server)


def test_more_pieces_are_under_way_when_many_have_arrived_fast_without_a_message_beside_them() -> None:
    server, page = connect_with_streams()
    assert send_pieces(page) == PIECES_BESIDE_MESSAGES
    server, page = connect_with_streams()
    stay_quiet(page, server)
    assert send_pieces(page) == PIECES_UNDER_WAY


def test_no_more_pieces_are_under_way_where_they_arrive_slowly() -> None:
    server, page = connect_with_streams()
    stay_quiet(page, server, end=QUIET_SECONDS * 1.01)
    assert send_pieces(page) == PIECES_BESIDE_MESSAGES


def test_fewer_pieces_are_under_way_again_when_they_arrive_slowly() -> None:
    server, page = connect_with_streams()
    stay_quiet(page, server)
    stay_quiet(page, server, begin=QUIET_SECONDS, end=QUIET_SECONDS * 2.01)
    assert send_pieces(page) == PIECES_BESIDE_MESSAGES


@pytest.mark.parametrize("asks", ["server", "page"])
@pytest.mark.parametrize("answers", [False, True])
def test_fewer_pieces_are_under_way_again_when_a_request_or_an_answer_has_passed(asks: str, *, answers: bool) -> None:
    server, page = connect_with_streams()
    asker, answerer = (server, page) if asks == "server" else (page, server)
    asker.request(Echo(0, 1, EMPTY), 1)
    if answers:
        move(asker, answerer)
        stay_quiet(page, server)
        answerer.send(Result(2, EMPTY))
        move(answerer, asker)
    else:
        stay_quiet(page, server)
        asker.request(Echo(0, 1, EMPTY), 1)
        move(asker, answerer)
    assert send_pieces(page) == PIECES_BESIDE_MESSAGES


def test_over_a_comm_as_many_pieces_are_under_way_beside_messages_as_else() -> None:
    server, page = Connection(Role.SERVER), Connection(Role.PAGE)
    page.send(Hello("x", door="comm"))
    move(page, server)
    assert server.window.beside_messages == page.window.beside_messages == PIECES_UNDER_WAY


def test_an_acknowledgement_of_more_than_is_under_way_is_refused() -> None:
    server, page = connect_with_streams()
    server.send(PIECE)
    move(server, page)
    page.send(Ack(PIECE_LIMIT + 1))
    with pytest.raises(ProtocolError, match="65537 bytes are acknowledged, and 65536 are under way"):
        move(page, server)


def test_a_piece_has_room_in_the_smallest_frame() -> None:
    server, page = Connection(Role.SERVER, frame_limit=MIN_FRAME_LIMIT), Connection(Role.PAGE)
    page.send(Hello("x"))
    move(page, server)
    server.send(Welcome(15, MIN_FRAME_LIMIT, 0.5, ()))
    move(server, page)
    server.send(Piece(MAX_INTEGER - 1, bytes(server.piece_room)))
    waiting = server.next_frame()
    assert waiting is not None
    assert MIN_FRAME_LIMIT - 40 < len(waiting) <= MIN_FRAME_LIMIT


def test_there_is_no_room_for_a_piece_before_the_welcome_and_after_the_goodbye() -> None:
    assert Connection(Role.PAGE).piece_room == 0
    server, _ = connect()
    assert server.piece_room == PIECE_LIMIT
    server.send(Goodbye("closed", ""))
    assert server.piece_room == 0


def echo_of(size: int) -> str:
    """A frame of so many bytes, of characters of two bytes each."""
    empty = '[{"type":"echo","id":1,"channel":1,"args":[""]}]'
    text = "é" * ((size - len(empty)) // 2) + "x" * ((size - len(empty)) % 2)
    return empty.replace('""', f'"{text}"')


@pytest.mark.parametrize("extra", [0, 1])
def test_a_frame_is_received_up_to_the_limit_in_bytes_and_not_in_characters(extra: int) -> None:
    server, _ = connect()
    server.frame_limit = 300_000
    sent = echo_of(300_000 + extra)
    assert len(sent) < 200_000
    if extra:
        with pytest.raises(ProtocolError, match="a frame of 300,001 bytes came, and 300,000 are the most"):
            server.receive(sent)
    else:
        assert len(server.receive(sent)) == 1


@pytest.mark.parametrize("extra", [0, 1])
def test_several_messages_come_in_a_frame_as_large_as_a_batch_and_no_larger(extra: int) -> None:
    server, _ = connect()
    sent = echo_of(BATCH_LIMIT + extra - len(',{"type":"beat"}'))[:-1] + ',{"type":"beat"}]'
    if extra:
        with pytest.raises(ProtocolError, match="a frame of several messages has 262,145 bytes, and 262,144 are"):
            server.receive(sent)
    else:
        assert len(server.receive(sent)) == 2

"""A request of this side: one object with one state, from its making to its one outcome."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import outcome
import pytest
import trio
import trio.testing

from jchannel._core.deadlines import Deadlines
from jchannel._core.limits import Limits
from jchannel._core.outbox import Outbox
from jchannel._core.outgoing import OutgoingStream
from jchannel._core.request import CANCELLED, Request, RequestState
from jchannel._core.session import Session
from jchannel._protocol.messages import UNSENT, Call, Cancel, Error, Message, Result, StreamInfo
from jchannel._protocol.values import pack
from jchannel.errors import ClosedError, FrontendError, RemoteCancelledError, RemoteError
from tests.core.internals import make_outgoing

#: What may follow each state.
TABLE = {
    RequestState.OPENING: {RequestState.QUEUED, RequestState.DONE},
    RequestState.QUEUED: {RequestState.SENT, RequestState.DONE},
    RequestState.SENT: {RequestState.CANCELLING, RequestState.DONE},
    RequestState.CANCELLING: {RequestState.DONE},
    RequestState.DONE: set[RequestState](),
}


class Owner:
    """The channel's part that requests are made in."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self.released: list[Request] = []

    def convert_stream(self, request: Request, result: Result) -> Any:
        return "a stream"

    def annotate(self, error: Exception) -> None:
        pass

    def explain_wait(self) -> str:
        return "no page is connected"

    def release(self, request: Request) -> None:
        self.released.append(request)


class FakeSession:
    """A session that notes what is said."""

    far_side = "the page"
    remote_error: type[RemoteError] = FrontendError
    alive = True

    def __init__(self, *, frame_limit: float = math.inf) -> None:
        self.limits = Limits(cancel_seconds=2)
        self.requests: dict[int, Request] = {}
        self.times: list[float | None] = []
        self.told: list[Message] = []
        self._frame_limit = frame_limit

    def request(
        self,
        request: Request,
        channel: int,
        timeout: float | None,
        parent: int | None,
        stream: object = None,
    ) -> int:
        if self._frame_limit < math.inf:
            raise ValueError("it is larger than the connection takes at once")
        self.times.append(timeout)
        id_ = len(self.requests) + 1
        self.requests[id_] = request
        return id_

    def send_queued(self, *, more: bool) -> None:
        """Sends what was queued."""

    def answer(self, request: Request, answer: Result | Error) -> None:
        """Answers a request, as a session does when an answer has come."""
        del self.requests[cast("int", request.id)]
        request.answer(answer)

    def forget(self, request: Request) -> None:
        self.requests.pop(cast("int", request.id), None)

    def tell(self, message: Message, *, more: bool = True) -> None:
        self.told.append(message)


@pytest.fixture
async def owner(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Owner]:
    """An owner whose deadlines run. At the end no timer is left."""
    deadlines = Deadlines()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        yield Owner(deadlines)
        nursery.cancel_scope.cancel()
    assert len(deadlines) == 0


class Done:
    """Notes the requests that are done."""

    def __init__(self, requests: list[Request]) -> None:
        self._requests = requests

    def note_done(self, request: Request) -> None:
        self._requests.append(request)


def make(owner: Owner, **options: Any) -> Request:
    return Request(
        cast("Outbox", owner), Call(UNSENT, UNSENT, "f", pack([], field_name="args", shown_as="args")), **options
    )


class CreepingClock(trio.abc.Clock):
    """A clock that goes on whenever it is read, as a real one does."""

    def __init__(self) -> None:
        self._reads = itertools.count()

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return next(self._reads) * 1e-6

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return max(0.0, deadline - self.current_time())


def test_a_request_whose_own_time_is_the_shortest_has_that_as_its_deadline() -> None:
    async def main() -> None:
        request = make(Owner(Deadlines()), limit=3.0)
        assert request.deadline == request.due
        await trio.lowlevel.checkpoint()

    trio.run(main, clock=CreepingClock())


def send(request: Request, session: FakeSession) -> None:
    request.send(cast("Session", session), 1)


def result_of(request: Request) -> object:
    """What a request has come to: its value, the type of its error, or that it was cancelled."""
    if request.outcome is CANCELLED:
        return "cancelled"
    if isinstance(request.outcome, outcome.Error):
        return type(request.outcome.error)
    assert isinstance(request.outcome, outcome.Value)
    return request.outcome.value


@pytest.mark.parametrize(("state", "following"), list(itertools.product(RequestState, RequestState)))
async def test_a_state_is_followed_by_those_of_the_table_and_no_other(
    autojump_clock: trio.testing.MockClock, owner: Owner, state: RequestState, following: RequestState
) -> None:
    request = make(owner)
    request.state = state
    if following in TABLE[state]:
        request._move(following)
        assert request.state is following
    else:
        with pytest.raises(AssertionError):
            request._move(following)
        assert request.state is state


async def test_it_goes_from_its_line_to_its_answer(autojump_clock: trio.testing.MockClock, owner: Owner) -> None:
    session, done = FakeSession(), list[Request]()
    request = make(owner, limit=3.0, deadline=trio.current_time() + 3, watcher=Done(done))
    assert (request.state, request.sent, request.done) == (RequestState.QUEUED, False, False)
    send(request, session)
    assert (request.state, request.sent, request.done) == (RequestState.SENT, True, False)
    assert (request.id, session.times) == (1, [3.0])
    assert done == owner.released == []
    session.answer(request, Result(1, 7))
    assert (request.state, request.sent, request.done) == (RequestState.DONE, False, True)
    assert done == owner.released == [request]
    assert session.requests == {}
    assert await request.wait() == 7


@pytest.mark.parametrize("has_stream", [True, False])
async def test_what_was_not_sent_is_done_at_once_when_it_is_cancelled(
    autojump_clock: trio.testing.MockClock, owner: Owner, *, has_stream: bool
) -> None:
    done: list[Request] = []
    request = make(owner, limit=3.0, has_stream=has_stream, watcher=Done(done))
    assert request.state is (RequestState.OPENING if has_stream else RequestState.QUEUED)
    request.opening = trio.CancelScope()
    request.cancel()
    assert result_of(request) == "cancelled"
    assert done == owner.released == [request]
    assert request.opening.cancel_called
    request.cancel()
    request.fail(ClosedError("late"))
    assert result_of(request) == "cancelled"
    assert done == [request]


@pytest.mark.parametrize("late", [Result(1, 7), Error(1, "cancelled", "", "it was cancelled")])
async def test_what_was_sent_is_done_when_the_far_side_has_ended_it(
    autojump_clock: trio.testing.MockClock, owner: Owner, late: Result | Error
) -> None:
    session = FakeSession()
    request = make(owner, limit=3.0)
    send(request, session)
    request.cancel()
    assert (request.state, session.told) == (RequestState.CANCELLING, [Cancel(1)])
    request.cancel()
    await trio.sleep(1)
    assert (request.state, session.told) == (RequestState.CANCELLING, [Cancel(1)])
    session.answer(request, late)
    assert result_of(request) == "cancelled"
    assert session.requests == {}


async def test_what_was_cancelled_is_done_in_the_end_when_the_far_side_says_nothing(
    autojump_clock: trio.testing.MockClock, owner: Owner
) -> None:
    session = FakeSession()
    request = make(owner)
    send(request, session)
    request.cancel()
    await trio.sleep(1.9)
    assert not request.done
    await trio.sleep(0.2)
    assert result_of(request) == "cancelled"
    assert session.requests == {}


async def test_its_time_is_over_before_it_was_sent(autojump_clock: trio.testing.MockClock, owner: Owner) -> None:
    request = make(owner, limit=3.0)
    with pytest.raises(trio.TooSlowError, match="the call of 'f' was not sent within 3 s: no page is connected"):
        await request.wait()
    assert trio.current_time() == 3


async def test_its_time_is_over_after_it_was_sent(autojump_clock: trio.testing.MockClock, owner: Owner) -> None:
    session = FakeSession()
    request = make(owner, limit=3.0)
    send(request, session)
    await trio.sleep(3.5)
    assert (request.state, session.told) == (RequestState.CANCELLING, [Cancel(1)])
    with pytest.raises(trio.TooSlowError, match="was not answered within 3 s, and has been cancelled"):
        await request.wait()
    assert trio.current_time() == 3 + 2


async def test_of_a_time_that_is_over_and_a_cancellation_the_later_one_counts(
    autojump_clock: trio.testing.MockClock, owner: Owner
) -> None:
    request = make(owner, limit=3.0)
    send(request, FakeSession())
    await trio.sleep(3.5)
    request.cancel()
    request.answer(Result(1, 7))
    assert result_of(request) == "cancelled"


@pytest.mark.parametrize("given_up", [True, False])
async def test_one_that_is_ended_has_its_error_unless_it_was_given_up(
    autojump_clock: trio.testing.MockClock, owner: Owner, *, given_up: bool
) -> None:
    request = make(owner)
    send(request, FakeSession())
    if given_up:
        request.cancel()
    request.fail(ClosedError("the channel is closed"))
    assert result_of(request) == ("cancelled" if given_up else ClosedError)


async def test_the_first_outcome_counts(autojump_clock: trio.testing.MockClock, owner: Owner) -> None:
    request = make(owner)
    send(request, FakeSession())
    request.fail(ClosedError("first"))
    request.answer(Result(1, 1))
    request.fail(ClosedError("second"))
    request.cancel()
    with pytest.raises(ClosedError, match="first"):
        await request.wait()
    assert owner.released == [request]


async def test_what_cannot_be_sent_is_done_with_the_error_that_says_why(
    autojump_clock: trio.testing.MockClock, owner: Owner
) -> None:
    request = make(owner)
    send(request, FakeSession(frame_limit=10))
    assert (request.state, request.id) == (RequestState.DONE, None)
    with pytest.raises(ValueError, match="larger than the connection takes"):
        await request.wait()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("channel", ClosedError),
        ("ended", ClosedError),
        ("cancelled", ClosedError),
        ("timeout", trio.TooSlowError),
        ("aborted", RemoteCancelledError),
        ("exception", FrontendError),
        ("method", FrontendError),
        ("busy", FrontendError),
    ],
)
async def test_an_error_of_the_far_side_is_an_exception_of_its_kind(
    autojump_clock: trio.testing.MockClock, owner: Owner, kind: str, error: type[Exception]
) -> None:
    request = make(owner)
    send(request, FakeSession())
    request.answer(Error(1, kind, "Name", "the words"))
    with pytest.raises(error, match="the words"):
        await request.wait()


async def test_progress_restarts_its_time_but_not_that_of_the_cancelled(
    autojump_clock: trio.testing.MockClock, owner: Owner
) -> None:
    request = make(owner, limit=3.0, has_stream=True)
    for _ in range(5):
        await trio.sleep(2)
        request.note_progress()
    assert not request.done
    request.state = RequestState.QUEUED
    send(request, FakeSession())
    request.cancel()
    await trio.sleep(1)
    request.note_progress()
    await trio.sleep(1.5)
    assert result_of(request) == "cancelled"


async def test_progress_does_not_put_off_the_end_of_what_the_far_side_has_given_up(
    autojump_clock: trio.testing.MockClock, owner: Owner
) -> None:
    request = make(owner, deadline=trio.current_time() + 3, has_stream=True)
    request.state = RequestState.QUEUED
    send(request, FakeSession())
    request.answer(Error(1, "timeout", "", "the page's time was over"))
    request.note_progress()
    await trio.sleep(3.5)
    assert result_of(request) is trio.TooSlowError


async def test_its_stream_is_stopped_unless_it_was_answered(
    autojump_clock: trio.testing.MockClock, owner: Owner
) -> None:
    class Streaming(FakeSession):
        def send_stream(self, stream: OutgoingStream, data: bytes | None, send: Callable[[StreamInfo], int]) -> int:
            return send(StreamInfo(1))

    streams: list[OutgoingStream] = []
    for end in (Request.cancel, lambda request: request.answer(Result(1, 7))):
        request = make(owner, has_stream=True)
        streams.append(make_outgoing(cast("Any", NoBytes())))
        request.enter_line(streams[-1], b"")
        assert request.state is RequestState.QUEUED
        send(request, Streaming())
        end(request)
        request.fail(ClosedError("nothing more comes"))
    assert [stream.stopped for stream in streams] == [True, False]


class NoBytes:
    """The source of a stream that is never read."""

    total = None


async def test_cancelling_a_task_that_waits_waits_until_the_far_side_has_ended_it(
    autojump_clock: trio.testing.MockClock, owner: Owner
) -> None:
    request = make(owner)
    send(request, FakeSession())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request.wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
            assert (request.state, len(nursery.child_tasks)) == (RequestState.CANCELLING, 1)
            request.answer(Result(1, 7))
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks
    assert nursery.cancel_scope.cancelled_caught


async def test_waiting_for_what_is_done_is_a_checkpoint(autojump_clock: trio.testing.MockClock, owner: Owner) -> None:
    request = make(owner)
    send(request, FakeSession())
    request.answer(Result(1, 7))
    with trio.testing.assert_checkpoints():
        assert await request.wait() == 7


async def test_the_time_travels_in_whole_milliseconds_rounded_down(
    autojump_clock: trio.testing.MockClock, owner: Owner
) -> None:
    session = FakeSession()
    now = trio.current_time()
    for deadline in (math.inf, now + 3, now + 0.0129, now + 0.001, now, -math.inf):
        request = make(owner, deadline=deadline)
        send(request, session)
        request.cancel()
        request.fail(ClosedError("over"))
    assert session.times == [None, 3.0, 0.012, 0.001, 0.0, 0.0]


async def test_the_tree_shows_its_state(autojump_clock: trio.testing.MockClock, owner: Owner) -> None:
    session = FakeSession()
    request = make(owner, limit=5.0, has_stream=True)
    shown = [request.describe(trio.current_time(), "in line")]
    request.state = RequestState.QUEUED
    shown.append(request.describe(trio.current_time(), "waits for a page"))
    send(request, session)
    await trio.sleep(1)
    shown.append(request.describe(trio.current_time(), "in line"))
    request.cancel()
    shown.append(request.describe(trio.current_time(), "in line"))
    assert [node.state for node in shown] == ["opens its stream", "waits for a page", "sent", "cancelling"]
    assert [node.number for node in shown] == [None, None, 1, 1]
    assert [node.time_left for node in shown] == [5, 5, 4, 0]
    assert shown[-1].what == "call of 'f'"
    request.fail(ClosedError("over"))

"""The exceptions that every face raises."""

import pickle

import pytest

from jchannel.errors import (
    BufferFullError,
    ClosedError,
    FrontendError,
    KernelError,
    PageLostError,
    ProtocolError,
    RefusedError,
    RemoteError,
    StateError,
    UnreachableError,
)


@pytest.mark.parametrize("kind", [BufferFullError, ClosedError, PageLostError, RefusedError, UnreachableError])
def test_what_a_state_forbids_is_a_state_error(kind: type[Exception]) -> None:
    assert issubclass(kind, StateError)


def test_a_remote_error_reads_as_its_name_and_its_message() -> None:
    error = FrontendError("exception", "RangeError", "out of range", "at x.js:1")
    assert str(error) == "RangeError: out of range"
    assert (error.kind, error.name, error.message, error.stack) == (
        "exception",
        "RangeError",
        "out of range",
        "at x.js:1",
    )


def test_a_remote_error_without_a_name_reads_as_its_message() -> None:
    error = KernelError("handler", "", "the channel has no handler")
    assert str(error) == "the channel has no handler"
    assert error.stack is None


@pytest.mark.parametrize(
    "error",
    [
        RemoteError("exception", "E", "m", "s"),
        FrontendError("handler", "", "m"),
        KernelError("exception", "E", "m", None),
        RefusedError("token", "the token is wrong"),
        ProtocolError("wrong"),
        PageLostError("lost"),
        BufferFullError("full"),
        UnreachableError("not there"),
    ],
)
def test_an_error_can_be_copied_to_another_process(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 (it is this test that wrote it)
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))

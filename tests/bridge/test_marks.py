"""The mark of handler methods that run beside the loop."""

import functools
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import jchannel
from jchannel._bridge import marks
from jchannel._bridge.marks import Place, background, find_place


class Calling:
    """Something that can be called."""

    def __call__(self) -> str:
        return "called"


class CallingLater:
    """Something that can be called and awaited."""

    async def __call__(self) -> str:
        return "called"


class CallingStream:
    """Something that gives an async generator when it is called."""

    async def __call__(self) -> AsyncIterator[bytes]:
        yield b""


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of the user's."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class Handler:
    """The user's handler."""

    __slots__ = ("__dict__", "empty", "slot")

    def __init__(self) -> None:
        self.slot = background(Calling())
        self.bound = background(self.plain)
        self.alias = self.stop
        self.part = background(functools.partial(self.add, 1))
        self.calling = background(Calling())
        self.calling_later = background(CallingLater())
        self.event = threading.Event()
        self.set = background(self.event.set)

    def plain(self) -> str:
        return "plain"

    async def plain_later(self) -> str:
        return "plain"

    def add(self, left: int, right: int) -> int:
        return left + right

    @background
    def stop(self) -> str:
        return "stopped"

    @background
    async def stop_later(self) -> str:
        return "stopped"

    @background
    @staticmethod
    def outer_static() -> str:
        return "static"

    @staticmethod
    @background
    def inner_static() -> str:
        return "static"

    @background
    @classmethod
    def outer_class(cls) -> str:
        return cls.__name__

    @classmethod
    @background
    def inner_class(cls) -> str:
        return cls.__name__

    @logged
    @background
    async def wrapped(self) -> str:
        return "wrapped"


class Heir(Handler):
    """A handler that overrides a marked method."""

    def stop(self) -> str:
        return "not in the background"


class Proxy:
    """A handler that finds its methods when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("the handler's code was run")


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("stop", "stopped"),
        ("alias", "stopped"),
        ("bound", "plain"),
        ("outer_static", "static"),
        ("inner_static", "static"),
        ("outer_class", "Handler"),
        ("inner_class", "Handler"),
        ("calling", "called"),
        ("slot", "called"),
        ("set", None),
    ],
)
def test_what_can_be_called_is_marked_for_a_thread_and_stays_what_it_was(name: str, result: object) -> None:
    handler = Handler()
    assert find_place(handler, name) is Place.THREAD
    assert getattr(handler, name)() == result


@pytest.mark.parametrize("name", ["stop_later", "calling_later", "wrapped"])
def test_what_is_awaited_is_marked_for_trio(name: str) -> None:
    assert find_place(Handler(), name) is Place.TRIO


def test_a_partial_is_marked_and_keeps_its_arguments() -> None:
    handler = Handler()
    assert find_place(handler, "part") is Place.THREAD
    assert handler.part(2) == 3


@pytest.mark.parametrize("name", ["plain", "plain_later", "missing", "empty", "event", "__class__"])
def test_everything_else_is_not_marked(name: str) -> None:
    assert find_place(Handler(), name) is None


def test_a_method_that_overrides_a_marked_one_is_not_marked_by_that() -> None:
    assert find_place(Heir(), "stop") is None
    assert find_place(Heir(), "stop_later") is Place.TRIO


def test_a_class_can_be_the_handler() -> None:
    assert find_place(Handler, "inner_class") is Place.THREAD


def test_looking_for_the_mark_runs_no_code_of_the_handler() -> None:
    assert find_place(Proxy(), "stop") is None
    assert find_place(None, "stop") is None


def test_what_cannot_carry_the_mark_is_called_by_what_does() -> None:
    assert repr(background(len)) == "<background <built-in function len>>"


def test_an_async_generator_is_refused() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(TypeError, match="is an async generator: mark an async def method that returns one"):
        background(stream)
    with pytest.raises(TypeError, match="async generator"):
        background(CallingStream())


def test_a_class_is_refused() -> None:
    with pytest.raises(TypeError, match="marks the methods of a handler, and not a class"):
        background(Handler)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="marks what can be called, and not 3"):
        background(3)
    with pytest.raises(TypeError, match="marks what can be called, and not <property"):
        background(property(lambda _: 3))


def test_the_name_is_that_of_the_package() -> None:
    assert jchannel.background is background


def test_before_anything_is_marked_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler:
        @background
        def marked(self) -> None:
            """Marked."""

    assert find_place(Handler(), "marked") is Place.THREAD
    monkeypatch.setattr(marks, "in_use", False)
    assert find_place(Handler(), "marked") is None
    background(len)
    assert find_place(Handler(), "marked") is Place.THREAD


def test_a_function_of_a_dict_may_be_marked() -> None:
    handler = {"marked": background(lambda: None), "plain": print}
    assert [find_place(handler, name) for name in ("marked", "plain", "pop")] == [Place.THREAD, None, None]

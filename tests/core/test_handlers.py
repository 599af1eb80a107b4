"""Finding and running what the far side may call."""

import collections
import functools
import types
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from jchannel._core.handlers import Methods, NothingToCallError, find_method
from jchannel._core.invocation import Invocation


class Handler:
    limit = 3

    def __init__(self) -> None:
        self.reads = 0
        self.attribute = 5

    def add(self, left: int, right: int) -> int:
        return left + right

    async def add_later(self, left: int, right: int) -> int:
        await trio.lowlevel.checkpoint()
        return left + right

    def get_self(self) -> "Handler":
        return self

    @staticmethod
    def double(value: int) -> int:
        return 2 * value

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    @property
    def secret(self) -> Any:
        self.reads += 1
        return self.add

    @functools.cached_property
    def costly(self) -> Any:
        self.reads += 1
        return self.add

    def _private(self) -> None:
        """Not to be called."""


class Silent:
    value = 1


def refused(handler: object, name: str) -> tuple[str, str]:
    """The kind and the message of the refusal to call."""
    with pytest.raises(NothingToCallError) as caught:
        find_method(handler, name)
    return caught.value.kind, str(caught.value)


async def run(handler: object, name: str, args: Sequence[object]) -> Any:
    """Runs a method as the dispatcher does. What it answers makes no difference in trio."""
    return await Methods().run(cast("Invocation", None), handler, name, args)


async def test_a_plain_method_is_run() -> None:
    assert await run(Handler(), "add", [2, 3]) == 5


async def test_an_async_method_is_awaited() -> None:
    assert await run(Handler(), "add_later", (2, 3)) == 5


async def test_a_method_has_its_self() -> None:
    handler = Handler()
    assert await run(handler, "get_self", ()) is handler


async def test_static_and_class_methods_are_run() -> None:
    assert await run(Handler(), "double", [4]) == 8
    assert await run(Handler(), "name", []) == "Handler"


async def test_a_function_that_the_handler_has_as_an_attribute_is_run() -> None:
    assert await run(SimpleNamespace(greet=lambda name: f"Hello {name}"), "greet", ["Anna"]) == "Hello Anna"


async def test_an_exception_of_a_method_comes_out_as_it_is() -> None:
    with pytest.raises(TypeError, match="can only concatenate str"):
        await run(Handler(), "add", ["2", None])


async def test_cancelling_it_cancels_an_async_method() -> None:
    cancelled = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(True)
            raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, SimpleNamespace(wait=wait), "wait", [])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert cancelled == [True]


def test_without_a_handler_there_is_nothing_to_call() -> None:
    assert refused(None, "add") == ("handler", "cannot call 'add': the channel has no handler; set channel.handler")


@pytest.mark.parametrize("name", ["_private", "__class__", "__setattr__", "_", "_missing"])
def test_a_name_with_an_underscore_before_it_is_private(name: str) -> None:
    assert refused(Handler(), name) == (
        "private",
        f"cannot call '{name}': names that begin with an underscore are private",
    )


@pytest.mark.parametrize("name", ["missing", "", "add.__self__", "add ", "\ud800"])
def test_a_method_that_there_is_not_is_refused_with_the_names_there_are(name: str) -> None:
    kind, message = refused(Handler(), name)
    assert kind == "method"
    assert message == f"cannot call {name!r}: the handler has no such method; it has add, add_later, get_self"


def test_a_handler_without_methods_has_none_to_name() -> None:
    assert refused(Silent(), "missing") == ("method", "cannot call 'missing': the handler has no such method")


@pytest.mark.parametrize("name", ["limit", "attribute"])
def test_a_value_cannot_be_called(name: str) -> None:
    assert refused(Handler(), name) == ("callable", f"cannot call '{name}': it is of type int and not a method")


@pytest.mark.parametrize("name", ["secret", "costly"])
def test_a_property_is_refused_without_running_its_code(name: str) -> None:
    handler = Handler()
    assert refused(handler, name) == ("callable", f"cannot call '{name}': it is a property and not a method")
    assert handler.reads == 0


# A dict in the place of an object


async def later(value: int) -> int:
    await trio.lowlevel.checkpoint()
    return value


FUNCTIONS: dict[Any, Any] = {
    "double": Handler.double,
    "later": later,
    "limit": 3,
    "_private": later,
    "": later,
    5: later,
}


async def test_the_functions_of_a_dict_can_be_called() -> None:
    assert await run(FUNCTIONS, "double", [2]) == 4
    assert await run(FUNCTIONS, "later", [2]) == 2


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("get", "method", "cannot call 'get': the handler has no such function; it has double, later, limit"),
        ("limit", "callable", "cannot call 'limit': it is of type int and not a function"),
        ("_private", "private", "cannot call '_private': names that begin with an underscore are private"),
    ],
)
def test_of_a_dict_nothing_else_can_be_called(name: str, kind: str, message: str) -> None:
    assert refused(FUNCTIONS, name) == (kind, message)


def test_a_dict_without_functions_suggests_none() -> None:
    assert refused({}, "pop") == ("method", "cannot call 'pop': the handler has no such function")


def test_a_dict_of_a_class_with_methods_is_an_object_like_any_other() -> None:
    class Store(dict[str, int]):
        def double(self, value: int) -> int:
            return 2 * value

    assert find_method(Store(), "double")(2) == 4
    with pytest.raises(NothingToCallError, match="no such function"):
        find_method(Store(), "clear")


@pytest.mark.parametrize("kind", [collections.OrderedDict, collections.UserDict, types.MappingProxyType])
def test_of_every_mapping_only_the_functions_in_it_can_be_called(kind: Callable[[Any], Any]) -> None:
    handler = kind({"add": lambda left, right: left + right})
    assert find_method(handler, "add")(1, 2) == 3
    with pytest.raises(NothingToCallError, match=r"the handler has no such function; it has add"):
        find_method(handler, "get")

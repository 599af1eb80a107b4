"""Using the program's objects and its logging where their errors must end nothing."""

from __future__ import annotations

import ast
import builtins
import contextvars
import io
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import jchannel
from jchannel._guarded import is_interrupt, log, name_of, repr_of, stack_of, text_of

PACKAGE = Path(jchannel.__file__).parent

#: The folders in which exceptions of the user's code are handled, and the exceptions that those can be.
FOLDERS = ("_core", "_bridge", "_streams", "_notebook", "_page", "testing")
USERS = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)}


class Rude(str):
    """A str that a careless slice would run code of."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> NoReturn:
        raise ValueError("no slices")


class ApiError(Exception):
    """The usual mistake."""

    def __str__(self) -> str:
        return self.args[0]  # type: ignore[no-any-return]


class Shown:
    """An object that shows itself by a function."""

    def __init__(self, show: Callable[[], str]) -> None:
        self._show = show

    def __repr__(self) -> str:
        return self._show()

    __str__ = __repr__


class Renamed(type):
    """A class that has another idea of its name."""

    @property
    def __name__(cls) -> Any:  # type: ignore[override]
        raise LookupError


class NamelessError(Exception, metaclass=Renamed):
    """An exception whose class has no name for those who ask it."""


def fail(error: BaseException) -> NoReturn:
    """Raise an error, where a lambda is wanted."""
    raise error


class TestTexts:
    def test_what_can_be_shown_is_shown_as_python_does(self) -> None:
        assert (text_of(ValueError("no")), repr_of([1]), name_of(ValueError())) == ("no", "[1]", "ValueError")
        assert stack_of(ValueError("no")) == "ValueError: no\n"

    def test_an_exception_with_a_broken_str_is_shown_by_what_it_was_made_with(self) -> None:
        assert text_of(ApiError(404)) == "404 (its __str__ raised TypeError)"

    def test_one_that_was_made_with_nothing_is_shown_by_words(self) -> None:
        assert text_of(ApiError()) == "(its __str__ raised IndexError)"

    def test_one_that_was_made_with_what_cannot_be_shown_is_shown_by_words(self) -> None:
        assert text_of(ApiError(Shown(lambda: fail(OSError())))) == "(its __str__ raised TypeError)"

    @pytest.mark.parametrize("error", [ValueError(), SystemExit(), KeyboardInterrupt()])
    def test_another_object_with_a_broken_str_is_shown_by_words(self, error: BaseException) -> None:
        done: list[str] = []
        thread = threading.Thread(target=lambda: done.append(text_of(Shown(lambda: fail(error)))))
        thread.start()
        thread.join()
        assert done == [f"(its __str__ raised {name_of(error)})"]

    def test_a_broken_repr_is_shown_by_words(self) -> None:
        assert repr_of(Shown(lambda: fail(ValueError()))) == "<Shown, whose __repr__ raised ValueError>"

    def test_a_name_is_that_of_the_class_whatever_its_metaclass_says(self) -> None:
        assert name_of(NamelessError()) == "NamelessError"

    def test_a_text_is_exactly_a_str(self) -> None:
        rude = Rude("rude")
        texts = [text_of(Shown(lambda: rude)), repr_of(Shown(lambda: rude)), name_of(type(rude, (), {})())]
        assert [(text, type(text)) for text in texts] == [("rude", str)] * 3

    def test_a_traceback_that_cannot_be_made_is_replaced_by_words(self) -> None:
        class ClosedError(Exception):
            def __getattribute__(self, name: str) -> NoReturn:
                raise LookupError(name)

        assert stack_of(ClosedError("no")) == "ClosedError: no\n(its traceback raised LookupError)\n"

    def test_an_interrupt_is_the_programs_in_the_main_thread_alone(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            text_of(Shown(lambda: fail(KeyboardInterrupt())))
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(is_interrupt(KeyboardInterrupt())))
        thread.start()
        thread.join()
        assert (found, is_interrupt(KeyboardInterrupt()), is_interrupt(SystemExit())) == ([False], True, False)


class Handler(logging.Handler):
    """A log handler of the program's, which does what it is told."""

    def __init__(self, act: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self._act = act

    def emit(self, record: logging.LogRecord) -> None:
        self._act(record)


@pytest.fixture
def handle() -> Iterator[Callable[[Callable[[logging.LogRecord], object]], None]]:
    """A function that adds a log handler to the root logger."""
    handlers: list[logging.Handler] = []

    def add(act: Callable[[logging.LogRecord], object]) -> None:
        handlers.append(Handler(act))
        logging.getLogger().addHandler(handlers[-1])

    yield add
    for handler in handlers:
        logging.getLogger().removeHandler(handler)


Handle = Callable[[Callable[[logging.LogRecord], object]], None]


class TestLog:
    def test_a_message_is_logged_with_its_exception_and_its_place(self, caplog: pytest.LogCaptureFixture) -> None:
        error = ValueError("no")
        log(logging.ERROR, "%r raised", "add", error=error)
        (record,) = caplog.records
        assert (record.name, record.levelname, record.getMessage()) == ("jchannel", "ERROR", "'add' raised")
        assert record.exc_info is not None
        assert record.exc_info[1] is error
        assert record.filename == "test_guarded.py"

    @pytest.mark.parametrize("raised", [ValueError("broken"), SystemExit("broken"), ApiError(404)])
    def test_what_a_log_handler_raises_is_printed_with_what_was_to_be_logged(
        self, handle: Handle, capsys: pytest.CaptureFixture[str], raised: BaseException
    ) -> None:
        handle(lambda _: fail(raised))
        log(logging.ERROR, "%r raised", "add", error=ValueError("no"))
        printed = capsys.readouterr().err
        assert printed.startswith("jchannel: 'add' raised\nValueError: no\nIt was not logged, because the program's")
        assert name_of(raised) in printed

    def test_a_filter_and_a_record_factory_may_raise(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(logging.getLogger("jchannel"), "filters", [lambda _: fail(ValueError("filter"))])
            log(logging.ERROR, "first")
        factory = logging.getLogRecordFactory()
        logging.setLogRecordFactory(lambda *_, **__: fail(ValueError("factory")))
        try:
            log(logging.ERROR, "second")
        finally:
            logging.setLogRecordFactory(factory)
        printed = capsys.readouterr().err
        assert "jchannel: first\n" in printed
        assert "jchannel: second\n" in printed

    def test_an_interrupt_in_a_log_handler_is_the_programs(self, handle: Handle) -> None:
        handle(lambda _: fail(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            log(logging.ERROR, "first")

    def test_what_a_log_handler_causes_is_printed_and_not_logged(
        self, handle: Handle, capsys: pytest.CaptureFixture[str]
    ) -> None:
        records: list[logging.LogRecord] = []
        contexts: list[contextvars.Context] = []

        def act(record: logging.LogRecord) -> None:
            records.append(record)
            contexts.append(contextvars.copy_context())
            log(logging.ERROR, "at once")

        handle(act)
        log(logging.ERROR, "first")
        contexts[0].run(log, logging.ERROR, "later, in what it has started")
        log(logging.ERROR, "second")
        assert [record.getMessage() for record in records] == ["first", "second"]
        printed = capsys.readouterr().err
        assert printed.count("jchannel: at once\nIt was not logged, because a log handler has caused it.\n") == 2
        assert "jchannel: later, in what it has started\n" in printed

    @pytest.mark.parametrize("error", [None, ValueError(), SystemExit()])
    def test_a_stderr_that_is_none_or_raises_ends_nothing(
        self, handle: Handle, monkeypatch: pytest.MonkeyPatch, error: BaseException | None
    ) -> None:
        class Terminal(io.StringIO):
            def write(self, _: str) -> NoReturn:
                assert error is not None
                raise error

        handle(lambda _: fail(ValueError()))
        monkeypatch.setattr("sys.stderr", None if error is None else Terminal())
        log(logging.ERROR, "first")

    def test_an_interrupt_while_it_prints_is_the_programs(
        self, handle: Handle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Terminal(io.StringIO):
            def write(self, _: str) -> NoReturn:
                raise KeyboardInterrupt

        handle(lambda _: fail(ValueError()))
        monkeypatch.setattr("sys.stderr", Terminal())
        with pytest.raises(KeyboardInterrupt):
            log(logging.ERROR, "first")


def find_unguarded(tree: ast.Module) -> Iterator[int]:
    """The lines that log, or show an exception that may be of the user's class, and are not guarded."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (
                node.value.id == "logger"
                or (node.value.id, node.attr) == ("logging", "getLogger")
                or node.value.id == "traceback"
            ):
                yield node.lineno
        elif isinstance(node, ast.ExceptHandler) and node.name is not None and _can_be_users(node.type):
            yield from _find_shown(node, node.name)


def _can_be_users(kind: ast.expr | None) -> bool:
    """Whether an except clause catches classes that users derive their exceptions from."""
    return kind is None or any(isinstance(node, ast.Name) and node.id in USERS for node in ast.walk(kind))


def _find_shown(handler: ast.ExceptHandler, name: str) -> Iterator[int]:
    for node in ast.walk(handler):
        is_text = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr")
        is_name = isinstance(node, ast.Attribute) and node.attr in ("__name__", "__qualname__")
        if is_text or is_name or isinstance(node, ast.FormattedValue):
            arguments = node.args if isinstance(node, ast.Call) else [node.value]  # type: ignore[attr-defined]
            for argument in arguments:
                shown = argument.args[0] if is_name and isinstance(argument, ast.Call) else argument
                if isinstance(shown, ast.Name) and shown.id == name:
                    yield node.lineno  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("logger.error('x')\nlogging.getLogger('x')\ntraceback.print_exc()", [1, 2, 3]),
        ("try:\n    pass\nexcept Exception as error:\n    f'{error!r}'\n    str(error)\n    repr(error)", [4, 5, 6]),
        ("try:\n    pass\nexcept (TypeError, ValueError) as error:\n    type(error).__name__", [4]),
        ("try:\n    pass\nexcept LinkClosed as closed:\n    f'{closed}'", []),
        ("try:\n    pass\nexcept ValueError as error:\n    text_of(error)\n    f'{text_of(error)}'", []),
    ],
)
def test_the_search_for_what_is_not_guarded_finds_it(code: str, lines: list[int]) -> None:
    assert sorted(find_unguarded(ast.parse(code))) == lines


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_logged_or_shown_unguarded_where_users_code_may_have_raised(folder: str) -> None:
    found = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for line in find_unguarded(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()

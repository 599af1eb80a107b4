"""What users see of an error: their own line and the words, and none of the library's frames."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import jchannel
import jchannel.sync
import jchannel.testing
import jchannel.trio
from jchannel._streams.reader import MetaGenerator
from jchannel._tracebacks import trim
from jchannel.errors import ClosedError, FrontendError
from jchannel.testing import AsyncioKit, JavaScriptError, SyncKit
from tests.conftest import FreshPython

CODE = """(channel) => {
    channel.handler = {
        draw: (x) => x.foo.bar,
    };
}"""

STACK = """TypeError: no bar
    at Object.draw (jchannel-channel-1.js:3:28)
    at Reflect.apply (<anonymous>)
    at http://localhost:8889/jchannel/inject.js:3:1234"""

NOTE = """\
JavaScript, the innermost call first:
  jchannel-channel-1.js:3:28, in draw
    draw: (x) => x.foo.bar,
                       ^"""

ERROR = JavaScriptError("TypeError", "no bar", STACK)


@contextmanager
def raises(kind: type[BaseException], *files: str) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    """Expects an error whose traceback leads through these files, after this test's own line."""
    with pytest.raises(kind) as caught:
        yield caught
    names = [Path(entry.filename).name for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert names == ["test_tracebacks.py", "test_tracebacks.py", *files]  # The first one is the `yield` above.


# The three faces


async def test_errors_of_the_trio_face_end_in_the_users_line() -> None:
    async with jchannel.testing.open_pair(code=CODE) as (channel, page):
        page.fail("draw", ERROR)
        page.hang("hang")
        with raises(FrontendError) as caught:
            await channel.call("draw", 5)
        assert caught.value.__notes__ == [NOTE]
        with raises(trio.TooSlowError):
            await channel.call("hang", timeout=0)
        await channel.close()
        with raises(ClosedError):
            await channel.echo(5)


async def test_errors_of_opening_in_trio_end_in_the_users_line() -> None:
    def refuse(*_: object) -> None:
        raise ERROR

    async with jchannel.testing.open_server() as server, jchannel.testing.open_page(server, on_open=refuse):
        with raises(FrontendError) as caught:
            async with server.open_channel(CODE):
                pass
        assert caught.value.__notes__ == [NOTE]
        with raises(ValueError, "test_tracebacks.py"):
            async with server.hold_channel(CODE):
                _raise()


def _raise() -> None:
    raise ValueError("the user's own")


def test_errors_of_the_asyncio_facade_end_in_the_users_line() -> None:
    async def program() -> None:
        async with AsyncioKit() as kit:
            channel, page = await kit.open_pair(code=CODE)
            page.fail("draw", ERROR)
            with raises(FrontendError) as caught:
                await channel.call("draw", 5)
            assert caught.value.__notes__ == [NOTE]
            await channel.close()
            with raises(ClosedError):
                await channel.call("draw")
            await page.close()
            with raises(TimeoutError) as late:
                await kit.server.wait_page(0)
            assert late.value.__suppress_context__

    asyncio.run(program())


def test_errors_of_the_blocking_facade_end_in_the_users_line() -> None:
    with SyncKit() as kit:
        channel, page = kit.open_pair(code=CODE)
        page.fail("draw", ERROR)
        with raises(FrontendError) as caught:
            channel.call("draw", 5)
        assert caught.value.__notes__ == [NOTE]
        channel.close()
        with raises(ClosedError):
            channel.call("draw")


def test_what_is_refused_ends_in_the_line_that_refuses_it() -> None:
    with SyncKit() as kit:
        channel, _ = kit.open_pair()
        with raises(ValueError, "values.py"):
            channel.call("draw", float("nan"))
    with raises(RuntimeError, "call.py"):
        jchannel.Server().stop()  # No loop is running.


# Streams


async def test_errors_of_reading_a_stream_end_in_the_users_line() -> None:
    async def fail() -> bytes:
        await trio.lowlevel.checkpoint()
        raise FrontendError("exception", "TypeError", "no")

    def stream() -> Any:
        return MetaGenerator(fail, _do_nothing, run_sync=trio.to_thread.run_sync)

    with raises(FrontendError, "test_tracebacks.py"):
        await stream().join()
    with raises(FrontendError, "test_tracebacks.py"):
        async for _ in stream():
            pass
    with raises(FrontendError, "test_tracebacks.py"):
        async for _ in stream().lines():
            pass
    with raises(FrontendError, "test_tracebacks.py"):
        async for _ in stream().batches_by_separator("\n"):
            pass


async def _do_nothing() -> None:
    await trio.lowlevel.checkpoint()


# Alone


def fail_in(module: Any, error: Exception) -> Exception:
    """An error that has come through a frame of a module, as its traceback has it."""
    namespace: dict[str, Any] = {"__name__": module, "error": error}
    exec("def fail():\n    raise error", namespace)  # noqa: S102 (a frame with a module's name)
    with pytest.raises(type(error)):
        namespace["fail"]()
    return error


@pytest.mark.parametrize("module", ["jchannel._core.request", "jchannel", "outcome._impl", "trio._core._run"])
def test_frames_of_the_library_and_of_what_it_passes_are_taken_out(module: str) -> None:
    error = fail_in(module, ClosedError("closed"))
    trim(error)
    assert len(traceback.extract_tb(error.__traceback__)) == 1


@pytest.mark.parametrize("module", ["jchannel_of_mine", "program", 5, None])
def test_frames_of_others_stay(module: Any) -> None:
    error = fail_in(module, ClosedError("closed"))
    trim(error)
    assert len(traceback.extract_tb(error.__traceback__)) == 2


def test_of_what_is_refused_the_last_frame_stays() -> None:
    error = fail_in("jchannel", ValueError("no"))
    trim(error)
    assert len(traceback.extract_tb(error.__traceback__)) == 2


def test_what_shows_a_fault_of_the_library_keeps_all_frames() -> None:
    error = fail_in("jchannel", KeyError("no"))
    error = fail_in("outcome", error)
    trim(error)
    assert len(traceback.extract_tb(error.__traceback__)) == 4


def test_an_error_without_a_traceback_stays_without() -> None:
    error = ClosedError("closed")
    trim(error)
    assert error.__traceback__ is None


# In IPython and pytest

IPYTHON = f"""
from IPython.core.interactiveshell import InteractiveShell
import jchannel.testing
from jchannel.testing import JavaScriptError

shell = InteractiveShell.instance(colors="nocolor")
shell.run_cell("1")  # Whatever IPython says first.
with jchannel.testing.SyncKit() as kit:
    channel, page = kit.open_pair(code={CODE!r})
    page.fail("draw", JavaScriptError("TypeError", "no bar", {STACK!r}))
    shell.push({{"channel": channel}})
    shell.run_cell("value = 5\\nchannel.call('draw', value)")
    shell.run_cell("channel.close()\\nchannel.call('draw', value)")
"""


def test_ipython_shows_the_users_line_and_the_line_of_javascript(fresh_python: FreshPython) -> None:
    shown = fresh_python(IPYTHON)
    first, second = shown.split("FrontendError", 1)[1].split("ClosedError", 1)
    assert "----> 2 channel.call('draw', value)" in first
    assert NOTE in first
    assert "----> 2 channel.call('draw', value)" in second
    for report in (first, second):
        assert len(report.splitlines()) < 14
        assert "jchannel/" not in report
        assert ".py" not in report


def test_pytest_shows_the_users_line_and_the_line_of_javascript() -> None:
    def user_test() -> None:
        channel.call("draw", 5)

    with SyncKit() as kit:
        channel, page = kit.open_pair(code=CODE)
        page.fail("draw", ERROR)
        with pytest.raises(FrontendError) as caught:
            user_test()
    shown = str(caught.getrepr(style="long"))
    assert 'channel.call("draw", 5)' in shown
    assert "FrontendError: TypeError: no bar" in shown
    assert "draw: (x) => x.foo.bar," in shown
    assert ".venv" not in shown
    assert "jchannel/sync.py" not in shown


def test_an_interrupt_ends_in_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with SyncKit() as kit:
        channel, _ = kit.open_pair(code=CODE)
        monkeypatch.setattr(jchannel.sync, "wait_blocking", interrupt)
        with raises(KeyboardInterrupt, "test_tracebacks.py"):
            channel.call("draw", 5)
        monkeypatch.undo()

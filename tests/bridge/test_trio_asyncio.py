"""The asyncio facade in a trio-asyncio loop."""

import importlib.util

import pytest

from tests.conftest import FreshPython

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("trio_asyncio") is None, reason="trio-asyncio does not import on Python 3.14 and later"
)


@pytest.mark.parametrize(
    "program",
    [
        "calls_stay_in_the_thread",
        "contexts_work",
        "handler_methods_run_in_asyncio",
        "cancelling_the_task_cancels_the_call",
        "cancelling_trio_cancels_the_task",
        "the_server_ends_with_its_loop",
        "other_threads_can_call",
        "a_call_of_another_thread_hears_that_the_loop_has_ended",
        "streams_stay_in_the_thread",
        "a_task_that_nobody_keeps_is_kept",
        "a_failed_task_that_nobody_awaits_is_logged_and_does_not_end_the_loop",
        "methods_in_the_background_run_in_a_thread_or_in_trio",
        "a_source_ends_with_its_loop",
        "plain_asyncio_goes_through_the_thread",
    ],
)
def test_in_a_trio_asyncio_loop(program: str, fresh_python: FreshPython) -> None:
    fresh_python(f"from tests.bridge import trio_asyncio_programs as programs; programs.{program}()")

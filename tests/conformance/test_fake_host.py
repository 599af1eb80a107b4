"""A session over the messages of a widget, in hosts with every quirk: what works, and how the rest ends."""

from __future__ import annotations

import pytest

from tests.conformance import checks
from tests.conformance.checks import CANNOT
from tests.conformance.host import TIMEOUT, DeafHost, FakeHost, Quirks
from tests.conformance.outcomes import Outcomes
from tests.conformance.suite import come_and_go, conform, note_checks

QUIRKS = {
    "nothing": Quirks(),
    "a page gets `Uint8Array`s": Quirks(page_buffers="Uint8Array"),
    "a page gets parts of larger `Uint8Array`s": Quirks(page_buffers="part"),
    "a page gets `ArrayBuffer`s of another window": Quirks(page_buffers="foreign"),
    "both sides get Base64": Quirks(page_buffers="base64", kernel_buffers="base64"),
    "messages above 5 MB vanish": Quirks(most_bytes=5_000_000),
    "messages above 1,000 a second vanish": Quirks(most_per_second=1_000),
    "the kernel hears nothing while a cell computes": Quirks(deaf="computing"),
    "a page hears nothing of a restart": Quirks(silent_restart=True),
}


@pytest.mark.parametrize("name", QUIRKS)
def test_a_session_runs_whatever_the_host_does(name: str, monkeypatch: pytest.MonkeyPatch, outcomes: Outcomes) -> None:
    with FakeHost(name, monkeypatch, QUIRKS[name]) as host:
        conform(host, outcomes)


def connect(host: FakeHost) -> None:
    """Run the first two cells, and wait until the channel is open, which ``channel`` holds."""
    host.run(0)
    host.run(1)
    host.expect_connected()
    host.await_between_cells("opening")
    host.execute("channel = opening.result()")


@pytest.mark.parametrize("direction", ["to_page", "to_kernel"])
@pytest.mark.parametrize(
    ("name", "fault"), [("a message vanishes", "lose_next"), ("a message is overtaken", "delay_next")]
)
def test_a_call_whose_message_does_not_come_in_its_turn_ends_in_words_and_the_page_comes_back(
    name: str, fault: str, direction: str, monkeypatch: pytest.MonkeyPatch, outcomes: Outcomes
) -> None:
    with FakeHost(name, monkeypatch, Quirks()) as host:
        connect(host)
        happened = getattr(getattr(host, direction), fault)()
        host.execute("first = channel.call('add', 1, 2, timeout=30)")
        assert happened.wait(TIMEOUT)
        host.execute("second = channel.call('add', 3, 4, timeout=30)")

        outcomes.note(name, "a call each way", host.execute("print(await checks.outcome_of(first))"))

        host.page.skip(3)
        host.expect_connected()
        others = set(checks.CHECKS) - {"a call each way"}
        note_checks(name, host.execute(f"print(await checks.run_checks(opening, handler, names={others}))"), outcomes)
        come_and_go(host, outcomes)


def test_where_a_kernel_hears_nothing_while_any_cell_runs_a_session_runs_in_tasks_that_outlive_their_cells(
    monkeypatch: pytest.MonkeyPatch, outcomes: Outcomes
) -> None:
    with DeafHost("the kernel hears nothing while a cell runs", monkeypatch, Quirks(deaf="cell")) as host:
        conform(host, outcomes)


def test_a_cell_that_awaits_what_a_kernel_hands_over_between_cells_is_told_where_to_await_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeHost("the kernel hears nothing while a cell runs", monkeypatch, Quirks(deaf="cell")) as host:
        connect(host)

        outcome = host.execute("print(await checks.outcome_of(channel.call('add', 2, 3, timeout=0.1)))")

    assert outcome.startswith(f"{CANNOT}TimeoutError: ")
    assert "await it in a task that outlives its cell" in outcome


def test_a_page_that_hears_nothing_of_a_restart_finds_out_by_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHost("a page hears nothing of a restart", monkeypatch, Quirks(silent_restart=True)) as host:
        connect(host)

        host.restart()

        host.page.skip(300)
        host.page.wait_line(0, "the kernel behind this output is not running any more")

"""A session over the messages of a widget, in hosts with every quirk: what works, and how the rest ends."""

from __future__ import annotations

import pytest

from tests.conformance.host import FakeHost, Quirks
from tests.conformance.outcomes import Outcomes
from tests.conformance.suite import conform

QUIRKS = {
    "nothing": Quirks(),
    "a page gets `Uint8Array`s": Quirks(page_buffers="Uint8Array"),
    "a page gets parts of larger `Uint8Array`s": Quirks(page_buffers="part"),
    "a page gets `ArrayBuffer`s of another window": Quirks(page_buffers="foreign"),
    "both sides get Base64": Quirks(page_buffers="base64", kernel_buffers="base64"),
    "messages above 5 MB vanish": Quirks(most_bytes=5_000_000),
    "messages above 1,000 a second vanish": Quirks(most_per_second=1_000),
    "a page hears nothing of a restart": Quirks(silent_restart=True),
}


@pytest.mark.parametrize("name", QUIRKS)
def test_a_session_runs_whatever_the_host_does(name: str, monkeypatch: pytest.MonkeyPatch, outcomes: Outcomes) -> None:
    with FakeHost(name, monkeypatch, QUIRKS[name]) as host:
        conform(host, outcomes)

"""The programs of load and soak work, with little of everything. Their figures are in docs/reliability.md."""

from benchmarks import load, soak


async def test_load_has_everything_under_way_at_once_and_leaves_nothing() -> None:
    rows = await load.run(calls=50, handlers=10, streams=5, strangers=10)
    assert [row.what.split()[0] for row in rows] == ["50", "50", "10", "5", "5", "10"]
    for row in rows:
        assert row.after.descriptors <= row.before.descriptors, row
    assert "a page came in" in rows[-1].note


async def test_soak_does_something_of_each_kind() -> None:
    soaked = await soak.run(0.5, browser=False, least=frozenset({"peers", "call", "cancel", "send"}))
    (_, start), *_, (_, end) = soaked.looks
    assert (end.tasks, end.descriptors) == (start.tasks, start.descriptors)

"""What the panels of the core's servers and channels say."""

import re

import trio
import trio.testing

from jchannel._notebook.figures import describe_channel
from jchannel._protocol.messages import Hello, Open, Welcome
from jchannel.trio import CallTotals, Channel, ChannelStatistics, Server
from tests.core.memory import open_memory_server

TIME = "as of [^<]*"


def say(thing: Server | Channel) -> tuple[str, str, dict[str, str]]:
    panel = thing._panel.panel()
    return panel.state, panel.mood, {figure.name: figure.value for figure in panel.figures}


async def test_a_server_s_panel_says_what_its_statistics_do(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server(heartbeat=1000) as memory:
        server = memory.server
        assert say(server) == (
            "no page connected",
            "busy",
            {
                "connected": "\N{EN DASH}",
                "door": "\N{EN DASH}",
                "round-trip": "\N{EN DASH}",
                "channels": "0",
                "under-way": "nothing",
                "calls-made": "0",
                "calls-served": "0",
                "sent": "0 B",
                "received": "0 B",
            },
        )
        async with memory.open_page() as page, trio.open_nursery() as nursery:
            nursery.start_soon(page.receive)  # It answers beats.
            await trio.sleep(65)
            state, mood, figures = say(server)
            assert (state, mood) == ("page connected", "good")
            assert (figures["connected"], figures["round-trip"]) == ("1 min 5 s", "0.0 ms")
            assert figures["sent"] != "0 B"
            nursery.cancel_scope.cancel()
        for hello, door in [(Hello("a", None, "port"), "port"), (Hello("b", None, "comm", "no port"), "comm: no port")]:
            async with memory.open_page(hello=False) as page:
                await page.send(hello)
                await page.expect(Welcome)
                assert say(server)[2]["door"] == door
    assert say(server)[:2] == ("stopped", "off")


async def test_a_channel_s_panel_says_whether_it_is_open(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        assert say(channel)[:2] == ("closed", "off")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.open, None)
            await trio.testing.wait_all_tasks_blocked()
            assert say(channel)[:2] == ("waits for a page", "busy")
            async with memory.open_page() as page:
                await page.expect(Open)
                assert say(channel)[:2] == ("being opened", "busy")
            nursery.cancel_scope.cancel()
        async with memory.open_peer(), memory.server.open_channel("code") as opened:
            await opened.echo(1)
            assert say(opened) == (
                "open",
                "good",
                {"under-way": "nothing", "calls-made": "1", "calls-served": "0", "sent": "0 B", "received": "0 B"},
            )


def test_what_is_under_way_and_what_went_wrong_is_counted_in_words() -> None:
    statistics = ChannelStatistics(
        waiting_requests=1000,
        pending_requests=200,
        running_requests=34,
        outgoing_streams=1,
        incoming_streams=0,
        calls_made=CallTotals(1, 2, 3000),
        calls_served=CallTotals(1, 0, 0),
        stream_bytes_sent=2048,
        stream_bytes_received=1,
    )

    panel = describe_channel("http://x", statistics, "open", "good")

    assert [figure.value for figure in panel.figures] == [
        "1,234 calls, 1 stream",
        "3,003, 2 failed, 3,000 cancelled",
        "1",
        "2.0 KiB",
        "1 B",
    ]


async def test_ipython_gets_the_repr_and_a_panel_without_the_token(autojump_clock: trio.testing.MockClock) -> None:
    async with open_memory_server() as memory, memory.server.hold_channel("code") as channel:
        server = memory.server
        for thing in (server, channel):
            bundle = thing._repr_mimebundle_(include=None, exclude=None)
            assert bundle["text/plain"] == repr(thing)
            again = thing._repr_mimebundle_()["text/html"]
            assert re.sub(TIME, "", bundle["text/html"]) == re.sub(TIME, "", again)
            assert server.token not in "".join(bundle.values())
            assert server._assembly.desk.server_id in bundle["text/html"]

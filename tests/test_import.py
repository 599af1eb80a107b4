"""What importing and using jchannel loads."""

import pytest

import jchannel
import jchannel.channel
import jchannel.server
from tests.conftest import FreshPython


def test_importing_loads_nothing_heavy(fresh_python: FreshPython) -> None:
    program = """
import sys
import jchannel
print(sorted({"asyncio", "h11", "trio", "trio_asyncio", "trio_websocket"} & sys.modules.keys()))
"""
    assert fresh_python(program) == "[]\n"


def test_plain_asyncio_never_loads_trio_asyncio(fresh_python: FreshPython) -> None:
    program = """
import asyncio, sys
import jchannel
from tests.peer_thread import PeerThread

async def main():
    async with await jchannel.start(port=0) as server:
        with PeerThread(server.page_url):
            async with await server.open("() => {}") as channel:
                print(await channel.call("add", 2, 3))

asyncio.run(main())
print("trio_asyncio" in sys.modules)
"""
    assert fresh_python(program) == "5\nFalse\n"


def test_names_are_loaded_when_they_are_first_used(fresh_python: FreshPython) -> None:
    program = """
import sys
import jchannel
print(jchannel.Server.__module__, jchannel.Channel.__module__, jchannel.start.__module__, jchannel.Limits.__module__)
print(jchannel.MetaGenerator.__module__, jchannel.tqdm_progress.__module__, "tqdm" in sys.modules)
print(jchannel.sync.__name__, jchannel.types.__name__, jchannel.trio.__name__)
"""
    assert fresh_python(program).splitlines() == [
        "jchannel.server jchannel.channel jchannel.server jchannel._core.limits",
        "jchannel._streams.reader jchannel._streams.progress False",
        "jchannel.sync jchannel.types jchannel.trio",
    ]


def test_a_name_is_the_same_wherever_it_is_taken_from() -> None:
    assert jchannel.Server is jchannel.server.Server
    assert jchannel.Channel is jchannel.channel.Channel
    assert jchannel.start is jchannel.server.start


def test_all_public_names_are_listed() -> None:
    assert set(jchannel.__all__) <= set(dir(jchannel))
    assert "sync" in dir(jchannel)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'jchannel' has no attribute 'missing'"):
        _ = jchannel.missing

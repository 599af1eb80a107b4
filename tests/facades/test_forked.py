"""A forked process: it holds no socket of its parent, and hears that what it has is not its own."""

import os
import socket
import ssl
import weakref

import pytest
import trio
import trio.testing
import trustme

from jchannel._core import forked
from jchannel._core.forked import FORKED, close_when_forked
from jchannel.errors import ClosedError
from jchannel.trio import open_peer, open_server
from tests.conftest import FreshPython
from tests.core.memory import open_memory_server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")

COMMON = """
import asyncio, contextlib, multiprocessing, os, socket, subprocess, sys, warnings
import jchannel, jchannel.sync, jchannel.trio, trio
warnings.simplefilter("ignore")

def port_of(server):
    return int(server.url.rpartition(":")[2])

def look(port):
    "Whether a port is free, and whether somebody accepts connections on it."
    with contextlib.closing(socket.socket()) as probe:
        accepts = probe.connect_ex(("127.0.0.1", port)) == 0
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return "taken", accepts
    return "free", accepts

class Child:
    "A forked process that lives until it is told to end."
    def __init__(self, program=None):
        self.end, ended = os.pipe()[::-1]
        self.read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self.end)
            os.write(write, b"x")
            if program is not None:
                program()
            os.read(ended, 1)
            os._exit(0)
        os.close(ended)
        os.read(self.read, 1)
    def stop(self):
        os.close(self.end)
        assert os.waitpid(self.pid, 0)[1] == 0
"""

FACES = {
    "asyncio": """
async def main():
    server = await jchannel.start("127.0.0.1", 0)
    port, child = port_of(server), Child()
    print(*look(port))
    await server.stop()
    print(*look(port))
    child.stop()
asyncio.run(main())
""",
    "sync": """
server = jchannel.sync.start("127.0.0.1", 0)
port, child = port_of(server), Child()
print(*look(port))
server.stop()
print(*look(port))
child.stop()
""",
    "trio": """
async def main():
    async with jchannel.trio.open_server("127.0.0.1", 0) as server:
        port, child = port_of(server), Child()
        print(*look(port))
    print(*look(port))
    child.stop()
trio.run(main)
""",
    "multiprocessing": """
server = jchannel.sync.start("127.0.0.1", 0)
port = port_of(server)
context = multiprocessing.get_context("fork")
ready, end = context.Event(), context.Event()
def work():
    ready.set()
    end.wait()
process = context.Process(target=work)
process.start()
ready.wait()
print(*look(port))
server.stop()
print(*look(port))
end.set()
process.join()
""",
    "subprocess": """
server = jchannel.sync.start("127.0.0.1", 0)
port = port_of(server)
process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
print(*look(port))
server.stop()
print(*look(port))
process.communicate(b"x")
""",
}


def test_the_port_is_free_when_the_server_was_stopped_while_its_child_lives(fresh_python: FreshPython) -> None:
    program = COMMON + "".join(f"print({face!r}, flush=True)\n{code}" for face, code in FACES.items())
    lines = fresh_python(program).splitlines()
    assert [tuple(lines[at : at + 3]) for at in range(0, len(lines), 3)] == [
        (face, "taken True", "free False") for face in FACES
    ]


def test_a_page_hears_at_once_that_its_connection_was_closed_while_a_child_lives(fresh_python: FreshPython) -> None:
    program = """
server = jchannel.sync.start("127.0.0.1", 0)
page = socket.create_connection(("127.0.0.1", port_of(server)), timeout=20)
page.sendall(b"HEAD / HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n")
print(page.recv(15))
child = Child()
server.stop()
while page.recv(1000):
    pass
print("closed")
child.stop()
"""
    assert fresh_python(COMMON + program).splitlines() == ["b'HTTP/1.1 200 \\r\\n'", "closed"]


@pytest.mark.parametrize("face", ["asyncio", "sync"])
def test_a_child_of_a_facade_hears_whose_server_it_has(fresh_python: FreshPython, face: str) -> None:
    program = """
from tests.peer_thread import PeerThread
server = jchannel.sync.start("127.0.0.1", 0)
with PeerThread(server.page_url):
    channel = server.open("(channel) => {}")
    def use():
        for ask in (server.wait_page, lambda: channel.call("add", 1, 2), lambda: channel.echo(1),
                    lambda: server.open("code"), lambda: server.move_to_newest_page()):
            try:
                ask()
            except jchannel.StateError as error:
                print(error, flush=True)
        channel.close()
        server.stop()
        server.start()
        print("started", port_of(server) != port, flush=True)
        server.stop()
    port = port_of(server)
    child = Child(use)
    assert channel.echo(1) == [1]
    child.stop()
    assert channel.echo(2) == [2]
    channel.close()
server.stop()
"""
    if face == "asyncio":
        program = """
from tests.peer_thread import PeerThread
async def main():
    server = await jchannel.start("127.0.0.1", 0)
    port = port_of(server)
    with PeerThread(server.page_url):
        channel = await server.open("(channel) => {}")
        def use():
            # The loop of the parent is not the child's to go on with.
            asyncio.events._set_running_loop(None)
            async def use_all():
                for ask in (server.wait_page, lambda: channel.call("add", 1, 2), lambda: channel.echo(1),
                            lambda: server.open("code"), server.move_to_newest_page):
                    try:
                        await ask()
                    except jchannel.StateError as error:
                        print(error, flush=True)
                await channel.close()
                await server.stop()
                await server.start()
                print("started", port_of(server) != port, flush=True)
                await server.stop()
            asyncio.new_event_loop().run_until_complete(use_all())
        child = Child(use)
        assert await channel.echo(1) == [1]
        child.stop()
        assert await channel.echo(2) == [2]
        await channel.close()
    await server.stop()
asyncio.run(main())
"""
    assert fresh_python(COMMON + program).splitlines() == [FORKED] * 5 + ["started True"]


async def test_in_trio_a_child_hears_whose_server_it_has() -> None:
    # What happens in a forked process, which coverage does not see.
    async with open_memory_server() as memory, memory.open_peer() as peer:
        async with memory.server.open_channel("code") as channel:
            memory.server._core.disown()
            for ask in (
                lambda: channel.call("add", 1),
                lambda: channel.echo(1),
                lambda: channel.pipe(b"1"),
                channel.open,
                memory.server.wait_page,
                memory.server.move_to_newest_page,
            ):
                with pytest.raises(ClosedError, match=f"^{FORKED}$"):
                    await ask()
            assert not channel.is_open
            assert "closed" in repr(memory.server)
        assert peer.connected


async def test_a_child_closes_its_copies_of_sockets_below_tls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "_sockets", weakref.WeakSet())
    monkeypatch.setattr(forked, "_servers", weakref.WeakSet())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()
    stream = await trio.open_tcp_stream(*address)
    near, far = trio.testing.memory_stream_pair()
    for resource in (
        trio.SSLListener(listener, context),
        trio.SSLStream(stream, context, server_side=True),
        trio.SSLStream(near, context, server_side=True),
        far,
    ):
        close_when_forked(resource)
    closed = await trio.open_tcp_stream(*address)
    close_when_forked(closed)
    await closed.aclose()
    forked._let_go()
    assert [listener.socket.fileno(), stream.socket.fileno()] == [-1, -1]
    with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
        probe.connect(address)


async def test_the_connections_of_a_peer_are_closed_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forked, "_servers", weakref.WeakSet())
    async with open_server("127.0.0.1", 0) as server:
        monkeypatch.setattr(forked, "_sockets", weakref.WeakSet())
        async with open_peer(server.page_url) as peer:
            of_peer = [one for one in forked._sockets if f":{one.getpeername()[1]}" in server.url]
            assert len(of_peer) == 1
            forked._let_go()
            await peer.wait_ended()
            assert "the connection to the server was lost" in peer.why_ended

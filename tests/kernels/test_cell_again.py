"""A cell that is run again in a real ipykernel: what piles up, and what is said."""

from tests.kernels.kernel import Kernel

COUNT = """
import gc, os, pathlib, warnings
from jchannel._bridge.call import wait_in_loop
from jchannel._bridge.jobs import TaskJob
from jchannel._core.server import Server, ServerState

def count():
    '''The servers that are open, the sockets that listen, and the descriptors.'''
    gc.collect()
    servers = [thing for thing in gc.get_objects() if type(thing) is Server and thing._state is ServerState.OPEN]
    links = [path.readlink() for path in pathlib.Path("/proc/self/fd").iterdir() if path.is_symlink()]
    tables = [pathlib.Path("/proc/net", name).read_text() for name in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table.splitlines()]
    listening = {f"socket:[{line[9]}]" for line in lines if line[3] == "0A"}
    return len(servers), sum(str(link) in listening for link in links), len(links)

def piled_up():
    '''How much more there is than before. A descriptor or two come and go with threads and logs.'''
    servers, listeners, descriptors = (now - then for now, then in zip(count(), before))
    return servers, listeners, max(descriptors, 0) // 5
"""


def test_ten_runs_of_a_cell_leave_one_server(kernel: Kernel) -> None:
    kernel.run(COUNT)
    cells = [kernel.run("again = await jchannel.start(port=0)")]
    kernel.run("first, before = again, count()")
    cells += [kernel.run("again = await jchannel.start(port=0)") for _ in range(9)]
    assert kernel.run("again is first, piled_up()").text == "(True, (0, 0, 0))"
    said = "given again with its page and its channels"
    assert [any(said in text for text in cell.shown) for cell in cells] == [False] + 9 * [True]
    kernel.run("await again.stop()")


def test_ten_servers_that_cells_drop_are_stopped(kernel: Kernel) -> None:
    kernel.run(COUNT)
    start = """
with warnings.catch_warnings():
    warnings.simplefilter("always")
    dropped = await jchannel.start(port=0)
"""
    cells = [kernel.run(start), kernel.run("before, owners = count(), []")]
    # Each cell has another text, so that none is given the server of the one before it.
    cells += [kernel.run(f"owners.append(dropped._handle._owner)\n{start}# {number}") for number in range(9)]
    ended = kernel.run("""
for owner in owners:
    await wait_in_loop(TaskJob(channel._handle.portal, owner.wait_closed))
print(*piled_up())
await dropped.stop()
""")
    assert ended.text == "0 0 0\n"
    assert sum(cell.text.count("a jchannel server was dropped without being stopped") for cell in cells) == 9

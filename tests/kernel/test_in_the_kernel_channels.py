"""The facades in the trio kernel. The page is a Python peer in a thread of the kernel's process."""

from collections.abc import Iterator

import pytest

from tests.conftest import CHECKOUT
from tests.kernel.kernel_process import WHEN_ALL_WAIT, Kernel

OPEN = f"""
import sys
sys.path.append({str(CHECKOUT)!r})
import jchannel
from tests.peer_thread import PeerThread
server = await jchannel.start(port=0)
peer = PeerThread(server.page_url)
await trio.to_thread.run_sync(peer.__enter__)
channel = await server.open("() => {{}}", timeout=None)"""

CLOSE = """
await trio.to_thread.run_sync(peer.leave)
await server.stop()"""


@pytest.fixture
def page(kernel: Kernel) -> Iterator[Kernel]:
    """The kernel, with a server, a page and a channel."""
    assert kernel.run(OPEN).error == ""
    yield kernel
    assert kernel.run(CLOSE).error == ""


def test_calls_are_awaited_and_trio_has_no_thread_of_its_own(page: Kernel) -> None:
    ran = page.run("""
print(await channel.call("add", 2, 3))
"jchannel trio" in {thread.name for thread in threading.enumerate()}""")
    assert (ran.error, ran.printed, ran.value) == ("", "5\n", "False")


def test_a_call_leaves_a_cell_that_does_not_await_it(page: Kernel) -> None:
    page.run('task = channel.call("add", 2, 3)')
    assert page.run("await task").value == "5"


def test_handler_methods_await_asyncio(page: Kernel) -> None:
    ran = page.run("""
class Handler:
    async def double(self, value):
        await asyncio.sleep(0)
        return 2 * value
channel.handler = Handler()
await trio.to_thread.run_sync(peer.call, "double", 21)""")
    assert (ran.error, ran.value) == ("", "42")


@pytest.mark.parametrize(
    "cancel",
    [
        "task.cancel()\nawait asyncio.wait([task])",
        "with trio.CancelScope() as scope:\n    scope.cancel()\n    await task",
    ],
)
def test_cancelling_the_task_cancels_the_call_in_the_page(page: Kernel, cancel: str) -> None:
    ran = page.run(f"""
task = channel.call("hang", timeout=None)
await trio.to_thread.run_sync(peer.page.hanging.wait)
{cancel}
await trio.to_thread.run_sync(peer.page.ended.wait)
task.cancelled()""")
    assert (ran.error, ran.value) == ("", "True")


def test_an_interrupt_cancels_the_call_in_the_page(page: Kernel) -> None:
    ran = page.interrupt(f"""
task = channel.call("hang", timeout=None)
await trio.to_thread.run_sync(peer.page.hanging.wait)
{WHEN_ALL_WAIT}
await task""")
    assert ran.error == "KeyboardInterrupt: "
    assert page.run("await trio.to_thread.run_sync(peer.page.ended.wait)").value == "True"


def test_streams_come_back(page: Kernel) -> None:
    ran = page.run("""
async def source():
    for number in range(3):
        await asyncio.sleep(0)
        yield bytes([65 + number])
async with await channel.pipe(source()) as chunks:
    heard = await chunks.join()
heard""")
    assert (ran.error, ran.value) == ("", "b'ABC'")


def test_tasks_of_the_nursery_call_with_an_adapter(page: Kernel) -> None:
    ran = page.run("""
results = []
async def call():
    results.append(await trio_asyncio.aio_as_trio(channel.call)("add", 2, 3))
async with trio.open_nursery() as mine:
    mine.start_soon(call)
results""")
    assert (ran.error, ran.value) == ("", "[5]")


def test_the_core_runs_beside_it(page: Kernel) -> None:
    ran = page.run("""
import jchannel.trio
async with jchannel.trio.open_server(port=0) as inner, jchannel.trio.open_peer(inner.page_url, peer.page):
    async with inner.open_channel("() => {}") as other:
        value = await other.call("add", 2, 3)
value""")
    assert (ran.error, ran.value) == ("", "5")


def test_the_blocking_calls_of_a_channel_of_the_kernels_loop_say_what_to_do(page: Kernel) -> None:
    ran = page.run('channel.sync.call("add", 2, 3)')
    assert ran.error.startswith("RuntimeError: this thread runs trio and would wait for itself: await the channel's")
    assert page.run('await trio.to_thread.run_sync(channel.sync.call, "add", 2, 3)').value == "5"


def test_the_blocking_facade_has_a_thread_and_works_in_a_busy_cell(kernel: Kernel) -> None:
    ran = kernel.run(f"""
import sys
sys.path.append({str(CHECKOUT)!r})
import jchannel.sync
from tests.peer_thread import PeerThread
with jchannel.sync.start(port=0) as server:
    peer = PeerThread(server.page_url)
    peer.__enter__()
    with server.open("() => {{}}", None) as channel:
        value = channel.call("add", 2, 3)
    # It uses trio's way out of a thread, which is not for trio's own thread.
    leaving = threading.Thread(target=peer.leave)
    leaving.start()
    leaving.join()
value""")
    assert (ran.error, ran.value) == ("", "5")

"""A channel in a real ipykernel, from cells that are busy."""

import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT
from tests.kernels.kernel import Kernel

BUSY = {
    "sleeping": "time.sleep(0.01)",
    "computing": "sum(number * number for number in range(1_000))",
}


@pytest.mark.parametrize("busy", BUSY)
def test_calls_of_a_busy_cell_arrive_in_order_while_it_is_busy(kernel: Kernel, busy: str) -> None:
    cell = kernel.run(f"""
peer.page.received.clear()
tasks = [channel.call("record", number) for number in range(100)]
end = time.monotonic() + TIMEOUT
while len(peer.page.received) < 100 and time.monotonic() < end:
    {BUSY[busy]}
print(peer.page.received == list(range(100)), any(task.done() for task in tasks))
""")
    assert cell.text == "True False\n"


def test_the_tasks_of_a_busy_cell_deliver_when_it_has_ended(kernel: Kernel) -> None:
    kernel.run("""
tasks = [channel.call("add", number, 1) for number in range(100)]
time.sleep(0.01)
""")
    assert kernel.run("await asyncio.gather(*tasks) == list(range(1, 101))").text == "True"


def test_failed_tasks_that_nobody_awaits_are_two_records_in_the_cell_that_made_them(kernel: Kernel) -> None:
    made = kernel.run("for _ in range(100): channel.call('fail')")
    kernel.run("while channel.statistics().calls_made.failed < 100: await channel.echo()")
    kernel.run("await channel.echo(); await asyncio.sleep(0)")
    kernel.run("import gc; gc.collect(); await asyncio.sleep(0)")
    kernel.run("from jchannel._core.failures import FAILURES; FAILURES.flush()")
    failed = "channel.call('fail') has failed"
    assert made.text.count(f"{failed}, and nobody has awaited it: FrontendError: LookupError: not in the page; ") == 1
    assert made.text.count(f"{failed} 99 times more since ") == 1
    assert made.text.count("for _ in range(100): channel.call('fail')") == 2
    assert kernel.strays == []


def test_a_failed_task_that_is_a_cells_result_is_logged_once_too(kernel: Kernel) -> None:
    kernel.run("from jchannel._core.failures import FAILURES; FAILURES.clear()")
    made = kernel.run("channel.call('fail')")
    kernel.run("await channel.echo(); await asyncio.sleep(0)")
    kernel.run("%reset -f out\nimport gc; gc.collect()")
    assert made.text.count("channel.call('fail') has failed, and nobody has awaited it") == 1


def test_a_task_that_is_awaited_or_cancelled_is_not_logged(kernel: Kernel) -> None:
    made = kernel.run("""
awaited, cancelled = channel.call("fail"), channel.call("hang", timeout=None)
cancelled.cancel()
""")
    kernel.run("""
try:
    await awaited
except jchannel.FrontendError:
    pass
await channel.echo()
del awaited, cancelled
""")
    kernel.run("import gc; gc.collect(); await asyncio.sleep(0)")
    assert "has failed, and nobody" not in made.text


def test_blocking_calls_wait_in_the_cell(kernel: Kernel) -> None:
    cell = kernel.run("""
for number in range(3):
    print(channel.sync.call("add", number, 1))
print(channel.sync.echo(b"bytes"), channel.sync.pipe(b"stream").join())
""")
    assert cell.text == "1\n2\n3\n[b'bytes'] b'stream'\n"


def test_interrupting_the_kernel_ends_the_wait_and_cancels_the_call(kernel: Kernel) -> None:
    cell = kernel.run(
        """
peer.page.hanging.clear(), peer.page.ended.clear()
threading.Thread(target=lambda: (peer.page.hanging.wait(TIMEOUT), print("hanging", flush=True))).start()
channel.sync.call("hang", timeout=None)
""",
        when=lambda cell: "hanging" in cell.text,
        do=kernel.interrupt,
    )
    assert cell.error == "KeyboardInterrupt"
    after = kernel.run("""
print(peer.page.ended.is_set(), channel.sync.call("add", 2, 3), await channel.call("add", 3, 4))
""")
    assert after.text == "True 5 7\n"


def test_a_page_that_needs_the_busy_kernel_is_an_error_that_says_so(kernel: Kernel) -> None:
    cell = kernel.run("""
class Handler:
    def value(self): return 7
    @jchannel.background
    def value_in_the_background(self): return 8

channel.handler = Handler()
print(channel.sync.call("ask", "value_in_the_background"))
try:
    channel.sync.call("ask", "value", timeout=1)
except TimeoutError as error:
    print(error)
print(await channel.call("ask", "value"))
""")
    first, words, last = cell.text.splitlines()
    assert (first, last) == ("[8]", "[7]")
    assert "the page called the handler's method 'value', which could not begin" in words


def test_a_stop_button_ends_a_cell_that_computes(kernel: Kernel) -> None:
    cell = kernel.run("""
class Handler:
    stopped = False
    def __init__(self): self.steps = 0
    @jchannel.background
    def stop(self): self.stopped = True
    @jchannel.background
    async def progress(self): return self.steps

channel.handler = handler = Handler()
def press():
    while peer.call("progress") < 1_000:
        pass
    peer.call("stop")
button = threading.Thread(target=press)
button.start()
end = time.monotonic() + TIMEOUT
while not handler.stopped and time.monotonic() < end:
    handler.steps += 1
button.join()
print(handler.stopped)
""")
    assert cell.text == "True\n"


def test_a_script_that_is_interrupted_goes_on() -> None:
    program = """
import threading
import jchannel.sync
from tests.peer_thread import TIMEOUT, PeerThread

with jchannel.sync.start(port=0) as server, PeerThread(server.page_url) as peer:
    with server.open("() => {}") as channel:
        def tell():
            peer.page.hanging.wait(TIMEOUT)
            print("hanging", flush=True)
        threading.Thread(target=tell).start()
        try:
            channel.call("hang", timeout=None)
        except KeyboardInterrupt:
            print(peer.page.ended.is_set(), channel.call("add", 2, 3))
"""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        process.send_signal(2)
        assert process.stdout.read() == "True 5\n"
    assert process.returncode == 0

"""The kernel's nursery."""

from tests.kernel.kernel_process import Kernel


def test_a_task_outlives_its_cell_and_prints_under_it(kernel: Kernel) -> None:
    sent = kernel.start("""
go = trio.Event()
async def background(word):
    await go.wait()
    print(word)
nursery.start_soon(background, "done", name="mine")
nursery""")
    assert kernel.finish(sent).value == "<jchannel.kernel.background.KernelNursery with 0 tasks>"
    assert kernel.run("await trio.sleep(0)\nnursery").value == "<jchannel.kernel.background.KernelNursery with 1 task>"
    kernel.start("go.set()")
    kernel.wait_printed(sent, "done")


def test_a_task_that_fails_shows_its_traceback_under_its_cell_and_ends_nothing(kernel: Kernel) -> None:
    sent = kernel.start("""
go = trio.Event()
async def fail():
    await go.wait()
    raise LookupError("mine")
async def live():
    await go.wait()
    await trio.sleep_forever()
nursery.start_soon(live)
nursery.start_soon(fail)""")
    kernel.finish(sent)
    kernel.start("go.set()")
    kernel.wait_printed(sent, "LookupError: mine")
    assert kernel.run("nursery").value.endswith("with 1 task>")
    assert kernel.run("nursery.cancel()\nwhile '0 tasks' not in repr(nursery): await trio.sleep(0)").error == ""


def test_a_task_says_that_it_has_begun(kernel: Kernel) -> None:
    ran = kernel.run("""
async def serve(port, *, task_status):
    task_status.started(port + 1)
    await trio.sleep_forever()
value = await nursery.start(serve, 4)
nursery.cancel()
value""")
    assert (ran.error, ran.value) == ("", "5")


def test_a_task_that_fails_before_it_has_begun_raises_where_it_is_started(kernel: Kernel) -> None:
    ran = kernel.run("""
async def fail(*, task_status):
    raise LookupError("mine")
await nursery.start(fail)""")
    assert ran.error == "LookupError: mine"


def test_a_task_that_fails_after_it_has_begun_is_shown(kernel: Kernel) -> None:
    sent = kernel.start("""
async def fail(*, task_status):
    task_status.started()
    raise LookupError("mine")
await nursery.start(fail)""")
    kernel.wait_printed(sent, "LookupError: mine")


def test_a_server_can_have_it_for_its_handlers(kernel: Kernel) -> None:
    ran = kernel.run(
        """
async def shout(stream):
    async with stream:
        await stream.send_all((await stream.receive_some()).upper())
from functools import partial
listeners = await nursery.start(partial(trio.serve_tcp, handler_nursery=nursery), shout, 0)
async with await trio.testing.open_stream_to_socket_listener(listeners[0]) as stream:
    await stream.send_all(b"hello")
    heard = await stream.receive_some()
nursery.cancel()
heard""".replace("from functools", "import trio.testing\nfrom functools")
    )
    assert (ran.error, ran.value) == ("", "b'HELLO'")


def test_what_cells_import_gives_it(kernel: Kernel) -> None:
    assert kernel.run("import jchannel.kernel\njchannel.kernel.current_nursery() is nursery").value == "True"

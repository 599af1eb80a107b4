"""What cells of the trio kernel can await."""

import pytest

from tests.kernel.kernel_process import Kernel


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("type(asyncio.get_running_loop()).__name__", "'TrioEventLoop'"),
        ("await asyncio.sleep(0, 5)", "5"),
        ("await asyncio.gather(asyncio.sleep(0.01, 1), asyncio.sleep(0, 2))", "[1, 2]"),
        ("await trio.sleep(0.01)\nasyncio.current_task().get_loop() is asyncio.get_running_loop()", "True"),
        ("await trio.lowlevel.checkpoint()\ntrio.lowlevel.current_task().name", "'cell'"),
        ("await trio.lowlevel.cancel_shielded_checkpoint()\n5", "5"),
        ("await trio.to_thread.run_sync(lambda: 5)", "5"),
        ("await asyncio.to_thread(lambda: 5)", "5"),
        ("await trio_asyncio.trio_as_aio(trio.to_thread.run_sync)(lambda: 5)", "5"),
        ("await get_ipython().run_cell_async('await trio.sleep(0)', transformed_cell='await trio.sleep(0)')\n5", "5"),
        ("get_ipython().run_cell('five = 5')\nfive", "5"),
    ],
)
def test_a_cell_awaits_asyncio_and_trio(kernel: Kernel, code: str, value: str) -> None:
    ran = kernel.run(code)
    assert (ran.error, ran.value) == ("", value)


def test_one_function_awaits_both(kernel: Kernel) -> None:
    ran = kernel.run("""
async def both():
    await trio.sleep(0)
    await asyncio.sleep(0)
    async with trio.open_nursery() as nursery, asyncio.TaskGroup() as group:
        nursery.start_soon(trio.sleep, 0.01)
        task = group.create_task(asyncio.sleep(0.01, 5))
    return await task
await both()""")
    assert (ran.error, ran.value) == ("", "5")


def test_a_task_outlives_its_cell(kernel: Kernel) -> None:
    kernel.run("event = asyncio.Event(); task = asyncio.create_task(event.wait())")
    assert kernel.run("event.set(); await task").value == "True"


def test_a_scope_of_trio_cancels_what_asyncio_awaits(kernel: Kernel) -> None:
    ran = kernel.run("""
future = asyncio.get_running_loop().create_future()
with trio.CancelScope() as scope:
    scope.cancel()
    await future
(scope.cancelled_caught, future.cancelled())""")
    assert (ran.error, ran.value) == ("", "(True, True)")


def test_a_scope_that_is_cancelled_too_late_leaves_the_value(kernel: Kernel) -> None:
    ran = kernel.run("""
async def stubborn():
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return 5
task = asyncio.create_task(stubborn())
await asyncio.sleep(0)
with trio.CancelScope() as scope:
    scope.cancel()
    value = await task
(value, scope.cancelled_caught)""")
    assert (ran.error, ran.value) == ("", "(5, False)")


def test_a_timeout_of_asyncio_ends_what_trio_awaits(kernel: Kernel) -> None:
    ran = kernel.run("""
try:
    async with asyncio.timeout(0):
        await trio.sleep_forever()
except TimeoutError:
    print("ended")
await trio.sleep(0)
asyncio.current_task().cancelling()""")
    assert (ran.error, ran.printed, ran.value) == ("", "ended\n", "0")


def test_a_timeout_of_asyncio_ends_what_asyncio_awaits(kernel: Kernel) -> None:
    ran = kernel.run("""
async with asyncio.timeout(0):
    await asyncio.Event().wait()""")
    assert ran.error.startswith("TimeoutError")


def test_a_failed_task_cancels_its_group_while_trio_is_awaited(kernel: Kernel) -> None:
    ran = kernel.run("""
async def fail():
    raise LookupError("mine")
async with asyncio.TaskGroup() as group:
    group.create_task(fail())
    await trio.sleep_forever()""")
    assert ran.error == "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"


@pytest.mark.parametrize("awaited", ["asyncio.Event().wait()", "asyncio.sleep(0)", "trio.sleep_forever()"])
def test_a_cell_that_cancels_itself_is_cancelled_where_it_waits_next(kernel: Kernel, awaited: str) -> None:
    ran = kernel.run(f"""
asyncio.current_task().cancel()
try:
    await {awaited}
except asyncio.CancelledError:
    print("cancelled")
await trio.sleep(0)
await asyncio.sleep(0)
asyncio.current_task().uncancel()""")
    assert (ran.error, ran.printed, ran.value) == ("", "cancelled\n", "0")


@pytest.mark.parametrize("awaited", ["asyncio.Event().wait()", "trio.sleep(0)", "trio.sleep_forever()"])
def test_an_error_that_comes_before_a_wait_ends_the_wait(kernel: Kernel, awaited: str) -> None:
    ran = kernel.run(f"""
get_ipython().interrupts._cell.throw(asyncio.CancelledError())
try:
    await {awaited}
except asyncio.CancelledError:
    print("cancelled")""")
    assert (ran.error, ran.printed) == ("", "cancelled\n")


def test_a_cell_that_cancels_itself_and_ends_has_its_value(kernel: Kernel) -> None:
    ran = kernel.run("await trio.sleep(0)\nasyncio.current_task().cancel()\n5")
    assert (ran.error, ran.value) == ("", "5")


def test_what_trio_cannot_give_up_is_not_lost_and_the_next_wait_is_cancelled(kernel: Kernel) -> None:
    ran = kernel.run("""
go = threading.Event()
cell = get_ipython().interrupts._cell
asyncio.get_running_loop().call_soon(lambda: (cell.throw(asyncio.CancelledError()), go.set()))
value = await trio.to_thread.run_sync(go.wait)
try:
    await trio.sleep(0)
except asyncio.CancelledError:
    print(value)""")
    assert (ran.error, ran.printed) == ("", "True\n")


def test_a_future_that_has_its_value_keeps_it_and_the_next_wait_is_cancelled(kernel: Kernel) -> None:
    ran = kernel.run("""
future = asyncio.get_running_loop().create_future()
cell = get_ipython().interrupts._cell
asyncio.get_running_loop().call_soon(lambda: (future.set_result(5), cell.throw(asyncio.CancelledError())))
value = await future
try:
    await trio.sleep(0)
except asyncio.CancelledError:
    print(value)""")
    assert (ran.error, ran.printed) == ("", "5\n")


def test_a_wait_of_trio_that_gives_up_later_raises_the_error_once(kernel: Kernel) -> None:
    ran = kernel.run("""
async def wait():
    raise_cancel = None
    task = trio.lowlevel.current_task()
    def abort(given):
        nonlocal raise_cancel
        raise_cancel = given
        trio.lowlevel.current_trio_token().run_sync_soon(trio.lowlevel.reschedule, task)
        return trio.lowlevel.Abort.FAILED
    await trio.lowlevel.wait_task_rescheduled(abort)
    raise_cancel()
asyncio.current_task().cancel()
try:
    await wait()
except asyncio.CancelledError:
    asyncio.current_task().uncancel()
    print("cancelled")
await trio.sleep(0)
await asyncio.sleep(0)""")
    assert (ran.error, ran.printed) == ("", "cancelled\n")


def test_a_future_of_another_loop_is_refused(kernel: Kernel) -> None:
    ran = kernel.run("""
loop = asyncio.new_event_loop()
future = loop.create_future()
try:
    await future
finally:
    loop.close()""")
    assert "which belongs to another asyncio loop than the kernel's" in ran.error


def test_other_threads_have_plain_asyncio(kernel: Kernel) -> None:
    ran = kernel.run("""
async def loop():
    return type(asyncio.get_running_loop()).__module__
await trio.to_thread.run_sync(lambda: asyncio.run(loop()))""")
    assert ran.value == "'asyncio.unix_events'"


def test_a_task_that_nobody_awaits_is_logged_and_ends_nothing(kernel: Kernel) -> None:
    sent = kernel.start("""
async def fail():
    raise LookupError("mine")
task = asyncio.create_task(fail())
await asyncio.sleep(0)
del task
import gc
gc.collect()""")
    kernel.wait_printed(sent, "LookupError: mine")
    assert kernel.run("5").value == "5"


def test_a_subshell_runs_plain_asyncio(kernel: Kernel) -> None:
    subshell = kernel.ask("create_subshell_request", {}, control=True)["subshell_id"]
    code = "await asyncio.sleep(0)\nelsewhere = type(asyncio.get_running_loop()).__module__"
    request = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    assert kernel.ask("execute_request", request, subshell)["status"] == "ok"
    plain = {**request, "code": "thread = threading.current_thread().name"}
    assert kernel.ask("execute_request", plain, subshell)["status"] == "ok"
    kernel.ask("delete_subshell_request", {"subshell_id": subshell}, control=True)
    assert kernel.run("elsewhere, thread").value == f"('asyncio.unix_events', 'subshell-{subshell}')"


def test_magics_work(kernel: Kernel) -> None:
    assert kernel.run("%time 2 + 3").value == "5"
    assert kernel.run("%%bash\necho hello").printed == "hello\n"
    assert "`on`" in kernel.run("%autoawait").printed


def test_completion_and_inspection_work(kernel: Kernel) -> None:
    found = kernel.ask("complete_request", {"code": "trio.sleep_f", "cursor_pos": 12})
    assert found["matches"] == ["sleep_forever"]
    assert kernel.ask("inspect_request", {"code": "trio", "cursor_pos": 4, "detail_level": 0})["found"]


@pytest.mark.parametrize("before", ["", "await trio.sleep(0)\n", "await asyncio.sleep(0)\n"])
def test_a_cell_asks_for_input(kernel: Kernel, before: str) -> None:
    assert kernel.answer_input(f"{before}input('name?')", "Ada").value == "'Ada'"


def test_comms_are_answered_while_a_cell_awaits(kernel: Kernel) -> None:
    sent = kernel.start("""
heard = trio.Event()
def opened(comm, message):
    comm.on_msg(lambda message: heard.set())
get_ipython().kernel.comm_manager.register_target("mine", opened)
print("ready")
await heard.wait()""")
    kernel.wait_printed(sent, "ready")
    send = kernel.client.shell_channel.send
    message = kernel.client.session.msg
    send(message("comm_open", {"comm_id": "1", "target_name": "mine", "data": {}}))
    send(message("comm_msg", {"comm_id": "1", "data": {}}))
    assert kernel.finish(sent).error == ""

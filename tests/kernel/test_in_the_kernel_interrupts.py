"""Interrupting the cells of the trio kernel."""

import pytest

from tests.kernel.kernel_process import NOW, WHEN_ALL_WAIT, Kernel


# No long `time.sleep`: a signal that comes just before the sleep begins does not end it, in no Python program.
@pytest.mark.parametrize(
    "computing",
    [
        f"{NOW}\nwhile True: pass",
        f"{NOW}\nwhile True: time.sleep(0.01)",
        f"await trio.sleep(0)\n{NOW}\nwhile True: pass",
        f"await asyncio.sleep(0)\n{NOW}\nwhile True: time.sleep(0.01)",
    ],
)
def test_an_interrupt_ends_a_cell_that_computes(kernel: Kernel, computing: str) -> None:
    assert kernel.interrupt(computing).error == "KeyboardInterrupt: "
    assert kernel.run("await trio.sleep(0)\nawait asyncio.sleep(0)\n5").value == "5"


@pytest.mark.parametrize(
    "waiting",
    [
        "await asyncio.Event().wait()",
        "await trio.sleep_forever()",
        "await asyncio.gather(asyncio.Event().wait(), asyncio.Event().wait())",
        "await trio_asyncio.trio_as_aio(trio.sleep_forever)()",
    ],
)
def test_an_interrupt_ends_a_cell_that_waits(kernel: Kernel, waiting: str) -> None:
    assert kernel.interrupt(WHEN_ALL_WAIT + waiting).error == "KeyboardInterrupt: "
    assert kernel.run("await trio.sleep(0)\nawait asyncio.sleep(0)\n5").value == "5"


@pytest.mark.parametrize("awaited", ["asyncio.sleep(0)", "trio.sleep(0)"])
def test_an_interrupt_ends_a_cell_that_only_lets_others_run(kernel: Kernel, awaited: str) -> None:
    ran = kernel.run(f"""
import signal
async def strike():
    signal.raise_signal(signal.SIGINT)
nursery.start_soon(strike)
while True: await {awaited}""")
    assert ran.error == "KeyboardInterrupt: "


def test_an_interrupt_cancels_the_tasks_of_a_nursery_that_waits_for_them(kernel: Kernel) -> None:
    ran = kernel.interrupt(f"""{WHEN_ALL_WAIT}
async def child():
    try:
        await trio.sleep_forever()
    finally:
        print("child ended")
try:
    async with trio.open_nursery() as mine:
        mine.start_soon(child)
except* KeyboardInterrupt:
    print("interrupted")""")
    assert (ran.error, ran.printed) == ("", "child ended\ninterrupted\n")


def test_an_interrupt_is_not_lost_when_the_task_awaited_ends_with_a_value(kernel: Kernel) -> None:
    ran = kernel.interrupt(f"""{WHEN_ALL_WAIT}
async def stubborn():
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return 5
await asyncio.create_task(stubborn())""")
    assert ran.error == "KeyboardInterrupt: "


def test_an_interrupt_of_an_idle_kernel_does_nothing(kernel: Kernel) -> None:
    kernel.manager.interrupt_kernel()
    assert kernel.run("5").value == "5"
    assert kernel.run("await trio.sleep(0)\n5").value == "5"


def test_background_tasks_live_on_when_a_cell_is_interrupted(kernel: Kernel) -> None:
    kernel.run("""
go = trio.Event()
result = []
async def background():
    await go.wait()
    result.append(5)
nursery.start_soon(background)""")
    kernel.interrupt(f"{WHEN_ALL_WAIT}await trio.sleep_forever()")
    assert kernel.run("go.set()\nwhile not result: await trio.sleep(0)\nresult").value == "[5]"


def test_an_interrupt_between_two_steps_is_raised_at_the_next(kernel: Kernel) -> None:
    # A signal that comes when trio runs other tasks, and the cell does not wait again, but computes.
    ran = kernel.run("""
import signal
async def other(status=trio.TASK_STATUS_IGNORED):
    trio.lowlevel.reschedule(cell)
    signal.raise_signal(signal.SIGINT)
cell = trio.lowlevel.current_task()
nursery.start_soon(other)
await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
print("not reached")""")
    assert (ran.error, ran.printed) == ("KeyboardInterrupt: ", "")


def test_an_interrupt_that_comes_too_late_for_the_wait_is_raised_before_the_next_step(kernel: Kernel) -> None:
    # As a signal leaves it that comes when the cell is about to go on.
    ran = kernel.run("get_ipython().interrupts._asked = True\nawait trio.sleep(0)\nprint('not reached')")
    assert (ran.error, ran.printed) == ("KeyboardInterrupt: ", "")


def test_an_interrupt_of_protected_code_waits_for_its_end(kernel: Kernel) -> None:
    ran = kernel.run("""
import signal
@trio.lowlevel.enable_ki_protection
def protected():
    signal.raise_signal(signal.SIGINT)
    print("protected")
await trio.sleep(0)
protected()
await trio.sleep_forever()""")
    assert (ran.error, ran.printed) == ("KeyboardInterrupt: ", "protected\n")


def test_an_interrupt_outside_of_the_cells_own_code_fails_the_cell_and_nothing_else(kernel: Kernel) -> None:
    # After the cell's code, IPython calls what has registered.
    ran = kernel.run("""
before = get_ipython().events.trigger
def trigger(event, *args):
    if event == "pre_run_cell":
        get_ipython().events.trigger = before
        raise KeyboardInterrupt
    before(event, *args)
get_ipython().events.trigger = trigger""")
    assert ran.error == ""
    assert kernel.run("await trio.sleep(0)").error == "KeyboardInterrupt: "
    assert kernel.run("await trio.sleep(0)\n5").value == "5"

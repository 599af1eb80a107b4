"""The kernel's application: ipykernel's, on a trio-asyncio loop, with one nursery that owns what cells start."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, ClassVar

import trio
import trio_asyncio
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Float, Type

from jchannel._guarded import stack_of
from jchannel.kernel.background import KernelNursery, set_current
from jchannel.kernel.cell import Cell
from jchannel.kernel.interrupts import Interrupts

__all__ = ["TrioKernelApp", "run"]


class TrioShell(ZMQInteractiveShell):
    """An IPython shell whose cells await asyncio and trio."""

    interrupts: ClassVar[Interrupts]
    nursery: ClassVar[trio.Nursery]

    # A method that is no coroutine runs to its end, as `run_cell` of IPython does: what it interrupts is this cell.
    @trio.lowlevel.disable_ki_protection
    def run_cell(self, *args: Any, **kwargs: Any) -> Any:
        """Run a cell that awaits nothing."""
        if not _is_main_thread() or self.interrupts.computing:
            return self._run_plain(*args, **kwargs)
        with self.interrupts.hold(None), self.interrupts:
            self.interrupts.check()
            return self._run_plain(*args, **kwargs)

    def _run_plain(self, *args: Any, **kwargs: Any) -> Any:
        return super().run_cell(*args, **kwargs)  # type: ignore[no-untyped-call]

    async def run_cell_async(self, *args: Any, **kwargs: Any) -> Any:
        """Run a cell.

        A subshell has a thread and an asyncio loop of its own: its cells run in plain asyncio.
        """
        coroutine = super().run_cell_async(*args, **kwargs)
        if not _is_main_thread() or self.interrupts.computing:
            return await coroutine
        cell = Cell(coroutine, self.interrupts, self.interrupts.check)
        try:
            with self.interrupts.hold(cell):
                return await cell.follow(self.nursery)
        except BaseException as error:  # noqa: BLE001 (an interrupt outside of the cell's own code must not end the loop)
            result = await super().run_cell_async("", transformed_cell="")
            result.error_in_exec = error
            self.showtraceback()
            return result


class TrioKernel(IPythonKernel):
    """An IPython kernel that handles interrupts with ``Interrupts``, and ends what cells have started before itself."""

    shell_class: Type[type[TrioShell], type[TrioShell]] = Type(TrioShell)
    ending: ClassVar[_Ending]

    def pre_handler_hook(self) -> None:
        """Leave SIGINT as it is: a KeyboardInterrupt must not come just anywhere in trio."""

    def post_handler_hook(self) -> None:
        """Leave SIGINT as it is."""

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:  # noqa: FBT001 (as the kernel's)
        """End what cells have started, and answer. ipykernel calls it in the control thread, then stops the loop."""
        self.ending.begin_from_thread()
        await asyncio.to_thread(self.ending.cells_have_ended.wait)
        return {"status": "ok", "restart": restart}

    @contextmanager
    def _cancel_on_sigint(self, _future: object) -> Iterator[None]:
        yield


class _Ending:
    """The order in which a kernel ends: what cells have started, then the answer, then the loop.

    Create it in trio.

    Attributes:
        begun: Set when the kernel is to end.
        cells_have_ended: Set when what cells have started has ended. Any thread may wait for it.
        loop_may_end: Set when the kernel no longer needs its loop.
    """

    def __init__(self) -> None:
        self.begun: trio.Event = trio.Event()
        self.cells_have_ended: threading.Event = threading.Event()
        self.loop_may_end: trio.Event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def begin_from_thread(self) -> None:
        """Let the kernel end. Safe to call in any thread."""
        self._token.run_sync_soon(self.begun.set)

    def stop_loop(self) -> None:
        """Stand in for the loop's ``stop``, after which nothing could be awaited."""
        self.begun.set()
        self.loop_may_end.set()


class TrioKernelApp(IPKernelApp):
    """ipykernel's application, which runs in trio."""

    ending_seconds: Float[float, int | float] = Float(
        2.0,
        help="Seconds that what cells have started may take to end, when the kernel is shut down. After that the "
        "process is ended at once. A Jupyter server sends a signal after 2.5 s.",
    ).tag(config=True)

    def init_signal(self) -> None:
        """Install the kernel's handler of SIGINT."""
        TrioShell.interrupts.install()

    def _stop_listening(self) -> None:
        """Stop receiving messages from the shell channel's thread."""
        # That thread would do it when it ends, and trio-asyncio's loop can only be touched in its own: across threads
        # it hung at its end, about one shutdown in three.
        stream = self.shell_channel_thread.manager._shell_channel_to_main.to_stream  # noqa: SLF001 (ipykernel has no other way)
        stream.io_loop.remove_handler(stream.socket)

    async def serve(self, arguments: Sequence[str] | None) -> str | int | None:
        """Run the kernel until it is shut down. Call it in trio, in the main thread.

        Args:
            arguments: The command line's arguments; ``None`` for those of this process.

        Returns:
            The exit status, for ``sys.exit``.
        """
        with ExitStack() as leaving:
            return await self._serve(arguments, leaving)

    async def _serve(self, arguments: Sequence[str] | None, leaving: ExitStack) -> str | int | None:
        async with trio_asyncio.open_loop() as loop:
            # trio-asyncio ends its loop, which is the kernel, on an error that asyncio only logs.
            loop.set_exception_handler(asyncio.BaseEventLoop.default_exception_handler)
            ending = TrioKernel.ending = _Ending()
            cells = ExitStack()
            async with trio.open_nursery() as nursery:
                TrioShell.interrupts = Interrupts()
                TrioShell.nursery = nursery
                owner = KernelNursery(nursery, _print)
                set_current(owner)
                try:
                    self.initialize(arguments)  # type: ignore[no-untyped-call]
                except SystemExit as error:  # Of wrong arguments, or of --help. A nursery would make a group of it.
                    return error.code
                self.kernel.shell.push({"nursery": owner}, interactive=False)
                loop.stop = ending.stop_loop
                if self.poller is not None:  # It ends the kernel when the process that started it has ended.
                    self.poller.start()
                self.kernel.start()
                await ending.begun.wait()
                cells.enter_context(end_within(self.ending_seconds))
                nursery.cancel_scope.cancel()
            # Until the last cell has been answered. No other begins.
            await trio_asyncio.aio_as_trio(self.kernel._main_asyncio_lock.acquire)()  # noqa: SLF001
            cells.close()
            self._stop_listening()
            ending.cells_have_ended.set()
            await ending.loop_may_end.wait()
            del loop.stop
            leaving.enter_context(end_within(self.ending_seconds))
        return None


def run(arguments: Sequence[str] | None = None) -> str | int | None:
    """Run a kernel in this process until it is shut down.

    Args:
        arguments: The command line's arguments, as those of ``ipykernel_launcher``; ``None`` for those of this process.

    Returns:
        The exit status, for ``sys.exit``.
    """
    keep_plain_loops()
    return trio.run(TrioKernelApp.instance(kernel_class=TrioKernel).serve, arguments)


def keep_plain_loops() -> None:
    """Make ``asyncio.new_event_loop`` return plain loops, in spite of trio-asyncio, for threads such as ipykernel's."""
    # trio-asyncio would return loops backed by trio there. It keeps the policy that was there before it, and returns
    # that outside of trio.
    new_event_loop = asyncio.get_event_loop_policy().new_event_loop  # type: ignore[deprecated, unused-ignore]
    asyncio.new_event_loop = asyncio.events.new_event_loop = new_event_loop


@contextmanager
def end_within(seconds: float) -> Iterator[None]:
    """End the process if the block is not left in time because what cells have started does not end."""
    # A thread, so that it works also when a task holds trio's.
    watchdog = threading.Timer(seconds, end_now, [seconds])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def end_now(seconds: float) -> None:
    """End the process at once."""
    words = f"What the cells have started has not ended in {seconds} s: the kernel ends without it."
    print(words, file=sys.__stderr__, flush=True)
    os._exit(1)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _print(error: BaseException) -> None:
    """Show the error of a task under the cell that started it, which ipykernel knows by the task's context."""
    with suppress(Exception):  # What it prints to may be an object of a cell's.
        sys.stderr.write(stack_of(error))

"""A real trio kernel in a process of its own, started through its kernelspec as a Jupyter server would start it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from jchannel.kernel import spec
from tests.conftest import CHECKOUT

__all__ = ["NOW", "TIMEOUT", "WHEN_ALL_WAIT", "Kernel", "Ran"]

TIMEOUT = 60.0
"""Seconds that whatever is waited for may take: a guard and no assertion."""

NOW = "os.close(os.open('ready', os.O_WRONLY))"
"""In a cell: says that it is ready for its interrupt."""

WHEN_ALL_WAIT = f"""
import trio.testing
async def tell():
    await trio.testing.wait_all_tasks_blocked()
    {NOW}
nursery.start_soon(tell)
"""
"""In a cell: says so when the cell, and everything else in trio, waits."""


@dataclass
class Ran:
    """What came of a cell.

    Attributes:
        error: The name of the error's type and its words; empty when there was none.
        printed: What it wrote.
        value: What its last expression was, as text.
    """

    error: str = ""
    printed: str = ""
    value: str = ""


class Kernel:
    """A kernel. It lives between entering and leaving.

    Args:
        folder: Where everything goes that it writes. It is the kernel's working directory.
        ending_seconds: How long what cells have started may take to end.
    """

    def __init__(self, folder: Path, ending_seconds: float = TIMEOUT) -> None:
        self._folder = folder
        self._ending_seconds = ending_seconds
        prefix = folder / "prefix"
        spec.install(prefix=str(prefix))
        kernels = prefix / "share" / "jupyter" / "kernels"
        self.manager = KernelManager(
            kernel_name=spec.DEFAULT_NAME,
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(kernels)], ensure_native_kernel=False),
            connection_file=str(folder / "connection.json"),
        )
        self.client: Any = None

    def __enter__(self) -> Self:
        ours = {"PYTHONPATH": str(CHECKOUT), "IPYTHONDIR": str(self._folder), "JUPYTER_CONFIG_DIR": str(self._folder)}
        self.manager.start_kernel(
            env={**os.environ, **ours},
            cwd=str(self._folder),
            # On a busy machine, what is to end must not be cut short.
            extra_arguments=[f"--TrioKernelApp.ending_seconds={self._ending_seconds}"],
        )
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.client is not None:
            self.shut_down()

    @property
    def pid(self) -> int:
        """The process's id."""
        pid: int = self.manager.provisioner.pid  # type: ignore[union-attr]
        return pid

    def shut_down(self) -> None:
        """Ask it to end, and wait until its process has ended."""
        self.client.stop_channels()
        self.client = None
        # Longer than it may take to end by itself: on a busy machine a signal must not come before.
        self.manager.shutdown_wait_time = TIMEOUT
        self.manager.shutdown_kernel()

    def restart(self) -> None:
        """Restarts it, as the button in a notebook does."""
        self.client.stop_channels()
        self.manager.shutdown_wait_time = TIMEOUT
        self.manager.restart_kernel()
        self._connect()

    def start(self, code: str, **content: Any) -> str:
        """Ask for a cell to be run, and return its id."""
        # An error in one test's cell must not cancel what the next one asks for.
        sent: str = self.client.execute(code, stop_on_error=False, **content)
        return sent

    def finish(self, sent: str) -> Ran:
        """Wait until a cell has ended."""
        ran = Ran()
        while not self._take(sent, ran):
            pass
        reply = self._answer(self.client.get_shell_msg, sent)["content"]
        ran.error = f"{reply['ename']}: {reply['evalue']}" if reply["status"] == "error" else ""
        return ran

    def run(self, code: str, **content: Any) -> Ran:
        """Run a cell, and wait until it has ended."""
        return self.finish(self.start(code, **content))

    def wait_printed(self, sent: str, text: str) -> None:
        """Wait until a cell, which may have ended, or what it has started has written something."""
        ran = Ran()
        while text not in ran.printed:
            self._take(sent, ran)

    def interrupt(self, code: str) -> Ran:
        """Run a cell, interrupt it when it has said that it is ready, and wait until it has ended.

        It says so with ``NOW``, or with ``WHEN_ALL_WAIT``. If it were printed, the signal might come in the middle of
        that.
        """
        ready = self._folder / "ready"
        os.mkfifo(ready)
        sent = self.start(code)
        ready.read_bytes()
        ready.unlink()
        self.manager.interrupt_kernel()
        return self.finish(sent)

    def ask(self, kind: str, content: dict[str, Any], subshell: str | None = None, *, control: bool = False) -> Any:
        """Sends a request, and gives the content of its answer."""
        sent = self.client.session.msg(kind, content)
        if subshell is not None:
            sent["header"]["subshell_id"] = subshell
        channel = self.client.control_channel if control else self.client.shell_channel
        channel.send(sent)
        return self._answer(channel.get_msg, sent["header"]["msg_id"])["content"]

    def answer_input(self, code: str, answer: str) -> Ran:
        """Run a cell that asks for input, and answer it."""
        sent = self.start(code, allow_stdin=True)
        self.client.get_stdin_msg(timeout=TIMEOUT)
        self.client.input(answer)
        return self.finish(sent)

    def _connect(self) -> None:
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT)

    def _take(self, sent: str, ran: Ran) -> bool:
        """Take one message, and return whether the cell has ended with it."""
        message = self.client.get_iopub_msg(timeout=TIMEOUT)
        content = message["content"]
        if message["parent_header"].get("msg_id") != sent:
            return False
        match message["msg_type"]:
            case "stream":
                ran.printed += content["text"]
            case "execute_result":
                ran.value = content["data"]["text/plain"]
        return bool(content.get("execution_state") == "idle")

    @staticmethod
    def _answer(receive: Callable[..., Any], sent: str) -> Any:
        while True:
            message = receive(timeout=TIMEOUT)
            if message["parent_header"].get("msg_id") == sent:
                return message

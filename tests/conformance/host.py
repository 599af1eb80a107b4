"""A fake host: a widget manager with the quirks that hosts of notebooks have, where the hosts themselves cannot be had.

Its kernel is a thread that runs cells, in which jchannel, anywidget and ipywidgets are real; its pages are processes of
Node that run the real client (``page.mjs``). What stands between them is the host: it carries a widget's messages as
Jupyter does, to every page and in order, or as worse hosts do (``Quirks``).
"""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import importlib
import inspect
import json
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import pytest
from comm.base_comm import BaseComm, CommManager

from tests.conformance.suite import Host, make_cells
from tests.notebook.kernel import FakeKernel

__all__ = ["DeafHost", "FakeHost", "HostPage", "Quirks"]

#: The cell that starts the server.
START: Final = "import jchannel\nserver = await jchannel.start(port=0, door='comm')"

#: How long what must come is waited for, in seconds. It is a guard.
TIMEOUT: Final = 60.0

#: How long a busy cell waits for what does not come, as its kernel is known to be deaf.
DEAF_PATIENCE: Final = 0.1

PAGE: Final = Path(__file__).with_name("page.mjs")

VIEW: Final = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Quirks:
    """What a host does otherwise than Jupyter.

    Attributes:
        page_buffers: What it hands to a page's widget as a buffer: a ``DataView`` of a whole one, a ``Uint8Array`` of
            one, a ``part`` of a larger one, an ``ArrayBuffer`` of another window (``foreign``), or text (``base64``).
        kernel_buffers: What it hands to the kernel's widget.
        most_bytes: The size of the buffers from which on a message vanishes, without an error.
        most_per_second: How many messages it carries in a second in each direction. More vanish.
        deaf: While what the kernel hears nothing of a page: while a cell is ``computing``, or while any ``cell`` runs,
            also one that awaits.
        silent_restart: Whether a page is told nothing when its kernel is restarted: what it sends vanishes.
    """

    page_buffers: Literal["DataView", "Uint8Array", "part", "foreign", "base64"] = "DataView"
    kernel_buffers: Literal["memoryview", "bytes", "base64"] = "memoryview"
    most_bytes: int | None = None
    most_per_second: int | None = None
    deaf: Literal["computing", "cell"] | None = None
    silent_restart: bool = False


@dataclass(frozen=True)
class Message:
    """A custom message of a widget."""

    model: str
    content: dict[str, Any]
    buffers: Sequence[bytes]

    @property
    def size(self) -> int:
        return sum(len(buffer) for buffer in self.buffers)


class Way:
    """The way of the messages in one direction.

    Args:
        quirks: What is wrong with it.
        deliver: Called with each message that arrives.
    """

    def __init__(self, quirks: Quirks, deliver: Callable[[Message], None]) -> None:
        self._quirks = quirks
        self._deliver = deliver
        self._times: deque[float] = deque()
        self._losing: threading.Event | None = None
        self._delaying: threading.Event | None = None
        self._late: Message | None = None
        self._lock = threading.Lock()

    def lose_next(self) -> threading.Event:
        """Let the next message vanish. Return what says that it has."""
        self._losing = threading.Event()
        return self._losing

    def delay_next(self) -> threading.Event:
        """Let the next message be overtaken by the one behind it. Return what says that it has left."""
        self._delaying = threading.Event()
        return self._delaying

    def send(self, message: Message) -> None:
        """Take a message."""
        with self._lock:
            if self._vanishes(message):
                return
            if self._delaying is not None:
                self._late = message
                self._delaying.set()
                self._delaying = None
                return
            self._deliver(message)
            if self._late is not None:
                late, self._late = self._late, None
                self._deliver(late)

    def _vanishes(self, message: Message) -> bool:
        if self._losing is not None:
            self._losing.set()
            self._losing = None
            return True
        quirks, times = self._quirks, self._times
        if quirks.most_bytes is not None and message.size > quirks.most_bytes:
            return True
        if quirks.most_per_second is None:
            return False
        now = time.monotonic()
        while times and times[0] < now - 1:
            times.popleft()
        if len(times) >= quirks.most_per_second:
            return True
        times.append(now)
        return False


class HostComm(BaseComm):
    """The kernel's end of a widget's comm."""

    def __init__(self, host: FakeHost, **options: Any) -> None:
        self._host = host
        super().__init__(**options)

    def publish_msg(
        self,
        msg_type: str,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        buffers: Sequence[bytes] | None = None,
        **_: Any,
    ) -> None:
        self._host.publish(self, msg_type, data or {}, buffers or [])

    def hear(self, message: Message, buffers: Sequence[Any]) -> None:
        """Hand a message to its widget."""
        callback = self._msg_callback
        if callback is not None:
            callback({"content": {"data": {"method": "custom", "content": message.content}}, "buffers": buffers})


class HostPage:
    """A page: a process that shows the host's outputs.

    Args:
        on_message: Called with each message of a widget in it.
        buffers: What its widgets are handed as a buffer.
        stored: What its tab has stored before.

    Attributes:
        stored: What its tab has stored.
    """

    def __init__(self, on_message: Callable[[Message], None], buffers: str, stored: dict[str, str]) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.fail("Node is not on this machine: scripts/setup says what to install")
        self.stored = dict(stored)
        self._on_message = on_message
        self._lines: dict[int, str] = {}
        self._skipped = 0
        self._failure = ""
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [node, str(PAGE), buffers, json.dumps(stored)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        # What sends may be a step of trio's that the reader has borrowed: it must never wait for the page.
        self._commands: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    def tell(self, op: str, **command: Any) -> None:
        """Send a command of ``page.mjs``."""
        self._commands.put(json.dumps({"op": op, **command}) + "\n")

    def wait_line(self, output: int, pattern: str) -> str:
        """Wait until an output's line matches a regular expression, and return the line."""

        def matches() -> bool:
            return self._failure != "" or re.search(pattern, self._lines.get(output, "")) is not None

        with self._news:
            came = self._news.wait_for(matches, TIMEOUT)
            assert came, f"the line is {self._lines.get(output)!r}, and {pattern!r} does not come"
            assert self._failure == ""
            return self._lines[output]

    def skip(self, seconds: float) -> None:
        """Let time pass in the page."""
        with self._news:
            count = self._skipped
            self.tell("skip", seconds=seconds)
            assert self._news.wait_for(lambda: self._skipped > count, TIMEOUT)

    def close(self) -> None:
        """End the page, without a word."""
        self._process.kill()
        self._commands.put(None)
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # What the page has not read any more is written once more.
                pipe.close()

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        while (command := self._commands.get()) is not None:
            try:
                pipe.write(command)
                pipe.flush()
            except BrokenPipeError:
                return

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        for line in pipe:
            said = json.loads(line)
            if said["op"] == "send":
                buffers = [base64.b64decode(text) for text in said["buffers"]]
                self._on_message(Message(said["model"], said["content"], buffers))
                continue
            with self._news:
                if said["op"] == "line":
                    self._lines[said["output"]] = said["text"]
                elif said["op"] == "stored":
                    self.stored[said["key"]] = said["value"]
                elif said["op"] == "skipped":
                    self._skipped += 1
                else:
                    self._failure = said["text"]
                self._news.notify_all()


class FakeHost(Host):
    """A host with one notebook. A context manager: it runs between entering and leaving.

    Args:
        name: Its name.
        patch: Makes this process look like a kernel.
        quirks: What it does otherwise than Jupyter.

    Attributes:
        name: As above.
        quirks: As above.
        page: The notebook's page.
        to_page: The way of the kernel's messages.
        to_kernel: The way of the page's.
    """

    def __init__(self, name: str, patch: pytest.MonkeyPatch, quirks: Quirks) -> None:
        self.name = name
        self._patch = patch
        self.quirks = quirks
        self.to_page = Way(quirks, self._deliver_to_pages)
        self.to_kernel = Way(quirks, self._deliver_to_kernel)
        self.page: HostPage
        self._pages: list[HostPage] = []
        self._comms: dict[str, HostComm] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._outputs: list[str] = []
        self._unheard: list[Message] = []
        self._is_busy = False
        self._cells = make_cells(START) if quirks.deaf is None else make_cells(START, busy_patience=DEAF_PATIENCE)
        self._runs = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kernel", daemon=True)
        self._kernel = FakeKernel()
        self._kernel.shell.display_pub.publish = self._show
        self._kernel.shell.user_ns = {}

    def __enter__(self) -> Self:
        self._patch.delitem(sys.modules, "anywidget", raising=False)
        importlib.import_module("anywidget")  # Before IPython is replaced, which it imports.
        self._patch.setitem(sys.modules, "IPython", self._kernel)
        self._patch.setattr("comm.create_comm", lambda **options: HostComm(self, **options))
        manager = CommManager()
        self._patch.setattr("comm.get_comm_manager", lambda: manager)
        self._thread.start()
        self.page = self.open_page({})
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end_kernel()
        finally:
            for page in self._pages:
                page.close()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    # What its user does

    def run(self, n: int) -> str:
        return self.execute(self._cells[n])

    def execute(self, source: str) -> str:
        """Run a cell of its own, and return what it has printed."""
        return asyncio.run_coroutine_threadsafe(self._run(source), self._loop).result(TIMEOUT)

    def await_between_cells(self, name: str) -> None:
        """Wait until what a variable holds is done, while no cell runs."""

        async def wait() -> None:
            await self._kernel.shell.user_ns[name]

        asyncio.run_coroutine_threadsafe(wait(), self._loop).result(TIMEOUT)

    def expect_connected(self) -> None:
        self.page.wait_line(0, "connected by the kernel.s own messages")

    def open_second_page(self) -> None:
        self.open_page({}).wait_line(0, "another page is connected")

    def open_page(self, stored: dict[str, str]) -> HostPage:
        """Open the notebook in a page."""
        page = HostPage(self.to_kernel.send, self.quirks.page_buffers, stored)
        self._pages.append(page)
        for model, state in self._states.items():
            page.tell("open", model=model, state=state)
        for number, model in enumerate(self._outputs):
            if model in self._states:
                page.tell("show", model=model, output=number)
        return page

    def reload(self) -> None:
        """Load the page again. What was in it is gone without a word."""
        self._pages.remove(self.page)
        self.page.close()
        self.page = self.open_page(self.page.stored)

    def restart(self) -> None:
        """Restart the kernel. Those of Jupyter end their servers before, and front ends hear of it."""
        if self.quirks.silent_restart:
            self._comms.clear()
            self._end_kernel()
        else:
            self._end_kernel()
            for page in self._pages:
                page.tell("lose")
        self._states.clear()

    # What its kernel does

    async def _run(self, source: str) -> str:
        self._runs += 1
        self._kernel.enter(f"run {self._runs}")
        printed: list[str] = []
        namespace = self._kernel.shell.user_ns
        namespace["print"] = lambda *parts: printed.append(" ".join(str(part) for part in parts))
        self._is_busy = True
        try:
            code = compile(source, f"<cell {self._runs}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, namespace)  # noqa: S307 (it is a kernel)
            if inspect.isawaitable(result):
                await result
        finally:
            self._is_busy = False
            unheard, self._unheard = self._unheard, []
            for message in unheard:
                self._hear(message)
        return "\n".join(printed)

    def _end_kernel(self) -> None:
        """End its servers and their widgets, as at the end of its process."""
        self.execute("if 'server' in globals(): await server.stop()")
        for widget in list(importlib.import_module("ipywidgets.widgets.widget")._instances.values()):
            if isinstance(widget.comm, HostComm):
                widget.close()
        self._kernel.shell.user_ns = {}

    def _show(self, bundle: dict[str, Any]) -> None:
        if VIEW in bundle:
            model = bundle[VIEW]["model_id"]
            self._outputs.append(model)
            self.page.tell("show", model=model, output=len(self._outputs) - 1)

    def publish(self, comm: HostComm, kind: str, data: dict[str, Any], buffers: Sequence[bytes]) -> None:
        """Take what a widget in the kernel sends."""
        if kind == "comm_open" and "_esm" in data["state"]:
            self._comms[comm.comm_id] = comm
            self._states[comm.comm_id] = dict(data["state"])
            for page in self._pages:
                page.tell("open", model=comm.comm_id, state=data["state"])
        elif comm.comm_id not in self._comms:
            return
        elif kind == "comm_close":
            del self._comms[comm.comm_id]
        elif data["method"] == "update":
            self._states[comm.comm_id] |= data["state"]
            for page in self._pages:
                page.tell("update", model=comm.comm_id, state=data["state"])
        elif data["method"] == "custom":
            self.to_page.send(Message(comm.comm_id, data["content"], [bytes(buffer) for buffer in buffers]))

    # What it does between the two

    def _deliver_to_pages(self, message: Message) -> None:
        texts = [base64.b64encode(buffer).decode() for buffer in message.buffers]
        for page in list(self._pages):
            page.tell("message", model=message.model, content=message.content, buffers=texts)

    def _deliver_to_kernel(self, message: Message) -> None:
        if self.quirks.deaf is None:
            self._hear(message)
        else:
            self._loop.call_soon_threadsafe(self._hear_between, message)

    def _hear_between(self, message: Message) -> None:
        if self._is_busy and self.quirks.deaf == "cell":
            self._unheard.append(message)
        else:
            self._hear(message)

    def _hear(self, message: Message) -> None:
        comm = self._comms.get(message.model)
        if comm is not None:
            convert = _CONVERT[self.quirks.kernel_buffers]
            comm.hear(message, [convert(buffer) for buffer in message.buffers])


class DeafHost(FakeHost):
    """A host whose kernel hears nothing while a cell runs.

    Where no busy cell is meant, tasks check it that outlive their cells.
    """

    def check(self) -> list[str]:
        free = self._outlive("checks.run_checks(opening, handler, names=checks.FREE)")
        busy = self.execute(f"print(await checks.run_checks(opening, handler, {DEAF_PATIENCE}, checks.BUSY))")
        return [free, busy]

    def call(self) -> str:
        return self._outlive("checks.call_once(opening)")

    def _outlive(self, work: str) -> str:
        """Begin some work in a cell, and return what it returns when the cell has ended."""
        self.execute(f"import asyncio\ntask = asyncio.create_task({work})")
        self.await_between_cells("task")
        return self.execute("print(task.result())")


_CONVERT: Final[dict[str, Callable[[bytes], object]]] = {
    "memoryview": memoryview,
    "bytes": bytes,
    "base64": lambda data: base64.b64encode(data).decode(),
}

"""Looking at the kernel that the doctor runs in, or was started by."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from jchannel._doctor.findings import Finding, State, Subject
from jchannel._notebook.output import is_kernel

__all__ = ["examine_kernel"]


def examine_kernel(environment: Mapping[str, str]) -> list[Finding]:
    """Look at the kernel; return nothing where there is none.

    Args:
        environment: The variables of the process's environment.
    """
    if is_kernel():
        version = getattr(sys.modules.get("ipykernel"), "__version__", "")
        found = [_ok(f"an IPython kernel, ipykernel {version}")]
        if "trio_asyncio" in sys.modules:
            return [*found, _ok("it runs on a trio-asyncio loop: jchannel runs in its trio, and needs no thread")]
        return [
            *found,
            _ok(f"its loop is {_find_loop()}: jchannel runs in a thread of its own, and answers while cells compute"),
        ]
    if "JPY_PARENT_PID" in environment:
        text = "this is a program that a kernel has started: in the kernel itself, run %run -m jchannel doctor"
        return [Finding(Subject.KERNEL, State.NOTE, text)]
    return []


def _find_loop() -> str:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return "not running"
    return f"{type(loop).__module__}.{type(loop).__qualname__}"


def _ok(text: str) -> Finding:
    return Finding(Subject.KERNEL, State.OK, text)

"""What load and soak look at: the memory, the tasks and the descriptors of this process."""

from __future__ import annotations

import gc
import resource
from dataclasses import dataclass
from pathlib import Path

import trio


@dataclass(frozen=True, slots=True)
class Footprint:
    """What this process has now.

    Attributes:
        memory: Resident memory, in MB.
        tasks: trio's tasks.
        descriptors: Open files and sockets.
    """

    memory: float
    tasks: int
    descriptors: int

    def __str__(self) -> str:
        return f"{self.memory:,.0f} MB, {self.tasks:,} tasks, {self.descriptors:,} descriptors"


def look() -> Footprint:
    """What it has now, without what is only waiting to be collected."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Footprint(
        pages * resource.getpagesize() / 1e6,
        trio.lowlevel.current_statistics().tasks_living,
        len(list(Path("/proc/self/fd").iterdir())),
    )

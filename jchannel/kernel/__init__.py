"""The trio kernel: an ipykernel in which cells await asyncio code and trio code.

It runs on a trio-asyncio loop, so the asyncio facade reaches trio in the same thread. ``python -m jchannel kernel
install`` makes it known to Jupyter. Cells may import this module; it loads neither IPython nor trio-asyncio, which
only ``application`` imports.
"""

from __future__ import annotations

from jchannel.kernel.background import KernelNursery, current_nursery

__all__ = ["KernelNursery", "current_nursery"]


def __dir__() -> list[str]:
    return __all__

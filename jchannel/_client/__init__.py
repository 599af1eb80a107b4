"""The built JavaScript client, which ships inside the package. ``jsclient/`` is its source."""

from __future__ import annotations

import functools
from importlib import resources

__all__ = ["read_static"]


@functools.cache
def read_static(name: str) -> bytes:
    """Return one of the files that ship with the package. They are few and small, and stay in memory."""
    return resources.files(__package__).joinpath("static", name).read_bytes()

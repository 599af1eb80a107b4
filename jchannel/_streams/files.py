"""Checks that an object is a binary file that can be read or written. This module imports nothing from the project.

Anything with the methods of a file counts as one: not only the return value of ``open``, but also the members of an
archive, the body of an HTTP response, and classes that users write.
"""

from __future__ import annotations

import inspect
import io
from typing import Literal

__all__ = ["check_binary_file"]


def check_binary_file(file: object, method: Literal["read", "write"]) -> None:
    """Check that a file can be read or written.

    Args:
        file: An object that has the method.
        method: The method that will be called: ``read`` or ``write``.

    Raises:
        TypeError: The file is a text file, or its method is a coroutine function.
        ValueError: The file is closed, or not open for reading or writing.
    """
    # Wrappers, such as those of tempfile, are not a TextIOBase, but have the encoding of the file that they wrap.
    if isinstance(file, io.TextIOBase) or isinstance(getattr(file, "encoding", None), str):
        raise TypeError(f"a stream is made of bytes, and {file!r} is a text file: open it in binary mode")
    if inspect.iscoroutinefunction(getattr(file, method)):
        raise TypeError(f"the method {method} of {file!r} is a coroutine function: use a file with a plain one")
    if getattr(file, "closed", False) is True:
        raise ValueError(f"{file!r} is closed")
    able = getattr(file, "readable" if method == "read" else "writable", None)
    if able is not None and not able():
        raise ValueError(f"{file!r} is not open for {'reading' if method == 'read' else 'writing'}")

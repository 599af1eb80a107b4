"""Whether an object is a binary file that can be read from or written to. This module imports nothing of the project.

A file is whatever has the methods of one: not only what ``open`` returns, but the members of an archive, the body of an
HTTP response, and what users have written themselves.
"""

from __future__ import annotations

import inspect
import io
from typing import Literal

__all__ = ["check_binary_file"]


def check_binary_file(file: object, method: Literal["read", "write"]) -> None:
    """Checks a file that somebody wants to read or to write.

    Args:
        file: An object that has the method.
        method: What will be called: ``read`` or ``write``.

    Raises:
        TypeError: It is a text file, or its method is a coroutine function.
        ValueError: It is closed, or not open for reading or writing.
    """
    # Wrappers, such as those of the module tempfile, are no TextIOBase, but show the encoding of what they wrap.
    if isinstance(file, io.TextIOBase) or isinstance(getattr(file, "encoding", None), str):
        raise TypeError(f"a stream is made of bytes, and {file!r} is a text file: open it in binary mode")
    if inspect.iscoroutinefunction(getattr(file, method)):
        raise TypeError(f"the method {method} of {file!r} is a coroutine function; a file with a plain one is needed")
    if getattr(file, "closed", False) is True:
        raise ValueError(f"{file!r} is closed")
    able = getattr(file, "readable" if method == "read" else "writable", None)
    if able is not None and not able():
        raise ValueError(f"{file!r} is not open for {'reading' if method == 'read' else 'writing'}")

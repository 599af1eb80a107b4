"""What the library logs while something hostile is done to it."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

__all__ = ["Journal"]


class Journal(logging.Handler):
    """Collects what is logged for the time of a ``with`` block. What a stranger does is a line, and no traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.faults: list[str] = []
        self._formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")

    def __enter__(self) -> Self:
        logging.getLogger("jchannel").addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        logging.getLogger("jchannel").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what tells of a fault of the library's own."""
        # What a handler's method raises is the program's, and is logged as an error as well.
        if record.levelno >= logging.ERROR and "an error of jchannel" in record.msg:
            self.faults.append(self._formatter.format(record))

    def check(self) -> None:
        """Fails where there was one."""
        assert not self.faults, "\n".join(self.faults)

"""What the library logs while something hostile is done to it."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

__all__ = ["Journal"]


class Journal(logging.Handler):
    """Collects, for the time of a ``with`` block, what the library logs of its own faults. Nobody else sees the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.faults: list[str] = []
        self._formatter = logging.Formatter("%(levelname)s %(name)s %(message)s")

    def __enter__(self) -> Self:
        logger = logging.getLogger("jchannel")
        logger.addHandler(self)
        self._propagated, logger.propagate = logger.propagate, False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        logger = logging.getLogger("jchannel")
        logger.removeHandler(self)
        logger.propagate = self._propagated

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what tells of a fault of the library's own."""
        # What a handler's method raises is the program's, and is logged as an error as well. What a stranger does is a
        # line and no traceback.
        ours = record.levelno >= logging.ERROR and "an error of jchannel" in record.msg
        if ours or (record.levelno == logging.WARNING and record.exc_info):
            self.faults.append(self._formatter.format(record))

    def check(self) -> None:
        """Fails where there was one."""
        assert not self.faults, "\n".join(self.faults)

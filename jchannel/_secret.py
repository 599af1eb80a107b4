"""Secrets: text that is not shown where an object is shown. This module imports nothing from the project."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["HIDDEN", "Secret", "SecretBytes", "hide"]

#: What is shown in the place of a secret.
HIDDEN: Final = "<secret>"


class Secret(str):
    """A token, a ticket, or a text that contains one.

    It is a ``str`` like every other, but for its ``repr``: so the generated ``repr`` of what holds it does not show it,
    and neither does a traceback that shows local variables, as error reporters send them to other machines. What is
    made of it (``str``, a slice, an f-string) is a plain ``str`` again.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN


class SecretBytes(bytes):
    """Bytes that contain a secret, such as the head of a request. Otherwise as ``Secret``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN


def hide(value: Any) -> Any:
    """Return a ``str`` as a secret, and anything else, which callers may pass by mistake, as it is."""
    return Secret(value) if isinstance(value, str) else value

"""What callers pass: checked here, in every face, before anything else happens."""

from __future__ import annotations

import math
from os import PathLike

from jchannel._protocol.messages import MAX_METHOD_LENGTH, UNSENT, Call, Echo, Pipe, StreamInfo
from jchannel._protocol.values import PLAIN, Conversion, Packed, pack

__all__ = ["PIPE", "check_code", "check_name", "check_timeout", "pack_call", "pack_echo"]

#: The message of every pipe, before it is numbered.
PIPE = Pipe(UNSENT, UNSENT, StreamInfo(UNSENT))


def check_timeout(timeout: float | None) -> float:
    """Check a timeout and return it as a number.

    Args:
        timeout: Seconds as ``int`` or ``float``; ``None`` for no limit.

    Returns:
        The seconds; infinity for no limit.

    Raises:
        TypeError: It is of another type. ``True`` and ``False`` are, too.
        ValueError: It is negative or not a number.
    """
    if timeout is None:
        return math.inf
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be seconds as int or float, or None for no limit, and not {timeout!r}")
    if not timeout >= 0:
        wrong = "must be a number" if timeout != timeout else "must not be negative"  # noqa: PLR0124 (it is nan then)
        raise ValueError(f"timeout {wrong}, and it is {timeout!r}")
    try:
        return float(timeout)
    except OverflowError:
        return math.inf  # An int beyond every float.


def check_name(name: object) -> None:
    """Refuse what cannot be a method's name.

    Raises:
        TypeError: It is not a str.
        ValueError: It is too long.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a method must be a str, and not {name!r}")
    if len(name) > MAX_METHOD_LENGTH:
        raise ValueError(f"the name of a method has {len(name):,} characters, and {MAX_METHOD_LENGTH:,} are the most")


def check_code(code: object, module: object) -> None:
    """Refuse what cannot be a channel's code, or the module in its place.

    Raises:
        TypeError: One of them is not a str, or there are both or neither.
        ValueError: The module is empty.
    """
    if code is not None and not isinstance(code, str):
        advice = "; a file is a module of the page, such as module='./channel.js'" if isinstance(code, PathLike) else ""
        raise TypeError(f"the code of a channel must be a str of JavaScript, and not {code!r}{advice}")
    if module is not None and not isinstance(module, str):
        raise TypeError(f"the module of a channel must be a str such as './channel.js', and not {module!r}")
    if code is None and module is None:
        raise TypeError(
            "the code of a channel must be a str of JavaScript, and not None; in its place a module of the page may be "
            "given, such as module='./channel.js'"
        )
    if code is not None and module is not None:
        raise TypeError("a channel has either code or a module: leave one of them out")
    if module == "":
        raise ValueError(
            "the module of a channel must not be empty: write it as an import does, such as './channel.js'"
        )


def pack_call(name: str, args: tuple[object, ...], conversion: Conversion = PLAIN) -> Call:
    """Check and encode a call. Its arguments may be changed afterwards.

    Raises:
        TypeError, ValueError: The name is not a str, or an argument cannot be sent as it is. The message names its
            place, as in ``args[0]['x']``.
        What the conversion's ``default`` raises.
    """
    check_name(name)
    return Call(UNSENT, UNSENT, name, _pack_args(args, conversion))


def pack_echo(args: tuple[object, ...], conversion: Conversion = PLAIN) -> Echo:
    """Check and encode an echo.

    Raises:
        TypeError, ValueError: An argument cannot be sent as it is.
        What the conversion's ``default`` raises.
    """
    return Echo(UNSENT, UNSENT, _pack_args(args, conversion))


def _pack_args(args: tuple[object, ...], conversion: Conversion) -> Packed:
    return pack(args, field_name="args", shown_as="args", conversion=conversion)

"""Invocations of handler methods without a far side, for tests that ask for methods themselves."""

import math
from typing import Any

from jchannel._bridge.methods import BridgedMethods
from jchannel._protocol.messages import Call

__all__ = ["run_method"]


async def run_method(methods: BridgedMethods, handler: object, name: str, *args: object) -> Any:
    """Runs a method as the answer to a call. Called in trio."""
    no_session: Any = None
    invocation = methods.invocation_type(no_session, Call(1, 1, name, list(args)), math.inf)
    return await methods.run(invocation, handler, name, args)

"""Invocations of handler methods without a far side, for tests that ask for methods themselves."""

import math
from types import SimpleNamespace
from typing import Any

from jchannel._bridge.methods import BridgedMethods
from jchannel._core.limits import Limits
from jchannel._core.threads import TrioThreads
from jchannel._protocol.messages import Call

__all__ = ["run_method"]


async def run_method(methods: BridgedMethods, handler: object, name: str, *args: object) -> Any:
    """Runs a method as the answer to a call, in a session that has ended. Called in trio, in the call's task."""
    session: Any = SimpleNamespace(alive=False, threads=TrioThreads(Limits()), limits=Limits())
    invocation = methods.invocation_type(session, Call(1, 1, name, list(args)), math.inf)
    invocation.attended = True
    return await methods.run(invocation, handler, name, args)

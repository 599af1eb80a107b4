"""The wire, sans-IO: messages, values, frames and the states of a connection. It imports neither trio nor asyncio.

``docs/protocol.md`` is the specification; ``jsclient/src/protocol`` is the other implementation.
"""

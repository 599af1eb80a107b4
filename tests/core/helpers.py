"""What tests of the core share: an HTTP client for one stream in memory."""

from dataclasses import dataclass

import h11
import trio

from jchannel._core.asgi import AsgiApp
from jchannel._core.http_server import HttpConnection
from jchannel._core.visitors import Visitors
from jchannel.trio import Limits


@dataclass(frozen=True)
class HttpResponse:
    """A response that is complete."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """Speaks HTTP on a stream. One connection, any number of requests one after the other."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._connection = h11.Connection(h11.CLIENT)

    async def ask(
        self, target: str, method: str = "GET", host: str = "localhost", headers: dict[str, str] | None = None
    ) -> HttpResponse:
        """Sends a request without a body and reads the whole response.

        Raises `h11.RemoteProtocolError` where the response breaks off.
        """
        lines = [("host", host), *(headers or {}).items()]
        if self._connection.our_state is h11.DONE:
            self._connection.start_next_cycle()
        request = h11.Request(method=method, target=target, headers=lines)
        data = self._connection.send(request)
        await self.stream.send_all(data + self._connection.send(h11.EndOfMessage()))
        return await self._read_response()

    async def _read_response(self) -> HttpResponse:
        response: h11.Response | h11.InformationalResponse | None = None
        body = b""
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                self._connection.receive_data(bytes(await self.stream.receive_some()))
            elif isinstance(event, h11.Response | h11.InformationalResponse):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage)
                assert response is not None
                headers = {str(name, "latin-1"): str(value, "latin-1") for name, value in response.headers}
                return HttpResponse(response.status_code, headers, body)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything that comes until the end of the stream."""
    return b"".join([bytes(data) async for data in stream])


async def serve_http(app: AsgiApp, stream: trio.abc.Stream, limits: Limits | None = None) -> None:
    """Serves HTTP to a stranger on a stream, until its end."""
    limits = limits or Limits()
    try:
        await HttpConnection(app, limits, stream, Visitors(limits).enter()).serve()
    finally:
        await trio.aclose_forcefully(stream)

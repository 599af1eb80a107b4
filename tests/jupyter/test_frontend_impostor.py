"""The notebook frontend when another program listens where the server did: it gets no secret, and runs no code."""

import pytest
from playwright.sync_api import expect

from tests.jupyter.conftest import Notebooks
from tests.jupyter.lab import LabNotebook
from tests.jupyter.test_frontend_connection import CONNECTED, LINE, OPEN, START

IMPOSTOR = """
import http.server, threading
received = []
class Impostor(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        received.append(f"{self.path} {dict(self.headers)}")
        self.send_response(200)
        self.send_header("access-control-allow-origin", "*")
        self.end_headers()
        self.wfile.write(b"window.isTaken = true" if ".js" in self.path else b'{"proof": "00"}')
    do_POST = do_GET
    def log_message(self, *args):
        pass
listener = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Impostor)
threading.Thread(target=listener.serve_forever, daemon=True).start()
"""


@pytest.mark.parametrize("front_end", [LabNotebook], indirect=True)
def test_another_program_at_the_port_gets_no_token_and_runs_no_code(notebooks: Notebooks) -> None:
    start = START.replace("start()", "start(port=0)")  # The default one may be another test's.
    notebook = notebooks.open([start, OPEN, "print(server.url.rpartition(':')[2], server.token)", "", "received"])
    notebook.run(0)
    notebook.run(1)
    expect(notebook.output(0).locator(LINE)).to_contain_text(CONNECTED)
    port, token = notebook.run(2).split()
    notebook.set_source(3, IMPOSTOR.replace("PORT", port))
    notebook.clear_output(2)
    notebook.save()

    notebook.restart()
    notebook.run(3)
    notebook.reload()
    expect(notebook.output(0).locator(LINE)).to_contain_text("not running any more", timeout=10_000)

    received = notebook.run(4)
    assert token not in received
    assert "jchannel.token" not in received
    assert notebook.page.evaluate("() => window.isTaken === undefined")
    assert "client.js" in received

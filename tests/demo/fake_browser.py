"""Speaks as much of the DevTools protocol as the demo needs, and fails in the way that its first argument names.

It is run in the place of Chromium, and gets Chromium's flags behind its own argument.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

COMMANDS: Final = 3
ANSWERS: Final = 4

RESULTS: Final[dict[str, dict[str, Any]]] = {
    "Browser.getVersion": {"product": "Fake/1.2"},
    "Target.createTarget": {"targetId": "target"},
    "Target.attachToTarget": {"sessionId": "session"},
    "Page.captureScreenshot": {"data": "UE5H"},
}


def receive() -> Iterator[dict[str, Any]]:
    buffer = b""
    while data := os.read(COMMANDS, 65536):
        buffer += data
        *messages, buffer = buffer.split(b"\0")
        for message in messages:
            yield json.loads(message)


def send(message: dict[str, Any]) -> None:
    os.write(ANSWERS, json.dumps(message).encode() + b"\0")


def answer(message: dict[str, Any], failure: str) -> None:
    method = message["method"]
    failures: dict[tuple[str, str], dict[str, Any]] = {
        ("Page.navigate", "unreachable"): {"id": message["id"], "result": {"errorText": "net::ERR_CONNECTION_REFUSED"}},
        ("Page.navigate", "crash"): {"method": "Inspector.targetCrashed", "sessionId": "session"},
        ("Page.captureScreenshot", "refuses"): {"id": message["id"], "error": {"message": "no picture today"}},
    }
    send(failures.get((method, failure), {"id": message["id"], "result": RESULTS.get(method, {})}))
    if (method, failure) == ("Page.navigate", "late death"):
        os.abort()


def run(failure: str) -> int:
    if failure == "out of memory":
        sys.stderr.write("ERROR:dbus/bus.cc: noise\nthe fake browser is out of memory\n")
        return 3
    if failure == "silent death":
        return 4
    for message in receive():
        if failure == "garbage" and message["method"] != "Browser.close":
            os.write(ANSWERS, b"what?\0")
        elif failure == "hangs up":
            os.close(ANSWERS)
            failure = "deaf"
        elif message["method"] != "Browser.close" and failure != "deaf":
            answer(message, failure)
        elif failure not in ("deaf", "stays"):
            return 0
    time.sleep(1_000)  # Until it is killed: the commands have ended, and it has not.
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))

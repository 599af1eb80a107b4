"""The process that a test's server runs in: it ends with the test run, however that ends.

Run as `python child.py MODULE ARGUMENT...`: runs the module as `python -m MODULE ARGUMENT...` would. When its standard
input closes, it asks itself to stop as a service manager would, with SIGTERM. A pipe closes by itself when the process
at its other end dies, also of a signal, so no server and no kernel outlives the test run.

The server itself is not measured, only what it starts: coverage's settings arrive under a name that coverage does not
know, and get their own name here, after coverage's start-up hook has run and before any kernel starts.
"""

import os
import runpy
import signal
import sys
import threading

COVERAGE = "COVERAGE_PROCESS_CONFIG"
"""How coverage tells processes what to measure."""

COVERAGE_LATER = "JCHANNEL_TEST_COVERAGE"
"""The same, for the processes that the child starts."""


def main() -> None:
    """Runs the module that the command line names."""
    threading.Thread(target=_stop_at_end_of_input, name="end of input", daemon=True).start()
    if COVERAGE_LATER in os.environ:
        os.environ[COVERAGE] = os.environ.pop(COVERAGE_LATER)
    del sys.argv[0]
    # Python put this file's folder first; `python -m` would have put the working directory there.
    del sys.path[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _stop_at_end_of_input() -> None:
    # Not sys.stdin: its buffer's lock would be taken when the interpreter shuts down.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()

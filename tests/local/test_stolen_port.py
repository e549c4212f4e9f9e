"""Another process takes the port of a local worker that has died, and waits for the driver to call there.

Without encryption and with news of the death that waits for the worker's output, the driver's first calls gave that
process the session's token. Not covered: a thousand connections to such a port (rust_ext/net/tests/connections.rs).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

THEFTS = 3


def test_who_takes_the_port_of_a_dead_worker_gets_no_token() -> None:
    command = [sys.executable, "-m", "tests.local.stolen_port", str(THEFTS)]
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0 stolen"] * THEFTS

"""Lines that a worker printed or logged, on their way to the driver's standard error. Pure."""

from __future__ import annotations

import json

from daft_k8s.printable import for_terminal

INTERVAL_SECONDS = 0.1
"""Between two calls of one worker. Lines that come meanwhile travel together."""


def shown(worker_id: str, line: str, *, as_json: bool, terminal: bool = False) -> str:
    """Returns a line with its worker's name in front.

    Args:
        worker_id: The worker.
        line: The written line.
        as_json: True if workers log JSON: a JSON line names its worker itself, and must stay JSON.
        terminal: True if the line goes to a terminal, which obeys what UDFs print.
    """
    if terminal:
        line = for_terminal(line)
    return line if as_json and _names_worker(line, worker_id) else f"({worker_id}) {line}"


def _names_worker(line: str, worker_id: str) -> bool:
    """True for a JSON line of this worker: a UDF may print one that names another, or the driver."""
    try:
        entry = json.loads(line) if line.startswith("{") else None
        return isinstance(entry, dict) and entry.get("worker") == worker_id
    except (ValueError, RecursionError):
        return False

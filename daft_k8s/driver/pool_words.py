"""The pool's state in words, for whoever waits for its workers in vain."""

from __future__ import annotations

import json
from typing import Any


def describe_pool(status: str) -> str:
    """One line for each worker: what it does, and how its last process was lost.

    Args:
        status: The pool's state as the extension tells it, JSON.
    """
    workers = json.loads(status).get("workers") or []
    return "\n  - ".join(["", *(_worker(worker) for worker in workers)]) if workers else "the pool has no workers"


def _worker(worker: dict[str, Any]) -> str:
    name = str(worker.get("worker_id", "?"))
    launch = worker.get("launch") or 1
    text = f"{name}: {str(worker.get('phase', '?')).lower()}{f', start {launch}' if launch > 1 else ''}"
    waits_for = str(worker.get("waits_for") or "")
    if waits_for:
        text = f"{text}: {waits_for}"
    lost = str(worker.get("last_loss") or "")
    return f"{text}; before: {lost.removeprefix(f'{name}: ')}" if lost else text

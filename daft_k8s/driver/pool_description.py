"""The pool's state as text, for a user who waits for its workers in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daft_k8s._native import PoolSnapshot, WorkerSnapshot


def describe_pool(pool: PoolSnapshot) -> str:
    """Returns one line for each worker: what it does, and how its last process was lost."""
    lines = ["", *(_worker(worker) for worker in pool.workers)]
    return "\n  - ".join(lines) if pool.workers else "the pool has no workers"


def _worker(worker: WorkerSnapshot) -> str:
    start = f", start {worker.launch}" if worker.launch > 1 else ""
    text = f"{worker.worker_id}: {worker.phase.lower()}{start}"
    if worker.waits_for:
        text = f"{text}: {worker.waits_for}"
    lost = worker.last_loss
    return f"{text}; before: {lost.removeprefix(f'{worker.worker_id}: ')}" if lost else text

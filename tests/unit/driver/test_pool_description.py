"""What people read of the pool when no worker comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from daft_k8s.driver.pool_description import describe_pool


def worker(worker_id: str, **facts: object) -> SimpleNamespace:
    known = {"worker_id": worker_id, "phase": "Starting", "launch": 1, "last_loss": None, "waits_for": None}
    return SimpleNamespace(**known | facts)


def pool_of(*workers: SimpleNamespace) -> Any:
    return SimpleNamespace(workers=list(workers))


def test_each_worker_has_a_line_with_its_last_loss() -> None:
    pool = pool_of(
        worker("worker-0", launch=2, last_loss="worker-0 (Pod a-0-1): no node takes it"),
        worker("worker-1"),
        worker("worker-2", phase="Postponed", waits_for="the quota is used up"),
    )
    assert describe_pool(pool).splitlines() == [
        "",
        "  - worker-0: starting, start 2; before: worker-0 (Pod a-0-1): no node takes it",
        "  - worker-1: starting",
        "  - worker-2: postponed: the quota is used up",
    ]


def test_a_pool_without_workers_is_said_to_have_none() -> None:
    assert describe_pool(pool_of()) == "the pool has no workers"

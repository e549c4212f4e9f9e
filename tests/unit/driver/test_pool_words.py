"""What people read of the pool when no worker comes."""

from __future__ import annotations

import json

from daft_k8s.driver.pool_words import describe_pool


def test_each_worker_has_a_line_with_its_last_loss() -> None:
    workers = [
        {
            "worker_id": "worker-0",
            "phase": "Starting",
            "launch": 2,
            "last_loss": "worker-0 (Pod a-0-1): no node takes it",
        },
        {"worker_id": "worker-1", "phase": "Starting", "launch": 1, "last_loss": None},
        {"worker_id": "worker-2", "phase": "Postponed", "launch": 1, "waits_for": "the quota is used up"},
    ]
    assert describe_pool(json.dumps({"workers": workers, "session_id": "x"})).splitlines() == [
        "",
        "  - worker-0: starting, start 2; before: worker-0 (Pod a-0-1): no node takes it",
        "  - worker-1: starting",
        "  - worker-2: postponed: the quota is used up",
    ]


def test_a_pool_without_workers_is_said_to_have_none() -> None:
    assert describe_pool(json.dumps({"workers": []})) == "the pool has no workers"

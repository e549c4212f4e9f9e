"""Workers' Pods and Leases of two sessions, as the API shows them."""

from __future__ import annotations

import datetime
from typing import Any

from daft_k8s.observe.session_summary import QuerySummary, SessionSummary, WorkerSummary

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc)


def pod(session: str, worker: str, *, created: str, driver: str = "", phase: str = "Pending") -> dict[str, Any]:
    owners = [{"kind": "Pod", "name": driver}] if driver else []
    return {
        "metadata": {
            "name": f"daft-{session}-{worker}-1",
            "creationTimestamp": created,
            "labels": {"daft.io/session": session, "daft.io/worker": worker, "daft.io/role": "worker"},
            "ownerReferences": owners,
        },
        "spec": {"containers": [{"name": "worker", "resources": {"limits": {"cpu": "2", "memory": "8Gi"}}}]},
        "status": {"phase": phase},
    }


PODS = [
    pod("b", "worker-0", created="2026-11-22T11:59:30Z"),
    pod("a", "worker-1", created="2026-11-22T11:50:00Z", driver="job-x"),
    pod("a", "worker-0", created="2026-11-22T11:49:00Z", driver="job-x"),
]


def lease(session: str, *, created: str, renewed: str, driver: str = "", summary: str = "") -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"daft-{session}",
            "creationTimestamp": created,
            "labels": {"daft.io/session": session, "daft.io/owner": "ada.laptop"},
            "annotations": {"daft.io/summary": summary},
            "ownerReferences": [{"kind": "Pod", "name": driver}] if driver else [],
        },
        "spec": {"renewTime": renewed},
    }


LIVE = SessionSummary(
    ready=1,
    wanted=3,
    running=2,
    waiting=40,
    done=17,
    failed=1,
    held_bytes=3 << 20,
    spilled_bytes=1 << 20,
    running_queries=2,
    queries=(QuerySummary("swift-fox", 34, 59, 17),),
    workers={"worker-0": WorkerSummary(2, 300 << 20, 3 << 20, 1 << 20)},
)

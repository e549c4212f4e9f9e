"""The events that Kubernetes writes about a Pod."""

from __future__ import annotations

from typing import Any

from daft_k8s.kube.pods.pod_events import last_warning


def warning(message: str, reason: str = "FailedMount", **times: str) -> dict[str, Any]:
    return {
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"name": "daft-s1-worker-0-1"},
        **times,
    }


def test_the_newest_warning_is_told() -> None:
    events = [
        warning("old", lastTimestamp="2026-01-01T00:00:05Z"),
        warning("new", series={"lastObservedTime": "2026-01-01T00:00:09.000000Z"}, eventTime="2026-01-01T00:00:01Z"),
        {**warning("fine", lastTimestamp="2026-01-01T00:01:00Z"), "type": "Normal"},
    ]
    assert last_warning(events) == "FailedMount: new"
    assert last_warning([]) == ""
    assert last_warning([{}, {"type": "Warning"}]) == ""

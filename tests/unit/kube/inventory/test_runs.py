"""The states and outcomes of runs, from their Jobs and Pods. Real runs: tests/integration/test_runs.py."""

from __future__ import annotations

from typing import Any

import pytest

from daft_k8s.kube.inventory.runs import RunState, run_views
from tests.unit.kube.session_json import NOW


def job(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "run", "creationTimestamp": "2026-11-22T11:50:00Z"}, "status": status}


def pod(phase: str, **state: Any) -> dict[str, Any]:
    statuses = [{"name": "driver", "state": state, "ready": False}] if state else []
    labels = {"daft.io/run": "run"}
    return {
        "metadata": {"name": "run-x", "labels": labels, "creationTimestamp": "2026-11-22T11:50:01Z"},
        "spec": {"containers": [{"name": "driver"}]},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


def condition(kind: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": "True", "message": message, "lastTransitionTime": "2026-11-22T11:55:00Z"}


ENDED = {"exitCode": 0, "reason": "Completed"}
FAILED = {"exitCode": 3, "reason": "Error"}


@pytest.mark.parametrize(
    ("made", "pods", "state", "code", "seconds"),
    [
        (job(), [], RunState.STARTING, None, 600),
        (job(), [pod("Pending")], RunState.STARTING, None, 600),
        (job(), [pod("Running", running={})], RunState.RUNNING, None, 600),
        (job(conditions=[condition("Complete")]), [pod("Succeeded", terminated=ENDED)], RunState.SUCCEEDED, 0, 300),
        (job(conditions=[condition("Complete")]), [], RunState.SUCCEEDED, None, 300),
        (job(conditions=[condition("Failed")]), [pod("Failed", terminated=FAILED)], RunState.FAILED, 3, 300),
        (job(conditions=[condition("Failed", "the Pod was evicted")]), [], RunState.LOST, None, 300),
    ],
)
def test_a_run_has_a_state_and_in_the_end_an_outcome(
    made: dict[str, Any], pods: list[dict[str, Any]], state: RunState, code: int | None, seconds: int
) -> None:
    (view,) = run_views([made], pods, NOW)
    assert (view.state, view.exit_code, view.duration_seconds) == (state, code, seconds)
    assert view.state.over == (state not in (RunState.STARTING, RunState.RUNNING))
    assert bool(view.reason) == (state not in (RunState.RUNNING, RunState.SUCCEEDED))


def test_the_reason_of_an_end_without_an_exit_code_is_that_of_the_job() -> None:
    (view,) = run_views([job(conditions=[condition("Failed", "the Pod was evicted")])], [], NOW)
    assert view.reason == "the Pod was evicted"

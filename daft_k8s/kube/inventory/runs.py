"""The runs of a namespace: drivers' Jobs with their states and outcomes."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from daft_k8s.kube.client.console import Console
from daft_k8s.kube.inventory.sessions import age_of
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.lease import read_time
from daft_k8s.kube.pods.state import PodState, Stage, read_state

_CONTAINER = "driver"


class RunState(enum.Enum):
    """The state of a run, or its outcome."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    """Its Pod is gone, or its node does not tell how it ended."""

    @property
    def over(self) -> bool:
        """True if the run has ended."""
        return self not in (RunState.STARTING, RunState.RUNNING)


@dataclass(frozen=True)
class RunView:
    """A driver's Job."""

    run: str
    state: RunState
    pod: str
    """The driver's Pod; "": there is none."""
    exit_code: int | None
    """The exit code of the driver; None: it runs, or the code is not known."""
    reason: str
    """The reason why it has failed or does not start, for people."""
    age_seconds: int | None
    duration_seconds: int | None
    """From the Job's creation to its end, or until now."""


async def find_runs(console: Console) -> list[RunView]:
    """The runs of the namespace, the oldest first.

    Raises:
        ClusterError: Jobs or Pods cannot be listed.
    """
    jobs = await console.items("/apis/batch/v1/{ns}/jobs", names.RUN_LABEL)
    pods = await console.items("/api/v1/{ns}/pods", names.RUN_LABEL)
    return run_views(jobs, pods, console.api.now())


def run_views(
    jobs: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], now: datetime.datetime
) -> list[RunView]:
    """Jobs with the states of their Pods, the oldest first.

    Args:
        jobs: As the API gives them.
        pods: The Pods of all these Jobs.
        now: The API server's time.
    """
    by_run: dict[str, Mapping[str, Any]] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        by_run[str(pod["metadata"]["labels"][names.RUN_LABEL])] = pod
    ordered = sorted(jobs, key=lambda job: str(job["metadata"].get("creationTimestamp")))
    return [_view(job, by_run.get(str(job["metadata"]["name"])), now) for job in ordered]


def _view(job: Mapping[str, Any], pod: Mapping[str, Any] | None, now: datetime.datetime) -> RunView:
    metadata = job["metadata"]
    state = PodState(Stage.PENDING) if pod is None else read_state(pod, _CONTAINER)
    which, reason = _state(job.get("status") or {}, state)
    began = read_time(metadata.get("creationTimestamp"))
    ended = _end(job.get("status") or {}) or now
    return RunView(
        run=str(metadata["name"]),
        state=which,
        pod="" if pod is None else str(pod["metadata"]["name"]),
        exit_code=state.exit_code if state.stage.over else None,
        reason="" if which in (RunState.RUNNING, RunState.SUCCEEDED) else reason,
        age_seconds=age_of(metadata.get("creationTimestamp"), now),
        duration_seconds=None if began is None else max(0, int((ended - began).total_seconds())),
    )


def _state(status: Mapping[str, Any], pod: PodState) -> tuple[RunState, str]:
    conditions = {
        str(item.get("type")): str(item.get("message") or item.get("reason") or "")
        for item in status.get("conditions") or ()
        if item.get("status") == "True"
    }
    if "Complete" in conditions or pod.stage is Stage.SUCCEEDED:
        return RunState.SUCCEEDED, ""
    if pod.stage is Stage.FAILED:
        return (RunState.LOST if pod.exit_code is None else RunState.FAILED), pod.reason
    if "Failed" in conditions:
        return RunState.LOST, conditions["Failed"]
    if pod.stage in (Stage.STARTING, Stage.READY, Stage.TERMINATING):
        return RunState.RUNNING, ""
    return RunState.STARTING, pod.reason or pod.stage.value


def _end(status: Mapping[str, Any]) -> datetime.datetime | None:
    """The time at which a Job has ended; None: it has not."""
    times = [item.get("lastTransitionTime") for item in status.get("conditions") or () if item.get("status") == "True"]
    ends = [time for time in map(read_time, (status.get("completionTime"), *times)) if time is not None]
    return min(ends, default=None)

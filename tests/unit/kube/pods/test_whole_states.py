"""The whole of what is read from a Pod, with its words: what people read was written on purpose.

`whole_states.txt` is written by `python -m tests.unit.kube.pods.test_whole_states`; a change of it is to be read like
one of the code.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from daft_k8s.kube.pods.state import read_state
from tests.unit.kube.pod_json import UNSCHEDULABLE, disruption, ended, pod, ready_pod, waiting

ANEW = "if that is wanted: python -m tests.unit.kube.pods.test_whole_states"
WRITTEN = Path(__file__).with_name("whole_states.txt")
SIDECAR = {"name": "sidecar", "ready": True, "state": {"running": {}}}
ENDED_SIDECAR = {"name": "sidecar", "state": ended(0)}
SCHEDULED = {"type": "PodScheduled", "status": "True"}
GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
LOG = "\n".join(f"line {number}\x1b" for number in range(12))


def init(state: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"name": "prepare", "image": "registry.test/init:1", "state": state, **status}


def pulling(reason: str, message: str) -> dict[str, Any]:
    return pod(node="n1", own=waiting(reason, message))


PODS: dict[str, dict[str, Any]] = {
    "pending": pod(),
    "no node": pod(conditions=[UNSCHEDULABLE]),
    "no node, without words": pod(conditions=[{"type": "PodScheduled", "status": "False"}]),
    "gates": pod(gates=("a", "b")),
    "gates, by the condition alone": pod(conditions=[GATED]),
    "gates that are lifted": pod(gates=("a",), node="n1"),
    "scheduled": pod(conditions=[SCHEDULED], ip="10.0.0.7"),
    "at its node": pod(node="n1"),
    "image not found": pulling("ErrImagePull", "manifest unknown"),
    "image, between two tries": pulling("ImagePullBackOff", 'Back-off pulling image "a:1"'),
    "image, between two tries, with words": pulling("ImagePullBackOff", 'Back-off pulling image "a:1": denied'),
    "image, too many tries": pulling("ErrImagePull", "toomanyrequests: slow down"),
    "image that cannot be": pulling("InvalidImageName", "bad\nname"),
    "image without words": pod(node="n1", own={"waiting": {"reason": "ErrImageNeverPull"}}),
    "image of an init container": pod(initContainerStatuses=[init(waiting("ErrImagePull", "denied"))]),
    "init container again and again": pod(
        initContainerStatuses=[init(waiting("CrashLoopBackOff", "back-off 10s"), lastState=ended(3, "Error", "no"))]
    ),
    "a Secret that is missing": pulling("CreateContainerConfigError", 'secret "s" not found'),
    "a mistake of an init container": pod(initContainerStatuses=[init(waiting("RunContainerError", "no such file"))]),
    "starting, no address": pod(node="n1", phase="Running", own={"running": {}}),
    "starting": pod(node="n1", phase="Running", own={"running": {}}, ip="10.0.0.1"),
    "ready": ready_pod(),
    "deleted": pod(node="n1", phase="Running", own={"running": {}}, ready=True, ip="10.0.0.1", deleting=True),
    "preempted, still there": pod(deleting=True, ip="10.0.0.1", conditions=[disruption("PreemptionByScheduler")]),
    "succeeded": pod(phase="Succeeded", own=ended(0, "Completed", "bye")),
    "succeeded beside a sidecar": pod(phase="Running", own=ended(0, "Completed", "bye"), others=[SIDECAR]),
    "ended, the sidecar too": pod(phase="Running", own=ended(1), others=[ENDED_SIDECAR]),
    "ended and deleted": pod(phase="Running", own=ended(1), deleting=True),
    "failed": pod(phase="Failed", own=ended(1, "Error", LOG), node="n1"),
    "failed beside a sidecar": pod(phase="Failed", own=ended(1), others=[SIDECAR]),
    "failed, with a reason": pod(phase="Failed", own=ended(1, "Strange")),
    "cannot be run": pod(phase="Failed", own=ended(128, "ContainerCannotRun", "exec failed")),
    "cannot be started": pod(phase="Failed", own=ended(128, "StartError", "no such file")),
    **{f"exit code {code}": pod(phase="Failed", own=ended(code)) for code in (2, 64, 134, 137, 139, 143)},
    "failed without a code": pod(phase="Failed", own={"terminated": {"reason": "Error"}}),
    "failed without a word": pod(phase="Failed"),
    "out of memory": pod(phase="Failed", own=ended(137, "OOMKilled", "last words")),
    "out of memory, called succeeded": pod(phase="Succeeded", own=ended(0, "OOMKilled")),
    "init container out of memory": pod(phase="Failed", initContainerStatuses=[init(ended(137, "OOMKilled"))]),
    "init container failed": pod(phase="Failed", initContainerStatuses=[init(ended(2, "Error", "no"))]),
    "init container ended well": pod(phase="Failed", initContainerStatuses=[init(ended(0))]),
    "rejected": pod(phase="Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
    **{
        f"phase Failed: {reason}": pod(phase="Failed", own=ended(137), reason=reason, message="as told")
        for reason in (
            "Evicted", "Preempting", "Preempted", "NodeLost", "NodeShutdown", "Terminated", "Shutdown",
            "DeadlineExceeded",
        )
    },
    **{
        f"disruption: {reason}": pod(phase="Failed", own=ended(137), conditions=[disruption(reason)])
        for reason in (
            "PreemptionByScheduler", "DeletionByTaintManager", "EvictionByEvictionAPI", "DeletionByPodGC",
            "TerminationByKubelet", "SomethingNew",
        )
    },
    "no disruption": pod(
        phase="Failed", own=ended(1), conditions=[{**disruption("DeletionByPodGC"), "status": "False"}]
    ),
    "node lost": pod(phase="Unknown"),
    "node lost, with words": pod(phase="Running", reason="NodeLost", message="not heard of"),
}  # fmt: skip


def states() -> str:
    lines = []
    for name, found in PODS.items():
        state = read_state(found)
        told = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
        stage, reason, cause = told.pop("stage"), told.pop("reason"), told.pop("cause")
        rest = "".join(f", {key}={value!r}" for key, value in told.items() if value not in ("", None, False))
        lines.append(f"{name}\n    {stage.name}, {cause.name}{rest}\n    {reason!r}")
    return "\n".join(lines) + "\n"


def test_a_pod_is_read_as_it_is_written_down() -> None:
    assert states().splitlines() == WRITTEN.read_text(encoding="utf-8").splitlines(), ANEW


if __name__ == "__main__":
    WRITTEN.write_text(states(), encoding="utf-8")

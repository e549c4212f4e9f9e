"""Pods as the API gives them, in the shapes that real clusters produce."""

from __future__ import annotations

from typing import Any


def pod(
    name: str = "p",
    *,
    phase: str = "Pending",
    own: dict[str, Any] | None = None,
    ready: bool = False,
    others: list[dict[str, Any]] | None = None,
    conditions: list[dict[str, Any]] | None = None,
    ip: str | None = None,
    node: str | None = None,
    deleting: bool = False,
    version: int = 1,
    uid: str = "u",
    gates: tuple[str, ...] = (),
    **status: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "uid": uid, "resourceVersion": str(version)}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec: dict[str, Any] = {"containers": [{"name": "worker", "image": "registry.test/image:1"}]}
    if node is not None:
        spec["nodeName"] = node
    if gates:
        spec["schedulingGates"] = [{"name": gate} for gate in gates]
        words = "Scheduling is blocked due to non-empty scheduling gates"
        gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": words}
        conditions = [*(conditions or []), gated]
    full: dict[str, Any] = {"phase": phase, **status}
    if own is not None:
        # The sidecar comes first: the place in the list means nothing.
        full["containerStatuses"] = [*(others or []), {"name": "worker", "ready": ready, "state": own}]
    if conditions is not None:
        full["conditions"] = conditions
    if ip is not None:
        full["podIP"] = ip
    return {"metadata": metadata, "spec": spec, "status": full}


def ready_pod(name: str = "p", *, version: int = 2, ip: str = "10.0.0.1", uid: str = "u") -> dict[str, Any]:
    return pod(name, phase="Running", own={"running": {}}, ready=True, ip=ip, node="n1", version=version, uid=uid)


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
}


def disruption(reason: str) -> dict[str, Any]:
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "as Kubernetes says it"}

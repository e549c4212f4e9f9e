"""The sessions of a namespace, from the labels of its Pods and the Leases of their drivers."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import Console, ForbiddenError
from daft_k8s.kube.inventory.drivers import OUTSIDE, driver_of
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.lease import read_time
from daft_k8s.kube.pods.state import Stage, read_state
from daft_k8s.session_summary import SessionSummary, WorkerSummary, decode


@dataclass
class WorkerView:
    """A worker's Pod."""

    worker: str
    pod: str
    state: str
    ready: bool
    node: str
    cpu: str
    memory: str
    age: str
    used: str = ""
    """CPU and memory, by the cluster's metrics server."""
    live: WorkerSummary | None = None
    """The figures that the driver publishes; None: there are none."""


@dataclass
class SessionView:
    """A session with workers or a Lease in the namespace."""

    session: str
    driver: str
    owner: str
    age: str
    workers: list[WorkerView] = field(default_factory=list)
    live: SessionSummary | None = None
    """The figures that the driver publishes; None: there are none, or they may not be read."""
    seen: str = ""
    """The time since the driver renewed the Lease."""

    @property
    def ready(self) -> int:
        """Workers whose Pods are ready."""
        return sum(worker.ready for worker in self.workers)

    def is_called(self, name: str) -> bool:
        """True for the name of the session, of its driver's Pod, or of the run that this Pod belongs to."""
        return name in (self.session, self.driver, self.driver.rpartition("-")[0])


async def find_sessions(console: Console) -> list[SessionView]:
    """All sessions that have workers or a Lease, the oldest first.

    Raises:
        ClusterError: Pods cannot be listed, or Leases for another reason than a missing right.
    """
    pods = await console.items("/api/v1/{ns}/pods", f"{names.ROLE_LABEL}={names.WORKER_ROLE}")
    used = await _usage(console)
    return sessions_of(pods, await _leases(console), used, console.api.now())


def sessions_of(
    pods: Iterable[dict[str, Any]],
    leases: Iterable[dict[str, Any]],
    used: Mapping[str, str],
    now: datetime.datetime,
) -> list[SessionView]:
    """Workers' Pods by session, both in the order of their age, with what the drivers tell; then those without Pods.

    Args:
        pods: As the API gives them.
        leases: The sessions' Leases, in the same form.
        used: What each Pod uses, by its name.
        now: The API server's time.
    """
    found: dict[str, SessionView] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        session = labels.get(names.SESSION_LABEL, "")
        view = found.get(session)
        age = age_of(metadata.get("creationTimestamp"), now)
        if view is None:
            view = found[session] = _session(session, metadata, age)
        view.workers.append(_worker(pod, labels, age, used.get(metadata["name"], "")))
    for lease in sorted(leases, key=lambda lease: str(lease["metadata"].get("creationTimestamp"))):
        metadata = lease["metadata"]
        session = (metadata.get("labels") or {}).get(names.SESSION_LABEL, "")
        age = age_of(metadata.get("creationTimestamp"), now)
        view = found.setdefault(session, _session(session, metadata, age))
        _add_live(view, lease, age, now)
    return list(found.values())


def _session(session: str, metadata: Mapping[str, Any], age: str) -> SessionView:
    """A session by one of its objects."""
    owner = (metadata.get("labels") or {}).get(names.OWNER_LABEL, "")
    return SessionView(session, driver_of(metadata), owner, age)


def _add_live(view: SessionView, lease: Mapping[str, Any], age: str, now: datetime.datetime) -> None:
    view.age = age or view.age  # its first workers may be gone
    driver = driver_of(lease["metadata"])
    view.driver = view.driver if driver == OUTSIDE else driver  # the workers of a StatefulSet are that one's
    view.seen = age_of((lease.get("spec") or {}).get("renewTime"), now)
    view.live = decode((lease["metadata"].get("annotations") or {}).get(names.SUMMARY_ANNOTATION))
    if view.live is not None:
        for worker in view.workers:
            worker.live = view.live.workers.get(worker.worker)


def age_of(timestamp: str | None, now: datetime.datetime) -> str:
    """The time since a timestamp, in the largest unit that fits."""
    began = read_time(timestamp)
    if began is None:
        return ""
    seconds = int((now - began).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def memory_words(quantity: str) -> str:
    """A quantity of memory as people write it: whole bytes in the largest binary unit that divides them."""
    if quantity.isdigit():
        size = int(quantity)
        for unit, shift in (("Gi", 30), ("Mi", 20), ("Ki", 10)):
            if size and size % (1 << shift) == 0:
                return f"{size >> shift}{unit}"
    return quantity


def _worker(pod: Mapping[str, Any], labels: Mapping[str, str], age: str, used: str) -> WorkerView:
    state = read_state(pod)
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    own = next((item for item in containers if item.get("name") == names.CONTAINER), containers[0])
    limits = (own.get("resources") or {}).get("limits") or {}
    words = state.stage.name.lower().replace("_", " ")
    return WorkerView(
        worker=names.worker_of(pod["metadata"]),
        pod=pod["metadata"]["name"],
        state=f"{words}: {state.reason}" if state.reason and not state.stage.over else words,
        ready=state.stage is Stage.READY,
        node=state.node,
        cpu=str(limits.get("cpu", "")),
        memory=memory_words(str(limits.get("memory", ""))),
        age=age,
        used=used,
    )


async def _leases(console: Console) -> list[dict[str, Any]]:
    try:
        return await console.items("/apis/coordination.k8s.io/v1/{ns}/leases", names.SESSION_LABEL)
    except ForbiddenError:
        return []  # who may list Pods need not have the right to these


async def _usage(console: Console) -> dict[str, str]:
    try:
        items = await console.items("/apis/metrics.k8s.io/v1beta1/{ns}/pods")
    except ClusterError:
        return {}  # most clusters have it, none must
    used = {}
    for item in items:
        usage = [container.get("usage") or {} for container in item.get("containers") or ()]
        if usage:
            used[str(item["metadata"]["name"])] = f"{usage[0].get('cpu', '?')} {usage[0].get('memory', '?')}"
    return used

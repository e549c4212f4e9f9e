"""The sessions of a namespace, from the labels of its Pods and the Leases of their drivers."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from daft_k8s.config.quantities import parse_quantity
from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import Console, ForbiddenError
from daft_k8s.kube.inventory.drivers import OUTSIDE, driver_of
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.lease import is_dead, read_time
from daft_k8s.kube.pods.state import Stage, read_state
from daft_k8s.observe.session_summary import SessionSummary, WorkerSummary, decode

_SUCCEEDED = Stage.SUCCEEDED.name.lower()


class Usage(NamedTuple):
    """CPU and memory that a Pod uses."""

    cpu: float | None = None
    memory_bytes: int | None = None


class Life(enum.Enum):
    """The life of a session, by its Lease and its workers."""

    ALIVE = "alive"
    DEAD = "dead"
    """Its driver is gone: the Lease has run out, or there is none and all workers have ended."""
    SILENT = "silent"
    """The Lease has run out, but a worker still serves: its driver may yet come back."""
    UNKNOWN = "unknown"
    """There is no Lease, or the caller may not list them."""


@dataclass
class WorkerView:
    """A worker's Pod."""

    worker: str
    pod: str
    state: str
    ready: bool
    node: str
    cpu: float | None
    """Its limit, in cores; None: it has none."""
    memory_bytes: int | None
    """Its limit; None: it has none."""
    age_seconds: int | None
    used_cpu: float | None = None
    """By the cluster's metrics server; None: it is not known."""
    used_memory_bytes: int | None = None
    live: WorkerSummary | None = None
    """The figures that the driver publishes; None: there are none."""


@dataclass
class SessionView:
    """A session with workers or a Lease in the namespace."""

    session: str
    driver: str
    owner: str
    age_seconds: int | None
    life: Life = Life.UNKNOWN
    workers: list[WorkerView] = field(default_factory=list)
    live: SessionSummary | None = None
    """The figures that the driver publishes; None: there are none, or they may not be read."""
    seen_seconds: int | None = None
    """The time since the driver renewed the Lease."""

    @property
    def ready(self) -> int:
        """Workers whose Pods are ready."""
        return sum(worker.ready for worker in self.workers)

    @property
    def wanted(self) -> int:
        """Workers that there are, or that the session wants now."""
        return max(0 if self.live is None or self.life is Life.DEAD else self.live.wanted, len(self.workers))

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
    used: Mapping[str, Usage],
    now: datetime.datetime,
) -> list[SessionView]:
    """Workers' Pods by session, both in the order of their age, with what the drivers tell; then those without Pods.

    Args:
        pods: As the API gives them.
        leases: The sessions' Leases, in the same form.
        used: The usage of each Pod, by its name.
        now: The API server's time.
    """
    found: dict[str, SessionView] = {}
    owned: set[str] = set()
    over: dict[str, bool] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        session = labels.get(names.SESSION_LABEL, "")
        age_seconds = age_of(metadata.get("creationTimestamp"), now)
        view = found.get(session)
        if view is None:
            view = found[session] = _session(session, metadata, age_seconds)
        view.workers.append(_worker(pod, age_seconds, used.get(metadata["name"], Usage())))
        over[session] = over.get(session, True) and read_state(pod).stage.over
        if metadata.get("ownerReferences"):
            owned.add(session)
    for session, is_over in over.items():
        if is_over and session not in owned:
            found[session].life = Life.DEAD
    for lease in sorted(leases, key=lambda lease: str(lease["metadata"].get("creationTimestamp"))):
        metadata = lease["metadata"]
        session = (metadata.get("labels") or {}).get(names.SESSION_LABEL, "")
        age_seconds = age_of(metadata.get("creationTimestamp"), now)
        view = found.setdefault(session, _session(session, metadata, age_seconds))
        _add_lease(view, lease, age_seconds, now)
    for view in found.values():
        if view.life is Life.DEAD:
            _mark_orphans(view)
    return list(found.values())


def _session(session: str, metadata: Mapping[str, Any], age_seconds: int | None) -> SessionView:
    """A session by one of its objects."""
    owner = (metadata.get("labels") or {}).get(names.OWNER_LABEL, "")
    return SessionView(session, driver_of(metadata), owner, age_seconds)


def _add_lease(view: SessionView, lease: Mapping[str, Any], age_seconds: int | None, now: datetime.datetime) -> None:
    if age_seconds is not None:
        view.age_seconds = age_seconds  # its first workers may be gone
    driver = driver_of(lease["metadata"])
    view.driver = view.driver if driver == OUTSIDE else driver  # the workers of a StatefulSet are that one's
    view.seen_seconds = age_of((lease.get("spec") or {}).get("renewTime"), now)
    view.life = (Life.SILENT if view.ready else Life.DEAD) if is_dead(lease, now) else Life.ALIVE
    view.live = decode((lease["metadata"].get("annotations") or {}).get(names.SUMMARY_ANNOTATION))
    if view.live is not None and view.life is Life.ALIVE:
        for worker in view.workers:
            worker.live = view.live.workers.get(worker.worker)


def _mark_orphans(view: SessionView) -> None:
    """An orphan that ends by itself exits with 0, and Kubernetes calls that a success, which it is not."""
    for worker in view.workers:
        worker.state = f"orphan: {'ended' if worker.state == _SUCCEEDED else worker.state}"
        worker.ready = False


def age_of(timestamp: str | None, now: datetime.datetime) -> int | None:
    """Whole seconds since a timestamp; None: it is none."""
    began = read_time(timestamp)
    return None if began is None else max(0, int((now - began).total_seconds()))


def _worker(pod: Mapping[str, Any], age_seconds: int | None, used: Usage) -> WorkerView:
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
        cpu=_amount(limits.get("cpu")),
        memory_bytes=_bytes(limits.get("memory")),
        age_seconds=age_seconds,
        used_cpu=used.cpu,
        used_memory_bytes=used.memory_bytes,
    )


def _amount(quantity: object) -> float | None:
    try:
        return float(parse_quantity(quantity))
    except ValueError:
        return None


def _bytes(quantity: object) -> int | None:
    amount = _amount(quantity)
    return None if amount is None else int(amount)


async def _leases(console: Console) -> list[dict[str, Any]]:
    try:
        return await console.items("/apis/coordination.k8s.io/v1/{ns}/leases", names.SESSION_LABEL)
    except ForbiddenError:
        return []  # who may list Pods need not have the right to these


async def _usage(console: Console) -> dict[str, Usage]:
    try:
        items = await console.items("/apis/metrics.k8s.io/v1beta1/{ns}/pods")
    except ClusterError:
        return {}  # most clusters have it, none must
    used = {}
    for item in items:
        usage = [container.get("usage") or {} for container in item.get("containers") or ()]
        if usage:
            used[str(item["metadata"]["name"])] = Usage(_amount(usage[0].get("cpu")), _bytes(usage[0].get("memory")))
    return used

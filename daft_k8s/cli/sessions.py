"""The sessions of a namespace, as the labels of its Pods tell them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from daft_k8s.errors import ClusterError
from daft_k8s.pods import names
from daft_k8s.pods.console import Console
from daft_k8s.pods.lease import read_time
from daft_k8s.pods.state import Stage, read_state

_OWNER_LABEL = "daft.io/owner"


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


@dataclass
class SessionView:
    """A session with workers in the namespace."""

    session: str
    driver: str
    owner: str
    age: str
    workers: list[WorkerView] = field(default_factory=list)


async def find_sessions(console: Console) -> list[SessionView]:
    """All sessions that have workers, the oldest first.

    Raises:
        ClusterError: Pods cannot be listed.
    """
    pods = await console.items("/api/v1/{ns}/pods", f"{names.ROLE_LABEL}={names.WORKER_ROLE}")
    used = await _usage(console)
    now = datetime.datetime.now(datetime.timezone.utc)
    return sessions_of(pods, used, now)


def sessions_of(pods: list[dict[str, Any]], used: Mapping[str, str], now: datetime.datetime) -> list[SessionView]:
    """Workers' Pods by session, both in the order of their age.

    Args:
        pods: As the API gives them.
        used: What each Pod uses, by its name.
        now: The time.
    """
    found: dict[str, SessionView] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        session = labels.get(names.SESSION_LABEL, "")
        view = found.get(session)
        age = age_of(metadata.get("creationTimestamp"), now)
        if view is None:
            drivers = [owner["name"] for owner in metadata.get("ownerReferences") or () if owner.get("kind") == "Pod"]
            view = SessionView(session, drivers[0] if drivers else "outside", labels.get(_OWNER_LABEL, ""), age)
            found[session] = view
        view.workers.append(_worker(pod, labels, age, used.get(metadata["name"], "")))
    return list(found.values())


def age_of(timestamp: str | None, now: datetime.datetime) -> str:
    """How long ago, in the largest fitting unit."""
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
        worker=labels.get(names.WORKER_LABEL, ""),
        pod=pod["metadata"]["name"],
        state=f"{words}: {state.reason}" if state.reason and not state.stage.over else words,
        ready=state.stage is Stage.READY,
        node=state.node,
        cpu=str(limits.get("cpu", "")),
        memory=memory_words(str(limits.get("memory", ""))),
        age=age,
        used=used,
    )


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

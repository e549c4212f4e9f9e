"""Which process of a StatefulSet's Pods stands for which launch. Pure.

A Pod of a StatefulSet keeps its name, and restarts in place: behind one name come, one after the other, processes of
several Pods, and several processes of one Pod. To the rest of this room each process is a Pod of its own, with a
name that no other has: its Pod's, its Pod's uid and the number of restarts. So states, snapshots and launches mean here
what they mean for Pods that never restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daft_k8s.pods import names
from daft_k8s.pods.launches import Key

Pod = Mapping[str, Any]

_UID_CHARACTERS = 8


@dataclass(frozen=True)
class Seen:
    """What one look at a Pod says."""

    processes: tuple[dict[str, Any], ...]
    """As Pods of their own, oldest first."""
    gone: tuple[dict[str, Any], ...] = ()
    """Those of the same name that are there no longer, as they were last seen."""


@dataclass
class _Name:
    """What is known behind one Pod's name."""

    newest: dict[str, Any] | None = None
    waiting: Key | None = None
    """A launch that has no process yet."""
    used: str = ""
    """The process that the latest launch had."""


class Incarnations:
    """The processes behind each Pod's name, and the launches that they stand for."""

    def __init__(self) -> None:
        self._names: dict[str, _Name] = {}

    def wants(self, pod_name: str, key: Key) -> str | None:
        """A launch wants the next process of this name; returns its name if it is there already."""
        name = self._names.setdefault(pod_name, _Name())
        name.waiting = key
        return self._bind(name)

    def no_longer_wants(self, pod_name: str, key: Key) -> None:
        """A launch is over."""
        name = self._names.get(pod_name)
        if name is not None and name.waiting == key:
            name.waiting = None

    def saw(self, pod: Pod) -> Seen:
        """The API showed a Pod."""
        processes = split(pod)
        name = self._names.setdefault(_name(pod), _Name())
        newest, last = processes[-1], name.newest
        if last is not None and _is_older(newest, last):
            return Seen(())
        name.newest = newest
        if last is None or _name(last) in [_name(process) for process in processes]:
            return Seen(tuple(processes))
        return Seen(tuple(processes), (last,))

    def was_deleted(self, pod: Pod) -> dict[str, Any]:
        """The watch says that a Pod is gone; returns its last process."""
        return split(pod)[-1]

    def bind(self, pod_name: str) -> tuple[Key, str] | None:
        """The launch that waits for a process of this name, and the process, if there is one for it."""
        name = self._names.get(pod_name)
        if name is None or name.waiting is None:
            return None
        key = name.waiting
        process = self._bind(name)
        return None if process is None else (key, process)

    def _bind(self, name: _Name) -> str | None:
        if name.newest is None or _name(name.newest) == name.used:
            return None
        if (name.newest.get("metadata") or {}).get("deletionTimestamp"):
            return None  # the next one of that name will be another
        name.used, name.waiting = _name(name.newest), None
        return name.used


def split(pod: Pod) -> list[dict[str, Any]]:
    """The processes that a Pod's JSON tells of, as Pods of their own: the one that ended before, the present one."""
    own = _own(pod)
    count = own.get("restartCount")
    restarts = count if isinstance(count, int) else 0
    before = (own.get("lastState") or {}).get("terminated")
    waiting = ((own.get("state") or {}).get("waiting") or {}).get("reason")
    if before and waiting == "CrashLoopBackOff":
        # Its end; the next one is not there before the pause is over.
        return [_process(pod, restarts, {"terminated": before})]
    present = _process(pod, restarts, own.get("state"))
    if before and restarts > 0:
        return [_process(pod, restarts - 1, {"terminated": before}), present]
    return [present]


def pod_name(process: str) -> str:
    """The name of the Pod in which a process is or was."""
    return process.partition("/")[0]


def _process(pod: Pod, restarts: int, state: Any) -> dict[str, Any]:
    metadata, status = dict(pod.get("metadata") or {}), dict(pod.get("status") or {})
    uid = str(metadata.get("uid") or "")
    metadata["name"] = f"{metadata.get('name')}/{uid[:_UID_CHARACTERS]}/{restarts}"
    if state is not None:
        status["containerStatuses"] = [
            {**item, "state": state, "restartCount": restarts} if item.get("name") == names.CONTAINER else item
            for item in status.get("containerStatuses") or ()
        ]
    return {**pod, "metadata": metadata, "status": status}


def _own(pod: Pod) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((item for item in statuses if item.get("name") == names.CONTAINER), {})


def _name(pod: Pod) -> str:
    return str((pod.get("metadata") or {}).get("name"))


def _is_older(one: Pod, other: Pod) -> bool:
    versions = [str((pod.get("metadata") or {}).get("resourceVersion") or "") for pod in (one, other)]
    return all(version.isdigit() for version in versions) and int(versions[0]) < int(versions[1])

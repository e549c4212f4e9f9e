"""The processes of a StatefulSet's Pods, and the launches that they stand for.

A Pod of a StatefulSet keeps its name, and restarts in place. So processes of several Pods, and several processes of one
Pod, succeed one another behind one name. To the rest of this room each process is a Pod with a unique name: its Pod's,
its Pod's uid and the number of restarts. So states, snapshots and launches mean here what they mean for Pods that never
restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daft_k8s.kube.objects import names
from daft_k8s.kube.pods.launches import Key

Pod = Mapping[str, Any]

_UID_CHARACTERS = 8
_NEXT_IS_MADE = ("ContainerCreating", "PodInitializing")
"""Reasons for waiting with which a node counts the next process already."""


@dataclass(frozen=True)
class Seen:
    """The processes that one look at a Pod shows."""

    processes: tuple[dict[str, Any], ...]
    """As Pods of their own, oldest first."""
    gone: tuple[dict[str, Any], ...] = ()
    """Former Pods of the same name, as they were last seen."""


@dataclass
class _Name:
    """The known processes behind one Pod's name."""

    newest: dict[str, Any] | None = None
    known_at: float = float("-inf")
    """When anything was last heard of it."""
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

    def saw(self, pod: Pod, now: float, *, listed: bool = False) -> Seen:
        """The API showed a Pod.

        Args:
            pod: As the API gives it.
            now: The time, in seconds; of a list, when it was asked for.
            listed: True if it is from a complete list. One that was asked for after all other news is the truth.
        """
        processes = split(pod)
        name = self._names.setdefault(_name(pod), _Name())
        newest, last = processes[-1], name.newest
        is_truth = listed and name.known_at <= now
        name.known_at = max(name.known_at, now)
        if last is not None and _is_older(newest, last) and not is_truth:
            return Seen(())
        if last is None or _name(last) in [_name(process) for process in processes]:
            name.newest = newest
            return Seen(tuple(processes))
        if _uid(last) != _uid(newest):
            name.newest = newest
            return Seen(tuple(processes), (last,))
        if _restarts(newest) < _restarts(last):
            return Seen(())  # of a database that was restored: its node will say how it is
        name.newest = newest
        end = _last_end(pod)
        if end is None:
            return Seen(tuple(processes), (last,))
        # It has restarted several times since it was seen. The last end is the best that is known of the first.
        return Seen((_process(pod, _restarts(last), {"terminated": end}), *processes))

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
    restarts = _restarts(pod)
    before = (own.get("lastState") or {}).get("terminated")
    waiting = ((own.get("state") or {}).get("waiting") or {}).get("reason")
    if before and waiting and waiting not in _NEXT_IS_MADE:
        # Its end; the next one is not there before the pause is over, or what keeps it from being made.
        return [_process(pod, restarts, {"terminated": before})]
    present = _process(pod, restarts, own.get("state"))
    if before and restarts > 0:
        return [_process(pod, restarts - 1, {"terminated": before}), present]
    return [present]


def first_process(pod: Pod) -> Pod:
    """The Pod as its first process left it, for Pods of which no other process counts."""
    end = _last_end(pod)
    if _restarts(pod) == 0 or end is None:
        return pod
    ended = _process(pod, 0, {"terminated": end})
    return {**ended, "metadata": pod.get("metadata") or {}}


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


def _restarts(pod: Pod) -> int:
    count = _own(pod).get("restartCount")
    return count if isinstance(count, int) else 0


def _last_end(pod: Pod) -> Mapping[str, Any] | None:
    """The last known end of the worker's container; None: there was none."""
    own = _own(pod)
    states = (own.get("lastState") or {}), (own.get("state") or {})
    return next((state["terminated"] for state in states if state.get("terminated")), None)


def _uid(pod: Pod) -> str:
    return str((pod.get("metadata") or {}).get("uid"))


def _name(pod: Pod) -> str:
    return str((pod.get("metadata") or {}).get("name"))


def _is_older(one: Pod, other: Pod) -> bool:
    versions = [str((pod.get("metadata") or {}).get("resourceVersion") or "") for pod in (one, other)]
    return all(version.isdigit() for version in versions) and int(versions[0]) < int(versions[1])

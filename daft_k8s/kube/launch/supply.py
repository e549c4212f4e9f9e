"""The supply of Pods for launches: how each is asked for, recognised and removed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.pods.incarnations import first_process
from daft_k8s.kube.pods.launches import Key, Launches
from daft_k8s.kube.pods.snapshots import Change, PodStore
from daft_k8s.kube.pods.unwanted import Unwanted
from daft_k8s.kube.session.session_objects import END_GRACE_SECONDS, SessionObjects

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api
    from daft_k8s.kube.objects.target import Target

logger = logging.getLogger(__name__)

ENDED_PODS_KEPT = 5
"""The ended Pods that stay, so that their logs can be read; a session that lives for days ends hundreds."""


class NameTakenError(Exception):
    """A Pod that the session has not made has the name of a launch's Pod. Never leaves this room."""


class Supply(Protocol):
    """The differences between bare Pods and those of a StatefulSet. Used on one event loop; times are in seconds."""

    def begin(self, key: Key, now: float) -> list[Change]:
        """The pool wants a process."""

    async def provide(self, key: Key, api: Api, target: Target) -> list[Change]:
        """Asks the cluster for the Pod of a launch, once. Raises ApiError and NameTakenError."""

    async def withdraw(self, key: Key) -> None:
        """The launch was not wanted any more by the time its Pod was asked for."""

    async def stop(self, key: Key, pod: str) -> None:
        """The pool wants the process to end; it may drain."""

    async def remove(self, key: Key) -> None:
        """The launch is over, and its Pod is still there."""

    def saw(self, pod: Mapping[str, Any], now: float) -> list[Change]:
        """The API showed a Pod."""

    def was_deleted(self, pod: Mapping[str, Any], now: float) -> list[Change]:
        """The watch says that a Pod is gone."""

    def was_listed(self, pods: Iterable[Mapping[str, Any]], *, asked_at: float) -> list[Change]:
        """A complete list."""

    def forget(self, name: str) -> None:
        """Drops what is known of a Pod that is gone."""

    async def tidy(self, name: str) -> None:
        """The process of this Pod has ended, its exit is known, and the Pod is not deleted yet."""

    async def clear(self, pods: Sequence[Mapping[str, Any]], *, asked_at: float) -> None:
        """Removes the Pods that a complete list shows and no launch wants."""

    def pod_name(self, key: Key) -> str:
        """The name of its Pod."""

    def peer_name(self, key: Key, target: Target) -> str | None:
        """The name under which other workers reach it; None: its IP will do."""


class BarePods:
    """A Pod of its own for each launch.

    Args:
        configuration: The options of Pods.
        session_id: The session.
        objects: The session's objects in the cluster.
        launches: The launches that the pool waits for or works with.
        grace_seconds: For how long lists may show a Pod that no launch wants before it is deleted once more.
    """

    def __init__(
        self,
        configuration: Configuration,
        session_id: str,
        *,
        objects: SessionObjects,
        launches: Launches,
        grace_seconds: float,
    ) -> None:
        self._configuration = configuration
        self._session_id = session_id
        self._objects = objects
        self._launches = launches
        self._store = PodStore()
        self._grace_seconds = math.ceil(configuration.drain_timeout_seconds)
        self._nodes_to_avoid: dict[str, str] = {}
        """By worker: where its last Pod was, if that may be the node's fault."""
        self._unwanted = Unwanted(grace_seconds)
        self._uids: dict[str, str] = {}
        """Of the Pods that the API has answered for, by name."""
        self._ended: dict[str, None] = {}
        """Pods whose process has ended, the oldest first."""

    def begin(self, key: Key, now: float) -> list[Change]:
        self._launches.began(key, self.pod_name(key), now)
        return []

    async def provide(self, key: Key, api: Api, target: Target) -> list[Change]:
        worker_id, launch_id = key
        target = self._objects.target or target  # its owner is another one if its Lease was lost and made again
        pod = worker_pod(
            self._configuration,
            target,
            session_id=self._session_id,
            worker_id=worker_id,
            launch_id=launch_id,
            node_to_avoid=self._nodes_to_avoid.get(worker_id, ""),
        )
        try:
            created = await api.create_pod(target.namespace, pod)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            created = await _find(api, target.namespace, pod["metadata"]["name"])
            if not _is_like(created, pod):
                raise NameTakenError(
                    f"there is another Pod of this name, which this session has not made (labels "
                    f"{_labels(created)}, owners {sorted(_owners(created))}); it is left alone, and the next try takes "
                    "another name"
                ) from error
        self._uids[pod["metadata"]["name"]] = _uid(created)
        return self.saw(created, time.monotonic())

    async def withdraw(self, key: Key) -> None:
        await self._objects.delete_pod(self.pod_name(key), 0)

    async def stop(self, key: Key, pod: str) -> None:
        # Most of all because it does not answer. A dead node counts as a good one for a while, and an empty one.
        state = self._store.state(pod)
        self._nodes_to_avoid[key[0]] = "" if state is None else state.node
        await self._objects.delete_pod(pod, self._grace_seconds)

    async def remove(self, key: Key) -> None:
        await self._objects.delete_pod(self.pod_name(key), END_GRACE_SECONDS)

    def saw(self, pod: Mapping[str, Any], now: float) -> list[Change]:
        if self._is_foreign(pod):
            return self._store.was_replaced(_name(pod))
        # A worker's container that restarts in place is another process, for whatever reason it restarted.
        return self._store.saw(first_process(pod), now)

    def was_deleted(self, pod: Mapping[str, Any], now: float) -> list[Change]:
        return [] if self._is_foreign(pod) else self._store.was_deleted(first_process(pod), now)

    def was_listed(self, pods: Iterable[Mapping[str, Any]], *, asked_at: float) -> list[Change]:
        changes: list[Change] = []
        own: list[Mapping[str, Any]] = []
        for pod in pods:
            if self._is_foreign(pod):
                changes += self._store.was_replaced(_name(pod))
            else:
                own.append(first_process(pod))
        return changes + self._store.was_listed(own, asked_at=asked_at)

    def _is_foreign(self, pod: Mapping[str, Any]) -> bool:
        """True for a Pod that others have made in place of a worker's, with its name and labels."""
        known, target = self._uids.get(_name(pod)), self._objects.target
        if known is None:  # the API has not answered for it yet
            return target is not None and target.owner is not None and target.owner.uid not in _owners(pod)
        return known != _uid(pod)

    def forget(self, name: str) -> None:
        self._store.forget(name)
        if not self._launches.has_pod(name):
            self._uids.pop(name, None)
        self._ended.pop(name, None)

    async def tidy(self, name: str) -> None:
        self._ended[name] = None
        while len(self._ended) > ENDED_PODS_KEPT:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            await self._objects.delete_pod(oldest, END_GRACE_SECONDS)

    async def clear(self, pods: Sequence[Mapping[str, Any]], *, asked_at: float) -> None:
        due = self._unwanted.was_listed(pods, self._is_wanted, asked_at=asked_at)
        for name in due:
            logger.info("the Pod %s is there and no launch wants it; it is deleted", name)
        await asyncio.gather(*(self._objects.delete_pod(name, END_GRACE_SECONDS) for name in due))

    def _is_wanted(self, pod: Mapping[str, Any]) -> bool:
        name = _name(pod)
        is_over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        return self._launches.has_pod(name) or (is_over and name in self._ended)

    def pod_name(self, key: Key) -> str:
        return names.pod_name(self._session_id, *key)

    def peer_name(self, key: Key, target: Target) -> str | None:
        return None


async def _find(api: Api, namespace: str, name: str) -> dict[str, Any]:
    """The Pod that an earlier try has made, whose answer was lost."""
    try:
        return await api.read_pod(namespace, name)
    except ApiError as error:
        if error.status != 404:
            raise
        raise ApiError("create pods", 409, f"the Pod {name} was there and is gone") from error


def _is_like(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """True if a Pod has the labels and the owners of the one that was asked for, and so is that one."""
    labels = _labels(found)
    return _owners(wanted) <= _owners(found) and all(
        labels.get(label) == value for label, value in _labels(wanted).items() if label.startswith(names.OWN_PREFIX)
    )


def _labels(pod: Mapping[str, Any]) -> Mapping[str, str]:
    return (pod.get("metadata") or {}).get("labels") or {}


def _owners(pod: Mapping[str, Any]) -> set[str]:
    return {str(owner.get("uid")) for owner in (pod.get("metadata") or {}).get("ownerReferences") or ()}


def _name(pod: Mapping[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("name"))


def _uid(pod: Mapping[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("uid"))

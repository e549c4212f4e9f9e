"""Workers as the Pods of a StatefulSet, which keep their names and restart in place."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.stateful_set import (
    headless_service,
    ordinal,
    peer_name,
    pod_of_worker,
    set_name,
    stateful_set,
)
from daft_k8s.kube.pods.incarnations import Incarnations
from daft_k8s.kube.pods.launches import Key, Launches
from daft_k8s.kube.pods.snapshots import Change, PodStore
from daft_k8s.kube.pods.unwanted import Unwanted
from daft_k8s.kube.session.session_objects import SessionObjects

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api
    from daft_k8s.kube.objects.target import Target

logger = logging.getLogger(__name__)


class Replicas:
    """A Pod with a name of its own for each worker, made by the StatefulSet's controller.

    Args:
        configuration: The options of Pods.
        session_id: The session.
        objects: The session's objects in the cluster.
        launches: The launches that the pool waits for or works with.
        grace_seconds: For how long lists may show a Pod beyond those that are wanted before the set is scaled again.
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
        self._incarnations = Incarnations()
        self._unwanted = Unwanted(grace_seconds)
        self._grace_seconds = math.ceil(configuration.drain_timeout_seconds)
        self._wanted: set[int] = set()
        self._replicas: int | None = None
        """As the cluster knows it; None: there is no StatefulSet yet."""
        self._scaling = asyncio.Lock()

    def begin(self, key: Key, now: float) -> list[Change]:
        pod = self.pod_name(key)
        self._launches.began(key, f"{pod}//{key[1]}", now)  # the name of no process, until there is one
        process = self._incarnations.wants(pod, key)
        return [] if process is None else self._bind(key, process)

    async def provide(self, key: Key, api: Api, target: Target) -> list[Change]:
        async with self._scaling:
            target = self._objects.target or target  # its owner is another one if its Lease was lost and made again
            if not self._launches.is_wanted(key):
                return []
            number = ordinal(key[0])
            if self._replicas is None or number >= self._replicas:
                await self._ask(key, api, target)
                if not self._launches.is_wanted(key):
                    return []  # who took it back meanwhile has forgotten its number, and waits here to scale
            self._wanted.add(number)
            try:
                if self._replicas is None:
                    await self._make(api, target)
                else:
                    # A worker that was lost may be so because the StatefulSet was deleted.
                    await self._scale(api, target, surely=key[1] > 1)
            except ApiError:
                self._wanted.discard(number)
                raise
            self._launches.has_problem(key, "the StatefulSet's controller has not made it yet")
        return []

    async def withdraw(self, key: Key) -> None:
        return  # the caller that took it back has scaled

    async def stop(self, key: Key, pod: str) -> None:
        self._incarnations.no_longer_wants(self.pod_name(key), key)
        self._wanted.discard(ordinal(key[0]))
        api, target = self._objects.api, self._objects.target
        if api is None or target is None:
            return
        try:
            async with self._scaling:
                await self._scale(api, target)
        except ApiError as error:
            self._objects.warn_once(f"the StatefulSet {set_name(self._session_id)} could not be scaled", error)
        await self._objects.delete_pod(self.pod_name(key), self._grace_seconds)

    async def remove(self, key: Key) -> None:
        # By force: until its name is free, no other Pod can bear it, and what its process may still say is fenced.
        await self._objects.delete_pod(self.pod_name(key), 0)

    def saw(self, pod: Mapping[str, Any], now: float) -> list[Change]:
        seen = self._incarnations.saw(pod, now)
        changes: list[Change] = []
        for process in seen.gone:
            changes += self._store.was_deleted(process, now)
        self._bind_waiting(pod)
        for process in seen.processes:
            changes += self._store.saw(process, now)
        return changes

    def was_deleted(self, pod: Mapping[str, Any], now: float) -> list[Change]:
        return self._store.was_deleted(self._incarnations.was_deleted(pod), now)

    def was_listed(self, pods: Iterable[Mapping[str, Any]], *, asked_at: float) -> list[Change]:
        changes: list[Change] = []
        processes: list[dict[str, Any]] = []
        for pod in pods:
            seen = self._incarnations.saw(pod, asked_at, listed=True)
            for process in seen.gone:
                changes += self._store.was_deleted(process, asked_at)
            self._bind_waiting(pod)
            processes += seen.processes
        return changes + self._store.was_listed(processes, asked_at=asked_at)

    def forget(self, name: str) -> None:
        self._store.forget(name)

    async def tidy(self, name: str) -> None:
        return  # the next process is in the same Pod

    async def clear(self, pods: Sequence[Mapping[str, Any]], *, asked_at: float) -> None:
        await self._keep_service()
        if not self._unwanted.was_listed(pods, self._has_place, asked_at=asked_at):
            return
        api, target = self._objects.api, self._objects.target
        if api is None or target is None:
            return
        name = set_name(self._session_id)
        logger.info("the StatefulSet %s has more Pods than are wanted; it is scaled again", name)
        try:
            async with self._scaling:
                if self._replicas is None:  # the answer to its creation was lost
                    self._replicas = len(pods)
                await self._scale(api, target, surely=True)
        except ApiError as error:
            self._objects.warn_once(f"the StatefulSet {name} could not be scaled", error)

    async def _keep_service(self) -> None:
        """Makes the Service again if it was deleted: without it, no worker finds another by its name."""
        api, target = self._objects.api, self._objects.target
        if api is None or target is None:
            return
        async with self._scaling:
            if self._replicas is None or not self._wanted:
                return
            try:
                await self._make_service(api, target)
            except ApiError as error:
                name = names.service_name(self._session_id)
                self._objects.warn_once(f"the Service {name} could not be checked", error)

    async def _make_service(self, api: Api, target: Target) -> None:
        try:
            await api.create_service(target.namespace, headless_service(self._session_id, target))
        except ApiError as error:
            if error.reason != "AlreadyExists":  # the answer to an earlier try was lost
                raise

    def _has_place(self, pod: Mapping[str, Any]) -> bool:
        number = str((pod.get("metadata") or {}).get("name")).rpartition("-")[2]
        return not number.isdigit() or int(number) < self._replicas_wanted()

    def peer_name(self, key: Key, target: Target) -> str | None:
        return peer_name(self._session_id, key[0], target.namespace)

    def pod_name(self, key: Key) -> str:
        return pod_of_worker(self._session_id, key[0])

    def _bind_waiting(self, pod: Mapping[str, Any]) -> None:
        bound = self._incarnations.bind(str((pod.get("metadata") or {}).get("name")))
        if bound is not None:
            self._launches.bind(*bound)

    def _bind(self, key: Key, process: str) -> list[Change]:
        self._launches.bind(key, process)
        state = self._store.state(process)
        return [] if state is None else [Change(process, state)]

    async def _ask(self, key: Key, api: Api, target: Target) -> None:
        """Asks for the Pod without having it made.

        What refuses a Pod (Pod Security, webhooks, quotas) tells it the one who makes it, and that is the controller.
        """
        pod = worker_pod(self._configuration, target, session_id=self._session_id, worker_id=key[0], launch_id=key[1])
        await api.create_pod(target.namespace, pod, dry_run=True)

    async def _make(self, api: Api, target: Target) -> None:
        replicas = self._replicas_wanted()
        made = stateful_set(self._configuration, target, session_id=self._session_id, replicas=replicas)
        await self._make_service(api, target)
        try:
            await api.create_stateful_set(target.namespace, made)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            await api.scale_stateful_set(target.namespace, set_name(self._session_id), replicas)
        self._replicas = replicas

    async def _scale(self, api: Api, target: Target, *, surely: bool = False) -> None:
        replicas = self._replicas_wanted()
        if self._replicas is None or (replicas == self._replicas and not surely):
            return
        try:
            await api.scale_stateful_set(target.namespace, set_name(self._session_id), replicas)
        except ApiError as error:
            if error.status != 404:
                raise
            logger.warning("the StatefulSet %s is not there any more; it is made again", set_name(self._session_id))
            self._replicas = None
            if self._wanted:
                await self._make(api, target)
            return
        self._replicas = replicas

    def _replicas_wanted(self) -> int:
        return max(self._wanted, default=-1) + 1

"""Pods that stay on their nodes without running, and the reasons from Kubernetes' events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.supply import Supply
from daft_k8s.kube.pods.launches import Key, Launches
from daft_k8s.kube.pods.pod_events import last_warning
from daft_k8s.kube.session.session_objects import SessionObjects

if TYPE_CHECKING:
    from daft_k8s.kube.client.api import Api

logger = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
_AT_ONCE = 3
"""The Pods that are asked about in one look: what keeps a hundred of them waiting is mostly one thing."""


class StuckPods:
    """Finds the reasons why Pods do not run though they are at their nodes. Used on one event loop.

    Args:
        launches: The launches that the pool waits for or works with; told what is found.
        objects: The session's objects in the cluster. Its Secret is made again where a Pod waits for it.
        supply: Knows the names of Pods.
        clock: The time, in seconds, as `launches` is told it.
    """

    def __init__(
        self,
        launches: Launches,
        *,
        objects: SessionObjects,
        supply: Supply,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._launches = launches
        self._objects = objects
        self._supply = supply
        self._clock = clock
        self._reported: set[str] = set()
        self._may_list = True

    async def run(self) -> None:
        """Looks again and again until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except ApiError as error:
                self._may_list = not error.lacks_right
                logger.debug("the events of a Pod could not be listed: %s", error)
            except Exception:  # what others write into events may look like anything
                logger.exception("the events of a Pod could not be understood")

    async def look(self) -> None:
        """Asks once about the Pods that have waited longest.

        Raises:
            ApiError: Events cannot be listed.
        """
        api, target = self._objects.api, self._objects.target
        if api is None or target is None or not self._may_list:
            return
        for key in self._launches.waiting_on_nodes(self._clock())[:_AT_ONCE]:
            await self._look_at(key, api, target.namespace)

    async def _look_at(self, key: Key, api: Api, namespace: str) -> None:
        pod = self._supply.pod_name(key)
        words = last_warning(await api.list_events(namespace, pod))
        if not words or not self._launches.note_warning(key, words):
            return
        # Many Pods wait for one thing, and each names itself in the words.
        same = words.replace(pod, "")
        logger.log(logging.DEBUG if same in self._reported else logging.WARNING, "the Pod %s waits: %s", pod, words)
        self._reported.add(same)
        if f'"{self._objects.secret_name}"' in words:
            problem = await self._objects.secure(surely=True)
            if problem:
                self._launches.note_warning(key, f"{words}; {problem}")

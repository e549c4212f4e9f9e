"""Asking for the Pods of launches until they are there, or cannot be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from daft_k8s.errors import DaftK8sError, WorkerStartError
from daft_k8s.kube.client import retries
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.quota_gate import QuotaGate
from daft_k8s.kube.launch.supply import NameTakenError, Supply
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.quota import Room, find_room, read_refusal
from daft_k8s.kube.objects.refusals import explain
from daft_k8s.kube.pods.launches import Key, Launches
from daft_k8s.kube.pods.lifecycle import Asking, Created, Delayed, NoRoom, NotCreated

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api
    from daft_k8s.kube.objects.target import Target

logger = logging.getLogger(__name__)

_AT_ONCE = 20


class Creation:
    """Has Pods made, many at once, each at most once. Used on one event loop.

    Args:
        configuration: For the errors.
        launches: The launches that the pool waits for or works with.
        cluster: Gives the connection and the target, once they are there.
        supply: Asks for one launch's Pod, once.
        emit: Takes events.
        gate: Lets through those that may ask while a quota is used up.
    """

    def __init__(
        self,
        configuration: Configuration,
        launches: Launches,
        *,
        cluster: Callable[[], Awaitable[tuple[Api, Target]]],
        supply: Supply,
        emit: Callable[[Asking | Created | Delayed | NoRoom | NotCreated], None],
        gate: QuotaGate | None = None,
    ) -> None:
        self._configuration = configuration
        self._launches = launches
        self._cluster = cluster
        self._supply = supply
        self._emit = emit
        self._gate = gate or QuotaGate()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._no_room_ever = ""
        self._no_room_now = ""
        """The reason for the launches that have to wait."""
        self._closing = asyncio.Event()

    async def look_at_quotas(self, api: Api, target: Target) -> None:
        """Finds out how many workers fit. Without the right to look, the refusals will tell."""
        try:
            quotas = await api.list_quotas(target.namespace)
        except ApiError as error:
            logger.debug("the namespace's quotas could not be read: %s", error)
            return
        sample = worker_pod(self._configuration, target, session_id="sample", worker_id="worker-0", launch_id=1)
        room = find_room(quotas, sample)
        if room is not None:
            self.foresee(room, target.namespace)

    def foresee(self, room: Room, namespace: str) -> None:
        """Takes note of the room that the quotas leave, before anything is made."""
        wanted = self._configuration.max_workers or self._configuration.num_workers
        if room.workers >= wanted:
            return
        if room.never:
            self._no_room_ever = (
                f"the ResourceQuota {room.quota!r} of the namespace {namespace!r} is too small for a single worker "
                f"({room.words}). Ask for smaller workers, or for a larger ResourceQuota"
            )
            return
        self._gate.foresee(room.workers)
        self._no_room_now = (
            f"the ResourceQuota {room.quota!r} of the namespace {namespace!r} has no room left for it ({room.words})"
        )
        logger.warning(
            "the ResourceQuota %r of the namespace %r has room for %d of the %d workers wanted (%s); the session runs "
            "with those that fit, and the others start when there is room",
            room.quota, namespace, room.workers, wanted, room.words,
        )  # fmt: skip

    def room_may_have_come(self) -> None:
        """A Pod is gone, or is no longer wanted."""
        self._gate.poke()

    def close(self) -> None:
        """Ends all waiting: no Pods are wanted any more."""
        self._closing.set()
        self._gate.poke()

    async def create(self, key: Key) -> None:
        """Creates the Pod of a launch; tries again while that may help, the pool waits and no Pod has been seen.

        A webhook that is slower than the API's patience has answers lost for ever, while the Pod is there and serves.
        """
        reached: list[str] = []
        """The namespace, once the cluster has been reached: from then on its credentials have been accepted."""
        self._emit(Delayed(key, "the cluster has not been reached yet"))
        policy = retries.creation(
            goes_on=lambda: self._is_needed(key),
            # Also where there was no answer: the Pod may be there, and the next try finds it by its name.
            may_help=lambda error: (
                _may_have_room(error) or (error.transient_once_accepted if reached else error.transient)
            ),
            report=lambda error: self._emit(Delayed(key, f"the Kubernetes API does not take it: {error}")),
            sleep=self._pause,
        )
        try:
            await policy(self._ask, key, reached)
        except ApiError as error:
            if self._is_needed(key):
                namespace = reached[0] if reached else self._configuration.namespace or "the driver's own"
                advice = explain(error, namespace, self._configuration)
                self._emit(NotCreated(key, advice.text, advice.restartable))
        except NameTakenError as error:
            self._emit(NotCreated(key, str(error), True))
        except DaftK8sError as error:
            self._emit(NotCreated(key, str(error), False))
        except Exception as error:
            logger.exception("a Pod could not be created")
            text = f"{type(error).__name__}: {error}"
            self._emit(NotCreated(key, text, False))
        if self._launches.is_seen(key):
            self._gate.admitted()

    async def _ask(self, key: Key, reached: list[str]) -> None:
        """Asks for a Pod until it is made or no longer needed, and waits where a quota has no room for it.

        Raises:
            ApiError: The Pod could not be made for another reason.
        """
        while self._is_needed(key):
            try:
                api, target = await self._cluster()
            except ApiError as error:
                if _may_have_room(error):  # for the session's Secret
                    namespace = self._configuration.namespace or "the driver's own"
                    self._emit(NoRoom(key, explain(error, namespace, self._configuration).text))
                raise
            if not reached:
                reached.append(target.namespace)
                self._emit(Delayed(key, "its Pod has not been asked for yet"))
            if self._no_room_ever:
                raise WorkerStartError(self._no_room_ever)
            try:
                if await self._try(key, api, target):
                    return
            except ApiError as error:
                if not _may_have_room(error):
                    raise
                if self._is_needed(key):  # else its own Pod has used up the quota
                    self._wait_for_quota(key, error, target.namespace)

    async def _try(self, key: Key, api: Api, target: Target) -> bool:
        """Asks once; False: a quota has refused another before it was this launch's turn."""
        if self._gate.is_full:
            self._emit(NoRoom(key, self._no_room_now))
        refusals = self._gate.refusals
        async with self._gate.turn(lambda: self._is_needed(key)) as own_turn, self._at_once:
            # Only a refusal: requests for more workers than fit say nothing of the room that this one has.
            if self._gate.refusals != refusals and not own_turn:
                return False
            if self._is_needed(key):
                await self._provide(key, api, target)
                self._gate.admitted()
            return True

    async def _provide(self, key: Key, api: Api, target: Target) -> None:
        self._emit(Asking(key))
        changes = await self._supply.provide(key, api, target)
        if self._closing.is_set() or not self._launches.is_wanted(key):
            await self._supply.withdraw(key)  # the request to stop overtook its creation
        self._emit(Created(key, changes))

    def _wait_for_quota(self, key: Key, error: ApiError, namespace: str) -> None:
        self._no_room_now = explain(error, namespace, self._configuration).text
        self._emit(NoRoom(key, self._no_room_now))
        refusal = read_refusal(error.message)
        if self._gate.refused():
            logger.warning(
                "the ResourceQuota %r of the namespace %r has no room for another worker (%s); the session runs with "
                "those that fit, and the others start when there is room",
                refusal.quota, namespace, refusal.words,
            )  # fmt: skip

    def _is_needed(self, key: Key) -> bool:
        """True if the launch's Pod has to be asked for: the pool waits for it, and it has not been seen."""
        return not self._closing.is_set() and self._launches.is_wanted(key) and not self._launches.is_seen(key)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except asyncio.TimeoutError:
            return


def _may_have_room(error: ApiError) -> bool:
    """True if a quota refused what it may have room for later."""
    return error.over_quota and not read_refusal(error.message).never

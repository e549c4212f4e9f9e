"""The ways to workers: where the driver and the other workers reach them, and what happens when a way is silent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from daft_k8s import addresses
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.in_cluster import is_in_cluster
from daft_k8s.kube.launch.supply import Supply
from daft_k8s.kube.objects.manifest import CONTROL_PORT, DATA_PORT
from daft_k8s.kube.objects.refusals import explain
from daft_k8s.kube.pods.launches import Key, Launches, News, Started
from daft_k8s.kube.reach.dns import wait_for_name
from daft_k8s.kube.reach.portforward import PortForwards
from daft_k8s.kube.session.session_objects import SessionObjects

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.session.access import Access
    from daft_k8s.pool_news import PoolNews

logger = logging.getLogger(__name__)


class Routes:
    """Finds the ways to workers, or opens them, and tells the pool. Used on one event loop, except for `shutdown`.

    Args:
        configuration: For the time-outs, and what errors say.
        launches: Which launches are wanted.
        access: Whether workers are reached by way of the API server.
        objects: Knows where workers are.
        supply: Knows the names of their Pods.
        pool: Gives the pool; None: nobody is to be told any more.
        tell: Is told of the launches that cannot be reached.
        stop: Ends a launch.
        call: Has something done on the event loop, from whichever thread.
    """

    def __init__(
        self,
        configuration: Configuration,
        launches: Launches,
        *,
        access: Access,
        objects: SessionObjects,
        supply: Supply,
        pool: Callable[[], PoolNews | None],
        tell: Callable[[Sequence[News]], None],
        stop: Callable[[Key, str], None],
        call: Callable[..., None],
    ) -> None:
        self._configuration = configuration
        self._launches = launches
        self._objects = objects
        self._supply = supply
        self._pool = pool
        self._tell = tell
        self._stop = stop
        self._forwards: PortForwards | None = None
        if access.forwarded:
            self._forwards = PortForwards(
                access.connect,
                on_silent=lambda name, reason: call(self._lose, name, reason),
                silence_seconds=configuration.unreachable_timeout_seconds,
            )

    @property
    def patience_seconds(self) -> float:
        """How long the pool waits for a worker that answers nothing, before it takes it for lost by itself.

        Outside, it is told who is silent while the API server answers. For as long as that is away it can wait until
        its workers, who have not been called either, are gone.
        """
        unreachable = self._configuration.unreachable_timeout_seconds
        return unreachable if self._forwards is None else max(unreachable, self._configuration.orphan_timeout_seconds)

    async def announce(self, item: Started) -> None:
        """Tells the pool where a worker is: the driver takes its IP, other workers its name, if it has one."""
        home = self._objects.home
        if home is None:
            return
        # From outside nobody can see whether the cluster's DNS knows the name by now.
        name = None if home.forwarded else self._supply.peer_name(item.key, home)
        if name is not None and is_in_cluster() and not await wait_for_name(name, item.address):
            logger.warning("the cluster's DNS does not know %s yet; its IP is used in place of its name", name)
            name = None
        places = addresses.join(item.address, CONTROL_PORT), addresses.join(item.address, DATA_PORT)
        peer_address = places[1] if name is None else f"{name}:{DATA_PORT}"
        if self._forwards is not None:
            forwarded = await self._forward(self._forwards, item.key, home.namespace)
            if forwarded is None:
                return
            places = forwarded
        pool = self._pool()
        if pool is None:
            return
        if peer_address == places[1]:
            pool.worker_started(*item.key, *places)
        else:
            pool.worker_started(*item.key, *places, peer_address)

    def close(self, key: Key) -> None:
        """The launch is over: nobody goes there any more."""
        if self._forwards is not None:
            self._forwards.close(_name(key))

    def cancel(self) -> None:
        """Ends what is being opened, and all that is open. Returns at once."""
        if self._forwards is not None:
            self._forwards.cancel()

    def shutdown(self, timeout_seconds: float) -> None:
        """Ends everything; from another thread than the event loop's, which may have ended."""
        if self._forwards is not None:
            self._forwards.shutdown(timeout_seconds)

    async def _forward(self, forwards: PortForwards, key: Key, namespace: str) -> tuple[str, str] | None:
        """Opens the way to a worker; None: there is none, which the pool was told, or the worker has left."""
        try:
            control, data = await forwards.open(
                _name(key),
                namespace=namespace,
                pod=self._supply.pod_name(key),
                node=self._launches.node_of(key),
                ports=(CONTROL_PORT, DATA_PORT),
            )
        except ApiError as error:
            advice = explain(error, namespace, self._configuration)
            self._tell(self._launches.unreachable(key, advice.text, restartable=advice.restartable))
            return None
        if self._pool() is None or not self._launches.is_wanted(key):
            forwards.close(_name(key))  # it has ended, or was told to, meanwhile
            return None
        return control, data

    def _lose(self, name: str, reason: str) -> None:
        """Nothing comes from a worker any more: its Pod is deleted, and the pool need not wait for its end."""
        key = _key(name)
        pool = self._pool()
        if pool is None or not self._launches.is_wanted(key):
            return
        words = self._launches.words(key, reason)
        self._stop(key, reason)
        self.close(key)
        pool.worker_exited(*key, words, True, "infrastructure")


def _name(key: Key) -> str:
    """How the forwards know a launch."""
    return f"{key[0]}/{key[1]}"


def _key(name: str) -> Key:
    worker_id, _, launch_id = name.rpartition("/")
    return worker_id, int(launch_id)

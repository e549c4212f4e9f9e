"""The ways to workers: where the driver and the other workers reach them, and which of them fall silent."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from daft_k8s import addresses
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.in_cluster import is_in_cluster
from daft_k8s.kube.objects.manifest import CONTROL_PORT, DATA_PORT
from daft_k8s.kube.objects.refusals import explain
from daft_k8s.kube.pods.launches import Key
from daft_k8s.kube.pods.lifecycle import Reachable, Silent, Unreachable
from daft_k8s.kube.reach.dns import wait_for_name
from daft_k8s.kube.reach.portforward import PortForwards

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.reach.portforward import StreamApi

logger = logging.getLogger(__name__)


class Routes:
    """Finds the ways to workers, or opens them. Used on one event loop, except for `shutdown`.

    Args:
        configuration: For the time-outs, and the errors.
        connect: Makes a connection to the cluster, for port-forwards; None: Pods are reached at their own addresses.
        emit: Takes events, from any thread.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        connect: Callable[[], Awaitable[StreamApi]] | None,
        emit: Callable[[Reachable | Unreachable | Silent], None],
    ) -> None:
        self._configuration = configuration
        self._emit = emit
        self._forwards: PortForwards | None = None
        if connect is not None:
            self._forwards = PortForwards(
                connect,
                on_silent=lambda name, reason: emit(Silent(_key(name), reason)),
                silence_seconds=configuration.unreachable_timeout_seconds,
            )

    @property
    def patience_seconds(self) -> float:
        """The time for which the pool waits for a worker that does not answer, before it counts as lost.

        With port-forwards, the pool is told which workers are silent while the API server answers. While that is away,
        the pool can wait until the workers end by themselves, as the driver does not call them either.
        """
        unreachable = self._configuration.unreachable_timeout_seconds
        return unreachable if self._forwards is None else max(unreachable, self._configuration.orphan_timeout_seconds)

    async def open(self, key: Key, address: str, *, namespace: str, pod: str, node: str, name: str | None) -> None:
        """Finds the way to a launch: the driver takes its Pod's IP, other workers its name, if it has one.

        Args:
            key: The launch.
            address: The IP of its Pod.
            namespace: The namespace of its Pod.
            pod: The name of its Pod.
            node: The node of its Pod; "": that is not known.
            name: The name of its Pod in the cluster's DNS; None: it has none.
        """
        control, data = addresses.join(address, CONTROL_PORT), addresses.join(address, DATA_PORT)
        if self._forwards is not None:  # a driver outside cannot see if the cluster's DNS has the name by now
            try:
                local_control, local_data = await self._forwards.open(
                    _name(key), namespace=namespace, pod=pod, node=node, ports=(CONTROL_PORT, DATA_PORT)
                )
            except ApiError as error:
                advice = explain(error, namespace, self._configuration)
                self._emit(Unreachable(key, advice.text, advice.restartable))
            else:
                self._emit(Reachable(key, local_control, local_data, peer=data))
            return
        if name is not None and is_in_cluster() and not await wait_for_name(name, address):
            logger.warning("the cluster's DNS does not know %s yet; its IP is used in place of its name", name)
            name = None
        self._emit(Reachable(key, control, data, None if name is None else f"{name}:{DATA_PORT}"))

    def close(self, key: Key) -> None:
        """Closes the way to a launch that is over."""
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


def _name(key: Key) -> str:
    """The name of a launch among the forwards."""
    return f"{key[0]}/{key[1]}"


def _key(name: str) -> Key:
    worker_id, _, launch_id = name.rpartition("/")
    return worker_id, int(launch_id)

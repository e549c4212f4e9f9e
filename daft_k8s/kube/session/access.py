"""The access of this process to the cluster: from one of its Pods, or from outside with a kubeconfig."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.client.in_cluster import is_in_cluster
from daft_k8s.kube.session import driver_pod, outside

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api, KubernetesApi
    from daft_k8s.kube.objects.target import Target

Connect = Callable[[], Awaitable["Api"]]
FindTarget = Callable[["Api", "Configuration"], Awaitable["Target"]]


@dataclass(frozen=True)
class Access:
    """The access from the place where the driver runs."""

    connect: Connect
    """Makes a connection to the cluster, on the event loop that will use it."""
    find_target: FindTarget
    """Finds the namespace and the owner of the workers."""
    forwarded: bool = False
    """True if workers are reached through the API server, as their Pods' addresses mean nothing here."""


def choose(configuration: Configuration) -> Access:
    """Inside if this process runs in a Pod, unless `kube_context` names another cluster; else outside.

    Raises:
        ConfigurationError: Outside: an option is needed that has a default inside.
    """
    if is_in_cluster() and configuration.kube_context is None:
        return Access(_connect_inside, driver_pod.find_target)
    outside.check(configuration)

    async def connect() -> Api:
        return await _client().from_kubeconfig(configuration.kube_context)

    return Access(connect, outside.find_target, forwarded=True)


async def _connect_inside() -> Api:
    return _client().in_cluster()


def _client() -> type[KubernetesApi]:
    try:
        from daft_k8s.kube.client.api import KubernetesApi
    except ImportError as error:
        raise ConfigurationError(
            f"workers as Pods need the package aiohttp ({error}): pip install 'daft_k8s[kubernetes]'"
        ) from error
    return KubernetesApi

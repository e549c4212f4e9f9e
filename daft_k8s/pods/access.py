"""How this process gets at the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daft_k8s.errors import ConfigurationError, UnsupportedError
from daft_k8s.pods import driver_pod

if TYPE_CHECKING:
    from daft_k8s.pods.api import Api


def refuse_outside() -> None:
    """Raises unless this process can reach Pods.

    Raises:
        UnsupportedError: It runs outside the cluster.
    """
    if not driver_pod.is_in_cluster():
        raise UnsupportedError(
            "workers as Pods are not supported by daft_k8s yet for a driver outside the cluster: it reaches workers by "
            'their Pods\' addresses. Run the driver in a Pod or a Job of the cluster, or use allocation="local": '
            '"local" works now, everywhere'
        )


def connect() -> Api:
    """The connection to the cluster; made on the event loop that uses it.

    Raises:
        ConfigurationError: The client is not installed.
        ApiError: The cluster is not known.
    """
    try:
        from daft_k8s.pods.api import KubernetesApi
    except ImportError as error:
        raise ConfigurationError(
            f"workers as Pods need the package kubernetes-asyncio ({error}): pip install 'daft_k8s[kubernetes]'"
        ) from error
    return KubernetesApi.in_cluster()

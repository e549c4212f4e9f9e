"""The parts that the Pods of workers, drivers and probes share: the Pod Security level `restricted`, and placement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

USER_ID = 10001
"""The user of the published image; any image works whose files every user may read."""


def pod_security(*, owns_volumes: bool) -> dict[str, Any]:
    """The security context of a Pod.

    Args:
        owns_volumes: True if its volumes belong to its group, so that it can write them.
    """
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        **({"fsGroup": USER_ID} if owns_volumes else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """The security context of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def placement(configuration: Configuration) -> dict[str, Any]:
    """The nodes and the pull secrets of a Pod beside the workers: those of the workers."""
    return {
        "imagePullSecrets": [{"name": secret} for secret in configuration.image_pull_secrets],
        "nodeSelector": dict(configuration.node_selector),
        "tolerations": [dict(item) for item in configuration.tolerations],
    }

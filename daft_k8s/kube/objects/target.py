"""The place of a session's workers in a cluster, and their owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from daft_k8s.errors import ConfigurationError

NAMED_CONTAINERS = ("driver", "main")
"""Names by which the driver's container is known in a Pod that has several."""


@dataclass(frozen=True)
class Owner:
    """The driver's Pod, or the session's Lease: when it is deleted, the cluster deletes what it owns."""

    name: str
    uid: str
    kind: str = "Pod"
    api_version: str = "v1"

    def reference(self) -> dict[str, object]:
        """The owner reference for the metadata of an owned object."""
        return {"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid}


@dataclass(frozen=True)
class Target:
    """The facts beyond the configuration that the manifest of a worker depends on."""

    namespace: str
    image: str
    image_pull_secrets: tuple[str, ...] = ()
    owner: Owner | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of everything that the session makes."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of its Pods and its Lease."""
    driver_alone: bool = False
    """True if the driver's container is the only one of its Pod."""
    forwarded: bool = False
    """True if the driver comes by port-forward, which arrives at a Pod's loopback address."""
    secret: str = ""
    """The name of the session's Secret; "": none is made, as for a Pod that is only tried."""
    variables: tuple[str, ...] = ()
    """Variables of workers whose values stand in the session's Secret."""
    job: str = ""
    """The name of the driver's Job, else of its Pod; "" where neither is known."""


def driver_job(pod: Mapping[str, Any]) -> str:
    """The name of the Job that the driver's Pod belongs to, else the Pod's own."""
    metadata = pod.get("metadata") or {}
    labels = metadata.get("labels") or {}
    return str(labels.get("batch.kubernetes.io/job-name") or labels.get("job-name") or metadata.get("name") or "")


def driver_image(pod: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The image of the driver's own container, and the Secrets with which it was pulled.

    Raises:
        ConfigurationError: The Pod has several containers, and none has a name that says that it is the driver's.
    """
    spec = pod.get("spec") or {}
    containers = {str(container.get("name")): container for container in spec.get("containers") or ()}
    chosen = [containers[name] for name in NAMED_CONTAINERS if name in containers] or list(containers.values())
    if len(containers) > 1 and not any(name in containers for name in NAMED_CONTAINERS):
        raise ConfigurationError(
            f"the driver's Pod has the containers {', '.join(containers)}, so its image, which workers use by default, "
            f'is not certain; set image, or name the driver\'s container "{NAMED_CONTAINERS[0]}"'
        )
    if not chosen or not chosen[0].get("image"):
        raise ConfigurationError("the driver's Pod names no image that workers could use; set image")
    secrets = tuple(str(entry["name"]) for entry in spec.get("imagePullSecrets") or () if entry.get("name"))
    return str(chosen[0]["image"]), secrets

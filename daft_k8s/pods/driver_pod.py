"""What a driver that is itself a Pod knows of its surroundings."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ConfigurationError
from daft_k8s.pods import driver_process, names
from daft_k8s.pods.home import Home, Owner, driver_image, driver_job
from daft_k8s.pods.problems import ApiError

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.pods.api import Api

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def is_in_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs in a Pod."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST"))


def own_namespace(folder: Path = SERVICE_ACCOUNT_DIR) -> str | None:
    """The namespace of this Pod; None: it is not known."""
    try:
        return (folder / "namespace").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


async def find_home(
    api: Api,
    configuration: Configuration,
    *,
    pod_name: str | None = None,
    own: str | None = None,
) -> Home:
    """Where workers go: what the configuration says, else where and what the driver is.

    Args:
        api: The cluster.
        configuration: Its `namespace` and `image` go first.
        pod_name: The driver's Pod; None: `POD_NAME` of the environment, else the host's name, which is a Pod's own
            unless somebody changed it.
        own: The driver's namespace; None: its service account's.

    Raises:
        ConfigurationError: The image or the namespace is not known and must be set.
        ApiError: The API cannot be asked.
    """
    own = own or own_namespace()
    namespace = configuration.namespace or own
    if namespace is None:
        raise ConfigurationError("the namespace for workers is not known; set namespace")
    name = pod_name or os.environ.get("POD_NAME") or socket.gethostname()
    pod = None
    if own is not None:
        try:
            pod = await api.read_pod(own, name)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            if configuration.image is None and error.status == 403:
                raise
    uid = None if pod is None else pod.get("metadata", {}).get("uid")
    # Only what lives in the owner's own namespace can be owned by it.
    owner = Owner(name, str(uid)) if uid and namespace == own else None
    whose = _traces(pod, str(uid)) if pod is not None and uid else {}
    job = "" if pod is None else driver_job(pod)
    if configuration.image is not None:
        return Home(namespace, configuration.image, owner=owner, job=job, **whose)
    if pod is None:
        raise ConfigurationError(
            f"the driver's own Pod was not found (there is no Pod {name!r} in {own!r}), so its image, which workers "
            "use by default, is not known; set image, or the environment variable POD_NAME"
        )
    image, secrets = driver_image(pod)
    return Home(namespace, image, secrets, owner, job=job, **whose)


def _traces(pod: Mapping[str, Any], uid: str) -> dict[str, Any]:
    """What tells the next driver of this Pod whether this one still lives."""
    spec = pod.get("spec") or {}
    others = [item for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"]
    containers = [*(spec.get("containers") or ()), *others, *(spec.get("ephemeralContainers") or ())]
    return {
        "labels": {names.DRIVER_POD_LABEL: names.label_value(uid)},
        "annotations": {names.DRIVER_ANNOTATION: driver_process.identity()},
        "driver_alone": len(containers) == 1,
    }

"""The test Pods of `daft-k8s doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.pod_parts import container_security, placement, pod_security

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

CONTAINER = "probe"
_DEADLINE_SECONDS = 90


def probe_pod(
    name: str, configuration: Configuration, service_account: str, role: str, arguments: list[str]
) -> dict[str, Any]:
    """A small Pod that runs Python code, is placed as a worker is, and passes the Pod Security level `restricted`.

    Args:
        name: The Pod's name.
        configuration: The configuration of the workers.
        service_account: The account whose rights the Pod has.
        role: "worker" or "driver", for NetworkPolicies.
        arguments: The source of the program and its arguments.
    """
    container = {
        "name": CONTAINER,
        "image": configuration.image,
        "imagePullPolicy": configuration.image_pull_policy,
        "command": ["python", "-c", *arguments],
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi"},
        },
        "securityContext": container_security(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                **configuration.labels,
                names.ROLE_LABEL: role,
                names.SESSION_LABEL: name.rpartition("-")[0],
                names.MANAGED_BY_LABEL: names.MANAGED_BY,
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "terminationGracePeriodSeconds": 1,
            "serviceAccountName": service_account,
            "securityContext": pod_security(owns_volumes=False),
            **placement(configuration),
            "containers": [container],
        },
    }

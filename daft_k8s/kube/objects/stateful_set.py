"""A StatefulSet of workers and the Service that names them, as Kubernetes wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.manifest import CONTROL_PORT, DATA_PORT, Identity, owned_by, worker_pod
from daft_k8s.wire.worker_settings import PREFIX

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.objects.target import Target

_INDEX = f"{PREFIX}POD_INDEX"
_NAME = f"{PREFIX}POD_NAME"
_INDEX_LABEL = "apps.kubernetes.io/pod-index"
"""Set by the controller since Kubernetes 1.28."""
_IDENTITY = Identity(
    worker_id=f"worker-$({_INDEX})",
    pod_name=f"$({_NAME})",
    variables=(
        {"name": _INDEX, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{_INDEX_LABEL}']"}}},
        {"name": _NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ),
)
_PER_POD_LABELS = (names.WORKER_LABEL, names.LAUNCH_LABEL)


def set_name(session_id: str) -> str:
    """The StatefulSet's name; its Pods' names are this and a number."""
    return names.object_name(session_id, "worker")


def pod_of_worker(session_id: str, worker_id: str) -> str:
    """The name of a worker's Pod, which outlives all Pods that bear it."""
    return f"{set_name(session_id)}-{ordinal(worker_id)}"


def ordinal(worker_id: str) -> int:
    """A worker's number, which is its Pod's too."""
    return int(worker_id.rpartition("-")[2])


def peer_name(session_id: str, worker_id: str, namespace: str) -> str:
    """The name under which a worker's Pod can be reached in the cluster, whichever Pod it is."""
    return f"{pod_of_worker(session_id, worker_id)}.{names.service_name(session_id)}.{namespace}.svc"


def headless_service(session_id: str, target: Target) -> dict[str, Any]:
    """The Service that gives each Pod a name in the DNS."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(session_id, target, names.service_name(session_id)),
        "spec": {
            "clusterIP": "None",
            # A Pod's name must be there before the Pod is: its readiness takes seconds to get around.
            "publishNotReadyAddresses": True,
            "selector": _selector(session_id),
            "ports": [{"name": "control", "port": CONTROL_PORT}, {"name": "data", "port": DATA_PORT}],
        },
    }


def stateful_set(configuration: Configuration, target: Target, *, session_id: str, replicas: int) -> dict[str, Any]:
    """The StatefulSet of a session's workers.

    Args:
        configuration: The options of Pods.
        target: The session's target.
        session_id: The session.
        replicas: The number of workers.
    """
    pod = worker_pod(
        configuration, target, session_id=session_id, worker_id="worker-0", launch_id=0, identity=_IDENTITY
    )
    metadata, spec = pod["metadata"], pod["spec"]
    labels = {key: value for key, value in metadata["labels"].items() if key not in _PER_POD_LABELS}
    annotations = dict(metadata["annotations"])
    if target.owner is not None:
        annotations[names.OWNER_UID_ANNOTATION] = target.owner.uid
    spec["restartPolicy"] = "Always"  # the only one that a StatefulSet may have
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(session_id, target, set_name(session_id)),
        "spec": {
            "replicas": replicas,
            "serviceName": names.service_name(session_id),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": _selector(session_id)},
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec},
        },
    }


def _selector(session_id: str) -> dict[str, str]:
    return {names.SESSION_LABEL: names.label_value(session_id), names.ROLE_LABEL: names.WORKER_ROLE}


def _metadata(session_id: str, target: Target, name: str) -> dict[str, Any]:
    labels = {
        **target.labels,
        names.SESSION_LABEL: names.label_value(session_id),
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }
    return {"name": name, "namespace": target.namespace, "labels": labels, **owned_by(target)}

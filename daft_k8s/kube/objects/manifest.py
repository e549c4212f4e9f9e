"""A worker's Pod and the session's Secret, as Kubernetes wants them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daft_k8s.config.frozen import thaw
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.memory_volumes import memory_left
from daft_k8s.kube.objects.pod_parts import container_security, pod_security
from daft_k8s.kube.objects.template import merge_template

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.objects.home import Home

CONTROL_PORT = 7777
DATA_PORT = 7778
HEALTH_PORT = 7779
"""For probes: Kubernetes' gRPC probes have neither certificates nor TLS."""
TOKEN_KEY = "token"
"""Of the Secret's data."""
SECRET_DIR = "/var/run/secrets/daft-k8s"
"""Where a worker finds the session's Secret, as files."""
_SECRET_VOLUME = "daft-session"
SPILL_DIR = "/var/lib/daft-spill"
TMP_DIR = "/tmp"

_MEMORY_SHARE = 0.9
"""What a worker plans with: the kernel kills at the limit, and counts what no program plans with (stacks, sockets)."""
_EXIT_SECONDS = 8
"""What a worker gets beyond its drain time-out to close its servers and exit, before it is killed."""
_LIVENESS_PERIOD_SECONDS = 10
_LIVENESS_SPARE_SECONDS = 60

_PATIENCE_WITH_NODES = tuple(
    {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for trouble in ("not-ready", "unreachable")
)
"""Kubernetes' usual values, which some clusters shorten: the pool itself finds out in seconds who does not answer,
and a node that only the API server has lost for a while goes on working."""


def session_secret(session_id: str, token: str, home: Home, certificates: Mapping[str, bytes]) -> dict[str, Any]:
    """The Secret with what proves a worker to be the session's, which so stands in no Pod's manifest."""
    data = {TOKEN_KEY: token.encode(), **certificates}
    labels = {
        **home.labels,
        names.SESSION_LABEL: names.label_value(session_id),
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": {
            "name": names.secret_name(session_id),
            "namespace": home.namespace,
            "labels": labels,
            **owned_by(home),
        },
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def worker_pod(
    configuration: Configuration,
    home: Home,
    *,
    session_id: str,
    worker_id: str,
    launch_id: int,
    node_to_avoid: str = "",
) -> dict[str, Any]:
    """The Pod of one launch of a worker.

    It passes the Pod Security level `restricted`, and its quality of service is Guaranteed.

    Args:
        configuration: What the user wants.
        home: Where it goes.
        session_id: The session.
        worker_id: The logical worker.
        launch_id: Which Pod of that worker.
        node_to_avoid: A node to which it goes only if there is no other.

    Raises:
        ConfigurationError: The `pod_template` sets what is the runner's own; the message lists all of it. Or its
            volumes in memory leave the worker none.
    """
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(configuration, home, session_id, worker_id, launch_id),
        "spec": _spec(configuration, home, session_id, worker_id, launch_id),
    }
    if node_to_avoid:
        pod["spec"]["affinity"] = _aversion(node_to_avoid)
    if configuration.pod_template is None:
        return pod
    template = thaw(configuration.pod_template)
    merged = merge_template(pod, template if isinstance(template, dict) else {})
    left = memory_left(merged, configuration.worker_memory_bytes)
    worker = next(item for item in merged["spec"]["containers"] if item["name"] == names.CONTAINER)
    for entry in worker["env"]:
        if entry["name"] == "DAFT_K8S_WORKER_MEMORY_BYTES":
            entry["value"] = str(int(left * _MEMORY_SHARE))
    return merged


def _aversion(node: str) -> dict[str, Any]:
    term = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": [node]}]}
    preferred = [{"weight": 100, "preference": term}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def owned_by(home: Home) -> dict[str, Any]:
    """The part of an object's metadata that makes it the driver's, if its Pod is known."""
    return {} if home.owner is None else {"ownerReferences": [home.owner.reference()]}


def _metadata(
    configuration: Configuration, home: Home, session_id: str, worker_id: str, launch_id: int
) -> dict[str, Any]:
    labels = {
        **configuration.labels,
        **home.labels,
        names.JOB_LABEL: names.label_value(home.job or session_id),
        names.SESSION_LABEL: names.label_value(session_id),
        names.ROLE_LABEL: names.WORKER_ROLE,
        names.WORKER_LABEL: names.label_value(worker_id),
        names.LAUNCH_LABEL: str(launch_id),
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }
    annotations = {
        # A worker holds partitions: moving it to save a node loses work.
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
        "kubectl.kubernetes.io/default-container": names.CONTAINER,
        **configuration.annotations,
        **home.annotations,
    }
    return {
        "name": names.pod_name(session_id, worker_id, launch_id),
        "namespace": home.namespace,
        "labels": labels,
        "annotations": annotations,
        **owned_by(home),
    }


def _spec(configuration: Configuration, home: Home, session_id: str, worker_id: str, launch_id: int) -> dict[str, Any]:
    spill_dir = configuration.spill_dir or SPILL_DIR
    spill: dict[str, Any] = {"name": "spill", "emptyDir": {}}
    if configuration.spill_size_limit_bytes is not None:
        spill["emptyDir"]["sizeLimit"] = str(configuration.spill_size_limit_bytes)
    # For its owner and its group alone, which is that of the Pod (fsGroup).
    secret = {"secretName": names.secret_name(session_id), "defaultMode": 0o440}
    volumes = [spill, {"name": _SECRET_VOLUME, "secret": secret}]
    mounts: list[dict[str, Any]] = [
        {"name": "spill", "mountPath": spill_dir},
        {"name": _SECRET_VOLUME, "mountPath": SECRET_DIR, "readOnly": True},
    ]
    if spill_dir.rstrip("/") != TMP_DIR:
        volumes.append({"name": "tmp", "emptyDir": {}})
        mounts.append({"name": "tmp", "mountPath": TMP_DIR})
    pull_secrets = configuration.image_pull_secrets or home.image_pull_secrets
    spec: dict[str, Any] = {
        "restartPolicy": "Never",  # the pool replaces what has ended, with a Pod of its own
        "terminationGracePeriodSeconds": math.ceil(configuration.drain_timeout_seconds) + _EXIT_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {**pod_security(owns_volumes=True), "fsGroupChangePolicy": "OnRootMismatch"},
        "tolerations": [*_PATIENCE_WITH_NODES, *_thawed(configuration.tolerations)],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {names.SESSION_LABEL: names.label_value(session_id)}},
            }
        ],
        "containers": [
            {
                "name": names.CONTAINER,
                "image": home.image,
                "imagePullPolicy": configuration.image_pull_policy,
                "command": ["python", "-m", "daft_k8s.worker"],
                "env": _environment(configuration, home, session_id, worker_id, launch_id, spill_dir),
                "ports": [
                    {"name": "control", "containerPort": CONTROL_PORT},
                    {"name": "data", "containerPort": DATA_PORT},
                    {"name": "health", "containerPort": HEALTH_PORT},
                ],
                "resources": _resources(configuration),
                "securityContext": container_security(),
                "volumeMounts": mounts,
                "workingDir": TMP_DIR,
                "terminationMessagePolicy": "FallbackToLogsOnError",  # so the status carries the last log lines
                **_probes(configuration),
            }
        ],
        "volumes": volumes,
    }
    optional = {
        "serviceAccountName": configuration.service_account,
        "nodeSelector": thaw(configuration.node_selector),
        "priorityClassName": configuration.priority_class,
        "imagePullSecrets": [{"name": name} for name in pull_secrets],
    }
    return {**spec, **{key: value for key, value in optional.items() if value}}


def _thawed(items: Sequence[Mapping[str, object]]) -> list[dict[str, Any]]:
    plain = thaw(items)
    return plain if isinstance(plain, list) else []


def _resources(configuration: Configuration) -> dict[str, Any]:
    amounts = {
        "cpu": f"{math.ceil(configuration.worker_cpu * 1000)}m",
        "memory": str(configuration.worker_memory_bytes),
    }
    if configuration.worker_gpu:
        amounts[configuration.gpu_resource_name] = str(int(configuration.worker_gpu))
    return {"requests": amounts, "limits": dict(amounts)}


def _probes(configuration: Configuration) -> dict[str, Any]:
    probe = {"grpc": {"port": HEALTH_PORT}, "timeoutSeconds": 5}
    # A draining worker is no longer "serving", and must not be killed for it.
    patience = configuration.drain_timeout_seconds + _LIVENESS_SPARE_SECONDS
    return {
        "startupProbe": {
            **probe,
            "periodSeconds": 1,
            "failureThreshold": math.ceil(configuration.start_timeout_seconds),
        },
        "readinessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {
            **probe,
            "periodSeconds": _LIVENESS_PERIOD_SECONDS,
            "failureThreshold": math.ceil(patience / _LIVENESS_PERIOD_SECONDS),
        },
    }


def _environment(
    configuration: Configuration, home: Home, session_id: str, worker_id: str, launch_id: int, spill_dir: str
) -> list[dict[str, Any]]:
    """All variables; the names of the worker's own are those of `daft_k8s.worker.settings`."""
    plain = {
        "HOME": TMP_DIR,
        "PYTHONUNBUFFERED": "1",  # what a UDF printed before a crash must not be lost
        **configuration.env,
    }
    settings: dict[str, object] = {
        "SESSION_ID": session_id,
        "WORKER_ID": worker_id,
        "LAUNCH_ID": launch_id,
        "CONTROL_PORT": CONTROL_PORT,
        "DATA_PORT": DATA_PORT,
        "HEALTH_PORT": HEALTH_PORT,
        "TLS_DIR": SECRET_DIR if configuration.tls else "",
        "CPUS": configuration.worker_cpu,
        "GPUS": configuration.worker_gpu,
        "MEMORY_BYTES": int(configuration.worker_memory_bytes * _MEMORY_SHARE),
        "STORE_MEMORY_SHARE": configuration.store_memory_share,
        "SPILL_DIR": f"{spill_dir.rstrip('/')}/{names.pod_name(session_id, worker_id, launch_id)}",
        "ALL_ADDRESSES": int(home.forwarded),
        "ORPHAN_TIMEOUT_SECONDS": configuration.orphan_timeout_seconds,
        "DRAIN_TIMEOUT_SECONDS": configuration.drain_timeout_seconds,
        "MAX_MESSAGE_BYTES": configuration.max_message_bytes,
        "PIP": json.dumps(configuration.pip) if configuration.pip else "",
        "LOG_FORMAT": configuration.log_format,
        "LOG_LEVEL": configuration.log_level,
    }
    entries: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in plain.items()]
    entries += [{"name": f"DAFT_K8S_WORKER_{name}", "value": str(value)} for name, value in settings.items()]
    entries.append({"name": "DAFT_K8S_WORKER_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    entries.append({"name": "DAFT_K8S_TOKEN_FILE", "value": f"{SECRET_DIR}/{TOKEN_KEY}"})
    return entries

"""A worker's Pod and the session's Secret, as Kubernetes wants them."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from daft_k8s.config.frozen import thaw
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.memory_volumes import memory_left
from daft_k8s.kube.objects.pod_parts import container_security, pod_security
from daft_k8s.kube.objects.template import merge_template
from daft_k8s.wire.worker_settings import TOKEN_FILE, WorkerSettings, variable

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.objects.target import Target

CONTROL_PORT = 7777
DATA_PORT = 7778
HEALTH_PORT = 7779
"""For probes: Kubernetes' gRPC probes have neither certificates nor TLS."""
TOKEN_KEY = "token"
"""Of the Secret's data."""
SECRET_DIR = "/var/run/secrets/daft-k8s"
"""The folder in which a worker finds the session's Secret, as files."""
_SECRET_VOLUME = "daft-session"
SPILL_DIR = "/var/lib/daft-spill"
TMP_DIR = "/tmp"

_MEMORY_SHARE = 0.9
"""The share of its limit that a worker plans with: the kernel kills at the limit, and counts stacks and sockets."""
_EXIT_SECONDS = 8
"""The time beyond its drain time-out in which a worker closes its servers and exits, before it is killed."""
_LIVENESS_PERIOD_SECONDS = 10
_LIVENESS_SPARE_SECONDS = 60

_PATIENCE_WITH_NODES = tuple(
    {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for trouble in ("not-ready", "unreachable")
)
"""Kubernetes' usual values, which some clusters shorten. The pool itself finds silent workers in seconds, and a node
that only the API server has lost for a while goes on working."""


class Identity(NamedTuple):
    """The part of a worker's settings that depends on the Pod that it is in; Kubernetes fills in `$(VARIABLE)`."""

    worker_id: str
    pod_name: str
    variables: tuple[Mapping[str, Any], ...] = ()
    """Variables that the texts above refer to. They come first, as Kubernetes demands."""


def session_secret(
    session_id: str,
    token: str,
    target: Target,
    certificates: Mapping[str, bytes],
    variables: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """The Secret with what must stand in no Pod's manifest: the proof that a worker is the session's, and variables.

    Args:
        session_id: The session.
        token: The token that its workers share with the driver.
        target: The session's target.
        certificates: The files with which a worker proves who it is.
        variables: The values of `target.variables`.
    """
    passed = {variable_key(name): value.encode(errors="surrogateescape") for name, value in variables.items()}
    data = {TOKEN_KEY: token.encode(), **certificates, **passed}
    labels = {
        **target.labels,
        names.SESSION_LABEL: names.label_value(session_id),
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": {
            "name": target.secret,
            "namespace": target.namespace,
            "labels": labels,
            **owned_by(target),
        },
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def variable_key(name: str) -> str:
    """The key of the session's Secret under which a variable's value stands."""
    return f"env-{name}"


def session_secret_of(pod: Mapping[str, Any], session: str) -> str:
    """The name of the Secret that a worker's Pod mounts for its session; "": it mounts none.

    Args:
        pod: The Pod.
        session: The value of the session's label; a Secret whose name does not begin with it is not the session's.
    """
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        name = str((volume.get("secret") or {}).get("secretName", ""))
        if volume.get("name") == _SECRET_VOLUME and name.startswith(names.object_name(session)):
            return name
    return ""


def worker_pod(
    configuration: Configuration,
    target: Target,
    *,
    session_id: str,
    worker_id: str,
    launch_id: int,
    node_to_avoid: str = "",
    identity: Identity | None = None,
) -> dict[str, Any]:
    """The Pod of one launch of a worker.

    It passes the Pod Security level `restricted`, and its quality of service is Guaranteed.

    Args:
        configuration: The user's options.
        target: The session's target.
        session_id: The session.
        worker_id: The logical worker.
        launch_id: The number of that worker's Pod.
        node_to_avoid: A node to which it goes only if there is no other.
        identity: Of the Pods that a controller makes of this one; None: this Pod is the only one.

    Raises:
        ConfigurationError: The `pod_template` sets what is the runner's own; the message lists all of it. Or its
            volumes in memory leave the worker none.
    """
    identity = identity or Identity(worker_id, names.pod_name(session_id, worker_id, launch_id))
    metadata = _metadata(configuration, target, session_id, worker_id, launch_id)

    def build(memory_bytes: int) -> dict[str, Any]:
        settings = _settings(configuration, target, session_id, launch_id, identity, memory_bytes)
        spec = _spec(configuration, target, session_id, _variables(configuration, target, settings, identity))
        if node_to_avoid:
            spec["affinity"] = _aversion(node_to_avoid)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        if configuration.pod_template is None:
            return pod
        template = thaw(configuration.pod_template)
        return merge_template(pod, template if isinstance(template, dict) else {})

    pod = build(configuration.worker_memory_bytes)
    left = memory_left(pod, configuration.worker_memory_bytes)
    return pod if left == configuration.worker_memory_bytes else build(left)


def _aversion(node: str) -> dict[str, Any]:
    term = {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": [node]}]}
    preferred = [{"weight": 100, "preference": term}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def owned_by(target: Target) -> dict[str, Any]:
    """The part of an object's metadata that makes it the driver's, if its Pod is known."""
    return {} if target.owner is None else {"ownerReferences": [target.owner.reference()]}


def _metadata(
    configuration: Configuration, target: Target, session_id: str, worker_id: str, launch_id: int
) -> dict[str, Any]:
    labels = {
        **configuration.labels,
        **target.labels,
        names.JOB_LABEL: names.label_value(target.job or session_id),
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
        **target.annotations,
    }
    return {
        "name": names.pod_name(session_id, worker_id, launch_id),
        "namespace": target.namespace,
        "labels": labels,
        "annotations": annotations,
        **owned_by(target),
    }


def _spec(
    configuration: Configuration, target: Target, session_id: str, variables: list[dict[str, Any]]
) -> dict[str, Any]:
    spill_dir = configuration.spill_dir or SPILL_DIR
    spill: dict[str, Any] = {"name": "spill", "emptyDir": {}}
    if configuration.spill_size_limit_bytes is not None:
        spill["emptyDir"]["sizeLimit"] = str(configuration.spill_size_limit_bytes)
    # For its owner and its group alone, which is that of the Pod (fsGroup).
    secret = {"secretName": target.secret or names.object_name(session_id), "defaultMode": 0o440}
    volumes = [spill, {"name": _SECRET_VOLUME, "secret": secret}]
    mounts: list[dict[str, Any]] = [
        {"name": "spill", "mountPath": spill_dir},
        {"name": _SECRET_VOLUME, "mountPath": SECRET_DIR, "readOnly": True},
    ]
    if spill_dir.rstrip("/") != TMP_DIR:
        volumes.append({"name": "tmp", "emptyDir": {}})
        mounts.append({"name": "tmp", "mountPath": TMP_DIR})
    pull_secrets = configuration.image_pull_secrets or target.image_pull_secrets
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
                "image": target.image,
                "imagePullPolicy": configuration.image_pull_policy,
                "command": ["python", "-m", "daft_k8s.worker"],
                "env": variables,
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


def _settings(
    configuration: Configuration, target: Target, session_id: str, launch_id: int, identity: Identity, memory_bytes: int
) -> WorkerSettings:
    """The worker's settings, without those that only the Pod knows: its address, and the token."""
    spill_dir = configuration.spill_dir or SPILL_DIR
    return WorkerSettings.of(
        configuration,
        session_id=session_id,
        token="",
        worker_id=identity.worker_id,
        launch_id=launch_id,
        host="",
        control_port=CONTROL_PORT,
        data_port=DATA_PORT,
        health_port=HEALTH_PORT,
        all_addresses=int(target.forwarded),
        copy_output=int(configuration.worker_output),
        memory_bytes=int(memory_bytes * _MEMORY_SHARE),
        spill_dir=f"{spill_dir.rstrip('/')}/{identity.pod_name}",
        tls_dir=SECRET_DIR if configuration.tls else "",
    )


def _variables(
    configuration: Configuration, target: Target, settings: WorkerSettings, identity: Identity
) -> list[dict[str, Any]]:
    plain = {
        "HOME": TMP_DIR,
        "PYTHONUNBUFFERED": "1",  # what a UDF printed before a crash must not be lost
        **configuration.env,
        **settings.to_environment(),
        TOKEN_FILE: f"{SECRET_DIR}/{TOKEN_KEY}",
    }
    entries = [dict(entry) for entry in identity.variables]
    entries += [_from_secret(target, name) for name in target.variables if name not in plain]
    entries += [{"name": name, "value": value} for name, value in plain.items()]
    entries.append({"name": variable("host"), "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    return entries


def _from_secret(target: Target, name: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": target.secret, "key": variable_key(name)}}}

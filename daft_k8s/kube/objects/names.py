"""Names and labels of what a session makes in a cluster."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from secrets import token_hex
from typing import Any

SESSION_LABEL = "daft.io/session"
JOB_LABEL = "daft.io/job-id"
ROLE_LABEL = "daft.io/role"
WORKER_LABEL = "daft.io/worker"
LAUNCH_LABEL = "daft.io/launch"
OWNER_LABEL = "daft.io/owner"
"""The user and the machine of a driver outside the cluster."""
DRIVER_POD_LABEL = "daft.io/driver-pod"
"""The uid of the Pod that the driver runs in."""
DRIVER_ANNOTATION = "daft.io/driver-process"
"""The driver's process in that Pod, in the form of `driver_process`."""
OWNER_UID_ANNOTATION = "daft.io/owner-uid"
"""On the Pods of a StatefulSet, which owns them: the uid of what owns the StatefulSet."""
SUMMARY_ANNOTATION = "daft.io/summary"
"""On the session's Lease: what the session does, as `session_summary` writes it."""
RUN_LABEL = "daft.io/run"
"""On a driver's Job, its Pod and its Secrets: the run's name."""
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "daft-k8s"
OWN_PREFIX = "daft.io/"
"""Labels and annotations under it are the runner's."""

WORKER_ROLE = "worker"
CONTAINER = "worker"
"""The worker's container in its Pod."""

_MAX_LENGTH = 63
"""Of a label's value, and of a Pod's name if it is to be its host name too."""
_HASH_LENGTH = 10
_NUMBER_LENGTH = 10
"""The most characters that a controller adds to a name."""
_SECRET_BYTES = 8
_PLAIN_SESSION = re.compile(r"[a-z0-9]+")
_PLAIN_WORKER = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def pod_name(session_id: str, worker_id: str, launch_id: int) -> str:
    """The name of one launch's Pod: a DNS-1123 label that no other launch has, whatever the ids look like."""
    name = f"daft-{session_id}-{worker_id}-{launch_id}"
    if _PLAIN_SESSION.fullmatch(session_id) and _PLAIN_WORKER.fullmatch(worker_id) and len(name) <= _MAX_LENGTH:
        return name
    return _with_hash(name, repr((session_id, worker_id, launch_id)))


def new_secret_name(session_id: str) -> str:
    """A name for the Secret with the session's token and certificates, which only its Pods are told.

    Any account that may create Secrets could put one of its own under a name that can be guessed.
    """
    return f"{object_name(session_id)}-{token_hex(_SECRET_BYTES)}"


def service_name(session_id: str) -> str:
    """The name of the Service of a session's StatefulSet."""
    return object_name(session_id)


def lease_name(session_id: str) -> str:
    """The name of the session's Lease."""
    return object_name(session_id)


def object_name(session_id: str, suffix: str = "") -> str:
    """The name of what a session has one of; short enough for a number to be added to it."""
    name = f"daft-{session_id}" + (f"-{suffix}" if suffix else "")
    if _PLAIN_SESSION.fullmatch(session_id) and len(name) <= _MAX_LENGTH - _NUMBER_LENGTH:
        return name
    return _with_hash(name, session_id, _MAX_LENGTH - _NUMBER_LENGTH)


def label_value(text: str) -> str:
    """The text as a label's value: itself where Kubernetes accepts it, else a readable part and a hash."""
    if len(text) <= _MAX_LENGTH and _LABEL_VALUE.fullmatch(text):
        return text
    return _with_hash(text, text)


def worker_of(metadata: Mapping[str, Any]) -> str:
    """The worker of a Pod, by its label, or, in a StatefulSet, whose Pods all have the same labels, by its number."""
    labelled = (metadata.get("labels") or {}).get(WORKER_LABEL)
    return str(labelled or f"worker-{str(metadata.get('name')).rpartition('-')[2]}")


def session_selector(session_id: str) -> str:
    """Selects the Pods of one session's workers."""
    return f"{SESSION_LABEL}={label_value(session_id)},{ROLE_LABEL}={WORKER_ROLE}"


def _with_hash(readable: str, whole: str, length: int = _MAX_LENGTH) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", readable.lower()).strip("-")[: length - _HASH_LENGTH - 1].strip("-")
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{slug}-{digest}" if slug else f"x{digest}"

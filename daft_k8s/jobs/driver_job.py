"""The JSON of the Job that runs a driver, and of the Secrets with its code."""

from __future__ import annotations

import base64
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daft_k8s.code.entry import ARCHIVE_PART, DIGEST_FILE, MANIFEST_PART
from daft_k8s.errors import CodeError
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.pod_parts import container_security, placement, pod_security

if TYPE_CHECKING:
    from daft_k8s.code.bundle import CodeBundle
    from daft_k8s.config import Configuration

CONTAINER = "driver"
PARTS_DIR = "/var/run/daft-code"
CODE_DIR = "/code"
PART_BYTES = 700 << 10
"""A Secret holds 1 MiB."""
MAX_CODE_BYTES = 8 << 20
"""The most that goes into Secrets: more would burden etcd."""

_KEPT_SECONDS = 3600
_GRACE_SECONDS = 20
"""For the driver to end its workers."""


@dataclass(frozen=True)
class DriverJob:
    """A script, or Python with arguments, that is to run as a driver."""

    name: str
    """For people."""
    script: str
    """The script; "": the arguments are those of Python."""
    arguments: tuple[str, ...]
    service_account: str
    cpu: str = "1"
    memory: str = "2Gi"
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:6])

    @property
    def run_name(self) -> str:
        """The name of the Job."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:40].strip("-") or "run"
        return f"daft-{slug}-{self.suffix}"


def code_secrets(job: DriverJob, bundle: CodeBundle, owner: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Secrets with the driver's code, which go with the Job. More accounts may read ConfigMaps than Secrets.

    Raises:
        CodeError: The code is too large for them.
    """
    if len(bundle.archive) > MAX_CODE_BYTES:
        raise CodeError(
            f"the code of {bundle.root} has {len(bundle.archive) >> 20} MiB, and at most {MAX_CODE_BYTES >> 20} MiB go "
            "with a Job. Leave out what is no code (.daftignore), put it behind a URI and set working_dir to that, or "
            "bake it into the image"
        )
    contents = {DIGEST_FILE: bundle.digest.encode()}
    for name, content in ((MANIFEST_PART, bundle.manifest), (ARCHIVE_PART, bundle.archive)):
        for number, start in enumerate(range(0, len(content), PART_BYTES)):
            contents[f"{name}-{number:03}"] = content[start : start + PART_BYTES]
    secrets: list[dict[str, Any]] = []
    room = 0
    for key, content in contents.items():
        if len(content) > room:
            secrets.append(_empty_secret(job, len(secrets), owner))
            room = PART_BYTES
        room -= len(content)
        secrets[-1]["data"][key] = base64.b64encode(content).decode()
    return secrets


def job_manifest(
    job: DriverJob, configuration: Configuration, *, secrets: int, environment: Mapping[str, str], keep: bool
) -> dict[str, Any]:
    """The Job. Its Pod passes the Pod Security level `restricted`.

    Args:
        job: The program.
        configuration: Image, labels and the like.
        secrets: How many Secrets hold its code.
        environment: The driver's variables.
        keep: Leave it when it has ended.
    """
    labels = {names.RUN_LABEL: job.run_name, names.MANAGED_BY_LABEL: names.MANAGED_BY, names.ROLE_LABEL: "driver"}
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "template": {"metadata": {"labels": labels}, "spec": _pod_spec(job, configuration, secrets, environment)},
    }
    if not keep:
        spec["ttlSecondsAfterFinished"] = _KEPT_SECONDS
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job.run_name, "labels": labels}, "spec": spec}


def program(job: DriverJob) -> list[str]:
    """The container's command."""
    if not job.script:
        return ["python", *job.arguments]
    script = os.path.basename(job.script)
    return ["python", "-m", "daft_k8s.code.entry", PARTS_DIR, CODE_DIR, script, *job.arguments]


def _empty_secret(job: DriverJob, number: int, owner: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": f"{job.run_name}-code-{number}",
            "labels": {names.RUN_LABEL: job.run_name, names.MANAGED_BY_LABEL: names.MANAGED_BY},
            "ownerReferences": [dict(owner)],
        },
        "immutable": True,
        "data": {},
    }


def _pod_spec(
    job: DriverJob, configuration: Configuration, secrets: int, environment: Mapping[str, str]
) -> dict[str, Any]:
    variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in environment.items()]
    variables.append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": configuration.image,
        "imagePullPolicy": configuration.image_pull_policy,
        "command": program(job),
        "env": variables,
        "resources": {"requests": {"cpu": job.cpu, "memory": job.memory}, "limits": {"memory": job.memory}},
        "securityContext": container_security(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "code", "mountPath": CODE_DIR}],
    }
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}, {"name": "code", "emptyDir": {}}]
    if secrets:
        sources = [{"secret": {"name": f"{job.run_name}-code-{number}"}} for number in range(secrets)]
        volumes.append({"name": "parts", "projected": {"sources": sources, "defaultMode": 0o440}})
        container["volumeMounts"].append({"name": "parts", "mountPath": PARTS_DIR, "readOnly": True})
    return {
        "restartPolicy": "Never",
        "serviceAccountName": job.service_account,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": pod_security(owns_volumes=True),
        **placement(configuration),
        "containers": [container],
        "volumes": volumes,
    }

"""The JSON of the Job that runs a driver, and of the Secrets with its code."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daft_k8s.code.entry import ARCHIVE_PART, DIGEST_FILE, MANIFEST_PART
from daft_k8s.errors import CodeError
from daft_k8s.jobs.driver_pod import code_secret_name, merge_driver_template, pod_spec, variables_secret_name
from daft_k8s.kube.objects import names

if TYPE_CHECKING:
    from daft_k8s.code.bundle import CodeBundle
    from daft_k8s.config import Configuration

PART_BYTES = 700 << 10
"""A Secret holds 1 MiB."""
MAX_CODE_BYTES = 8 << 20
"""The most that goes into Secrets: more would burden etcd."""

_KEPT_SECONDS = 3600


@dataclass(frozen=True)
class DriverJob:
    """A script, a module, or Python with arguments, that is to run as a driver."""

    name: str
    """For people."""
    script: str
    """The script; "": it is a module, or the arguments are those of Python."""
    arguments: tuple[str, ...]
    service_account: str
    cpu: str = "1"
    memory: str = "2Gi"
    module: str = ""
    """The module of the current folder that runs, as for `python -m`; "": it is no module."""
    template: Mapping[str, Any] | None = None
    """Metadata and spec that are merged over the driver's Pod."""
    interactive: bool = False
    """True for a driver that a terminal is attached to."""
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
            secrets.append(_empty_secret(job, code_secret_name(job, len(secrets)), owner))
            room = PART_BYTES
        room -= len(content)
        secrets[-1]["data"][key] = base64.b64encode(content).decode()
    return secrets


def variables_secret(job: DriverJob, variables: Mapping[str, str], owner: Mapping[str, Any]) -> dict[str, Any]:
    """The Secret with the variables that are passed on to the driver, which goes with the Job."""
    secret = _empty_secret(job, variables_secret_name(job), owner)
    for name, value in variables.items():
        secret["data"][name] = base64.b64encode(value.encode(errors="surrogateescape")).decode()
    return secret


def job_manifest(
    job: DriverJob,
    configuration: Configuration,
    *,
    secrets: int,
    environment: Mapping[str, str],
    keep: bool,
    has_variables: bool = False,
) -> dict[str, Any]:
    """The Job. Its Pod passes the Pod Security level `restricted`, unless a template says otherwise.

    Args:
        job: The program.
        configuration: Image, labels and the like.
        secrets: The number of Secrets that hold its code.
        environment: The driver's variables.
        keep: Leave it when it has ended.
        has_variables: True if `variables_secret` is made, too.

    Raises:
        ConfigurationError: The driver's template sets what is the runner's own.
    """
    labels = {names.RUN_LABEL: job.run_name, names.MANAGED_BY_LABEL: names.MANAGED_BY, names.ROLE_LABEL: "driver"}
    spec = pod_spec(job, configuration, secrets=secrets, environment=environment, has_variables=has_variables)
    pod = {"metadata": {"labels": labels}, "spec": spec}
    if job.template is not None:
        pod = merge_driver_template(pod, job.template)
    job_spec: dict[str, Any] = {"backoffLimit": 0, "template": pod}
    if not keep:
        job_spec["ttlSecondsAfterFinished"] = _KEPT_SECONDS
    metadata = {"name": job.run_name, "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job_spec}


def _empty_secret(job: DriverJob, name: str, owner: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "labels": {names.RUN_LABEL: job.run_name, names.MANAGED_BY_LABEL: names.MANAGED_BY},
            "ownerReferences": [dict(owner)],
        },
        "immutable": True,
        "data": {},
    }

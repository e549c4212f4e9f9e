"""The Pod of a driver's Job: it gets the environment, packages and volumes that workers get."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from daft_k8s.code.notebook import SUFFIX as NOTEBOOK
from daft_k8s.config.frozen import thaw
from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.pod_parts import container_security, placement, pod_security
from daft_k8s.kube.objects.template import merge

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.jobs.driver_job import DriverJob

CONTAINER = "driver"
PARTS_DIR = "/var/run/daft-code"
CODE_DIR = "/code"
PACKAGES_DIR = "/var/lib/daft-packages"
"""The folder in which an init container installs what the option `pip` names."""

_GRACE_SECONDS = 20
"""For the driver to end its workers."""
_REFUSED_SPEC = {
    "restartPolicy": "a Job that has failed must not start its script again",
    "serviceAccountName": "set --service-account instead",
    "serviceAccount": "set --service-account instead",
}
_REFUSED_CONTAINER = {"image": "set --image instead", "command": "it starts the script", "args": "the script's own"}


def pod_spec(
    job: DriverJob,
    configuration: Configuration,
    *,
    secrets: int,
    environment: Mapping[str, str],
    has_variables: bool,
) -> dict[str, Any]:
    """The specification of the driver's Pod, without its own template.

    Args:
        job: The program.
        configuration: The configuration of driver and workers.
        secrets: The number of Secrets that hold its code.
        environment: The driver's variables besides those of the option `env`.
        has_variables: True if a Secret holds variables that are passed on.
    """
    plain = {**configuration.env, **environment}
    if configuration.pip:
        search = [f"{PACKAGES_DIR}/site", *filter(None, [plain.get("PYTHONPATH")])]
        plain["PYTHONPATH"] = os.pathsep.join(search)
    variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in plain.items()]
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
    if job.interactive:
        container |= {"stdin": True, "stdinOnce": True, "tty": True}
    if has_variables:
        container["envFrom"] = [{"secretRef": {"name": variables_secret_name(job)}}]
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}, {"name": "code", "emptyDir": {}}]
    if secrets:
        sources = [{"secret": {"name": code_secret_name(job, number)}} for number in range(secrets)]
        volumes.append({"name": "parts", "projected": {"sources": sources, "defaultMode": 0o440}})
        container["volumeMounts"].append({"name": "parts", "mountPath": PARTS_DIR, "readOnly": True})
    if configuration.pip:
        volumes.append({"name": "packages", "emptyDir": {}})
        container["volumeMounts"].append({"name": "packages", "mountPath": PACKAGES_DIR})
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": job.service_account,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": pod_security(owns_volumes=True),
        **placement(configuration),
        "containers": [container],
        "volumes": volumes,
    }
    spec = merge(spec, _workers_share(configuration))
    if configuration.pip:
        spec["initContainers"] = [_installer(spec["containers"][0], configuration)]
    return spec


def program(job: DriverJob) -> list[str]:
    """The container's command."""
    if not job.script and not job.module:
        return ["python", *job.arguments]
    what = ["-m", job.module] if job.module else _script(os.path.basename(job.script))
    return ["python", "-m", "daft_k8s.code.entry", PARTS_DIR, CODE_DIR, *what, *job.arguments]


def _script(name: str) -> list[str]:
    return ["-m", "daft_k8s.code.notebook", name] if name.endswith(NOTEBOOK) else [name]


def code_secret_name(job: DriverJob, number: int) -> str:
    """The name of a Secret with code of the driver."""
    return f"{job.run_name}-code-{number}"


def variables_secret_name(job: DriverJob) -> str:
    """The name of the Secret with the variables that are passed on to the driver."""
    return f"{job.run_name}-env"


def merge_driver_template(pod: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The driver's Pod with the template of `--driver-template` merged over it.

    Raises:
        ConfigurationError: The template sets what is the runner's own; the message lists all of it.
    """
    mistakes = list(_mistakes(template))
    if mistakes:
        raise ConfigurationError("\n  - ".join(["the driver's template sets what the runner must set:", *mistakes]))
    merged: dict[str, Any] = merge(pod, {key: template[key] for key in ("metadata", "spec") if key in template})
    return merged


def _mistakes(template: Mapping[str, Any]) -> Iterator[str]:
    spec = template.get("spec") or {}
    for label in (template.get("metadata") or {}).get("labels") or {}:
        if label.startswith(names.OWN_PREFIX) or label == names.MANAGED_BY_LABEL:
            yield f"metadata.labels {label!r}: a run is found by it"
    for key, reason in _REFUSED_SPEC.items():
        if key in spec:
            yield f"spec.{key}: {reason}"
    for container in spec.get("containers") or ():
        if container.get("name") == CONTAINER:
            for key, reason in _REFUSED_CONTAINER.items():
                if key in container:
                    yield f"the container {CONTAINER!r}, {key}: {reason}"
        elif not container.get("image"):
            yield (
                f"the container {container.get('name')!r}: the driver's own is called {CONTAINER!r}; a further one "
                "needs an image"
            )


def _workers_share(configuration: Configuration) -> dict[str, Any]:
    """The parts of `pod_template` that a driver needs as much as a worker: variables and volumes."""
    template = thaw(configuration.pod_template) if configuration.pod_template is not None else {}
    spec = (template.get("spec") if isinstance(template, dict) else None) or {}
    share: dict[str, Any] = {"volumes": spec["volumes"]} if spec.get("volumes") else {}
    for container in spec.get("containers") or ():
        if container.get("name") == names.CONTAINER:
            parts = {key: container[key] for key in ("env", "envFrom", "volumeMounts") if container.get(key)}
            share["containers"] = [{"name": CONTAINER, **parts}]
    return share


def _installer(driver: Mapping[str, Any], configuration: Configuration) -> dict[str, Any]:
    """The init container that installs packages: as in workers, with the driver's variables."""
    kept = ("image", "imagePullPolicy", "env", "envFrom", "resources", "securityContext", "volumeMounts")
    return {
        "name": "pip",
        "command": ["python", "-m", "daft_k8s.worker.pip_install", PACKAGES_DIR, *configuration.pip],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **{key: driver[key] for key in kept if key in driver},
    }

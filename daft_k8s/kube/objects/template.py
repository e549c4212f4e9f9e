"""The user's Pod template, merged over the Pod that the runner makes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects import names

_REFUSED_METADATA = {
    "name": "names carry session, worker and launch",
    "generateName": "names carry session, worker and launch",
    "namespace": "set namespace instead",
    "ownerReferences": "the driver's Pod owns its workers",
}
_REFUSED_SPEC = {
    "restartPolicy": "the pool replaces Pods that have ended",
    "hostNetwork": "two workers on one node would want the same ports",
    "terminationGracePeriodSeconds": "set drain_timeout_seconds instead",
    "activeDeadlineSeconds": "the pool ends its workers",
    "serviceAccountName": "set service_account instead",
    "serviceAccount": "set service_account instead",
    "ephemeralContainers": "they are added to Pods that run",
}
_REFUSED_CONTAINER = {
    "image": "set image instead",
    "imagePullPolicy": "set image_pull_policy instead",
    "command": "it starts the worker",
    "args": "the worker has none",
    "startupProbe": "set start_timeout_seconds instead",
    "livenessProbe": "the runner's own",
    "readinessProbe": "the runner's own",
    "terminationMessagePolicy": "errors quote what it brings",
    "restartPolicy": "the pool replaces Pods that have ended",
    "restartPolicyRules": "the pool replaces Pods that have ended",
}
_OWN_RESOURCES = {"cpu": "set worker_cpu instead", "memory": "set worker_memory instead"}
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
}
"""Lists whose items have an identity, as in Kubernetes' own strategic merge."""
_REPLACED = ("env", "volumes")
"""Of these an item is one of several kinds, so two of them do not mix."""
_APPENDED = ("tolerations", "envFrom", "topologySpreadConstraints")


def merge_template(pod: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the Pod with the template merged over it.

    Maps are merged; lists whose items have a name are merged by it; tolerations and the like are appended; any
    other value replaces the runner's.

    Raises:
        ConfigurationError: The template sets what is the runner's own; the message lists all of it.
    """
    mistakes = list(_mistakes(template))
    if mistakes:
        raise ConfigurationError("\n  - ".join(["pod_template sets what the runner must set itself:", *mistakes]))
    merged: dict[str, Any] = copy.deepcopy(dict(pod))
    for part in ("metadata", "spec"):
        merged[part] = merge(merged.get(part) or {}, template.get(part) or {})
    return merged


def _mistakes(template: Mapping[str, Any]) -> Iterator[str]:
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    for key, reason in _REFUSED_METADATA.items():
        if key in metadata:
            yield f"metadata.{key}: {reason}"
    for part in ("labels", "annotations"):
        for key in metadata.get(part) or {}:
            if key.startswith(names.OWN_PREFIX) or key == names.MANAGED_BY_LABEL:
                yield f"metadata.{part} {key!r}: the runner finds its Pods by it"
    for key, reason in _REFUSED_SPEC.items():
        if key in spec:
            yield f"spec.{key}: {reason}"
    for key, merge_key in _MERGE_KEYS.items():
        if key in spec:
            yield from _unidentified(f"spec.{key}", spec[key], merge_key)
    containers = spec.get("containers")
    for container in containers if isinstance(containers, list) else ():
        if not isinstance(container, Mapping):
            continue
        if container.get("name") == names.CONTAINER:
            yield from _mistakes_in_container(container)
        elif container.get("name") and not container.get("image"):
            yield (
                f"the container {container['name']!r}: the worker's own is called {names.CONTAINER!r}; a further one "
                "needs an image"
            )


def _mistakes_in_container(container: Mapping[str, Any]) -> Iterator[str]:
    where = f"the container {names.CONTAINER!r}"
    for key, reason in _REFUSED_CONTAINER.items():
        if key in container:
            yield f"{where}, {key}: {reason}"
    for key, merge_key in _MERGE_KEYS.items():
        if key in container:
            yield from _unidentified(f"{where}, {key}", container[key], merge_key)
    env = container.get("env")
    for variable in env if isinstance(env, list) else ():
        if isinstance(variable, Mapping) and str(variable.get("name", "")).startswith("DAFT_K8S_"):
            yield f"{where}, env {variable['name']!r}: names that start with DAFT_K8S_ belong to the runner"
    resources = container.get("resources")
    for kind, amounts in resources.items() if isinstance(resources, Mapping) else ():
        for resource, reason in _OWN_RESOURCES.items():
            if isinstance(amounts, Mapping) and resource in amounts:
                yield f"{where}, resources.{kind}.{resource}: {reason}"


def _unidentified(where: str, items: Any, merge_key: str) -> Iterator[str]:
    if not isinstance(items, list):
        yield f"{where}: not a list"
    elif not all(isinstance(item, Mapping) and item.get(merge_key) for item in items):
        yield f"{where}: an item without {merge_key}, so it is not known which one is meant"


def merge(base: Any, over: Any, key: str = "") -> Any:
    """A part of a manifest with another merged over it.

    Args:
        base: The one part.
        over: The other, which wins.
        key: The name of both in the object that they are parts of.
    """
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        merged = dict(base)
        for name, value in over.items():
            merged[name] = merge(base[name], value, name) if name in base else copy.deepcopy(value)
        return merged
    if isinstance(base, list) and isinstance(over, list):
        if key in _MERGE_KEYS:
            return _merge_by(key, base, over)
        if key in _APPENDED:
            return [*base, *(copy.deepcopy(item) for item in over if item not in base)]
    return copy.deepcopy(over)


def _merge_by(key: str, base: list[Any], over: list[Any]) -> list[Any]:
    merge_key = _MERGE_KEYS[key]
    merged = list(base)
    places = {item.get(merge_key): place for place, item in enumerate(merged)}
    for item in over:
        place = places.get(item.get(merge_key))
        if place is None:
            places[item.get(merge_key)] = len(merged)
            merged.append(copy.deepcopy(item))
        else:
            merged[place] = copy.deepcopy(item) if key in _REPLACED else merge(merged[place], item)
    return merged

"""Volumes in memory, such as a larger `/dev/shm`: what they hold counts against the container's limit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from daft_k8s.config.quantities import parse_quantity
from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects import names


def memory_left(pod: Mapping[str, Any], limit_bytes: int) -> int:
    """The part of the worker's limit, in bytes, that its volumes in memory leave once they are full.

    A volume without a `sizeLimit` may grow until the container is killed, so it is not counted.

    Raises:
        ConfigurationError: They leave nothing.
    """
    sizes = dict(_sizes(pod))
    left = limit_bytes - sum(sizes.values())
    if left > 0:
        return left
    volumes = ", ".join(f"{name}: {size / 2**30:g} GiB" for name, size in sizes.items())
    raise ConfigurationError(
        f"pod_template: the worker's volumes in memory ({volumes}) leave nothing of its {limit_bytes / 2**30:g} GiB, "
        "as what they hold counts against the container's limit; lower their sizeLimit, or raise worker_memory"
    )


def _sizes(pod: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    spec = pod["spec"]
    worker = next(item for item in spec["containers"] if item["name"] == names.CONTAINER)
    mounted = {mount.get("name") for mount in worker.get("volumeMounts") or ()}
    for volume in spec.get("volumes") or ():
        empty_dir = volume.get("emptyDir")
        if not isinstance(empty_dir, Mapping) or volume["name"] not in mounted:
            continue
        if empty_dir.get("medium") == "Memory":
            try:
                yield volume["name"], int(parse_quantity(empty_dir.get("sizeLimit", "0")))
            except ValueError:  # the API server says it better
                continue

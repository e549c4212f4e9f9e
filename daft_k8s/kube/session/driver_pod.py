"""The surroundings of a driver that runs in a Pod."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.in_cluster import own_namespace
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.target import Owner, Target, driver_image, driver_job
from daft_k8s.kube.session import driver_process

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api

logger = logging.getLogger(__name__)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


async def find_target(
    api: Api,
    configuration: Configuration,
    *,
    pod_name: str | None = None,
    own: str | None = None,
    addresses: Callable[[], set[str]] | None = None,
) -> Target:
    """Finds the place of the workers: the configuration's, else the driver's own namespace and image.

    Args:
        api: The cluster.
        configuration: Its `namespace` and `image` go first.
        pod_name: The driver's Pod; None: `POD_NAME` of the environment, else the host's name, which is a Pod's own
            unless a user changed it.
        own: The driver's namespace; None: its service account's.
        addresses: Gives this process' own IPs; None: as the machine tells them.

    Raises:
        ConfigurationError: The image or the namespace is not known and must be set.
        ApiError: The API cannot be asked.
    """
    own = own or own_namespace()
    namespace = configuration.namespace or own
    if namespace is None:
        raise ConfigurationError("the namespace for workers is not known; set namespace")
    name = pod_name or os.environ.get("POD_NAME") or socket.gethostname()
    pod = None
    if own is not None:
        try:
            pod = await api.read_pod(own, name)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            if configuration.image is None and error.status == 403:
                raise
    is_elsewhere = pod is not None and not _is_here(pod, (addresses or own_addresses)())
    if is_elsewhere:
        logger.warning(
            "the Pod %s has other IPs than this process, so it is not the driver's and owns no workers; set POD_NAME "
            "to the name of the driver's Pod (the downward API knows it: metadata.name)",
            name,
        )
        pod = None
    uid = None if pod is None else pod.get("metadata", {}).get("uid")
    # Only what lives in the owner's own namespace can be owned by it.
    owner = Owner(name, str(uid)) if uid and namespace == own else None
    whose = _traces(pod, str(uid)) if pod is not None and uid else {}
    job = "" if pod is None else driver_job(pod)
    if configuration.image is not None:
        return Target(namespace, configuration.image, owner=owner, job=job, **whose)
    if pod is None:
        why = f"the Pod {name!r} has other IPs" if is_elsewhere else f"there is no Pod {name!r} in {own!r}"
        raise ConfigurationError(
            f"the driver's own Pod was not found ({why}), so its image, which workers "
            "use by default, is not known; set image, or the environment variable POD_NAME"
        )
    image, secrets = driver_image(pod)
    return Target(namespace, image, secrets, owner, job=job, **whose)


def own_addresses(proc: Path = Path("/proc/net")) -> set[str]:
    """The IPs by which this process can be reached from elsewhere; none where the machine does not tell."""
    return {str(address) for address in _listed_addresses(proc) if not (address.is_loopback or address.is_link_local)}


def _listed_addresses(proc: Path) -> Iterator[_Address]:
    for part, read in (("fib_trie", _read_fib_trie), ("if_inet6", _read_if_inet6)):
        # No Linux, or a sandbox that shows less, or shows it otherwise.
        with contextlib.suppress(OSError, ValueError, IndexError):
            yield from read((proc / part).read_text().splitlines())


def _read_fib_trie(lines: list[str]) -> Iterator[_Address]:
    """An address stands in the line before that of its kind."""
    for line, following in itertools.pairwise(lines):
        if "/32 host LOCAL" in following and "|--" in line:
            yield ipaddress.IPv4Address(line.split()[-1])


def _read_if_inet6(lines: list[str]) -> Iterator[_Address]:
    for line in lines:
        yield ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))


def _is_here(pod: Mapping[str, Any], addresses: set[str]) -> bool:
    """True unless a Pod has certainly another network than this process: a host's name may be that of any Pod."""
    status = pod.get("status") or {}
    texts = {str(item.get("ip")) for item in status.get("podIPs") or ()} | {str(status.get("podIP") or "")}
    known = {ipaddress.ip_address(text) for text in addresses}
    comparable: set[_Address] = set()
    for text in texts:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(text)
            if any(address.version == other.version for other in known):
                comparable.add(address)
    return not comparable or bool(comparable & known)


def _traces(pod: Mapping[str, Any], uid: str) -> dict[str, Any]:
    """The marks from which the next driver of this Pod learns if this one still lives."""
    spec = pod.get("spec") or {}
    others = [item for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"]
    containers = [*(spec.get("containers") or ()), *others, *(spec.get("ephemeralContainers") or ())]
    return {
        "labels": {names.DRIVER_POD_LABEL: names.label_value(uid)},
        "annotations": {names.DRIVER_ANNOTATION: driver_process.identity()},
        "driver_alone": len(containers) == 1,
    }

"""The surroundings of a driver outside the cluster: a laptop, a notebook server, CI."""

from __future__ import annotations

import getpass
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from daft_k8s.config.fields import FIELDS
from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.target import Target

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api

_LAST_NAMESPACE = "default"
"""The namespace that kubectl uses if neither an option nor its context names one."""
OUTSIDE_ORPHAN_SECONDS = 900.0
"""The time for which workers wait for a driver outside the cluster, unless `orphan_timeout_seconds` says otherwise: a
laptop is closed for a walk from one room to another, and its session should be there afterwards."""


def with_patience(configuration: Configuration) -> Configuration:
    """The configuration with the workers' patience with a driver outside, unless another was chosen."""
    name = "orphan_timeout_seconds"
    origin = configuration.origins.get(name)
    chosen = configuration.orphan_timeout_seconds != FIELDS[name].default if origin is None else origin.chosen
    return configuration if chosen else replace(configuration, orphan_timeout_seconds=OUTSIDE_ORPHAN_SECONDS)


def check(configuration: Configuration) -> None:
    """Raises if something is not set that only a driver Pod could tell.

    Raises:
        ConfigurationError: The image is not set.
    """
    if configuration.image is None:
        raise ConfigurationError(
            "image is not set, and this driver runs outside the cluster, so there is no driver's Pod whose image "
            "workers could use; set image (or DAFT_K8S_IMAGE) to one with this process' versions of daft and daft_k8s "
            f"and with Python {sys.version_info.major}.{sys.version_info.minor}: images/Dockerfile makes one"
        )


async def find_target(api: Api, configuration: Configuration) -> Target:
    """Finds the namespace of the workers: the configuration's, else the kubeconfig context's, else `default`.

    Raises:
        ConfigurationError: The image is not set.
    """
    check(configuration)
    return Target(
        configuration.namespace or api.default_namespace or _LAST_NAMESPACE,
        configuration.image or "",
        labels={names.OWNER_LABEL: names.label_value(who())},
        forwarded=True,
    )


def who() -> str:
    """The user and the machine, as `user.host`, for people who look for the owner of Pods."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        user = "unknown"
    return f"{user}.{socket.gethostname()}"

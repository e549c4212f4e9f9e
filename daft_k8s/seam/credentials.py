"""Credentials of clouds that the driver has in its environment and worker Pods have not.

Without any, Daft asks the cloud's metadata service on the workers again and again, and fails after minutes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from daft_k8s.config.environment import passed_on
from daft_k8s.kube.objects.names import CONTAINER

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.seam.plan_paths import PlannedPath

logger = logging.getLogger("daft_k8s")


class _Store(NamedTuple):
    name: str
    schemes: tuple[str, ...]
    variables: tuple[str, ...]
    """The variables that people set. Those that a cloud's identity injects into Pods are not among them."""
    in_plan: tuple[str, ...]
    """The text that Daft prints of an IOConfig that needs no variables."""


_STORES = (
    _Store(
        "S3",
        ("s3://", "s3a://"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"),
        ("Key ID =", "Anonymous = true", "Credentials provider ="),
    ),
    _Store(
        "Google Cloud Storage",
        ("gs://", "gcs://"),
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        ("Credentials =", "Anonymous = true"),
    ),
    _Store(
        "Azure",
        ("az://", "abfs://", "abfss://"),
        ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_SECRET"),
        ("Access key =", "SAS token =", "Anonymous = true"),
    ),
)


_FILES = frozenset({"AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"})
"""Variables that lead to a file of the driver's machine: to pass them on does not bring the file."""


class CredentialAdvice:
    """Warns of each store once in a session.

    Args:
        configuration: The options of the workers.
        environment: The driver's variables.
    """

    def __init__(self, configuration: Configuration, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        template = cast("Mapping[str, Any] | None", configuration.pod_template)
        passed = passed_on(configuration, environment)
        self._given = frozenset({*configuration.env, *_names(template), *passed}) - (_FILES & passed.keys())
        self._unknown = configuration.service_account is not None or _has_sources(template)
        self._reported: set[str] = set()

    def look_at(self, plan_text: str, paths: Iterable[PlannedPath]) -> None:
        """Warns if tasks of a distributed plan use a store for which only the driver has credentials."""
        if self._unknown:
            return  # an identity of the cloud, or a Secret: what is in it shows on the workers alone
        urls = [form for path in paths for form in path.forms]
        for store in _STORES:
            if store.name in self._reported or not any(url.startswith(store.schemes) for url in urls):
                continue
            missing = [name for name in store.variables if self._environment.get(name) and name not in self._given]
            if missing and not any(words in plan_text for words in store.in_plan):
                self._reported.add(store.name)
                logger.warning("%s", advice(store.name, missing))


def advice(store: str, missing: Sequence[str]) -> str:
    """The warning for variables that worker Pods lack."""
    return (
        f"tasks of this query use {store}, and worker Pods do not have the driver's {', '.join(missing)}. Unless their "
        "image or node gives them credentials, the query fails in some minutes. Four ways: pass_env, which passes the "
        "driver's variables on in the session's Secret; an IOConfig in the query or in "
        f"daft.set_planning_config(default_io_config=...); a Secret, as envFrom of the container {CONTAINER!r} in "
        "pod_template (or env, which stands in the Pods' manifests); service_account with an identity of the cloud. "
        "docs/data.md has each to copy"
    )


def _containers(template: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    spec = (template or {}).get("spec") or {}
    for container in spec.get("containers") or ():
        if container.get("name") == CONTAINER:
            yield container


def _names(template: Mapping[str, Any] | None) -> Iterator[str]:
    for container in _containers(template):
        yield from (str(entry.get("name")) for entry in container.get("env") or ())


def _has_sources(template: Mapping[str, Any] | None) -> bool:
    return any(container.get("envFrom") for container in _containers(template))

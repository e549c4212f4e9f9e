"""The meaning of a refusal by the Kubernetes API: its own words, with what to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.kube.objects.quota import read_refusal
from daft_k8s.kube.objects.rights import role_rules_text

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.errors import ApiError


@dataclass(frozen=True)
class Advice:
    """An error for people, and the decision if trying again could help."""

    text: str
    restartable: bool


def explain(error: ApiError, namespace: str, configuration: Configuration | None = None) -> Advice:
    """Explains the error of making an object in the namespace, and decides if a restart could help."""
    words = f"Kubernetes says: {error.message}"
    if error.over_quota:
        too_small = read_refusal(error.message).never
        return Advice(
            f"the namespace {namespace!r} has no room left for it; {words}. Ask for fewer or smaller workers, or for a "
            "larger ResourceQuota",
            not too_small,
        )
    if error.lacks_right:
        return Advice(
            f"the driver's service account may not {error.action} in the namespace {namespace!r}; {words}. It needs a "
            f"Role with\n{role_rules_text(configuration, outside='portforward' in error.action)}",
            False,
        )
    if error.status == 403:  # Pod Security, admission webhooks, policies
        return Advice(f"the cluster's policies do not admit it; {words}", False)
    if error.status == 401:
        return Advice(f"the API does not accept the driver's credentials; {words}", True)
    if error.status == 404:
        return Advice(f"there is no namespace {namespace!r}, or something in it is missing; {words}", False)
    if error.transient:
        return Advice(f"the Kubernetes API did not take it; {words}", True)
    return Advice(f"Kubernetes refuses it; {words}", False)

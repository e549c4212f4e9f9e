"""How the command line words what the API refuses. Not covered: the calls themselves (test_api.py)."""

from __future__ import annotations

import pytest

from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import Console, ForbiddenError, NotFoundError
from daft_k8s.kube.client.errors import ApiError


@pytest.mark.parametrize(
    ("status", "message", "words", "advises_rights"),
    [
        (403, 'pods is forbidden: User "ann" cannot create resource "pods" in API group ""', "is not allowed", True),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest": host namespaces', "says: pods", False),
        (403, 'pods "x" is forbidden: exceeded quota: small', "Kubernetes says", False),
        (0, "timed out", "does not answer", False),
        (422, "spec.nodeName: Invalid", "Kubernetes says: spec.nodeName", False),
    ],
)
def test_only_a_missing_right_is_answered_with_rights(
    status: int, message: str, words: str, advises_rights: bool
) -> None:
    error = Console(namespace="jobs")._error(ApiError("create", status, message), "/api/v1/{ns}/pods")
    assert type(error) is (ForbiddenError if status == 403 else ClusterError)
    assert words in str(error) and message in str(error) and "create pods in the namespace 'jobs'" in str(error)
    assert ("daft-k8s rbac" in str(error)) is advises_rights


def test_what_is_not_there_is_an_error_of_its_own() -> None:
    assert isinstance(Console()._error(ApiError("get", 404, "not found"), "/api/v1/{ns}/pods/x"), NotFoundError)

"""What the API's refusals mean, in the words that real clusters use."""

from __future__ import annotations

import json

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import api_error
from daft_k8s.kube.objects.refusals import explain
from daft_k8s.kube.objects.rights import role_rules_text


def refusal(status: int, message: str, reason: str = "") -> bytes:
    return json.dumps({"kind": "Status", "code": status, "message": message, "reason": reason}).encode()


QUOTA = (
    'pods "p" is forbidden: exceeded quota: small, requested: requests.cpu=1, used: requests.cpu=2, '
    "limited: requests.cpu=2"
)
RBAC = 'pods is forbidden: User "system:serviceaccount:jobs:default" cannot create resource "pods" in API group ""'
SECURITY = 'pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'


@pytest.mark.parametrize(
    ("status", "message", "words", "restartable"),
    [
        (403, QUOTA, "no room left", True),
        (403, RBAC, "may not create pods", False),
        (403, SECURITY, "policies do not admit", False),
        (401, "Unauthorized", "credentials", True),
        (404, 'namespaces "jobs" not found', "no namespace 'jobs'", False),
        (422, 'Pod "p" is invalid: spec.x: Invalid value', "refuses", False),
        (500, "etcdserver: request timed out", "did not take it", True),
    ],
)
def test_each_refusal_is_explained_in_kubernetes_own_words(
    status: int, message: str, words: str, restartable: bool
) -> None:
    reason = "Forbidden" if status == 403 else ""
    advice = explain(api_error("create pods", status, refusal(status, message, reason)), "jobs")
    assert words in advice.text
    assert message in advice.text
    assert advice.restartable is restartable


def test_a_missing_right_is_told_with_the_role_that_would_give_it() -> None:
    text = explain(api_error("create pods", 403, refusal(403, RBAC, "Forbidden")), "jobs").text
    assert 'verbs: ["create"' in text


def test_an_answer_that_is_no_json_is_quoted() -> None:
    error = api_error("list pods", 429, b"too many requests, slow down", "7")
    assert error.transient
    assert error.retry_after_seconds == 7
    assert "slow down" in error.message


@pytest.mark.parametrize("retry_after", [None, "", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_time_to_retry_that_is_no_number_is_left_out(retry_after: str | None) -> None:
    assert api_error("list pods", 503, b"[]", retry_after).retry_after_seconds is None


TOO_SMALL = (
    'pods "p" is forbidden: exceeded quota: small, requested: requests.cpu=3, used: requests.cpu=0, '
    "limited: requests.cpu=2"
)


def test_a_quota_that_is_smaller_than_a_worker_is_no_reason_to_try_again() -> None:
    advice = explain(api_error("create pods", 403, refusal(403, TOO_SMALL, "Forbidden")), "jobs")
    assert not advice.restartable
    assert advice.text == (
        f"the namespace 'jobs' has no room left for it; Kubernetes says: {TOO_SMALL}. Ask for fewer or smaller "
        "workers, or for a larger ResourceQuota"
    )


@pytest.mark.parametrize(("action", "outside"), [("create pods", False), ("get pods/portforward", True)])
def test_the_role_that_is_told_fits_the_drivers_place_and_its_workers(action: str, outside: bool) -> None:
    configuration = Configuration(allocation="statefulset", num_workers=2)
    text = explain(api_error(action, 403, refusal(403, RBAC, "Forbidden")), "jobs", configuration).text
    assert text.endswith(f". It needs a Role with\n{role_rules_text(configuration, outside=outside)}")

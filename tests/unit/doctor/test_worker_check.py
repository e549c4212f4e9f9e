"""Doctor's dry run of a worker's Pod. Not covered: what a real API server says (tests/integration/test_cli.py)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daft_k8s.config import load
from daft_k8s.doctor.findings import Finding
from daft_k8s.doctor.worker_check import check_worker_pod
from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import NotFoundError


class Console:
    """Refuses a Pod with some words, and has one Secret."""

    namespace = "jobs"

    def __init__(self, refusal: str = "") -> None:
        self._refusal = refusal

    async def get(self, path: str) -> dict[str, Any]:
        if path.endswith("/hidden"):
            raise ClusterError("forbidden")
        if not path.endswith("/there"):
            raise NotFoundError(path)
        return {}

    async def create(self, path: str, body: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
        assert dry_run, "doctor makes no worker"
        if self._refusal:
            raise ClusterError(self._refusal)
        return body


def check(refusal: str = "", **options: Any) -> Finding:
    console: Any = Console(refusal)
    configuration = load({"allocation": "pod", "image": "x:1", **options})
    return asyncio.run(check_worker_pod(console, configuration))


def test_a_pod_that_the_cluster_takes_is_well() -> None:
    assert check(image_pull_secrets=["there", "hidden"]).mark == "ok"


def test_a_missing_pull_secret_is_named() -> None:
    finding = check(image_pull_secrets=["there", "lost"])
    assert finding.mark == "failed" and "no Secret lost " in finding.text and "docker-registry lost" in finding.fix


@pytest.mark.parametrize(
    ("refusal", "fix"),
    [
        ("pods is forbidden: no PriorityClass with name fast was found", "priority_class"),
        ('error looking up service account jobs/w: serviceaccount "w" not found', "service_account"),
        ('violates PodSecurity "restricted:latest": host namespaces', "pod_template"),
        ("admission webhook denied the request", "as above"),
    ],
)
def test_a_refusal_is_quoted_with_the_option_to_change(refusal: str, fix: str) -> None:
    finding = check(refusal)
    assert finding.mark == "failed" and refusal in finding.text and fix in finding.fix


def test_a_full_quota_is_left_to_its_own_check() -> None:
    assert check("exceeded quota: q").mark == "skipped"


def test_a_template_that_takes_what_is_the_runners_own_is_found() -> None:
    finding = check(pod_template={"spec": {"restartPolicy": "Always"}})
    assert finding.mark == "failed" and "restartPolicy" in finding.text

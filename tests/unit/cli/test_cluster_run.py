"""What `run` says before anything is made on the cluster; tests/integration/test_cli.py has runs themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daft_k8s.cli.cluster_run import _Run
from daft_k8s.cli.driver_job import DriverJob
from daft_k8s.config import load
from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import Console, NotFoundError

NAMESPACE = "/api/v1/namespaces/jobs"
ACCOUNT = "/api/v1/{ns}/serviceaccounts/daft-driver"


class FakeConsole(Console):
    """A cluster in which some objects are not there, and some may not be looked at."""

    def __init__(self, *, missing: set[str], forbidden: frozenset[str] = frozenset()) -> None:
        super().__init__(namespace="jobs")
        self._missing = missing
        self._forbidden = forbidden
        self.created: list[str] = []

    async def get(self, path: str, **_query: str) -> dict[str, Any]:
        if path in self._forbidden:
            raise ClusterError(f"get {path} is not allowed")
        if path in self._missing:
            raise NotFoundError(path)
        return {"metadata": {"name": path}}

    async def create(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        self.created.append(path)
        if NAMESPACE in self._missing:
            raise NotFoundError('namespaces "jobs" not found')
        return {"metadata": {"uid": "u"}}


def create(console: FakeConsole) -> None:
    job = DriverJob(name="x", script="", arguments=(), service_account="daft-driver")
    configuration = load({"allocation": "pod", "image": "x:1"})
    asyncio.run(_Run(job, configuration, None, {}, detach=True, keep=False)._create(console))


def test_a_namespace_that_is_not_there_is_named_and_not_its_service_account() -> None:
    console = FakeConsole(missing={NAMESPACE, ACCOUNT})
    with pytest.raises(
        ClusterError, match=r"no namespace 'jobs': kubectl create namespace jobs, or -n another"
    ) as told:
        create(console)
    assert "service account" not in str(told.value)
    assert console.created == []


def test_a_service_account_that_is_not_there_is_named_with_the_command_that_makes_it() -> None:
    with pytest.raises(
        ClusterError, match=r"no service account 'daft-driver'.*daft-k8s rbac -n jobs --name daft-driver"
    ):
        create(FakeConsole(missing={ACCOUNT}))


def test_who_may_not_look_at_namespaces_is_told_of_the_service_account() -> None:
    with pytest.raises(ClusterError, match="no service account"):
        create(FakeConsole(missing={ACCOUNT}, forbidden=frozenset({NAMESPACE})))

"""What `daft-k8s clean` removes, of a cluster in memory. Which sessions are dead: test_sweep.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.inventory.cleaning import clean
from daft_k8s.kube.objects import lease, names
from daft_k8s.kube.objects.target import Target
from tests.unit.kube.fake_cluster import FakeCluster


class FakeConsole:
    """Sessions with a Lease and a Secret, and no Pods."""

    namespace = "jobs"

    def __init__(self, *sessions: str) -> None:
        self.api = FakeCluster()
        for session in sessions:
            self.api.leases[names.lease_name(session)] = lease.session_lease(
                session, Target("jobs", "image"), holder="ada.laptop", orphan_timeout_seconds=120, now=self.api.time
            )

    async def items(self, path: str, selector: str = "") -> list[dict[str, Any]]:
        return []

    async def check_namespace(self) -> None:
        return None


def run_clean(cluster: FakeConsole, *sessions: str) -> list[str]:
    console: Any = cluster
    return asyncio.run(clean(console, sessions))


def test_sessions_that_are_named_go() -> None:
    console = FakeConsole("first", "second", "third")
    assert run_clean(console, "first", "third") == ["first", "third"]
    assert list(console.api.leases) == ["daft-second"]


def test_a_session_that_cannot_be_removed_keeps_no_other_from_it_and_all_are_named() -> None:
    console = FakeConsole("first", "second", "third")
    console.api.problems["delete leases"] = [ApiError("delete leases", 500, "etcd has no leader")]
    words = r"first: delete leases: etcd has no leader \(HTTP 500\)\. Removed: second, third$"
    with pytest.raises(ClusterError, match=words):
        run_clean(console, "first", "second", "third")
    assert list(console.api.leases) == ["daft-first"]


def test_where_nothing_could_be_removed_nothing_is_said_to_be() -> None:
    console = FakeConsole("first")
    console.api.problems["delete leases"] = [ApiError("delete leases", 500, "etcd has no leader")]
    with pytest.raises(ClusterError, match=r"first: delete leases: etcd has no leader \(HTTP 500\)$"):
        run_clean(console, "first")

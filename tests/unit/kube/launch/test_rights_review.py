"""The review of the driver's rights before anything is made."""

from __future__ import annotations

import asyncio
from typing import Any

from daft_k8s.kube.client.errors import ApiError
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher


def test_missing_rights_are_told_together_before_anything_is_made() -> None:
    cluster, pool = FakeCluster(), Pool()
    cluster.forbidden = {"watch pods", "create secrets"}
    launcher = make_launcher(cluster, pool)
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert "may not watch pods, create secrets in the namespace 'jobs'" in str(news[3])
        assert news[4] is False
        assert not cluster.secrets
        assert not cluster.pods
    finally:
        launcher.shutdown(2)


def test_it_works_without_the_optional_rights() -> None:
    cluster = FakeCluster()
    cluster.forbidden = {"deletecollection pods", "list resourcequotas", "delete secrets"}
    cluster.problems["delete secrets"] = [ApiError("delete secrets", 403, "forbidden")]
    launcher = make_launcher(cluster, Pool())
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 1)
    finally:
        launcher.shutdown(2)


class SlowReviews(FakeCluster):
    """Refuses the first review at once, and takes its time for the others."""

    def __init__(self) -> None:
        super().__init__()
        self.problems["review rights"] = [ApiError("review rights", 403, "reviews are forbidden here")]
        self.under_way: set[str] = set()
        self.left_under_way: set[str] | None = None

    async def may(self, namespace: str, group: str, resource: str, verb: str) -> bool:
        allowed = await super().may(namespace, group, resource, verb)
        self.under_way.add(f"{verb} {resource}")
        await asyncio.sleep(0.05)
        self.under_way.remove(f"{verb} {resource}")
        return allowed

    async def create_secret(self, namespace: str, secret: dict[str, Any]) -> None:
        self.left_under_way = set(self.under_way)
        await super().create_secret(namespace, secret)


def test_no_review_is_left_under_way_when_one_has_failed() -> None:
    cluster = SlowReviews()
    launcher = make_launcher(cluster, Pool())
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 1)
        assert cluster.left_under_way == set()
    finally:
        launcher.shutdown(2)


def test_a_review_that_fails_stops_nothing() -> None:
    cluster = FakeCluster()
    cluster.problems["review rights"] = [ApiError("review rights", 403, "reviews are forbidden here")]
    launcher = make_launcher(cluster, Pool())
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: len(cluster.pods) == 1)
    finally:
        launcher.shutdown(2)

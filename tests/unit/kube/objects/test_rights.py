"""What a driver needs to be allowed: the same in code, errors and documents. Real Roles: tests/integration."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.objects.rights import explain_missing, questions, rights, role_rules, role_rules_text
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "kubernetes.md"
STATEFUL_SET = Configuration(allocation="statefulset", num_workers=2)


@pytest.mark.parametrize("configuration", [None, STATEFUL_SET])
def test_the_text_for_people_is_the_rules(configuration: Configuration | None) -> None:
    assert yaml.safe_load(role_rules_text(configuration))["rules"] == role_rules(configuration)


def test_the_documents_show_the_rules() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    roles = [item for item in map(yaml.safe_load, blocks) if isinstance(item, dict) and item.get("kind") == "Role"]
    outside, stateful = [item for item in map(yaml.safe_load, blocks) if isinstance(item, list)]
    assert [role["rules"] for role in roles] == [role_rules()]
    assert role_rules(STATEFUL_SET) == role_rules() + stateful
    assert role_rules(outside=True) == role_rules() + outside
    assert role_rules(STATEFUL_SET, outside=True) == role_rules() + outside + stateful


def test_no_rule_gives_more_than_one_namespace_or_everything() -> None:
    assert "*" not in role_rules_text(STATEFUL_SET)
    assert {rule["apiGroups"][0] for rule in role_rules(STATEFUL_SET)} == {"", "apps", "coordination.k8s.io"}


def test_optional_verbs_are_among_those_asked_for() -> None:
    assert all(set(right.optional) <= set(right.verbs) for right in rights(STATEFUL_SET))


def test_an_error_names_each_missing_right_and_the_role() -> None:
    missing = [right for right in questions(STATEFUL_SET) if right.resource in ("secrets", "services")]
    text = explain_missing(missing, "jobs", STATEFUL_SET)
    assert "may not create secrets, delete secrets, create services, delete services in the namespace 'jobs'" in text
    assert 'resources: ["statefulsets"]' in text


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

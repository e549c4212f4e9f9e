"""What a cluster cannot give is told in its own words, within a minute."""

from __future__ import annotations

import pytest

from tests.integration.cluster import RULES, Namespace

FAILING = """
begin = time.monotonic()
session = use(**{options})
try:
    rows = count_rows()
except Exception as error:
    say(error=f"{{type(error).__name__}}: {{error}}", seconds=time.monotonic() - begin)
else:
    say(error=None, rows=rows, workers=session.manager.ready_count())
"""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image": "localhost/daft-k8s:never-built"}, ["localhost/daft-k8s:never-built", "pull"]),
        ({"image": "localhost/daft-k8s:test", "image_pull_policy": "Never", "node_selector": {"no": "such"},
          "start_timeout_seconds": 20}, ["didn't match Pod's node affinity/selector"]),
        ({"worker_cpu": 1000, "start_timeout_seconds": 20}, ["Insufficient cpu"]),
        ({"priority_class": "there-is-none"}, ["no PriorityClass with name there-is-none was found"]),
        ({"namespace": "there-is-none"}, ["there-is-none"]),
        ({"pod_template": {"spec": {"containers": [{"name": "worker", "env": [{"name": "X", "valueFrom": {
            "secretKeyRef": {"name": "there-is-none", "key": "k"}}}]}]}}}, ['secret "there-is-none" not found']),
        ({"pod_template": {"spec": {"hostPID": True}}}, ["violates PodSecurity", "hostPID"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_within_a_minute(namespace: Namespace, options: dict, words: list[str]) -> None:
    facts = namespace.start(FAILING.format(options=options)).finish()
    assert facts["error"] is not None
    assert facts["error"].startswith("WorkerStartError")
    assert [word for word in words if word not in facts["error"]] == [], facts["error"]
    assert facts["seconds"] < 60


def test_missing_rights_are_named_with_the_role_that_gives_them(empty_namespace: Namespace) -> None:
    without = {"pods": ("create", "watch"), "secrets": ("delete",)}
    empty_namespace.set_rules(
        [
            dict(rule, verbs=[verb for verb in rule["verbs"] if verb not in without.get(rule["resources"][0], ())])
            for rule in RULES
        ]
    )
    facts = empty_namespace.start(FAILING.format(options={})).finish()
    assert "may not create pods, watch pods, delete secrets" in facts["error"]
    assert 'verbs: ["create"' in facts["error"]
    assert facts["seconds"] < 60


@pytest.mark.parametrize(("workers", "error"), [(1, None), (0, "exceeded quota")])
def test_a_quota_is_used_as_far_as_it_goes(empty_namespace: Namespace, workers: int, error: str | None) -> None:
    hard = {"requests.memory": f"{256 + 512 * workers}Mi"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}}
    empty_namespace.kubectl("create", "-f", "-", given=quota)
    facts = empty_namespace.start(FAILING.format(options={})).finish()
    if error is None:
        assert (facts["error"], facts["rows"], facts["workers"]) == (None, 500, 1)
    else:
        assert error in facts["error"]

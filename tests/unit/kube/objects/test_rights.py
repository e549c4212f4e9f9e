"""The rights that a driver needs: the same in code, errors and documents. Real Roles: tests/integration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from daft_k8s.config import Configuration
from daft_k8s.kube.objects.rights import explain_missing, questions, rights, role_rules, role_rules_text

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

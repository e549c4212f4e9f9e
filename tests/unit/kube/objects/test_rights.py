"""The rights that a driver needs: the same in code, errors and documents. Real Roles: tests/integration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from daft_k8s.config import Configuration
from daft_k8s.kube.objects.rights import (
    driver_account,
    explain_missing,
    questions,
    rights,
    role_rules,
    role_rules_text,
)

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


def test_an_error_says_who_lacks_the_rights() -> None:
    missing = [right for right in questions() if right.resource == "leases" and right.verb == "patch"]
    assert [right.optional for right in missing] == [True]
    assert explain_missing(missing, "jobs").startswith("the driver's service account may not patch leases.coordination")
    text = explain_missing(missing, "jobs", outside=True)
    assert text.startswith("the kubeconfig's user may not patch leases.coordination.k8s.io in the namespace 'jobs'. ")
    assert text.endswith(role_rules_text(outside=True))


def test_each_right_is_asked_for_alone_and_what_a_driver_can_do_without_is_marked() -> None:
    asked = [
        (right.group, right.resource, right.verb, right.optional) for right in questions(STATEFUL_SET, outside=True)
    ]
    assert ("", "pods", "create", False) in asked
    assert ("", "pods", "deletecollection", True) in asked
    assert ("", "pods/portforward", "get", False) in asked
    assert ("apps", "statefulsets", "patch", False) in asked
    assert len(asked) == sum(len(rule["verbs"]) for rule in role_rules(STATEFUL_SET, outside=True))


def test_an_account_without_a_namespace_goes_where_it_is_applied() -> None:
    account, role, binding = driver_account(STATEFUL_SET, namespace=None)
    assert account["metadata"] == role["metadata"] == binding["metadata"] == {"name": "daft-driver"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "daft-driver"}]
    assert role["rules"] == role_rules(STATEFUL_SET)

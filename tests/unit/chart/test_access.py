"""Rights, network and disruption: what the driver may do, and who may reach its workers."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from daft_k8s.config.configuration import Configuration
from daft_k8s.kube.objects.manifest import CONTROL_PORT, DATA_PORT
from daft_k8s.kube.objects.rights import role_rules
from tests.unit.chart.charts import Helm, driver_pod, only


@pytest.mark.parametrize("mode", ["pod", "statefulset"])
def test_the_role_gives_what_the_driver_uses_and_nothing_else(helm: Helm, mode: str) -> None:
    role = only(helm.render({"workers": {"allocationMode": mode}}), "Role")
    key = str
    assert sorted(role["rules"], key=key) == sorted(role_rules(Configuration(allocation=mode)), key=key)


def test_the_right_to_delete_secrets_can_be_left_out(helm: Helm) -> None:
    role = only(helm.render({"rbac": {"deleteSecrets": False}}), "Role")
    assert [rule["verbs"] for rule in role["rules"] if rule["resources"] == ["secrets"]] == [["create"]]


def test_the_binding_is_for_the_drivers_account(helm: Helm) -> None:
    objects = helm.render()
    account = driver_pod(objects)["spec"]["serviceAccountName"]
    assert only(objects, "ServiceAccount")["metadata"]["name"] == account
    assert only(objects, "RoleBinding")["subjects"] == [
        {"kind": "ServiceAccount", "name": account, "namespace": "team"}
    ]


def test_an_existing_account_is_used_and_not_made(helm: Helm) -> None:
    objects = helm.render({"serviceAccount": {"create": False, "name": "etl"}, "rbac": {"create": False}})
    assert driver_pod(objects)["spec"]["serviceAccountName"] == "etl"
    assert not [name for name in objects if name.startswith(("ServiceAccount/", "Role"))]


def test_rights_and_policies_follow_the_workers_to_another_namespace(helm: Helm) -> None:
    objects = helm.render(
        {
            "workers": {"namespace": "big"},
            "networkPolicy": {"egress": {"restricted": True, "apiServer": {"cidrs": ["10.0.0.1/32"]}}},
        }
    )
    assert objects["Role/totals-daft"]["metadata"]["namespace"] == "big"
    assert objects["RoleBinding/totals-daft"]["metadata"]["namespace"] == "big"
    assert objects["Role/totals-daft-self"]["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    workers = objects["NetworkPolicy/totals-daft-workers"]
    assert workers["metadata"]["namespace"] == "big"
    [from_driver] = workers["spec"]["ingress"][0]["from"]
    assert from_driver["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "team"}}
    [to_workers] = objects["NetworkPolicy/totals-daft-driver"]["spec"]["egress"][0]["to"]
    assert to_workers["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "big"}}


def test_only_driver_and_workers_reach_the_workers_and_nobody_the_driver(helm: Helm) -> None:
    objects = helm.render()
    driver, workers = (objects[f"NetworkPolicy/totals-daft-{who}"]["spec"] for who in ("driver", "workers"))
    assert driver["policyTypes"] == ["Ingress"]
    assert driver["ingress"] == []
    labels = driver_pod(objects)["metadata"]["labels"]
    assert driver["podSelector"]["matchLabels"].items() <= labels.items()
    from_driver, from_workers = workers["ingress"]
    assert from_driver["from"] == [{"podSelector": driver["podSelector"]}]
    assert {entry["port"] for entry in from_driver["ports"]} == {CONTROL_PORT, DATA_PORT}
    assert from_workers == {"from": [{"podSelector": workers["podSelector"]}]}


@pytest.mark.parametrize("service", ["169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"])
def test_workers_reach_everything_but_the_clouds_metadata(helm: Helm, service: str) -> None:
    store = {"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}
    workers = helm.render({"networkPolicy": {"egress": {"rules": [store]}}})["NetworkPolicy/totals-daft-workers"][
        "spec"
    ]
    assert workers["policyTypes"] == ["Ingress", "Egress"]
    anywhere, dns, to_store = workers["egress"]
    assert "ports" not in anywhere
    assert {"namespaceSelector": {}} in anywhere["to"]
    blocks = [peer["ipBlock"] for peer in anywhere["to"] if "ipBlock" in peer]
    assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "::/0"]
    excepted = {network for block in blocks for network in block["except"]}
    assert any(ip_address(service) in ip_network(network) for network in excepted)
    assert {entry["port"] for entry in dns["ports"]} == {53}
    assert to_store == store


@pytest.mark.parametrize("egress", [{"metadata": True}, {"metadata": True, "restricted": False}])
def test_the_metadata_service_can_be_let_in(helm: Helm, egress: dict[str, object]) -> None:
    workers = helm.render({"networkPolicy": {"egress": egress}})["NetworkPolicy/totals-daft-workers"]["spec"]
    assert workers["policyTypes"] == ["Ingress"]
    assert "egress" not in workers


def test_restricted_egress_names_all_that_may_be_reached(helm: Helm) -> None:
    store = {"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}
    egress = {"restricted": True, "rules": [store], "apiServer": {"cidrs": ["10.0.0.1/32", "192.168.0.5/32"]}}
    objects = helm.render({"networkPolicy": {"egress": egress}})
    driver, workers = (objects[f"NetworkPolicy/totals-daft-{who}"]["spec"] for who in ("driver", "workers"))
    to_workers, to_api, to_dns, to_store = driver["egress"]
    assert to_workers["to"] == [{"podSelector": workers["podSelector"]}]
    assert [peer["ipBlock"]["cidr"] for peer in to_api["to"]] == ["10.0.0.1/32", "192.168.0.5/32"]
    assert {entry["port"] for entry in to_dns["ports"]} == {53}
    assert to_store == store
    assert to_api not in workers["egress"]  # workers have no business with the API
    assert store in workers["egress"]


def test_policies_can_be_left_out(helm: Helm) -> None:
    assert not [
        name for name in helm.render({"networkPolicy": {"enabled": False}}) if name.startswith("NetworkPolicy/")
    ]


def test_a_disruption_budget_selects_the_driver_and_not_the_workers(helm: Helm) -> None:
    objects = helm.render({"podDisruptionBudget": {"enabled": True}})
    budget = only(objects, "PodDisruptionBudget")["spec"]
    assert budget["minAvailable"] == 1
    assert "maxUnavailable" not in budget  # Kubernetes cannot count it for the Pods of a Job
    assert budget["selector"]["matchLabels"].items() <= driver_pod(objects)["metadata"]["labels"].items()
    assert budget["selector"]["matchLabels"]["app.kubernetes.io/component"] == "driver"

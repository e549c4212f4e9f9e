"""The JSON of a StatefulSet of workers and of their Service."""

from __future__ import annotations

from typing import Any

from daft_k8s.config import Configuration
from daft_k8s.kube.objects.stateful_set import headless_service, ordinal, peer_name, pod_of_worker, stateful_set
from daft_k8s.kube.objects.target import Owner, Target
from daft_k8s.wire.worker_settings import PREFIX, WorkerSettings, variable

TARGET = Target("jobs", "image", owner=Owner("driver", "uid"))


def make(**options: Any) -> dict[str, Any]:
    configuration = Configuration(allocation="statefulset", num_workers=2, **options)
    return stateful_set(configuration, TARGET, session_id="s1", replicas=2)


def test_selectors_labels_and_names_fit_together() -> None:
    made, service = make(), headless_service("s1", TARGET)
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    assert made["spec"]["serviceName"] == service["metadata"]["name"]
    assert "daft.io/worker" not in labels
    assert pod_of_worker("s1", "worker-3") == f"{made['metadata']['name']}-3"
    assert peer_name("s1", "worker-3", "jobs") == f"daft-s1-worker-3.{service['metadata']['name']}.jobs.svc"


def test_a_long_session_id_leaves_room_for_a_pods_number() -> None:
    assert len(pod_of_worker("X" * 200, "worker-10000")) <= 63


def test_the_service_names_pods_before_they_are_ready() -> None:
    spec = headless_service("s1", TARGET)["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)


def test_all_workers_are_started_at_once_and_owned_by_the_driver() -> None:
    made = make()
    assert made["spec"]["podManagementPolicy"] == "Parallel"
    assert made["metadata"]["ownerReferences"] == headless_service("s1", TARGET)["metadata"]["ownerReferences"]
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Always"


def test_a_worker_learns_from_its_pod_which_one_it_is() -> None:
    [container] = make()["spec"]["template"]["spec"]["containers"]
    found = {entry["name"]: entry.get("value", "") for entry in container["env"]}
    order = [entry["name"] for entry in container["env"]]
    pod = {f"{PREFIX}POD_INDEX": "7", f"{PREFIX}POD_NAME": "daft-s1-worker-7"}
    assert all(order.index(name) < order.index(variable("worker_id")) for name in pod)  # or they are not filled in
    filled = {**found, variable("host"): "10.0.0.1", variable("token"): "t"}
    for name, value in pod.items():
        filled = {key: text.replace(f"$({name})", value) for key, text in filled.items()}
    settings = WorkerSettings.from_environment(filled)
    assert settings.worker_id == "worker-7"
    assert settings.spill_dir.endswith("/daft-s1-worker-7")


def test_a_template_is_merged_over_the_pods() -> None:
    made = make(pod_template={"spec": {"containers": [{"name": "proxy", "image": "p"}], "dnsPolicy": "None"}})
    spec = made["spec"]["template"]["spec"]
    assert [item["name"] for item in spec["containers"]] == ["worker", "proxy"]
    assert spec["dnsPolicy"] == "None"


def test_a_workers_pod_is_found_by_the_last_part_of_its_name() -> None:
    assert ordinal("worker-12") == 12
    assert ordinal("gpu-worker-3") == 3


def test_a_set_without_an_owner_names_none() -> None:
    configuration = Configuration(allocation="statefulset", num_workers=2)
    made = stateful_set(configuration, Target("jobs", "image"), session_id="s1", replicas=2)
    assert "ownerReferences" not in made["metadata"]
    assert "daft.io/owner-uid" not in made["spec"]["template"]["metadata"]["annotations"]

"""The room that quotas leave for workers, and what their refusals say. A real quota: tests/integration."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.quota import Refusal, demand, find_room, read_refusal
from daft_k8s.kube.objects.target import Target

WORKER = worker_pod(
    Configuration(allocation="pod", num_workers=4, worker_cpu=1, worker_memory_bytes=2**30, worker_gpu=1),
    Target("jobs", "image"),
    session_id="s1",
    worker_id="worker-0",
    launch_id=1,
)


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "small"}, "spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used or {}}}


@pytest.mark.parametrize(
    ("hard", "used", "workers"),
    [
        ({"pods": "5"}, {"pods": "1"}, 4),
        ({"count/pods": "2"}, {}, 2),
        ({"requests.cpu": "3500m"}, {"requests.cpu": "500m"}, 3),
        ({"cpu": "1"}, {"cpu": "0"}, 1),
        ({"limits.cpu": "4"}, {"limits.cpu": "2"}, 2),
        ({"requests.memory": "4Gi"}, {"requests.memory": "1Gi"}, 3),
        ({"memory": "4Gi", "pods": "10"}, {"memory": "2560Mi"}, 1),
        ({"limits.memory": "1Gi"}, {"limits.memory": "1Gi"}, 0),
        ({"requests.nvidia.com/gpu": "2"}, {}, 2),
    ],
)
def test_the_scarcest_resource_decides(hard: dict[str, str], used: dict[str, str], workers: int) -> None:
    room = find_room([quota({"pods": "100"}), quota(hard, used)], WORKER)
    assert room is not None
    assert (room.workers, room.never) == (workers, False)


def test_a_quota_that_is_smaller_than_a_worker_has_never_room() -> None:
    room = find_room([quota({"requests.memory": "512Mi"})], WORKER)
    assert room is not None
    assert room.never
    assert room.words == "requests.memory: 512Mi of 512Mi are free, a worker takes 1Gi"


@pytest.mark.parametrize(
    "found",
    [
        [],
        [quota({"secrets": "1"})],
        [quota({"pods": "0"}, scopes=["Terminating"])],
        [quota({"pods": "0"}, scopes=["BestEffort"])],
        [quota({"pods": "0"}, scopeSelector={"matchExpressions": []})],
        [quota({"pods": "no number"})],
    ],
)
def test_what_is_not_about_workers_limits_nothing(found: list[dict[str, Any]]) -> None:
    assert find_room(found, WORKER) is None


def test_sidecars_count_and_init_containers_do_where_they_are_larger() -> None:
    spec = {
        "containers": [*WORKER["spec"]["containers"], {"name": "s", "resources": {"limits": {"memory": "1Gi"}}}],
        "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "3"}}}],
    }
    room = find_room([quota({"requests.memory": "4Gi"})], {"spec": spec})
    assert room is not None
    assert room.workers == 2
    room = find_room([quota({"requests.cpu": "3"})], {"spec": spec})
    assert room is not None
    assert room.workers == 1


def test_native_sidecars_count_beside_the_worker_and_beside_the_init_containers_after_them() -> None:
    sidecar = {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"memory": "1Gi"}}}
    fetch = {"name": "fetch", "resources": {"requests": {"memory": "3Gi"}}}
    spec = {**WORKER["spec"], "initContainers": [sidecar]}
    room = find_room([quota({"requests.memory": "4Gi"})], {"spec": spec})
    assert room is not None
    assert room.workers == 2
    room = find_room([quota({"requests.memory": "4Gi"})], {"spec": {**spec, "initContainers": [fetch, sidecar]}})
    assert room is not None
    assert room.workers == 1
    room = find_room([quota({"requests.memory": "7Gi"})], {"spec": {**spec, "initContainers": [sidecar, fetch]}})
    assert room is not None
    assert room.workers == 1


def test_a_refusal_tells_whether_there_could_ever_be_room() -> None:
    # As Kubernetes 1.34 says it.
    message = (
        'pods "daft-x-worker-1-1" is forbidden: exceeded quota: small, requested: pods=1,requests.memory=512Mi, '
        "used: pods=1,requests.memory=256Mi, limited: pods=3,requests.memory=256Mi"
    )
    refusal = read_refusal(message)
    assert (refusal.quota, refusal.never) == ("small", True)
    assert not read_refusal(message.replace("requests.memory=512Mi", "requests.memory=128Mi")).never
    assert not read_refusal("exceeded quota: in words that nobody knows").never


def test_a_refusal_is_told_with_the_quota_and_its_amounts() -> None:
    amounts = "requested: pods=1,requests.cpu=1, used: pods=2,requests.cpu=2, limited: pods=3,requests.cpu=2"
    found = read_refusal(f'pods "p" is forbidden: exceeded quota: small, {amounts}')
    assert (found.quota, found.words, found.never) == ("small", amounts, False)
    assert read_refusal("no quota") == Refusal("", "no quota", never=False)


@pytest.mark.parametrize(("requested", "never"), [("2", False), ("2001m", True)])
def test_a_pod_as_large_as_the_quota_fits_an_empty_namespace(requested: str, never: bool) -> None:
    words = f"requested: requests.cpu={requested}, used: requests.cpu=1, limited: requests.cpu=2"
    assert read_refusal(f"exceeded quota: small, {words}").never is never


def test_the_quota_that_leaves_the_least_is_told_by_its_name() -> None:
    other = {**quota({"pods": "2"}), "metadata": {"name": "other"}}
    by_priority = {**quota({"pods": "0"}), "spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": []}}}
    by_priority["spec"]["scopeSelector"] = {"matchExpressions": [{"scopeName": "PriorityClass"}]}
    room = find_room([quota({"secrets": "1", "pods": "3"}), by_priority, other, quota({"pods": "2"})], WORKER)
    assert room is not None
    assert (room.quota, room.workers) == ("other", 2)
    assert room.words == "pods: 2 of 2 are free, a worker takes 1"


def test_of_two_quotas_without_room_the_one_that_has_never_room_is_told() -> None:
    full, small = quota({"pods": "1"}, {"pods": "1"}), {**quota({"requests.cpu": "500m"}), "metadata": {"name": "tiny"}}
    for quotas in ([full, small], [small, full]):
        room = find_room(quotas, WORKER)
        assert room is not None
        assert (room.quota, room.never, room.workers) == ("tiny", True, 0)


def test_amounts_that_cannot_be_read_are_left_out_and_the_others_count() -> None:
    room = find_room([quota({"limits.cpu": "many", "pods": "2"}, {"limits.cpu": "?", "pods": "1"})], WORKER)
    assert room is not None
    assert room.workers == 1


@pytest.mark.parametrize(
    ("memory", "shown"),
    [("1Gi", "1Gi"), ("1536Mi", "1.5Gi"), ("1000Mi", "1000Mi"), ("1G", "1e+09"), ("1029Mi", "1029Mi"), ("7", "7")],
)
def test_amounts_are_shown_in_the_largest_unit_that_fits(memory: str, shown: str) -> None:
    room = find_room([quota({"requests.memory": memory})], WORKER)
    assert room is not None
    assert room.words.startswith(f"requests.memory: {shown} of {shown} are free, ")


def test_a_pods_demand_is_the_most_that_its_containers_take_at_a_time() -> None:
    def container(cpu: str, **more: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu, "ephemeral-storage": "1Gi"}, "limits": {"cpu": "4"}}, **more}

    sidecar = container("500m", restartPolicy="Always")
    found = demand({"spec": {"initContainers": [container("1"), sidecar, container("2")],
                             "containers": [container("1"), container("250m")]}})  # fmt: skip
    assert found["requests.cpu"] == found["cpu"] == Fraction(5, 2)  # the last init container beside the sidecar
    assert found["limits.cpu"] == 12
    assert found["requests.ephemeral-storage"] == found["ephemeral-storage"] == 3 * 2**30
    assert "limits.ephemeral-storage" not in found
    assert found["pods"] == found["count/pods"] == 1
    assert demand({}) == {"pods": 1, "count/pods": 1}

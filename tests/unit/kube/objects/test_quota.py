"""The room that quotas leave for workers, and what their refusals say. A real quota: tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.quota import find_room, read_refusal
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

"""Where the workers of a driver outside the cluster go."""

from __future__ import annotations

import asyncio

import pytest

from daft_k8s.config import Configuration
from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects.manifest import session_secret, worker_pod
from daft_k8s.kube.session import access, driver_pod, outside
from tests.unit.kube.fake_cluster import FakeCluster


def configuration(**options: object) -> Configuration:
    return Configuration(**{"allocation": "pod", "num_workers": 1, "image": "image", **options})  # type: ignore[arg-type]


def test_the_namespace_is_the_options_else_the_contexts() -> None:
    api = FakeCluster()
    assert asyncio.run(outside.find_target(api, configuration())).namespace == "of-the-context"
    assert asyncio.run(outside.find_target(api, configuration(namespace="jobs"))).namespace == "jobs"


def test_the_image_must_be_set() -> None:
    with pytest.raises(ConfigurationError, match=r"set image \(or DAFT_K8S_IMAGE\)"):
        access.choose(configuration(image=None, kube_context="main"))


def test_a_context_that_is_asked_for_goes_before_the_pod_that_the_driver_runs_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert access.choose(configuration()).find_target is driver_pod.find_target
    assert not access.choose(configuration()).forwarded
    assert access.choose(configuration(kube_context="main")).forwarded


def test_what_is_made_says_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside.getpass, "getuser", lambda: "Ärla Smith")
    target = asyncio.run(outside.find_target(FakeCluster(), configuration()))
    pod = worker_pod(configuration(), target, session_id="s1", worker_id="worker-0", launch_id=1)
    owners = [made["metadata"]["labels"]["daft.io/owner"] for made in (pod, session_secret("s1", "t", target, {}))]
    assert owners[0] == owners[1]
    assert "smith" in owners[0]


def test_a_worker_listens_where_a_port_forward_arrives() -> None:
    target = asyncio.run(outside.find_target(FakeCluster(), configuration()))
    pod = worker_pod(configuration(), target, session_id="s1", worker_id="worker-0", launch_id=1)
    environment = {item["name"]: item.get("value") for item in pod["spec"]["containers"][0]["env"]}
    assert environment["DAFT_K8S_INTERNAL_ALL_ADDRESSES"] == "1"

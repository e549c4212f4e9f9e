"""The Pod of a worker. That a real `restricted` namespace takes it, and that it works: tests/integration."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.config.frozen import FrozenMap
from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects.manifest import SECRET_DIR, session_secret, session_secret_of, worker_pod
from daft_k8s.kube.objects.names import session_selector
from daft_k8s.kube.objects.target import Owner, Target, driver_image, driver_job
from daft_k8s.wire.worker_settings import WorkerSettings

TARGET = Target("jobs", "registry.test/image:1", ("pull-me",), Owner("driver", "uid-1"))


def make(target: Target = TARGET, **options: Any) -> dict[str, Any]:
    configuration = Configuration(allocation="pod", num_workers=2, **options)
    return worker_pod(configuration, target, session_id="abc123", worker_id="worker-1", launch_id=2)


def container(pod: dict[str, Any], name: str = "worker") -> dict[str, Any]:
    return next(item for item in pod["spec"]["containers"] if item["name"] == name)


def variables(pod: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(pod)["env"]}


def test_requests_are_the_limits_so_that_the_pod_is_guaranteed() -> None:
    resources = container(make(worker_cpu=1.5, worker_memory_bytes=2**30, worker_gpu=1))["resources"]
    assert resources["requests"] == resources["limits"]
    assert resources["limits"] == {"cpu": "1500m", "memory": str(2**30), "nvidia.com/gpu": "1"}


def test_the_pod_security_level_restricted_is_met() -> None:
    pod = make()
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["runAsUser"] > 0
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(pod)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_worker_has_no_access_to_kubernetes() -> None:
    assert make()["spec"]["automountServiceAccountToken"] is False


def test_the_worker_understands_its_environment(tmp_path: Path) -> None:
    found = variables(make(worker_cpu=2.0, worker_memory_bytes=1000 * 2**20, drain_timeout_seconds=7.0))
    (tmp_path / "token").write_text("secret")
    # What Kubernetes fills in, and where it puts the Secret.
    found |= {"DAFT_K8S_INTERNAL_HOST": "10.0.0.1", "DAFT_K8S_INTERNAL_TOKEN_FILE": str(tmp_path / "token")}
    settings = WorkerSettings.from_environment(found)
    assert (settings.session_id, settings.worker_id, settings.launch_id) == ("abc123", "worker-1", 2)
    assert (settings.control_port, settings.data_port, settings.health_port) == (7777, 7778, 7779)
    assert (settings.token, settings.cpus) == ("secret", 2.0)
    assert settings.drain_timeout_seconds == 7
    assert settings.memory_bytes == 900 * 2**20


def test_variables_that_are_passed_on_are_in_the_sessions_secret_and_give_way_to_env() -> None:
    target = replace(TARGET, secret="daft-abc123-12ab", variables=("AWS_SECRET_ACCESS_KEY", "LEVEL"))
    secret = session_secret("abc123", "token-1", target, {}, {"AWS_SECRET_ACCESS_KEY": "s3cret", "LEVEL": "1"})
    pod = make(target=target, env=FrozenMap({"LEVEL": "2"}))
    entries = [entry for entry in container(pod)["env"] if entry["name"] in target.variables]
    assert {"name": "LEVEL", "value": "2"} in entries and len(entries) == 2
    reference = next(entry["valueFrom"]["secretKeyRef"] for entry in entries if "valueFrom" in entry)
    assert reference["name"] == secret["metadata"]["name"]
    assert base64.b64decode(secret["data"][reference["key"]]) == b"s3cret"
    assert "s3cret" not in str(pod)


def test_what_is_secret_is_in_files_for_the_worker_alone() -> None:
    secret = session_secret("abc123", "token-1", replace(TARGET, secret="daft-abc123-12ab"), {"tls.key": b"the key"})
    assert {name: base64.b64decode(text) for name, text in secret["data"].items()} == {
        "token": b"token-1",
        "tls.key": b"the key",
    }
    pod = make(target=replace(TARGET, secret="daft-abc123-12ab"))
    assert secret["metadata"]["ownerReferences"] == pod["metadata"]["ownerReferences"]
    [mount] = [mount for mount in container(pod)["volumeMounts"] if mount["mountPath"] == SECRET_DIR]
    [volume] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": secret["metadata"]["name"], "defaultMode": 0o440}
    assert mount["readOnly"] is True
    assert pod["spec"]["securityContext"]["fsGroup"] == pod["spec"]["securityContext"]["runAsGroup"]
    assert variables(pod)["DAFT_K8S_INTERNAL_TOKEN_FILE"] == f"{SECRET_DIR}/token"


def test_pods_use_the_sessions_certificates_unless_told_otherwise() -> None:
    assert variables(make())["DAFT_K8S_INTERNAL_TLS_DIR"] == SECRET_DIR
    assert "DAFT_K8S_INTERNAL_TLS_DIR" not in variables(make(tls=False))


def test_the_driver_owns_its_workers_where_it_is_known() -> None:
    [owner] = make()["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "driver", "uid": "uid-1"}
    assert "ownerReferences" not in make(Target("jobs", "image"))["metadata"]


def test_the_sessions_selector_fits_its_pods() -> None:
    labels = make()["metadata"]["labels"]
    assert all(
        labels[key] == value
        for key, _, value in (part.partition("=") for part in session_selector("abc123").split(","))
    )
    assert labels["daft.io/worker"] == "worker-1"


def test_nothing_moves_a_worker_to_save_a_node() -> None:
    assert make()["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_a_draining_worker_is_not_killed_for_not_serving() -> None:
    pod = make(drain_timeout_seconds=100.0)
    probe = container(pod)["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 100
    assert pod["spec"]["terminationGracePeriodSeconds"] > 100


def test_a_start_may_take_as_long_as_it_is_waited_for() -> None:
    probe = container(make(start_timeout_seconds=600.0))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 600


def test_only_volumes_can_be_written_to() -> None:
    pod = make(spill_size_limit_bytes=5 * 2**30)
    paths = {mount["name"]: mount["mountPath"] for mount in container(pod)["volumeMounts"] if "readOnly" not in mount}
    assert paths == {"spill": "/var/lib/daft-spill", "tmp": "/tmp"}
    assert pod["spec"]["volumes"][0] == {"name": "spill", "emptyDir": {"sizeLimit": str(5 * 2**30)}}
    assert variables(pod)["DAFT_K8S_INTERNAL_SPILL_DIR"].startswith("/var/lib/daft-spill/")


def test_spilling_into_the_folder_for_temporary_files_needs_one_volume() -> None:
    pod = make(spill_dir="/tmp")
    assert [mount["mountPath"] for mount in container(pod)["volumeMounts"]] == ["/tmp", SECRET_DIR]


def test_placement_comes_from_the_options() -> None:
    spec = make(
        node_selector=FrozenMap({"pool": "daft"}),
        tolerations=(FrozenMap({"key": "daft", "operator": "Exists"}),),
        priority_class="high",
        service_account="reader",
        image_pull_policy="Never",
    )["spec"]
    assert spec["nodeSelector"] == {"pool": "daft"}
    assert spec["tolerations"][-1] == {"key": "daft", "operator": "Exists"}
    assert (spec["priorityClassName"], spec["serviceAccountName"]) == ("high", "reader")
    assert spec["containers"][0]["imagePullPolicy"] == "Never"


def test_a_node_that_is_lost_for_a_moment_keeps_its_workers() -> None:
    patience = {item["key"]: item["tolerationSeconds"] for item in make()["spec"]["tolerations"]}
    assert patience == {"node.kubernetes.io/not-ready": 300, "node.kubernetes.io/unreachable": 300}


def test_pull_secrets_are_the_options_and_else_the_drivers() -> None:
    assert make()["spec"]["imagePullSecrets"] == [{"name": "pull-me"}]
    assert make(image_pull_secrets=("mine",))["spec"]["imagePullSecrets"] == [{"name": "mine"}]


def test_the_users_variables_and_labels_are_added() -> None:
    pod = make(env=FrozenMap({"AWS_REGION": "x"}), labels=FrozenMap({"team": "a"}))
    assert variables(pod)["AWS_REGION"] == "x"
    assert pod["metadata"]["labels"]["team"] == "a"


def test_the_job_label_is_the_drivers_job_and_else_what_is_known() -> None:
    def label(target: Target) -> str:
        return str(make(target)["metadata"]["labels"]["daft.io/job-id"])

    metadata = {"name": "nightly-x7k2p", "labels": {"batch.kubernetes.io/job-name": "nightly"}}
    assert label(Target("jobs", "image", job=driver_job({"metadata": metadata}))) == "nightly"
    assert label(Target("jobs", "image", job=driver_job({"metadata": {"name": "notebook-0"}}))) == "notebook-0"
    assert label(Target("jobs", "image")) == "abc123"


def test_workers_are_spread_over_nodes_and_a_template_adds_to_that() -> None:
    zones = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    found = make(pod_template={"spec": {"topologySpreadConstraints": [zones]}})["spec"]["topologySpreadConstraints"]
    assert [item["topologyKey"] for item in found] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert found[0]["whenUnsatisfiable"] == "ScheduleAnyway"  # a preference: one node is better than none
    assert found[0]["labelSelector"]["matchLabels"].items() <= make()["metadata"]["labels"].items()


def test_a_template_may_add_a_hook_before_the_stop_and_shared_memory() -> None:
    hook = {"preStop": {"exec": {"command": ["sync"]}}}
    mount = {"name": "shm", "mountPath": "/dev/shm"}
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
    worker = {"name": "worker", "lifecycle": hook, "volumeMounts": [mount]}
    pod = make(pod_template={"spec": {"containers": [worker], "volumes": [shm]}})
    assert container(pod)["lifecycle"] == hook
    assert container(pod)["volumeMounts"][-1] == mount
    assert pod["spec"]["volumes"][-1] == shm


def test_probes_ask_by_grpc_where_no_certificate_is_asked_for() -> None:
    found = container(make())
    assert {"name": "health", "containerPort": 7779} in found["ports"]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert found[kind]["grpc"] == {"port": 7779}
        assert found[kind]["timeoutSeconds"] > 1


def test_gpus_are_asked_for_under_the_name_that_nodes_give_them() -> None:
    resources = container(make(worker_gpu=2, gpu_resource_name="nvidia.com/mig-1g.5gb"))["resources"]
    assert resources["requests"]["nvidia.com/mig-1g.5gb"] == resources["limits"]["nvidia.com/mig-1g.5gb"] == "2"


def test_annotations_of_the_user_may_replace_the_runners() -> None:
    mine = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}
    assert make(annotations=mine)["metadata"]["annotations"].items() >= mine.items()


def test_a_template_adds_what_has_no_option() -> None:
    template = {
        "metadata": {"labels": {"team": "a"}},
        "spec": {
            "containers": [
                {"name": "sidecar", "image": "s"},
                {"name": "worker", "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                 "env": [{"name": "HOME", "value": "/models"}], "resources": {"limits": {"hugepages-2Mi": "4Mi"}}},
            ],
            "volumes": [{"name": "models", "emptyDir": {}}, {"name": "spill", "hostPath": {"path": "/ssd"}}],
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "runtimeClassName": "gvisor",
        },
    }  # fmt: skip
    pod = make(pod_template=FrozenMap(template), tolerations=(FrozenMap({"key": "daft"}),))
    assert pod["spec"]["runtimeClassName"] == "gvisor"
    assert [item["name"] for item in pod["spec"]["containers"]] == ["worker", "sidecar"]
    assert [mount["name"] for mount in container(pod)["volumeMounts"]] == ["spill", "daft-session", "tmp", "models"]
    assert variables(pod)["HOME"] == "/models"
    assert container(pod)["resources"]["limits"]["hugepages-2Mi"] == "4Mi"
    assert pod["spec"]["volumes"][0] == {"name": "spill", "hostPath": {"path": "/ssd"}}
    assert [item["key"] for item in pod["spec"]["tolerations"]][-2:] == ["daft", "spot"]
    assert pod["metadata"]["labels"]["daft.io/session"] == "abc123"


def test_a_template_cannot_take_what_is_the_runners_and_all_of_it_is_told() -> None:
    template = {
        "metadata": {"name": "x", "labels": {"daft.io/session": "y"}},
        "spec": {
            "restartPolicy": "Always",
            "containers": [
                {"name": "worker", "image": "x", "command": ["sh"], "resources": {"limits": {"memory": "1Gi"}},
                 "env": [{"name": "DAFT_K8S_INTERNAL_TOKEN", "value": "mine"}]},
                {"image": "no name"},
                {"name": "main", "env": []},
            ],
        },
    }  # fmt: skip
    with pytest.raises(ConfigurationError) as caught:
        make(pod_template=FrozenMap(template))
    text = str(caught.value)
    for words in (
        "metadata.name",
        "'daft.io/session'",
        "spec.restartPolicy",
        "image: set image",
        "command",
        "resources.limits.memory: set worker_memory",
        "'DAFT_K8S_INTERNAL_TOKEN'",
        "an item without name",
        "the container 'main': the worker's own is called 'worker'",
    ):
        assert words in text
    assert "mine" not in text


def driver(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), "imagePullSecrets": [{"name": "pull-me"}]}}


def test_the_drivers_image_is_that_of_its_container() -> None:
    assert driver_image(driver({"name": "anything", "image": "a"})) == ("a", ("pull-me",))
    sidecar = {"name": "proxy", "image": "p"}
    assert driver_image(driver(sidecar, {"name": "driver", "image": "d"}))[0] == "d"
    with pytest.raises(ConfigurationError, match="proxy, job"):
        driver_image(driver(sidecar, {"name": "job", "image": "d"}))


def in_memory(size_limit: str | None, *, mounted: bool = True, medium: str = "Memory") -> dict[str, Any]:
    """A template with a larger /dev/shm."""
    volume: dict[str, Any] = {"name": "shm", "emptyDir": {"medium": medium}}
    if size_limit is not None:
        volume["emptyDir"]["sizeLimit"] = size_limit
    worker = {"name": "worker", "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}] if mounted else []}
    return {"spec": {"containers": [worker], "volumes": [volume]}}


@pytest.mark.parametrize(
    ("template", "memory_bytes"),
    [
        (in_memory("1Gi"), 2.7 * 2**30),
        (in_memory("1500M"), 0.9 * (4 * 2**30 - 1500 * 10**6)),
        (in_memory(None), 3.6 * 2**30),
        (in_memory("1Gi", mounted=False), 3.6 * 2**30),
        (in_memory("1Gi", medium=""), 3.6 * 2**30),
        (in_memory("9Gi", medium=""), 3.6 * 2**30),
    ],
)
def test_a_worker_plans_with_what_volumes_in_memory_leave_it(template: dict[str, Any], memory_bytes: float) -> None:
    found = make(worker_memory_bytes=4 * 2**30, pod_template=template)
    assert int(variables(found)["DAFT_K8S_INTERNAL_MEMORY_BYTES"]) == int(memory_bytes)
    assert container(found)["resources"]["limits"]["memory"] == str(4 * 2**30)


@pytest.mark.parametrize("size", ["4Gi", "9Gi"])
def test_a_volume_in_memory_that_leaves_the_worker_nothing_is_refused(size: str) -> None:
    with pytest.raises(ConfigurationError, match=r"shm: \d GiB.*leave nothing of its 4 GiB.*worker_memory"):
        make(worker_memory_bytes=4 * 2**30, pod_template=in_memory(size))


def test_a_pods_secret_is_the_one_that_it_mounts_for_its_session() -> None:
    pod = make(target=replace(TARGET, secret="daft-abc123-12ab"))
    assert session_secret_of(pod, "abc123") == "daft-abc123-12ab"
    assert session_secret_of(pod, "other") == ""
    assert session_secret_of({"spec": {"volumes": [{"name": "daft-session"}]}}, "abc123") == ""
    mine = {"name": "mine", "secret": {"secretName": "daft-abc123-12ab"}}
    assert session_secret_of({"spec": {"volumes": [mine]}}, "abc123") == ""
    for empty in ({}, {"spec": None}, {"spec": {"volumes": None}}):
        assert session_secret_of(empty, "abc123") == ""


def test_the_driver_pods_image_is_needed_where_no_other_is_given() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^the driver's Pod names no image that workers could use; set image$"
    ):
        driver_image(driver({"name": "driver"}))
    with pytest.raises(ConfigurationError, match=r'set image, or name the driver.s container "driver"$'):
        driver_image(driver({"name": "proxy", "image": "p"}, {"name": "job", "image": "d"}))


@pytest.mark.parametrize(
    ("labels", "job"),
    [
        ({"batch.kubernetes.io/job-name": "new", "job-name": "old"}, "new"),
        ({"job-name": "old"}, "old"),
        ({}, "pod-1"),
        (None, "pod-1"),
    ],
)
def test_a_drivers_job_is_told_by_the_label_of_any_kubernetes(labels: dict[str, str] | None, job: str) -> None:
    assert driver_job({"metadata": {"name": "pod-1", "labels": labels}}) == job
    assert driver_job({"metadata": {}}) == driver_job({}) == ""

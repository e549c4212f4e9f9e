"""The Job or CronJob that runs the script."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from daft_k8s.config import load
from daft_k8s.config.fields import FIELDS
from tests.unit.chart.charts import CHART, Helm, container, driver_pod, environment, only


def job_name(objects: dict[str, dict[str, Any]]) -> str:
    return str(only(objects, "Job")["metadata"]["name"])


def test_the_small_chart_passes_lint_and_has_no_object_outside_its_namespace(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.lint()
    kinds = {name.partition("/")[0] for name in helm.render()}
    assert kinds == {"ConfigMap", "Job", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"}


def test_a_script_given_as_text_is_mounted_and_run(helm: Helm) -> None:
    values = {"script": {"files": {"helper.py": "x = 1\n"}, "args": ["--scale", 3, True]}}
    objects = helm.render(values)
    script = only(objects, "ConfigMap")
    assert script["data"] == {"script.py": "print('hello')\n", "helper.py": "x = 1\n"}
    assert script["immutable"] is True
    assert container(objects)["args"] == ["python", "/job/script.py", "--scale", "3", "true"]
    assert "command" not in container(objects)  # the image's entry point handles signals
    volumes = {volume["name"]: volume for volume in driver_pod(objects)["spec"]["volumes"]}
    assert volumes["script"]["configMap"]["name"] == script["metadata"]["name"]


def test_a_script_of_an_existing_config_map_is_run(helm: Helm) -> None:
    objects = helm.render({"script": {"content": "", "configMap": {"name": "jobs", "key": "daily.py"}}})
    assert container(objects)["args"] == ["python", "/job/daily.py"]
    assert {"name": "script", "configMap": {"name": "jobs"}} in driver_pod(objects)["spec"]["volumes"]
    assert not [name for name in objects if name.startswith("ConfigMap/")]


def test_a_script_of_the_image_is_run_without_a_volume(helm: Helm) -> None:
    objects = helm.render(
        {"script": {"content": "", "path": "/app/daily.py"}, "driver": {"interpreter": ["python", "-O"]}}
    )
    assert container(objects)["args"] == ["python", "-O", "/app/daily.py"]
    assert [volume["name"] for volume in driver_pod(objects)["spec"]["volumes"]] == ["tmp"]


def test_what_has_not_changed_is_the_same_job_and_every_change_is_another(helm: Helm) -> None:
    names = [
        job_name(helm.render(values))
        for values in (
            {},
            {"networkPolicy": {"enabled": False}},
            {"script": {"content": "print('other')\n"}},
            {"workers": {"count": 3}},
            {"driver": {"run": "2"}},
        )
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 4


def test_a_cron_job_runs_the_same_pod(helm: Helm) -> None:
    job = driver_pod(helm.render())
    cron = only(helm.render({"driver": {"kind": "CronJob"}, "cronJob": {"schedule": "0 3 * * *"}}), "CronJob")
    assert cron["spec"]["jobTemplate"]["spec"]["template"] == job
    assert (cron["spec"]["schedule"], cron["spec"]["timeZone"]) == ("0 3 * * *", "Etc/UTC")
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert len(cron["metadata"]["name"]) <= 52


def test_names_stay_short_and_apart_however_long_the_releases(helm: Helm) -> None:
    long = "a" * 45
    first, second = helm.render(release=long + "1"), helm.render(release=long + "2")
    assert not set(first) & set(second)
    assert all(len(name.partition("/")[2]) <= 52 for name in first)


def test_every_setting_of_workers_arrives_where_it_was_meant(helm: Helm) -> None:
    """Each option of daft_k8s, set in the chart, is what a driver with the rendered variables loads."""
    from tests.unit.chart.test_generated import generator

    wanted: dict[str, Any] = {
        "preset": "high-performance",
        "allocation": "pod",
        "num_workers": 3,
        "min_workers": 2,
        "max_workers": 40,
        "worker_cpu": "1500m",
        "worker_memory": 68719476736,
        "worker_gpu": 1,
        "gpu_resource_name": "nvidia.com/mig-1g.5gb",
        "start_timeout_seconds": 0.5 + 100,
        "store_memory_share": 0.25,
        "spill_dir": "/spill",
        "spill_size_limit": "20Gi",
        "max_message_bytes": "128Mi",
        "log_level": "DEBUG",
        "log_format": "json",
        "event_log": "s3://bucket/logs",
        "worker_output": False,
        "working_dir": "local:///opt/app",
        "shared_paths": ["/mnt/shared"],
        "code_size_limit": "10Mi",
        "pip": ["emoji==2.14.0"],
        "env": {"GREETING": 'a,b=c "quoted" $(HOME)'},
        "pass_env": ["AWS_*", "TOKEN"],
        "tls": False,
        "trust_workers": True,
        "namespace": "elsewhere",
        "kube_context": "other",
        "image": "registry.example.com/other:1",
        "image_pull_policy": "Always",
        "image_pull_secrets": ["pull"],
        "service_account": "reader",
        "node_selector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists", "tolerationSeconds": 60}],
        "priority_class": "high",
        "labels": {"team": "data"},
        "annotations": {"note": "x"},
        "pod_template": {"spec": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]}},
    }
    # Options that this list does not know are numbers, or make the last line fail.
    numbers = {name: 7 for name in FIELDS if name not in wanted and "number" in FIELDS[name].accepts}
    wanted |= numbers
    objects = helm.render({"workers": {generator.value_name(name): value for name, value in wanted.items()}})
    expected = {**wanted, "labels": {"team": "data", "app.kubernetes.io/instance": "totals"}}
    assert load({}, environment(objects)) == load(expected, {})
    assert {name for name, field in FIELDS.items() if field.variable in environment(objects)} == set(FIELDS)


def test_values_that_are_not_set_leave_the_choice_to_daft_k8s(helm: Helm) -> None:
    variables = {name for name in environment(helm.render()) if name.startswith("DAFT_K8S_")}
    assert variables == {"DAFT_K8S_ALLOCATION", "DAFT_K8S_PRESET", "DAFT_K8S_IMAGE_PULL_POLICY", "DAFT_K8S_LABELS"}


def test_a_variable_of_the_users_goes_before_the_charts(helm: Helm) -> None:
    own = [
        {"name": "DAFT_RUNNER", "value": "native"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    entries = container(helm.render({"driver": {"env": own}}))["env"]
    assert [entry for entry in entries if entry["name"] in ("DAFT_RUNNER", "KEY")] == own


def test_the_defaults_are_what_restricted_asks_for(helm: Helm) -> None:
    objects = helm.render()
    spec = driver_pod(objects)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container(objects)["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["restartPolicy"] == "Never"


def test_a_user_id_can_be_left_to_the_cluster(helm: Helm) -> None:
    spec = driver_pod(
        helm.render({"driver": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}})
    )
    assert set(spec["spec"]["securityContext"]) == {"runAsNonRoot", "seccompProfile"}


def test_everything_of_the_pod_can_be_added(helm: Helm) -> None:
    driver = {
        "podLabels": {"team": "data"},
        "podAnnotations": {"note": "x"},
        "nodeSelector": {"pool": "on-demand"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "priorityClassName": "high",
        "volumes": [{"name": "data", "emptyDir": {}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "initContainers": [{"name": "fetch", "image": "busybox"}],
        "envFrom": [{"secretRef": {"name": "cloud"}}],
        "tmpSizeLimit": "10Gi",
        "podSpec": {"dnsPolicy": "None", "securityContext": {"runAsUser": 7}},
    }
    objects = helm.render({"driver": driver, "commonLabels": {"cost": "a"}, "commonAnnotations": {"owner": "b"}})
    pod = driver_pod(objects)
    assert pod["metadata"]["labels"] | {"team": "data", "cost": "a"} == pod["metadata"]["labels"]
    assert pod["metadata"]["annotations"]["owner"] == "b"
    assert "karpenter.sh/do-not-disrupt" in pod["metadata"]["annotations"]
    for key in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "priorityClassName",
        "initContainers",
    ):
        assert pod["spec"][key] == driver[key], key
    assert driver["volumes"][0] in pod["spec"]["volumes"]
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}} in pod["spec"]["volumes"]
    assert driver["volumeMounts"][0] in container(objects)["volumeMounts"]
    assert container(objects)["envFrom"] == driver["envFrom"]
    assert pod["spec"]["dnsPolicy"] == "None"
    assert pod["spec"]["securityContext"]["runAsUser"] == 7
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    for name, item in objects.items():
        assert item["metadata"]["labels"]["cost"] == "a", name
        assert item["metadata"]["annotations"]["owner"] == "b", name


def test_a_digest_goes_before_a_tag(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    image = container(helm.render({"image": {"tag": "1", "digest": digest}}))["image"]
    assert image == f"registry.example.com/daft-k8s@{digest}"
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert container(helm.render())["image"] == f"registry.example.com/daft-k8s:{version}"


def test_further_objects_are_templates(helm: Helm) -> None:
    extra = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "{{ .Release.Name }}-key"}}
    assert "Secret/totals-key" in helm.render({"extraObjects": [extra]})


@pytest.mark.parametrize("key", ["activeDeadlineSeconds", "ttlSecondsAfterFinished"])
def test_limits_of_a_job_are_given_only_where_they_are_set(helm: Helm, key: str) -> None:
    assert key not in only(helm.render(), "Job")["spec"]
    assert only(helm.render({"driver": {key: 60}}), "Job")["spec"][key] == 60


def test_every_field_of_the_drivers_pod_is_explained_in_the_readme(helm: Helm) -> None:
    """As a value of its own, or in the table of what no value says."""
    objects = helm.render()
    text = (CHART / "README.md").read_text()
    values = set(re.findall(r"^\| `driver\.(\w+)", text, re.MULTILINE))
    fixed = set(re.findall(r"`(\w+)`", text.partition("## What no value says")[2].partition("\n## ")[0]))
    # What holds the rest, and what `image` and `serviceAccount` say.
    elsewhere = {"containers", "name", "env", "volumeMounts", "image", "imagePullPolicy", "serviceAccountName"}
    fields = {*driver_pod(objects)["spec"], *container(objects)}
    assert fields - values - elsewhere - fixed == set()
    variables = {entry["name"] for entry in container(objects)["env"]}
    assert {name for name in variables if not name.startswith("DAFT_K8S_")} <= fixed

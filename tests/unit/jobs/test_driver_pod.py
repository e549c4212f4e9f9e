"""The Pod of a driver's Job: what it shares with workers, and its own template."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.config import load
from daft_k8s.errors import ConfigurationError
from daft_k8s.jobs.driver_job import DriverJob, job_manifest, variables_secret
from daft_k8s.jobs.driver_pod import PACKAGES_DIR
from daft_k8s.jobs.run import Run

TEMPLATE = {
    "spec": {
        "containers": [
            {
                "name": "worker",
                "env": [{"name": "LEVEL", "value": "3"}],
                "envFrom": [{"secretRef": {"name": "s3"}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "resources": {"limits": {"example.com/disk": 1}},
            },
            {"name": "sidecar", "image": "x"},
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "hostPID": True,
    }
}


def make(*, has_variables: bool = False, template: dict[str, Any] | None = None, **options: object) -> dict[str, Any]:
    job = DriverJob(name="x", script="job.py", arguments=(), service_account="d", suffix="abc123", template=template)
    configuration = load({"allocation": "pod", "image": "x:1", **options})
    environment = {"DAFT_RUNNER": "k8s"}
    manifest = job_manifest(
        job, configuration, secrets=0, environment=environment, keep=False, has_variables=has_variables
    )
    pod: dict[str, Any] = manifest["spec"]["template"]
    return pod


def test_the_driver_gets_variables_and_volumes_of_the_workers_and_nothing_else_of_their_template() -> None:
    spec = make(env={"A": "1"}, pod_template=TEMPLATE, has_variables=True)["spec"]
    (container,) = spec["containers"]
    plain = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert (plain["A"], plain["LEVEL"], plain["DAFT_RUNNER"]) == ("1", "3", "k8s")
    assert container["envFrom"] == [{"secretRef": {"name": "daft-x-abc123-env"}}, {"secretRef": {"name": "s3"}}]
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert TEMPLATE["spec"]["volumes"][0] in spec["volumes"]  # type: ignore[index]
    assert "hostPID" not in spec and "example.com/disk" not in str(container["resources"])


def test_packages_are_installed_before_the_driver_starts_with_its_variables() -> None:
    spec = make(pip=["emoji==2.14.0"], env={"PIP_INDEX_URL": "http://x", "PYTHONPATH": "/mine"}, pod_template=TEMPLATE)[
        "spec"
    ]
    (installer,), (driver,) = spec["initContainers"], spec["containers"]
    assert installer["command"][-2:] == [PACKAGES_DIR, "emoji==2.14.0"]
    assert installer["env"] == driver["env"] and installer["envFrom"] == driver["envFrom"]
    assert installer["volumeMounts"] == driver["volumeMounts"]
    found = {entry["name"]: entry.get("value") for entry in driver["env"]}
    assert found["PYTHONPATH"] == f"{PACKAGES_DIR}/site:/mine"
    assert "initContainers" not in make()["spec"]


def test_a_template_of_the_driver_is_merged_over_its_pod() -> None:
    template = {
        "metadata": {"annotations": {"a": "b"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "containers": [{"name": "driver", "env": [{"name": "B", "value": "2"}]}],
        },
    }
    pod = make(template=template)
    assert pod["metadata"]["annotations"] == {"a": "b"} and "daft.io/run" in pod["metadata"]["labels"]
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert {"name": "B", "value": "2"} in pod["spec"]["containers"][0]["env"]
    assert pod["spec"]["containers"][0]["image"] == "x:1"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"metadata": {"labels": {"daft.io/run": "x"}}}, "a run is found by it"),
        ({"spec": {"restartPolicy": "Always"}}, "spec.restartPolicy"),
        ({"spec": {"containers": [{"name": "driver", "image": "y"}]}}, "set --image instead"),
        ({"spec": {"containers": [{"name": "worker", "env": []}]}}, "the driver's own is called 'driver'"),
    ],
)
def test_a_template_of_the_driver_does_not_set_what_the_runner_must_set(template: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make(template=template)


def test_a_module_runs_as_python_runs_it() -> None:
    job = DriverJob(name="pkg.mod", script="", module="pkg.mod", arguments=("--a",), service_account="d")
    manifest = job_manifest(job, load({"allocation": "pod", "image": "x:1"}), secrets=1, environment={}, keep=False)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["command"][-3:] == ["-m", "pkg.mod", "--a"]
    assert job.run_name.startswith("daft-pkg-mod-")


def test_a_module_comes_with_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "mod.py").write_text("")
    monkeypatch.chdir(tmp_path)
    configuration = load({"allocation": "pod", "image": "x:1"})

    def run(module: str) -> Run:
        job = DriverJob(name=module, script="", module=module, arguments=(), service_account="d")
        return Run(job, configuration, keep=False, report=print, write=print)

    assert run("pkg.mod")._bundle is not None
    with pytest.raises(ConfigurationError, match=r"pkg/none\.py and pkg/none/__main__\.py"):
        run("pkg.none")


def test_variables_that_are_passed_on_travel_in_a_secret_and_in_no_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("OTHER", "x")
    job = DriverJob(name="x", script="", arguments=(), service_account="d", suffix="abc123")
    configuration = load({"allocation": "pod", "image": "x:1", "pass_env": "AWS_*", "kube_context": "laptop"})
    run = Run(job, configuration, keep=False, report=print, write=print)
    assert run._variables.keys() >= {"AWS_SECRET_ACCESS_KEY"} and "OTHER" not in run._variables
    assert "s3cret" not in str(run._environment) and run._environment["DAFT_K8S_PASS_ENV"] == '["AWS_*"]'
    assert "DAFT_K8S_KUBE_CONTEXT" not in run._environment, "the Pod does not have this machine's kubeconfig"
    secret = variables_secret(job, {"AWS_SECRET_ACCESS_KEY": "s3cret"}, {"name": "x"})
    assert base64.b64decode(secret["data"]["AWS_SECRET_ACCESS_KEY"]) == b"s3cret"
    assert secret["metadata"]["name"] == "daft-x-abc123-env"

"""The options of commands that start a driver. What a Pod makes of them: tests/unit/jobs/test_driver_pod.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from daft_k8s.cli import cluster_run, exit_codes, run
from daft_k8s.cli.main import cli
from daft_k8s.config import Configuration
from daft_k8s.config.frozen import thaw
from daft_k8s.jobs.driver_job import DriverJob


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[DriverJob, Configuration]]:
    """What commands would have started."""
    found: list[tuple[DriverJob, Configuration]] = []

    def keep(job: DriverJob, configuration: Configuration, **_: object) -> int:
        found.append((job, configuration))
        return 0

    monkeypatch.setattr(cluster_run, "run_on_cluster", keep)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text("")
    return found


def call(*arguments: str) -> None:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exit_code == 0, result.output


ENVIRONMENT = ["--env", "A=1", "--env", "B=x=y", "--env-from", "secret/s3", "--env-from", "configmap/more"]


@pytest.mark.parametrize("command", [["run", "job.py"], ["sql", "SELECT 1"]])
def test_run_and_sql_give_variables_to_driver_and_workers(
    started: list[tuple[DriverJob, Configuration]], tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "daft-k8s.toml").write_text('image = "x:1"\nenv = {A = "0", C = "2"}\n')
    call(command[0], *ENVIRONMENT, "--driver-cpu", "2", "--driver-memory", "4Gi", "--context", "prod", *command[1:])
    ((job, configuration),) = started
    assert dict(configuration.env) == {"A": "1", "B": "x=y", "C": "2"}
    template: Any = thaw(configuration.pod_template)
    (worker,) = template["spec"]["containers"]
    assert worker == {
        "name": "worker",
        "envFrom": [{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "more"}}],
    }
    assert (job.cpu, job.memory, configuration.kube_context) == ("2", "4Gi", "prod")


def test_variables_are_added_to_those_of_the_template(
    started: list[tuple[DriverJob, Configuration]], tmp_path: Path
) -> None:
    (tmp_path / "daft-k8s.toml").write_text(
        'image = "x:1"\n[pod_template.spec]\nhostPID = true\n'
        'containers = [{ name = "worker", envFrom = [{ secretRef = { name = "own" } }] }]\n'
    )
    call("run", "--env-from", "secret/s3", "job.py")
    template: Any = thaw(started[0][1].pod_template)
    assert template["spec"]["hostPID"] is True
    assert [item["secretRef"]["name"] for item in template["spec"]["containers"][0]["envFrom"]] == ["own", "s3"]


def test_a_template_for_the_driver_is_read_from_a_file_or_text(
    started: list[tuple[DriverJob, Configuration]], tmp_path: Path
) -> None:
    (tmp_path / "driver.yaml").write_text("spec:\n  nodeSelector: {disk: ssd}\n")
    call("run", "--image", "x:1", "--driver-template", "driver.yaml", "job.py")
    call("run", "--image", "x:1", "--driver-template", '{"spec": {"nodeSelector": {"disk": "ssd"}}}', "job.py")
    assert [job.template for job, _ in started] == [{"spec": {"nodeSelector": {"disk": "ssd"}}}] * 2
    wrong = CliRunner().invoke(cli, ["run", "--image", "x:1", "--driver-template", "none.yaml", "job.py"])
    assert wrong.exit_code == exit_codes.CONFIGURATION and "--driver-template none.yaml" in wrong.output


@pytest.mark.parametrize("wrong", [["--env", "A"], ["--env-from", "s3"], ["--env-from", "pod/x"]])
def test_a_variable_that_is_none_is_a_wrong_command_line(
    started: list[tuple[DriverJob, Configuration]], wrong: list[str]
) -> None:
    result = CliRunner().invoke(cli, ["run", "--image", "x:1", *wrong, "job.py"])
    assert result.exit_code == exit_codes.USAGE and not started


def test_a_local_driver_gets_the_variables_of_its_workers(
    started: list[tuple[DriverJob, Configuration]], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[Any] = []
    monkeypatch.setattr(run.os, "execve", lambda *arguments: became.append(arguments))
    CliRunner().invoke(cli, ["run", "--local", "--env", "A=1", "-m", "pkg.mod", "--day", "1"])
    _, program, environment = became[0]
    assert program[1:] == ["-m", "pkg.mod", "--day", "1"]
    assert environment["A"] == "1" and environment["DAFT_K8S_ALLOCATION"] == "local"
    refused = CliRunner().invoke(cli, ["run", "--local", "--env-from", "secret/s3", "job.py"])
    assert refused.exit_code == exit_codes.CONFIGURATION and "--local" in refused.output


def test_a_module_is_run_by_its_name(started: list[tuple[DriverJob, Configuration]]) -> None:
    call("run", "--image", "x:1", "-m", "pkg.mod", "--day", "1")
    job = started[0][0]
    assert (job.module, job.script, job.arguments) == ("pkg.mod", "", ("--day", "1"))

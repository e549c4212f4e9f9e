"""The command `daft-k8s doctor`. The checks themselves: tests/unit/doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from daft_k8s.cli import exit_codes
from daft_k8s.cli.main import cli
from daft_k8s.config import Configuration
from daft_k8s.doctor import cluster_checks
from daft_k8s.doctor.findings import Finding


def test_doctor_for_local_workers_passes_here_and_can_speak_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["doctor", "--local", "--output", "json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["healthy"] and {item["check"] for item in told["findings"]} >= {"python", "daft", "extension"}


def test_doctor_without_a_kubeconfig_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == exit_codes.FAILED
    assert "cluster: " in result.output and "KUBECONFIG" in result.output


def test_doctor_looks_at_the_cluster_that_run_would_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str | None, str | None]] = []

    async def look(configuration: Configuration, context: str | None, _account: str) -> list[Finding]:
        asked.append((configuration.namespace, context))
        return []

    monkeypatch.setattr(cluster_checks, "cluster_findings", look)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "daft-k8s.toml").write_text('namespace = "jobs"\nkube_context = "prod"\nimage = "x:1"\n')
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 0
    assert CliRunner().invoke(cli, ["doctor", "-n", "other", "--context", "test"]).exit_code == 0
    assert asked == [("jobs", "prod"), ("other", "test")]

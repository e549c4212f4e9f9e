"""The command `daft-k8s doctor`. The checks themselves: tests/unit/doctor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from daft_k8s.cli import exit_codes
from daft_k8s.cli.main import cli


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

"""How the integration tests come to a cluster of kind, with small scripts in place of docker and kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration import kind


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def install(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_docker_nothing_is_made_or_downloaded_and_the_reason_is_told(programs: Path, tmp_path: Path) -> None:
    assert kind.why_not() == "docker is not installed"
    install(programs, "docker", "echo Client: >&2; echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    assert kind.why_not() == "docker does not run: Cannot connect to the Docker daemon"
    assert {path.name for path in tmp_path.iterdir()} == {"bin"}
    install(programs, "docker", "echo Server:")
    assert kind.why_not() == ""


KIND = """
echo "$@" >> {log}
case "$1 $2" in
"create cluster") printf '%s' 'apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:1"}}}}]
users: [{{name: u, user: {{}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x' > {kubeconfig} ;;
esac
"""


def test_those_who_run_side_by_side_share_one_cluster_that_the_last_one_deletes(programs: Path, tmp_path: Path) -> None:
    log, shared = tmp_path / "log", tmp_path / "shared"
    shared.mkdir()
    install(programs, "kind", KIND.format(log=log, kubeconfig=shared / "kubeconfig"))

    def calls() -> list[str]:
        return [" ".join(line.split()[:2]) for line in log.read_text().splitlines()]

    with kind.cluster(shared, "image:1") as first:
        with kind.cluster(shared, "image:1") as second:
            assert first == second == shared / "kubeconfig"
            assert os.path.getsize(first) > 0
        assert "delete cluster" not in calls()
    assert [call for call in calls() if call != "get clusters"] == [
        "create cluster",
        "load docker-image",
        "delete cluster",
    ]

"""The findings of the doctor's checks. Not covered: a real cluster (tests/integration/test_cli.py)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.boot.version import version
from daft_k8s.config import load
from daft_k8s.doctor import local_checks, probe
from daft_k8s.doctor.cluster_checks import probe_findings, quota_problems
from daft_k8s.doctor.probe_pods import probe_pod

CONFIGURATION = load({"allocation": "pod", "image": "x:1", "num_workers": 2, "worker_cpu": 1, "worker_memory": "1Gi"})


def healthy(**changes: Any) -> dict[str, Any]:
    import importlib.metadata

    found: dict[str, Any] = {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "daft": importlib.metadata.version("daft"),
        "daft_k8s": version(),
        "dns": None,
        "network": {"7777": None, "7778": None},
        "missing": [],
    }
    return {**found, **changes}


def marks(found: dict[str, Any]) -> dict[str, str]:
    return {item.check: item.mark for item in probe_findings(found, "jobs", CONFIGURATION)}


def test_a_healthy_pod_has_no_findings_that_need_a_fix() -> None:
    assert marks(healthy()) == {"image": "ok", "dns": "ok", "network": "ok", "rights": "ok"}


@pytest.mark.parametrize(
    ("changes", "check", "mark", "words"),
    [
        ({"daft": None}, "image", "failed", "FROM"),
        ({"daft": "0.7.99"}, "image", "warning", "same Daft"),
        ({"daft_k8s": "0.0.1"}, "image", "warning", "daft_k8s"),
        ({"daft": "0.7.1"}, "image", "failed", "Daft 0.7.1 is not supported"),
        ({"daft": "0.8.0"}, "image", "failed", "daft>=0.7.16,<0.8"),
        ({"python": "3.9"}, "image", "warning", "Python minor version"),
        ({"dns": "no answer"}, "dns", "failed", "CoreDNS"),
        ({"network": {"7777": None, "7778": "timed out"}}, "network", "failed", "port 7778: timed out"),
        ({"network": None}, "network", "skipped", "did not run"),
        ({"api": "timed out"}, "rights", "failed", "egress"),
        (
            {"missing": [{"group": "", "resource": "pods", "verb": "create", "optional": False}]},
            "rights",
            "failed",
            "may not create pods",
        ),
        (
            {"missing": [{"group": "", "resource": "pods", "verb": "deletecollection", "optional": True}]},
            "rights",
            "warning",
            "works without",
        ),
    ],
)
def test_a_fault_is_named_with_its_fix(changes: dict[str, Any], check: str, mark: str, words: str) -> None:
    (finding,) = [item for item in probe_findings(healthy(**changes), "jobs", CONFIGURATION) if item.check == check]
    assert finding.mark == mark
    assert words in finding.text + finding.fix


def quota(hard: dict[str, str], used: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "status": {"hard": hard, "used": used}}


def test_a_quota_that_is_too_small_is_named_with_what_is_used() -> None:
    assert (
        quota_problems(quota({"pods": "10", "limits.cpu": "4"}, {"pods": "3", "limits.cpu": "2"}), CONFIGURATION) == []
    )
    assert quota_problems(quota({"pods": "0"}, {}), CONFIGURATION) == ["pods: 0 of 0 are used (team)"]
    assert quota_problems(quota({"limits.memory": "3Gi"}, {"limits.memory": "1536Mi"}), CONFIGURATION) == [
        "limits.memory: 1536Mi of 3Gi are used (team)"
    ]


def test_an_old_and_a_new_python_are_told_apart() -> None:
    assert local_checks.check_python((3, 9)).mark == "failed"
    assert local_checks.check_python((3, 10)).mark == "ok"
    assert local_checks.check_python((3, 14)).mark == "warning"


def test_a_missing_client_matters_for_pods_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise local_checks.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(local_checks.importlib.metadata, "version", missing)
    assert local_checks.check_client(wanted=True).mark == "failed"
    assert local_checks.check_client(wanted=False).mark == "warning"


def test_a_disk_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_checks.check_disk(str(tmp_path / "not" / "yet")).mark in ("ok", "warning")
    monkeypatch.setattr(local_checks.os, "access", lambda *_: False)
    assert local_checks.check_disk(str(tmp_path)).mark == "failed"


def test_the_probe_is_a_program_of_pythons_own_modules() -> None:
    source = Path(probe.__file__).read_text()
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", source, "check", json.dumps({"namespace": "x"})],
        capture_output=True,
        text=True,
        timeout=60,
        env={},
    )
    told = json.loads(ended.stdout.removeprefix("PROBE "))
    assert told["daft"] is None and told["dns"] and "api" in told  # neither site-packages nor a cluster is there


def test_the_probe_greets_and_recognises_its_like() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert probe.connect("127.0.0.1", port) is not None
    server = subprocess.Popen([sys.executable, probe.__file__, "serve", "30", str(port)])
    try:
        for _ in range(50):
            problem = probe.connect_soon("127.0.0.1", port)
            if problem is None:
                break
        assert problem is None
    finally:
        server.kill()
        server.wait()


def test_the_test_pods_are_restricted_and_carry_the_labels_of_policies() -> None:
    pod = probe_pod("daft-doctor-1-server", CONFIGURATION, "daft-driver", "worker", ["source", "serve"])
    assert pod["metadata"]["labels"]["daft.io/role"] == "worker"
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert pod["spec"]["containers"][0]["command"] == ["python", "-c", "source", "serve"]

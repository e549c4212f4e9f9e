"""The Job of a run, and its code in Secrets; that a cluster takes them is shown in tests/integration/test_cli.py."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

import pytest

from daft_k8s.code import entry
from daft_k8s.code.bundle import CodeBundle, make_bundle
from daft_k8s.code.entry import unpack_parts
from daft_k8s.code.selection import select_files
from daft_k8s.config import load
from daft_k8s.errors import CodeError
from daft_k8s.jobs.driver_job import MAX_CODE_BYTES, PART_BYTES, DriverJob, code_secrets, job_manifest
from daft_k8s.kube.objects.names import RUN_LABEL

OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "u"}
LARGE = 1 << 30


def make(root: Path, noise_bytes: int) -> CodeBundle:
    root.mkdir(exist_ok=True)
    (root / "job.py").write_text("print(1)\n")
    (root / "noise").write_bytes(os.urandom(noise_bytes))
    files = select_files(str(root), modules_only=False, size_limit_bytes=LARGE)
    return make_bundle(str(root), files, size_limit_bytes=LARGE)


def job(**options: object) -> DriverJob:
    return DriverJob(name="My Job.v2", script="/x/job.py", arguments=("--a", "b"), service_account="d", suffix="abc123")


def test_code_in_parts_arrives_whole(tmp_path: Path) -> None:
    bundle = make(tmp_path / "p", 3 * PART_BYTES)
    secrets = code_secrets(job(), bundle, OWNER)
    assert len(secrets) > 3
    parts = tmp_path / "parts"
    parts.mkdir()
    for item in secrets:
        assert sum(len(text) for text in item["data"].values()) < 1 << 20
        assert item["metadata"]["ownerReferences"] == [OWNER]
        assert item["kind"] == "Secret", "who may read ConfigMaps must not read the code, and what lies beside it"
        for key, text in item["data"].items():
            (parts / key).write_bytes(base64.b64decode(text))
    (tmp_path / "target").mkdir()
    unpack_parts(parts, tmp_path / "target")
    assert (tmp_path / "target" / "noise").read_bytes() == (tmp_path / "p" / "noise").read_bytes()
    (parts / "archive-001").unlink()
    with pytest.raises(CodeError):
        unpack_parts(parts, tmp_path / "target2")


def test_a_script_runs_behind_the_containers_first_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That one ends with the script's exit code and unpacks nothing."""
    monkeypatch.setattr(sys, "argv", ["entry", str(tmp_path / "nothing"), str(tmp_path), "job.py"])
    monkeypatch.setattr(entry, "stand_before", lambda: 7)
    assert entry.main() == 7


def test_code_that_is_too_large_for_a_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match=r"at most 8 MiB.*working_dir"):
        code_secrets(job(), make(tmp_path / "p", MAX_CODE_BYTES), OWNER)


def test_the_job_runs_the_script_once_as_a_restricted_pod() -> None:
    configuration = load({"allocation": "pod", "image": "x:1", "node_selector": {"a": "b"}})
    manifest = job_manifest(job(), configuration, secrets=2, environment={"DAFT_RUNNER": "k8s"}, keep=False)
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert manifest["metadata"]["name"] == "daft-my-job-v2-abc123"
    assert manifest["spec"]["template"]["metadata"]["labels"][RUN_LABEL] == "daft-my-job-v2-abc123"
    assert manifest["spec"]["backoffLimit"] == 0
    assert container["command"][-3:] == ["job.py", "--a", "b"]
    assert {"name": "DAFT_RUNNER", "value": "k8s"} in container["env"]
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]
    parts = pod["volumes"][-1]["projected"]
    assert [next(iter(source)) for source in parts["sources"]] == ["secret", "secret"]
    assert parts["defaultMode"] == 0o440
    assert pod["nodeSelector"] == {"a": "b"}
    assert "ttlSecondsAfterFinished" in manifest["spec"]
    kept = job_manifest(job(), configuration, secrets=0, environment={}, keep=True)
    assert "ttlSecondsAfterFinished" not in kept["spec"]
    assert [volume["name"] for volume in kept["spec"]["template"]["spec"]["volumes"]] == ["tmp", "code"]

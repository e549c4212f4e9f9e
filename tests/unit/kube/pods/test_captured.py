"""What Kubernetes 1.34 said of Pods that were made to fail, as `kubectl get pod -o json` gave it (specs shortened)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.kube.pods.incarnations import split
from daft_k8s.kube.pods.state import Cause, Stage, read_state

FOLDER = Path(__file__).parent / "captured"

EXPECTED: dict[str, tuple[Stage, Cause, bool, list[str]]] = {
    "image-that-is-not-there": (Stage.PULL_FAILING, Cause.IMAGE, False, ["localhost/no-such:1", "ErrImagePull"]),
    "image-name-invalid": (Stage.PULL_FAILING, Cause.IMAGE, True, ["couldn't parse image name", "UPPER"]),
    "image-never-pulled": (Stage.PULL_FAILING, Cause.IMAGE, True, ["not present with pull policy of Never"]),
    "secret-missing": (Stage.CONFIG_FAILING, Cause.SPEC, False, ['secret "none" not found']),
    "command-not-there": (Stage.FAILED, Cause.PROCESS, True, ["128", "StartError", "/no/such/command"]),
    "init-container-failed": (Stage.FAILED, Cause.PROCESS, False, ["'prepare' failed", "exit code 3", "no licence"]),
    "out-of-memory": (Stage.FAILED, Cause.OUT_OF_MEMORY, False, ["OOMKilled", "raise worker_memory"]),
    "no-node-fits": (Stage.UNSCHEDULABLE, Cause.SPEC, False, ["Unschedulable", "didn't match Pod's node affinity"]),
    "disk-full": (Stage.FAILED, Cause.EVICTED, False, ['EmptyDir volume "spill" exceeds the limit "1Mi"']),
    "volume-missing": (Stage.CREATING, Cause.NONE, False, ["makes its volumes"]),
    "exit-code": (Stage.FAILED, Cause.PROCESS, False, ["exit code 1", "RuntimeError: no such bucket"]),
    "restarted-in-place": (Stage.FAILED, Cause.PROCESS, False, ["exit code 7", "last words"]),
    "restarts-after-a-pause": (Stage.CONFIG_FAILING, Cause.SPEC, False, ["CrashLoopBackOff: back-off 20s"]),
}


def captured(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def test_every_captured_pod_is_looked_at() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_real_clusters_said_is_understood(name: str) -> None:
    stage, cause, hopeless, words = EXPECTED[name]
    state = read_state(captured(name))
    assert (state.stage, state.cause, state.hopeless) == (stage, cause, hopeless)
    assert [word for word in words if word not in state.reason] == [], state.reason


@pytest.mark.parametrize(
    ("name", "restarts", "stages"),
    [
        ("restarted-in-place", [0, 1], [Stage.FAILED, Stage.FAILED]),
        ("restarts-after-a-pause", [2], [Stage.FAILED]),
        ("image-name-invalid", [0], [Stage.PULL_FAILING]),
    ],
)
def test_the_processes_of_a_pod_that_restarts_are_told_apart(
    name: str, restarts: list[int], stages: list[Stage]
) -> None:
    processes = split(captured(name))
    assert [int(process["metadata"]["name"].rpartition("/")[2]) for process in processes] == restarts
    assert [read_state(process).stage for process in processes] == stages
    if name.startswith("restart"):
        assert "last words" in read_state(processes[0]).reason

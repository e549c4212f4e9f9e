"""Each object as a whole, as it goes to Kubernetes: every field is sent on purpose.

The files in `whole` are written by `python -m tests.unit.kube.objects.test_whole`; a change of theirs is to be read
like one of the code. Not covered: the worker's settings in the Pods (tests/unit/wire).
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from daft_k8s.config import Configuration
from daft_k8s.config.frozen import FrozenMap
from daft_k8s.kube.objects.lease import session_lease
from daft_k8s.kube.objects.manifest import session_secret, worker_pod
from daft_k8s.kube.objects.rights import driver_account
from daft_k8s.kube.objects.stateful_set import headless_service, stateful_set
from daft_k8s.kube.objects.target import Owner, Target
from daft_k8s.wire.worker_settings import PREFIX

ANEW = "if that is wanted: python -m tests.unit.kube.objects.test_whole"
FOLDER = Path(__file__).with_name("whole")
TARGET = Target(
    "jobs",
    "registry.test/image:1",
    ("pull-me",),
    Owner("driver", "uid-1"),
    job="nightly",
    secret="daft-abc123-12ab",
    labels=FrozenMap({"daft.io/owner": "ada.laptop"}),
    annotations=FrozenMap({"daft.io/driver-process": "1"}),
)
POD = Configuration(
    allocation="pod",
    num_workers=2,
    worker_cpu=1.5,
    worker_memory_bytes=2**30,
    worker_gpu=1,
    tls=True,
    start_timeout_seconds=300.0,
    drain_timeout_seconds=100.0,
    labels=FrozenMap({"team": "a"}),
    annotations=FrozenMap({"note": "b"}),
    node_selector=FrozenMap({"pool": "daft"}),
    tolerations=(FrozenMap({"key": "daft", "operator": "Exists"}),),
    env=FrozenMap({"AWS_REGION": "x"}),
    priority_class="high",
    service_account="reader",
    spill_size_limit_bytes=5 * 2**30,
)
STATEFUL_SET = Configuration(
    allocation="statefulset", num_workers=2, worker_cpu=2.0, worker_memory_bytes=2**30, tls=False
)
NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc)


def without_settings(pod: dict[str, Any]) -> dict[str, Any]:
    """The worker's settings have tests of their own, and change more often; those that Kubernetes fills in stay."""
    for container in pod["spec"]["containers"]:
        container["env"] = [e for e in container["env"] if "valueFrom" in e or not e["name"].startswith(PREFIX)]
    return pod


def worker() -> dict[str, Any]:
    return worker_pod(POD, TARGET, session_id="abc123", worker_id="worker-1", launch_id=2, node_to_avoid="node-7")


def workers() -> dict[str, Any]:
    made = stateful_set(STATEFUL_SET, TARGET, session_id="abc123", replicas=3)
    made["spec"]["template"] = without_settings(made["spec"]["template"])
    return made


MAKE = {
    "worker_pod": lambda: without_settings(worker()),
    "session_secret": lambda: session_secret("abc123", "token-1", TARGET, {"tls.key": b"the key"}),
    "stateful_set": workers,
    "headless_service": lambda: headless_service("abc123", TARGET),
    "lease": lambda: session_lease("abc123", TARGET, holder="ada", orphan_timeout_seconds=601.0, now=NOW),
    "driver_account": lambda: driver_account(STATEFUL_SET, name="etl", namespace="jobs", outside=True),
}


@pytest.mark.parametrize("name", MAKE)
def test_an_object_is_sent_as_it_is_written_down(name: str) -> None:
    assert MAKE[name]() == yaml.safe_load((FOLDER / f"{name}.yaml").read_text()), ANEW


def test_every_object_that_is_written_down_is_made() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(MAKE)


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in MAKE.items():
        (FOLDER / f"{name}.yaml").write_text(yaml.dump(make(), Dumper=_Plain, sort_keys=False, width=120))


if __name__ == "__main__":
    write()

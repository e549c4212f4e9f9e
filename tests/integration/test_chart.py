"""The chart on a real cluster: installed, upgraded, rolled back and removed, in a namespace that enforces `restricted`.

How it renders is tested in tests/unit/chart. Not covered: clusters that refuse NetworkPolicies.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Namespace, kubectl, wait_until

CHART = Path(__file__).resolve().parents[2] / "charts" / "daft"
SMALL_WORKERS = {"count": 2, "cpu": 0.25, "memory": "512Mi", "startTimeoutSeconds": 60}

# Not a word of daft_k8s: the chart makes it run there.
COUNT = """
import daft
from daft import col
rows = daft.range(1000, partitions=4).where(col("id") % 2 == 0).count_rows()
print(f"{rows} rows on the runner {daft.get_or_infer_runner_type()}, divided by {DIVISOR}")
"""


class Release:
    """One installation of the chart."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        self._namespace = namespace
        self.name = name

    def install(self, values: dict[str, Any]) -> None:
        repository, _, tag = self._namespace.image.rpartition(":")
        image = {"repository": repository, "tag": tag}
        resources = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
        values = {"image": image, "workers": SMALL_WORKERS, **values}
        values["driver"] = {"resources": resources, **values.get("driver", {})}
        self.helm("upgrade", "--install", self.name, str(CHART), "-f", "-", given=json.dumps(values))

    def helm(self, *arguments: str, given: str | None = None) -> str:
        done = subprocess.run(
            ["helm", *arguments, "-n", self._namespace.name], input=given, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self) -> list[dict[str, Any]]:
        selector = f"app.kubernetes.io/instance={self.name}"
        return json.loads(self._namespace.kubectl("get", "jobs", "-l", selector, "-o", "json"))["items"]

    def finish(self) -> str:
        """Waits for the good end of the one Job; returns the driver's log."""

        def has_ended() -> bool:
            status = self.jobs()[0]["status"]
            assert not status.get("failed"), self._namespace.kubectl(
                "logs", f"job/{self.jobs()[0]['metadata']['name']}"
            )
            return bool(status.get("succeeded"))

        wait_until(lambda: len(self.jobs()) == 1, 30, f"one Job of the release {self.name}")
        wait_until(has_ended, 80, f"the end of the release {self.name}'s Job")
        return self._namespace.kubectl("logs", f"job/{self.jobs()[0]['metadata']['name']}")


@pytest.fixture
def releases(empty_namespace: Namespace) -> tuple[Release, Release]:
    if shutil.which("helm") is None:
        pytest.skip("helm is not installed")
    return Release(empty_namespace, "one"), Release(empty_namespace, "two")


def script(divisor: int) -> dict[str, Any]:
    return {
        "script": {
            "content": f"from setting import DIVISOR\n{COUNT}",
            "files": {"setting.py": f"DIVISOR = {divisor}\n"},
        }
    }


def leftovers(namespace: Namespace) -> list[str]:
    kinds = (
        "jobs,cronjobs,pods,statefulsets,services,configmaps,secrets,leases,"
        "serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets"
    )
    names = namespace.kubectl("get", kinds, "-o", "name").split()
    of_the_namespace = {"configmap/kube-root-ca.crt", "serviceaccount/default", "serviceaccount/driver"}
    roles = {"role.rbac.authorization.k8s.io/driver", "rolebinding.rbac.authorization.k8s.io/driver"}
    return [name for name in names if name not in of_the_namespace | roles]


def api_server_cidrs() -> list[str]:
    slices = json.loads(
        kubectl("get", "endpointslices", "-n", "default", "-l", "kubernetes.io/service-name=kubernetes", "-o", "json")
    )
    service = kubectl("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}")
    addresses = {
        address for item in slices["items"] for endpoint in item["endpoints"] for address in endpoint["addresses"]
    }
    return [f"{address}/32" for address in sorted(addresses | {service})]


def api_server_ports() -> list[int]:
    slices = json.loads(
        kubectl("get", "endpointslices", "-n", "default", "-l", "kubernetes.io/service-name=kubernetes", "-o", "json")
    )
    return sorted({443} | {port["port"] for item in slices["items"] for port in item["ports"]})


def test_two_releases_run_side_by_side_and_leave_nothing(
    empty_namespace: Namespace, releases: tuple[Release, Release]
) -> None:
    one, two = releases
    one.install(script(2))
    two.install(
        {
            **script(5),
            # The Pods of a StatefulSet, any user, and a network that lets out nothing but what the chart names.
            "driver": {"podSecurityContext": {"runAsUser": 54321, "runAsGroup": 54321, "fsGroup": 54321}},
            "workers": {
                **SMALL_WORKERS,
                "allocationMode": "statefulset",
                "podTemplate": {"spec": {"securityContext": {"runAsUser": 54321}}},
            },
            "networkPolicy": {
                "egress": {"restricted": True, "apiServer": {"cidrs": api_server_cidrs(), "ports": api_server_ports()}}
            },
            "podDisruptionBudget": {"enabled": True},
        }
    )
    assert "500 rows on the runner ray, divided by 2" in one.finish()
    assert "500 rows on the runner ray, divided by 5" in two.finish()

    for release in releases:
        release.helm("uninstall", release.name)
    wait_until(lambda: not leftovers(empty_namespace), 30, f"nothing is left but {leftovers(empty_namespace)}")


def test_a_change_runs_the_script_again_and_a_rollback_the_earlier_one(releases: tuple[Release, Release]) -> None:
    one, _ = releases
    first, second = ({"script": {"content": f"print('{word}')"}} for word in ("first", "second"))
    one.install(first)
    assert one.finish() == "first\n"
    [job] = one.jobs()
    one.install(first)
    assert one.jobs()[0]["metadata"]["uid"] == job["metadata"]["uid"], "what has not changed does not run again"
    one.install(second)
    assert one.finish() == "second\n"
    one.helm("rollback", "one", "1")
    assert one.finish() == "first\n"
    assert one.jobs()[0]["metadata"]["uid"] != job["metadata"]["uid"]
    one.helm("uninstall", "one")


def test_a_release_that_is_removed_while_it_works_leaves_nothing(
    empty_namespace: Namespace, releases: tuple[Release, Release]
) -> None:
    one, _ = releases
    one.install({"script": {"content": COUNT.replace("{DIVISOR}", "1") + "import time; time.sleep(300)\n"}})
    wait_until(lambda: len(empty_namespace.workers()) == 2, 60, "two workers")
    one.helm("uninstall", "one")
    seconds = wait_until(lambda: not leftovers(empty_namespace), 40, "nothing is left")
    print(f"gone after {seconds:.1f} s")


def test_the_api_server_takes_every_object_as_it_is(
    empty_namespace: Namespace, releases: tuple[Release, Release]
) -> None:
    """With everything switched on, strictly: a field that the API does not know is an error."""
    one, _ = releases
    values = {
        **script(1),
        "image": {"repository": "registry.example.com/daft-k8s"},
        "driver": {
            "kind": "CronJob",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "activeDeadlineSeconds": 60,
            "ttlSecondsAfterFinished": 60,
            "tmpSizeLimit": "1Gi",
        },
        "cronJob": {"schedule": "0 3 * * *", "startingDeadlineSeconds": 60},
        "workers": {**SMALL_WORKERS, "allocationMode": "statefulset"},
        "networkPolicy": {"egress": {"restricted": True, "apiServer": {"cidrs": ["10.0.0.1/32"]}}},
        "podDisruptionBudget": {"enabled": True},
    }
    text = one.helm("template", "one", str(CHART), "--kube-version", "1.34.0", "-f", "-", given=json.dumps(values))
    done = subprocess.run(
        ["kubectl", "-n", empty_namespace.name, "apply", "--dry-run=server", "--validate=strict", "-f", "-"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr  # `restricted` warns, it does not refuse a Job's template


def test_the_api_server_takes_the_plain_job_of_the_examples(empty_namespace: Namespace) -> None:
    example = CHART.parents[1] / "examples" / "workflows" / "kubectl.yaml"
    empty_namespace.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(example))


@pytest.mark.parametrize(("code", "outcome"), [(0, "Complete"), (3, "Failed")])
def test_the_notes_say_how_to_wait_for_the_end_of_the_script(
    empty_namespace: Namespace, releases: tuple[Release, Release], code: int, outcome: str
) -> None:
    one, _ = releases
    one.install({"script": {"content": f"raise SystemExit({code})"}, "driver": {"backoffLimit": 0}})
    notes = one.helm("get", "notes", "one")
    (loop,) = [line.strip() for line in notes.splitlines() if "Complete|Failed" in line]
    done = subprocess.run(["bash", "-c", loop], capture_output=True, text=True, timeout=80)
    assert done.stdout.split() == [outcome], done.stdout + done.stderr
    one.helm("uninstall", "one")

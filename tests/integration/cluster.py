"""What tests do with a cluster, by way of kubectl."""

from __future__ import annotations

import json
import subprocess
import textwrap
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daft_k8s.kube.objects.rights import role_rules

RULES = role_rules()

PREAMBLE = """
import json, os, sys, time
import daft
from daft import col
import daft_k8s

def say(**facts):
    print("FACT " + json.dumps(facts), flush=True)

def use(**options):
    defaults = dict(allocation="pod", num_workers=2, worker_cpu=0.5, worker_memory="512Mi", start_timeout_seconds=60)
    return daft_k8s.set_runner_k8s(**{**defaults, **options})

def count_rows():
    return daft.range(1000, partitions=4).where(col("id") % 2 == 0).count_rows()
"""


def kubectl(*arguments: str, given: object = None, timeout_seconds: float = 60) -> str:
    """Runs kubectl and returns what it prints.

    Args:
        *arguments: Its arguments.
        given: An object for its standard input, as JSON.
        timeout_seconds: How long it may take.
    """
    done = subprocess.run(
        ["kubectl", *arguments],
        input=None if given is None else json.dumps(given),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, ["kubectl", *arguments], done.stdout, done.stderr)
    return done.stdout


def wait_until(what: Callable[[], bool], within_seconds: float, name: str) -> float:
    """Waits; returns how long it took."""
    begin = time.monotonic()
    while not what():
        assert time.monotonic() - begin < within_seconds, f"not within {within_seconds} s: {name}"
        time.sleep(0.25)
    return time.monotonic() - begin


class Driver:
    """A Pod that runs a script."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        self._namespace = namespace
        self.name = name

    def pod(self) -> dict[str, Any]:
        return json.loads(self._namespace.kubectl("get", "pod", self.name, "-o", "json"))

    def log(self) -> str:
        return self._namespace.kubectl("logs", self.name)

    def facts(self) -> dict[str, Any]:
        """What the script has said."""
        found: dict[str, Any] = {}
        for line in self.log().splitlines():
            if line.startswith("FACT "):
                found |= json.loads(line.removeprefix("FACT "))
        return found

    def wait_for_fact(self, name: str, within_seconds: float = 60) -> Any:
        def is_there() -> bool:
            phase = self.pod()["status"].get("phase")
            assert phase != "Failed", self.explain()
            return phase in ("Running", "Succeeded") and name in self.facts()

        wait_until(is_there, within_seconds, f"the fact {name}")
        return self.facts()[name]

    def finish(self, within_seconds: float = 90) -> dict[str, Any]:
        """Waits for the script's good end; returns what it said."""
        try:
            wait_until(
                lambda: self.pod()["status"].get("phase") in ("Succeeded", "Failed"), within_seconds, "the driver's end"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.explain()}") from None
        assert self.pod()["status"]["phase"] == "Succeeded", self.explain()
        return self.facts()

    def delete(self, *options: str) -> None:
        self._namespace.kubectl("delete", "pod", self.name, "--wait=false", *options)

    def explain(self) -> str:
        parts = [self.log(), self._namespace.kubectl("get", "pods", "-o", "wide")]
        parts.append(self._namespace.kubectl("get", "events", "--sort-by=.lastTimestamp"))
        return "\n".join(parts)


class Namespace:
    """A namespace with a service account for drivers."""

    def __init__(self, name: str, image: str) -> None:
        self.name = name
        self.image = image

    def kubectl(self, *arguments: str, given: object = None) -> str:
        return kubectl("-n", self.name, *arguments, given=given)

    @classmethod
    def fresh(cls, image: str) -> Namespace:
        """One with a name of its own; it is not made yet."""
        return cls(f"daft-test-{uuid.uuid4().hex[:6]}", image)

    def create(self, *, level: str = "restricted") -> None:
        """Makes it, with a service account for drivers, and enforces a Pod Security level."""
        labels = {"pod-security.kubernetes.io/enforce": level}
        kubectl(
            "create",
            "-f",
            "-",
            given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}},
        )
        # Pods need it, and it is made a moment after the namespace, or later if the API server has just come back.
        self.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        self.kubectl("create", "serviceaccount", "driver")
        self.set_rules(RULES)
        self.kubectl("create", "rolebinding", "driver", "--role=driver", f"--serviceaccount={self.name}:driver")

    def set_rules(self, rules: list[dict[str, Any]]) -> None:
        """Gives drivers these rights and no others."""
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "driver"}}
        self.kubectl("apply", "-f", "-", given={**role, "rules": rules})

    def remove(self) -> None:
        kubectl("delete", "namespace", self.name, "--wait=false")

    def start(
        self,
        script: str,
        *,
        restart_policy: str = "Never",
        memory: str = "1Gi",
        disks: tuple[Path, ...] = (),
    ) -> Driver:
        """Starts a driver that runs the script after PREAMBLE.

        Args:
            script: What it runs.
            restart_policy: Whether its container is restarted in its Pod.
            memory: Its limit.
            disks: Folders of its node that it may read, at the same place.
        """
        name = f"driver-{uuid.uuid4().hex[:6]}"
        code = PREAMBLE + textwrap.dedent(script)
        source = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"job.py": code}}
        self.kubectl("create", "-f", "-", given=source)
        container: dict[str, Any] = {
            "name": "driver",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "/job/job.py"],
            "env": [{"name": "HOME", "value": "/tmp"}, {"name": "DAFT_PROGRESS_BAR", "value": "0"}],
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": memory}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "job", "mountPath": "/job"}, {"name": "tmp", "mountPath": "/tmp"}],
        }
        spec: dict[str, Any] = {
            "restartPolicy": restart_policy,
            "serviceAccountName": "driver",
            "terminationGracePeriodSeconds": 20,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "tolerations": [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "volumes": [{"name": "job", "configMap": {"name": name}}, {"name": "tmp", "emptyDir": {}}],
        }
        for number, folder in enumerate(disks):
            spec["volumes"].append({"name": f"disk-{number}", "hostPath": {"path": str(folder)}})
            mount = {"name": f"disk-{number}", "mountPath": str(folder), "readOnly": True}
            container["volumeMounts"].append(mount)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.kubectl("create", "-f", "-", given=pod)
        return Driver(self, name)

    def workers(self, session: str | None = None) -> list[dict[str, Any]]:
        """The workers' Pods, of one session or of all."""
        selector = "daft.io/role=worker" + (f",daft.io/session={session}" if session else "")
        return json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]

    def secrets(self, session: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", "secrets", "-l", f"daft.io/session={session}", "-o", "json"))["items"]

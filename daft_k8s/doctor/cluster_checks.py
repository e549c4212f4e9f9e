"""The checks of `daft-k8s doctor` on a cluster: from what needs least to what needs most."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.metadata
import inspect
import json
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

from daft_k8s.boot.version import version
from daft_k8s.config.quantities import parse_cpu, parse_memory
from daft_k8s.doctor import probe
from daft_k8s.doctor.findings import Finding, failed, ok, skipped, warning
from daft_k8s.doctor.probe_pods import CONTAINER, probe_pod
from daft_k8s.doctor.worker_check import check_worker_pod
from daft_k8s.errors import ClusterError, DaftK8sError, VersionMismatchError
from daft_k8s.kube.client.console import Console, NotFoundError
from daft_k8s.kube.objects.manifest import CONTROL_PORT, DATA_PORT
from daft_k8s.kube.objects.rights import questions, role_rules_text
from daft_k8s.kube.pods.state import PodState, Stage, read_state
from daft_k8s.seam import checks

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

START_SECONDS = 10.0
"""The time in which a test Pod runs, once its image is there."""
END_SECONDS = 40.0
"""The time for a test Pod in all: it waits for blocked connections."""
_POLL_SECONDS = 0.3
_SERVE_SECONDS = 60


async def cluster_findings(configuration: Configuration, context: str | None, service_account: str) -> list[Finding]:
    """Connects to the cluster and checks the namespace of the workers.

    Args:
        configuration: The configuration of the workers.
        context: The context of the kubeconfig; None: the current one, or the cluster of this Pod.
        service_account: The driver's.
    """
    try:
        async with Console(context=context, namespace=configuration.namespace) as console:
            return await Doctor(console, configuration, service_account).findings()
    except DaftK8sError as error:
        return [failed("cluster", str(error), "set KUBECONFIG, or use --local")]


class Doctor:
    """Checks one namespace of a cluster.

    Args:
        console: The cluster.
        configuration: The configuration of the workers.
        service_account: The driver's.
    """

    def __init__(self, console: Console, configuration: Configuration, service_account: str) -> None:
        self._console = console
        self._configuration = configuration
        self._account = service_account
        self._name = f"daft-doctor-{uuid.uuid4().hex[:6]}"

    async def findings(self) -> list[Finding]:
        """Runs all checks; skips those that depend on one that failed."""
        found: list[Finding] = []
        for check in (self._cluster, self._namespace):
            found.append(await check())
            if not found[-1].passed:
                return found
        found += await asyncio.gather(self._service_account(), self._quota(), self._nodes(), self._worker_pod())
        if self._configuration.image is None:
            return [*found, skipped("test Pod", "no image is set (--image), so no Pod is started")]
        if any(item.check == "service account" and not item.passed for item in found):
            return [*found, skipped("test Pod", "its service account is missing")]
        try:
            return found + await self._pods()
        finally:
            await self._clean_up()

    async def _cluster(self) -> Finding:
        try:
            version = await self._console.get("/version")
        except ClusterError as error:
            return failed(
                "cluster", str(error), "check KUBECONFIG, --context and whether you are logged in: kubectl version"
            )
        return ok("cluster", f"Kubernetes {version.get('gitVersion', '?')}")

    async def _namespace(self) -> Finding:
        name = self._console.namespace
        try:
            await self._console.get("/api/v1/{ns}/pods", limit="1")
            await self._console.get(f"/api/v1/namespaces/{name}")
        except NotFoundError:
            return failed(
                "namespace", f"there is no namespace {name!r}", f"kubectl create namespace {name}, or -n another one"
            )
        except ClusterError as error:
            if "namespaces" not in str(error).partition("is not allowed")[0]:
                return failed("namespace", str(error), "ask for the right to read Pods there, or -n another one")
        return ok("namespace", name)

    async def _service_account(self) -> Finding:
        fix = f"daft-k8s rbac -n {self._console.namespace} --name {self._account} | kubectl apply -f -"
        try:
            await self._console.get(f"/api/v1/{{ns}}/serviceaccounts/{self._account}")
        except NotFoundError:
            return failed("service account", f"there is no service account {self._account!r} for drivers", fix)
        except ClusterError as error:
            return warning("service account", f"it cannot be looked at: {error}", "")
        return ok("service account", self._account)

    async def _quota(self) -> Finding:
        try:
            quotas = await self._console.items("/api/v1/{ns}/resourcequotas")
        except ClusterError as error:
            return warning("quota", f"quotas cannot be read: {error}", "")
        problems = [problem for quota in quotas for problem in quota_problems(quota, self._configuration)]
        if problems:
            return failed(
                "quota",
                f"{self._configuration.num_workers} workers do not fit: {'; '.join(problems)}",
                "ask for fewer or smaller workers (-w, --worker-cpu, --worker-memory), or for a larger ResourceQuota",
            )
        return ok("quota", f"{self._configuration.num_workers} workers fit" if quotas else "there is none")

    async def _nodes(self) -> Finding:
        try:
            nodes = await self._console.items("/api/v1/nodes")
        except ClusterError:
            return skipped("nodes", "they may not be listed")
        ready = [node for node in nodes if _is_ready(node)]
        fitting = [node for node in ready if _fits(node, self._configuration)]
        shown = f"{len(ready)} of {len(nodes)} are ready"
        if not fitting:
            size = f"{self._configuration.worker_cpu:g} CPU, {self._configuration.worker_memory_bytes >> 20} MiB"
            return warning(
                "nodes",
                f"{shown}, and no one is large enough for a worker ({size})",
                "make workers smaller (--worker-cpu, --worker-memory), unless an autoscaler adds larger nodes",
            )
        return ok("nodes", shown)

    async def _worker_pod(self) -> Finding:
        return await check_worker_pod(self._console, self._configuration)

    async def _pods(self) -> list[Finding]:
        serve = ["serve", str(_SERVE_SECONDS), str(CONTROL_PORT), str(DATA_PORT)]
        wanted = {
            "server": f"{self._name}-server",
            "ports": [CONTROL_PORT, DATA_PORT],
            "namespace": self._console.namespace,
            "rights": [vars(right) for right in questions(self._configuration)],
        }
        check = ["check", json.dumps(wanted)]
        for refused in await asyncio.gather(
            self._start("server", "worker", serve), self._start("client", "driver", check)
        ):
            if refused is not None:
                return [refused]
        state = await self._wait("client")
        if not state.stage.over:
            return [self._not_started(state)]
        text = [
            line
            async for line in self._console.lines(f"/api/v1/{{ns}}/pods/{self._name}-client/log", container=CONTAINER)
        ]
        told = next((line for line in text if line.startswith("PROBE ")), None)
        if told is None:
            last = " | ".join(text[-3:]) or state.reason or state.stage.value
            return [failed("test Pod", f"it ran without a result: {last}", "set image to one with Python and daft_k8s")]
        node = f" on {state.node}" if state.node else ""
        return [
            ok("test Pod", f"the image was pulled and ran{node}"),
            *probe_findings(json.loads(told[6:]), self._console.namespace, self._configuration),
        ]

    async def _start(self, name: str, role: str, arguments: list[str]) -> Finding | None:
        manifest = probe_pod(
            f"{self._name}-{name}", self._configuration, self._account, role, [inspect.getsource(probe), *arguments]
        )
        try:
            await self._console.create("/api/v1/{ns}/pods", manifest)
        except ClusterError as error:
            fix = "change what the cluster's policies do not admit, as above"
            if "exceeded quota" in str(error):
                fix = "ask for a larger ResourceQuota, or remove Pods that are not needed"
            elif "is not allowed" in str(error):
                fix = "ask for the right to create Pods in the namespace"
            return failed("test Pod", str(error), fix)
        return None

    async def _wait(self, name: str) -> PodState:
        """Waits until the Pod has ended, or clearly never will run."""
        state = PodState(Stage.PENDING)
        begin = time.monotonic()
        while time.monotonic() - begin < (END_SECONDS if state.stage is Stage.STARTING else START_SECONDS):
            state = read_state(await self._console.get(f"/api/v1/{{ns}}/pods/{self._name}-{name}"), CONTAINER)
            if state.stage is Stage.READY:  # it has no probe of its own: it runs
                state = dataclasses.replace(state, stage=Stage.STARTING)
            if state.stage.over or state.hopeless or state.stage is Stage.PULL_FAILING:
                return state
            await asyncio.sleep(_POLL_SECONDS)
        return state

    def _not_started(self, state: PodState) -> Finding:
        words = state.reason or state.stage.value
        if state.stage is Stage.PULL_FAILING:
            return failed("test Pod", words, "correct image, its registry, or image_pull_secrets")
        if state.stage is Stage.GATED:
            return failed("test Pod", words, "free or raise the queue's quota; its label can be set with labels")
        if state.stage in (Stage.UNSCHEDULABLE, Stage.PENDING):
            return failed("test Pod", words, "free or add a node; look at node_selector and tolerations")
        if state.stage is Stage.CREATING:
            return failed(
                "test Pod", f"after {START_SECONDS:g} s: {words}", "a large image takes its time: run doctor again"
            )
        return failed("test Pod", words, "see kubectl describe pod, and the image's own log")

    async def _clean_up(self) -> None:
        for name in ("server", "client"):
            with contextlib.suppress(ClusterError):  # what could not be made cannot be deleted either
                await self._console.delete(f"/api/v1/{{ns}}/pods/{self._name}-{name}", grace_seconds=0)


def quota_problems(quota: dict[str, Any], configuration: Configuration) -> list[str]:
    """Describes each limit of a ResourceQuota that leaves too little for all workers."""
    status = quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    count = configuration.num_workers
    cpu, memory = count * configuration.worker_cpu, float(count * configuration.worker_memory_bytes)
    needs: dict[str, float] = {"pods": count, "count/pods": count}
    needs |= dict.fromkeys(("cpu", "requests.cpu", "limits.cpu"), cpu)
    needs |= dict.fromkeys(("memory", "requests.memory", "limits.memory"), memory)
    problems = []
    for name, needed in needs.items():
        if name not in hard:
            continue
        parse: Any = parse_memory if "memory" in name else parse_cpu
        if needed > parse(hard[name]) - parse(used.get(name, "0")):
            problems.append(f"{name}: {used.get(name, 0)} of {hard[name]} are used ({quota['metadata']['name']})")
    return problems


def probe_findings(found: dict[str, Any], namespace: str, configuration: Configuration) -> list[Finding]:
    """The findings from the report of a test Pod."""
    findings = [_versions(found)]
    if found["dns"] is None:
        findings.append(ok("dns", "names of the cluster are resolved"))
    else:
        findings.append(
            failed(
                "dns",
                f"kubernetes.default.svc is not resolved in a Pod: {found['dns']}",
                "look at CoreDNS (kubectl -n kube-system get pods), and let NetworkPolicies pass port 53",
            )
        )
    if "api" in found:
        findings.append(
            failed(
                "rights", f"a Pod does not reach the API: {found['api']}", "let NetworkPolicies pass egress to the API"
            )
        )
        return findings
    findings += [_network(found.get("network")), _rights(found["missing"], namespace, configuration)]
    return findings


def _network(found: dict[str, str | None] | None) -> Finding:
    if found is None:
        return skipped("network", "the second test Pod did not run, or the service account may not see it")
    blocked = "; ".join(f"port {port}: {problem}" for port, problem in found.items() if problem is not None)
    if blocked:
        return failed(
            "network",
            f"a driver's Pod does not reach a worker's: {blocked}",
            f"let NetworkPolicies pass {CONTROL_PORT} and {DATA_PORT} to Pods with the label daft.io/role=worker",
        )
    return ok("network", f"Pods reach one another at {' and '.join(found)}")


def _rights(missing: list[dict[str, Any]], namespace: str, configuration: Configuration) -> Finding:
    needed = [right for right in missing if not right["optional"]]
    named = ", ".join(f"{right['verb']} {right['resource']}" for right in missing)
    if needed:
        text = f"the driver's service account may not {named}"
        return failed("rights", text, f"its Role needs\n{role_rules_text(configuration)}")
    if named:
        return warning(
            "rights",
            f"the driver's service account may not {named}; it works without",
            f"daft-k8s rbac -n {namespace} | kubectl apply -f -",
        )
    return ok("rights", f"the driver's service account has all it needs in {namespace}")


def _versions(found: dict[str, Any]) -> Finding:
    here = {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "daft": importlib.metadata.version("daft"),
        "daft_k8s": version(),
    }
    shown = f"Python {found['python']}, Daft {found['daft']}, daft_k8s {found['daft_k8s']}"
    if found["daft"] is None or found["daft_k8s"] is None:
        return failed("image", f"it lacks Daft or daft_k8s ({shown})", "make it FROM the image of images/Dockerfile")
    try:
        checks.check_version(found["daft"])
    except VersionMismatchError:
        text = f"its Daft {found['daft']} is not supported, so no driver and no worker starts in it ({shown})"
        return failed("image", text, f"make it with {checks.SUPPORTED_RANGE}: images/Dockerfile does")
    if any(found[name] != own for name, own in here.items()):
        return warning(
            "image",
            f"it has {shown}; here are Python {here['python']}, Daft {here['daft']}, daft_k8s {here['daft_k8s']}",
            "a driver on this machine needs the same Daft, daft_k8s and Python minor version; one in the cluster does "
            "not",
        )
    return ok("image", shown)


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _fits(node: dict[str, Any], configuration: Configuration) -> bool:
    room = (node.get("status") or {}).get("allocatable") or {}
    cpu, memory = parse_cpu(room.get("cpu", "0")), parse_memory(room.get("memory", "0"))
    return cpu >= configuration.worker_cpu and memory >= configuration.worker_memory_bytes

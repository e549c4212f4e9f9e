"""A cluster in memory, as far as the launcher can see it."""

from __future__ import annotations

import asyncio
import copy
import datetime
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.launcher import PodLauncher
from daft_k8s.kube.objects.target import Owner, Target
from daft_k8s.kube.session.access import Access
from tests.unit.allocation.fakes import Pool

SECONDS = 20


class FakeCluster:
    """Its methods run on the launcher's event loop; what a test calls takes the lock."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.grace_periods: list[int] = []
        """Of the deletions of single Pods, in order."""
        self.secrets: dict[str, dict[str, Any]] = {}
        self.leases: dict[str, dict[str, Any]] = {}
        self.time = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        self.calls: list[str] = []
        self.problems: dict[str, list[ApiError]] = {}
        """By action: each is raised once, in order."""
        self.services: dict[str, dict[str, Any]] = {}
        self.stateful_sets: dict[str, dict[str, Any]] = {}
        self.quotas: list[dict[str, Any]] = []
        self.events: dict[str, list[dict[str, Any]]] = {}
        """By the name of the Pod that they are about."""
        self.pods_allowed: int | None = None
        """What a quota that cannot be read admits."""
        self.forbidden: set[str] = set()
        """Rights that the driver does not have, such as "watch pods"."""
        self.hangs: set[str] = set()
        """Actions that are never answered."""
        self.controller_is_away = False
        """Whether nobody makes the Pods of StatefulSets."""
        self.watch_is_deaf = False
        self.before_create: Callable[[], None] | None = None
        self.closed = False
        self.answered = True
        self._watches: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any]]]] = []
        self._threads = ThreadPoolExecutor()
        self._version = 100
        self._uids = 0
        self._changed = threading.Condition()

    # What a test does.

    def set_status(self, name: str, **status: Any) -> None:
        """Gives a Pod another status, as a kubelet or a scheduler would."""
        with self._changed:
            pod = self.pods[name]
            pod["status"] = status
            self._publish("MODIFIED", pod)

    def make_ready(self, name: str, ip: str = "10.0.0.9", *, ready: bool = True) -> None:
        own = {"name": "worker", "ready": ready, "state": {"running": {}}}
        self.set_status(name, phase="Running", podIP=ip, containerStatuses=[own])

    def wait_until(self, what: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(what, SECONDS), f"pods {list(self.pods)}, calls {self.calls}"

    # What the launcher does.

    async def create_pod(self, namespace: str, pod: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        self._called("create pods")
        await self._answer("create pods")
        if self.before_create is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, self.before_create)
        if dry_run:
            return pod
        with self._changed:
            name = pod["metadata"]["name"]
            if name in self.pods:
                raise ApiError("create pods", 409, f'pods "{name}" already exists', reason="AlreadyExists")
            if self.pods_allowed is not None and len(self.pods) >= self.pods_allowed:
                words = f"requested: pods=1, used: pods={len(self.pods)}, limited: pods={self.pods_allowed}"
                raise ApiError("create pods", 403, f'pods "{name}" is forbidden: exceeded quota: small, {words}')
            made = copy.deepcopy(pod) | {"status": {"phase": "Pending"}}
            made["metadata"]["uid"] = f"uid-{name}"
            self.pods[name] = made
            self._publish("ADDED", made)
            return copy.deepcopy(made)

    async def read_pod(self, namespace: str, name: str) -> dict[str, Any]:
        self._called("get pods")
        if name not in self.pods:
            raise ApiError("get pods", 404, "not found")
        return copy.deepcopy(self.pods[name])

    async def delete_pod(self, namespace: str, name: str, grace_seconds: int) -> None:
        self.grace_periods.append(grace_seconds)
        self._called("delete pods")
        self._delete(name)

    async def delete_pods(self, namespace: str, selector: str, grace_seconds: int) -> None:
        self._called("deletecollection pods")
        for name in [name for name, pod in self.pods.items() if fits(pod, selector)]:
            self._delete(name)

    async def list_pods(self, namespace: str, selector: str) -> tuple[list[dict[str, Any]], str]:
        self._called("list pods")
        return [copy.deepcopy(pod) for pod in self.pods.values() if fits(pod, selector)], str(self._version)

    async def watch_pods(self, namespace: str, selector: str, version: str) -> AsyncGenerator[dict[str, Any], None]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        watch = (asyncio.get_running_loop(), queue)
        with self._changed:
            self._watches.append(watch)
        try:
            self._called("watch pods")
            while True:
                event = await queue.get()
                if event["type"] == "END":
                    raise ApiError("watch pods", event["status"], "too old")
                if not self.watch_is_deaf and fits(event["object"], selector):
                    yield event
        finally:
            with self._changed:
                if watch in self._watches:
                    self._watches.remove(watch)

    async def create_secret(self, namespace: str, secret: dict[str, Any]) -> None:
        self._called("create secrets")
        await self._answer("create secrets")
        with self._changed:
            if secret["metadata"]["name"] in self.secrets:
                raise ApiError("create secrets", 409, "it is there", reason="AlreadyExists")
            self.secrets[secret["metadata"]["name"]] = secret
            self._changed.notify_all()

    async def delete_secret(self, namespace: str, name: str) -> None:
        self._called("delete secrets")
        self.secrets.pop(name, None)

    async def create_service(self, namespace: str, service: dict[str, Any]) -> None:
        self._called("create services")
        with self._changed:
            if service["metadata"]["name"] in self.services:
                raise ApiError("create services", 409, "it is there", reason="AlreadyExists")
            self.services[service["metadata"]["name"]] = service
            self._changed.notify_all()

    async def delete_service(self, namespace: str, name: str) -> None:
        self._called("delete services")
        self.services.pop(name, None)

    async def create_stateful_set(self, namespace: str, stateful_set: dict[str, Any]) -> None:
        self._called("create statefulsets")
        with self._changed:
            if stateful_set["metadata"]["name"] in self.stateful_sets:
                raise ApiError("create statefulsets", 409, "it is there", reason="AlreadyExists")
            self.stateful_sets[stateful_set["metadata"]["name"]] = copy.deepcopy(stateful_set)
            self._control()

    async def scale_stateful_set(self, namespace: str, name: str, replicas: int) -> None:
        self._called("patch statefulsets")
        with self._changed:
            if name not in self.stateful_sets:
                raise ApiError("patch statefulsets", 404, "not found", reason="NotFound")
            self.stateful_sets[name]["spec"]["replicas"] = replicas
            self._control()

    async def delete_stateful_set(self, namespace: str, name: str) -> None:
        self._called("delete statefulsets")
        with self._changed:
            self.stateful_sets.pop(name, None)

    async def list_quotas(self, namespace: str) -> list[dict[str, Any]]:
        self._called("list resourcequotas")
        return copy.deepcopy(self.quotas)

    async def list_events(self, namespace: str, pod: str) -> list[dict[str, Any]]:
        self._called("list events")
        return copy.deepcopy(self.events.get(pod, []))

    async def may(self, namespace: str, group: str, resource: str, verb: str) -> bool:
        self._called("review rights")
        return f"{verb} {resource}" not in self.forbidden

    async def create_lease(self, namespace: str, lease: dict[str, Any]) -> dict[str, Any]:
        self._called("create leases")
        with self._changed:
            made = copy.deepcopy(lease)
            made["metadata"]["uid"] = f"uid-{len(self.calls)}"
            self.leases[made["metadata"]["name"]] = made
            return copy.deepcopy(made)

    async def patch_lease(self, namespace: str, name: str, change: dict[str, Any]) -> None:
        self._called("patch leases")
        if name not in self.leases:
            raise ApiError("patch leases", 404, "not found")
        with self._changed:
            self.leases[name]["spec"] |= change["spec"]
            told = self.leases[name]["metadata"]["annotations"] | change["metadata"]["annotations"]
            # As a merge does: null removes.
            self.leases[name]["metadata"]["annotations"] = {key: told[key] for key in told if told[key] is not None}
            self._changed.notify_all()

    async def list_leases(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        self._called("list leases")
        return [copy.deepcopy(lease) for lease in self.leases.values() if fits(lease, selector)]

    async def delete_lease(self, namespace: str, name: str, uid: str = "") -> None:
        self._called("delete leases")
        found = self.leases.get(name)
        if found is not None and uid and found["metadata"].get("uid") != uid:
            raise ApiError("delete leases", 409, "the UID in the precondition does not match", reason="Conflict")
        if found is not None:
            del self.leases[name]
            self._collect(found["metadata"].get("uid"))

    def _collect(self, owner: str | None) -> None:
        """Deletes what an object that is gone has owned, as the cluster's garbage collector does."""
        for items in (self.pods, self.secrets, self.services, self.stateful_sets):
            for name, item in list(items.items()):
                references = (item.get("metadata") or {}).get("ownerReferences") or ()
                if owner and any(reference["uid"] == owner for reference in references):
                    (self._delete if items is self.pods else items.pop)(name)

    def now(self) -> datetime.datetime:
        return self.time

    async def open_port(self, namespace: str, pod: str, port: int) -> IdleStream:
        self._called("get pods/portforward")
        return IdleStream()

    async def answers(self) -> bool:
        return True

    async def close(self) -> None:
        self.closed = True

    @property
    def default_namespace(self) -> str | None:
        return "of-the-context"

    @property
    def address(self) -> str:
        return "https://cluster.test:6443"

    @property
    def origin(self) -> str:
        return "the context 'fake' of the kubeconfig /k"

    @property
    def has_answered(self) -> bool:
        return self.answered

    def break_watches(self, status: int) -> None:
        with self._changed:
            for loop, queue in self._watches:
                loop.call_soon_threadsafe(queue.put_nowait, {"type": "END", "status": status})
            self._watches.clear()

    def _delete(self, name: str) -> None:
        with self._changed:
            pod = self.pods.pop(name, None)
            if pod is not None:
                self._publish("DELETED", pod)
            self._control()

    def _control(self) -> None:
        """What the StatefulSets' controller does."""
        if self.controller_is_away:
            return
        for name, found in self.stateful_sets.items():
            names = [f"{name}-{number}" for number in range(found["spec"]["replicas"])]
            for pod in [pod for pod in self.pods if pod.startswith(f"{name}-") and pod not in names]:
                self._publish("DELETED", self.pods.pop(pod))
            for pod in names:
                if pod not in self.pods:
                    self._uids += 1
                    made = copy.deepcopy(found["spec"]["template"]) | {"status": {"phase": "Pending"}}
                    made["metadata"] |= {"name": pod, "uid": f"uid{self._uids:05}"}
                    self.pods[pod] = made
                    self._publish("ADDED", made)

    def _publish(self, kind: str, pod: dict[str, Any]) -> None:
        self._version += 1
        pod["metadata"]["resourceVersion"] = str(self._version)
        for loop, queue in self._watches:
            loop.call_soon_threadsafe(queue.put_nowait, {"type": kind, "object": copy.deepcopy(pod)})
        self._changed.notify_all()

    async def _answer(self, action: str) -> None:
        while action in self.hangs:
            await asyncio.sleep(3600)

    def _called(self, action: str) -> None:
        with self._changed:
            self.calls.append(action)
            self._changed.notify_all()
            problems = self.problems.get(action)
            if problems:
                raise problems.pop(0)


def fits(item: dict[str, Any], selector: str) -> bool:
    """Whether an object has the labels of a selector of the form "a=b,c=d"."""
    labels = item["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, _, value in (part.partition("=") for part in selector.split(",")))


class IdleStream:
    """A connection to a Pod that says nothing."""

    async def receive(self) -> memoryview:
        await asyncio.Event().wait()
        return memoryview(b"")

    async def send(self, content: bytes) -> None: ...

    async def close(self) -> None: ...


def make_launcher(
    cluster: FakeCluster,
    pool: Pool,
    *,
    session_id: str = "s1",
    poll_seconds: float = 30.0,
    forwarded: bool = False,
    job: str = "",
    **options: Any,
) -> PodLauncher:
    summarize = options.pop("summarize", str)

    async def target(_api: Any, _configuration: Configuration) -> Target:
        owner = None if forwarded else Owner("driver", "uid")
        return Target("jobs", "image", owner=owner, forwarded=forwarded, job=job)

    async def connect() -> FakeCluster:
        return cluster

    return PodLauncher(
        Configuration(**{"allocation": "pod", "num_workers": 2, **options}),
        session_id=session_id,
        token="secret-token",
        manager_getter=lambda: pool,
        access=Access(connect, target, forwarded=forwarded),
        summarize=summarize,
        poll_seconds=poll_seconds,
    )


def launch_held(launcher: PodLauncher, cluster: FakeCluster) -> threading.Event:
    """One launch, whose Pod's creation has begun and goes on when the event is set."""
    arrived, may_go_on = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        may_go_on.wait(SECONDS)

    cluster.before_create = hold
    launcher.launch("worker-0", 1)
    assert arrived.wait(SECONDS)
    return may_go_on

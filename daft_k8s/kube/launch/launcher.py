"""Workers as Pods of a cluster."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import UnsupportedError
from daft_k8s.kube.client.loop_thread import LoopThread
from daft_k8s.kube.launch.creation import Creation
from daft_k8s.kube.launch.replicas import Replicas
from daft_k8s.kube.launch.set_up import SetUp
from daft_k8s.kube.launch.sleep import SleepDetector, describe_sleep
from daft_k8s.kube.launch.stuck_pods import StuckPods
from daft_k8s.kube.launch.supply import BarePods, Supply
from daft_k8s.kube.launch.tracking import POLL_SECONDS, Tracker
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.target import Target
from daft_k8s.kube.pods import lifecycle
from daft_k8s.kube.pods.launches import Admitted, Exited, Key, Launches, Leaving, Postponed
from daft_k8s.kube.pods.lifecycle import Effect, Event, Lifecycle, Reachable
from daft_k8s.kube.reach.routes import Routes
from daft_k8s.kube.session import outside
from daft_k8s.kube.session.access import Access, choose
from daft_k8s.kube.session.session_objects import SessionObjects

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api
    from daft_k8s.pool_news import PoolNews

logger = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended, which on Linux the usual clock does not."""
_STOP_MARGIN_SECONDS = 3.0
_GRACE_SHARE = 0.9
"""Of the time between two lists: a Pod that no launch wants is deleted when the second list shows it."""


class PodLauncher:
    """Creates, tracks and deletes worker Pods. Thread-safe; `launch` and `stop` do not block.

    All its work runs on a separate event loop and thread, the imports of the client and the first calls included. So
    making a launcher takes no time.

    Args:
        configuration: The options of Pods, and the time-outs.
        session_id: The session.
        token: The session's secret.
        manager_getter: Gives the pool, which is made after its launcher; None once it is gone.
        certificates: The files with which a worker proves who it is; empty: nothing is encrypted.
        access: The access to the cluster; None: the default one. Tests give another.
        summarize: Says in few numbers what the session does; it is published with the Lease.
        poll_seconds: The time between two lists of the Pods.

    Raises:
        ConfigurationError: The configuration cannot become a Pod.
        UnsupportedError: The configuration needs a missing feature.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        session_id: str,
        token: str,
        manager_getter: Callable[[], PoolNews | None],
        certificates: Mapping[str, bytes] = MappingProxyType({}),
        access: Access | None = None,
        summarize: Callable[[], str] = str,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        check(configuration, session_id)
        access = access or choose(configuration)
        if access.forwarded:
            configuration = outside.with_patience(configuration)
        self._configuration = configuration
        self._session_id = session_id
        self._manager_getter = manager_getter
        self._poll_seconds = poll_seconds
        self._objects = SessionObjects(
            configuration,
            session_id=session_id,
            token=token,
            certificates=certificates,
            access=access,
            summarize=summarize,
        )
        self._launches = Launches(
            start_timeout_seconds=configuration.start_timeout_seconds,
            termination_seconds=math.ceil(configuration.drain_timeout_seconds),
            ask_at_once=not configuration.pip,  # while pip installs, a worker answers and does not serve
        )
        make_supply = Replicas if configuration.allocation == "statefulset" else BarePods
        self._supply: Supply = make_supply(
            configuration,
            session_id,
            objects=self._objects,
            launches=self._launches,
            grace_seconds=poll_seconds * _GRACE_SHARE,
        )
        self._lifecycle = Lifecycle(self._launches)
        self._set_up = SetUp(
            self._join, objects=self._objects, start_timeout_seconds=configuration.start_timeout_seconds
        )
        self._creation = Creation(
            configuration, self._launches, cluster=self._set_up.result, supply=self._supply, emit=self._handle
        )
        self._stuck_pods = StuckPods(self._launches, objects=self._objects, supply=self._supply)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._background: list[asyncio.Task[Any]] = []
        self._closed = False
        self._thread = LoopThread("daft-k8s-pods")
        self._routes = Routes(
            configuration, connect=access.connect if access.forwarded else None, emit=self._handle_soon
        )
        self._call(self._begin)

    @property
    def patience_seconds(self) -> float:
        """The time for which the pool waits for a worker that does not answer, before it counts as lost."""
        return self._routes.patience_seconds

    @property
    def cluster_problem(self) -> str:
        """The reason why the cluster cannot be reached at all, with what to change; "": none is known."""
        return self._set_up.cluster_problem

    def launch(self, worker_id: str, launch_id: int) -> None:
        """Creates a Pod; `worker_started` or `worker_exited` of the pool follow."""
        self._call(self._begin_launch, (worker_id, launch_id), time.monotonic())

    def stop(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Deletes a Pod; its worker may drain, and is killed if that takes too long."""
        self._handle_soon(lifecycle.EndWanted((worker_id, launch_id), reason))

    def kill(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Deletes a Pod whose worker would not drain; it is killed after a moment."""
        self._handle_soon(lifecycle.EndWanted((worker_id, launch_id), reason, forced=True))

    def worker_ready(self, worker_id: str) -> None:
        """The pool uses a worker: it serves, although the API may not have told so, and may be away."""
        self._handle_soon(lifecycle.Serves(worker_id))

    def shutdown(self, timeout_seconds: float) -> None:
        """Deletes everything that the session has made. Blocks for about the time-out at most. Idempotent.

        It does not wait until the Pods' processes have ended: the cluster sees to that.
        """
        if not self._thread.runs:
            return
        try:
            self._thread.run(self._shut_down(timeout_seconds), timeout_seconds + _STOP_MARGIN_SECONDS)
        finally:
            self._thread.stop(_STOP_MARGIN_SECONDS)
            self._routes.shutdown(_STOP_MARGIN_SECONDS)

    # Everything below runs on the event loop.

    def on_listed(self, pods: list[dict[str, Any]], asked_at: float) -> None:
        """A complete list."""
        self._handle(lifecycle.Changed(self._supply.was_listed(pods, asked_at=asked_at)))
        if not self._closed:
            self._spawn(self._supply.clear(pods, asked_at=asked_at))

    def on_event(self, kind: str, pod: Mapping[str, Any]) -> None:
        """An event of the watch."""
        now = time.monotonic()
        changes = self._supply.was_deleted(pod, now) if kind == "DELETED" else self._supply.saw(pod, now)
        self._handle(lifecycle.Changed(changes))

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        if not self._closed:
            self._thread.call(function, *arguments)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._thread.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("the work on a Pod failed", exc_info=task.exception())

    def _begin(self) -> None:
        # The clock of launches runs whether the cluster answers or not.
        self._keep_on(self._tick())
        self._set_up.start()

    def _keep_on(self, *parts: Coroutine[Any, Any, None]) -> None:
        for part in parts:
            task = self._thread.loop.create_task(part)
            task.add_done_callback(_report_death)
            self._background.append(task)

    async def _join(self) -> tuple[Api, Target]:
        api, target = await self._objects.set_up(self._creation.look_at_quotas)
        if not self._closed:
            tracker = Tracker(
                api,
                namespace=target.namespace,
                selector=self._objects.selector,
                news=self,
                poll_seconds=self._poll_seconds,
            )
            self._keep_on(tracker.run(), self._objects.keep(), self._stuck_pods.run())
        return api, target

    def _begin_launch(self, key: Key, asked_at: float) -> None:
        if not self._closed:  # the pool counts from when it asked, however busy this thread was
            self._handle(lifecycle.StartWanted(key, self._supply.begin(key, asked_at)))

    async def _tick(self) -> None:
        sleep = SleepDetector(time.clock_gettime(_CLOCK))
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if slept_seconds := sleep.look(time.clock_gettime(_CLOCK)):
                words = describe_sleep(slept_seconds, self._configuration.orphan_timeout_seconds)
                logger.warning("session %s: %s", self._session_id, words)
            self._handle(lifecycle.TimePassed())

    def _handle_soon(self, event: Event) -> None:
        """As `_handle`, from any thread; returns at once."""
        self._call(self._handle, event)

    def _handle(self, event: Event) -> None:
        """Has an event decided on, and carries out the effects."""
        for effect in self._lifecycle.handle(event, time.monotonic()):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case lifecycle.Create(key):
                self._spawn(self._creation.create(key))
            case lifecycle.SecureSecret():
                self._spawn(self._objects.secure())
            case lifecycle.Stop(key, pod, forced):
                self._spawn(self._stop(key, pod, forced=forced))
            case lifecycle.Remove(key):
                self._spawn(self._supply.remove(key))
            case lifecycle.Tidy(pod):
                self._spawn(self._supply.tidy(pod))
            case lifecycle.Forget(pod):
                self._supply.forget(pod)
            case lifecycle.OfferRoom():
                self._creation.room_may_have_come()
            case lifecycle.OpenRoute(key, address):
                self._spawn(self._open_route(key, address))
            case lifecycle.CloseRoute(key):
                self._routes.close(key)
            case lifecycle.Log(level, text):
                logger.log(level, "%s", text)
            case lifecycle.Report(news):
                pool = self._pool()
                if pool is not None:
                    _report(pool, news)

    async def _stop(self, key: Key, pod: str, *, forced: bool) -> None:
        await self._supply.stop(key, pod)
        if forced:
            await self._supply.remove(key)  # again, with a grace period that is shorter

    async def _open_route(self, key: Key, address: str) -> None:
        target = self._objects.target
        if target is not None and self._pool() is not None:
            pod, name = self._supply.pod_name(key), self._supply.peer_name(key, target)
            node = self._launches.node_of(key)
            await self._routes.open(key, address, namespace=target.namespace, pod=pod, node=node, name=name)

    def _pool(self) -> PoolNews | None:
        """The pool; None: it is to be told nothing any more, or is not there yet."""
        return None if self._closed else self._manager_getter()

    async def _shut_down(self, timeout_seconds: float) -> None:
        self._closed = True
        self._set_up.close()
        self._creation.close()
        self._routes.cancel()
        end = time.monotonic() + timeout_seconds
        # What is on its way to the API may arrive after a deletion, so it is waited for.
        under_way = [task for task in (self._set_up.task, *self._tasks) if task is not None and not task.done()]
        if under_way:
            await asyncio.wait(under_way, timeout=max(0.1, timeout_seconds / 2))
        try:
            await self._objects.tear_down(max(1.0, end - time.monotonic()))
        finally:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            if others:
                await asyncio.wait(others, timeout=_STOP_MARGIN_SECONDS / 2)
            await self._objects.close()


def check(configuration: Configuration, session_id: str) -> None:
    """Raises the errors that can be known before the cluster is asked.

    Raises:
        ConfigurationError: The `pod_template` sets what is the runner's own.
        UnsupportedError: The configuration asks for what is not there yet.
    """
    if configuration.elastic and configuration.allocation == "statefulset":
        raise UnsupportedError(
            'max_workers with allocation="statefulset" is not supported by daft_k8s: a StatefulSet only ever loses its '
            'last Pods, whatever these hold. Use allocation="pod" for a pool that grows and shrinks, or set num_workers'
        )
    sample = Target("default", configuration.image or "image")
    worker_pod(configuration, sample, session_id=session_id, worker_id="worker-0", launch_id=1)


def _report_death(task: asyncio.Task[Any]) -> None:
    """Logs that tracking has ended, which it never does by itself."""
    if not task.cancelled():
        logger.critical("the tracking of Pods has ended: %s", task.exception(), exc_info=task.exception())


def _report(pool: PoolNews, news: Postponed | Admitted | Leaving | Exited | Reachable) -> None:
    match news:
        case Postponed(key, reason):
            pool.worker_postponed(*key, reason)
        case Admitted(key):
            pool.worker_admitted(*key)
        case Leaving(key):
            pool.worker_leaving(*key)
        case Exited(key, reason, restartable, _, cause):
            pool.worker_exited(*key, reason, restartable, cause)
        case Reachable(key, control, data, None):
            pool.worker_started(*key, control, data)
        case Reachable(key, control, data, peer):
            pool.worker_started(*key, control, data, peer)

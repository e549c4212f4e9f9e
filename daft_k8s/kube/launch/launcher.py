"""Workers as Pods of a cluster."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ClusterError, UnsupportedError
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.loop_thread import LoopThread
from daft_k8s.kube.launch.ailments import Ailments
from daft_k8s.kube.launch.creation import Creation
from daft_k8s.kube.launch.replicas import Replicas
from daft_k8s.kube.launch.routes import Routes
from daft_k8s.kube.launch.supply import BarePods, Supply
from daft_k8s.kube.launch.tracking import POLL_SECONDS, Tracker
from daft_k8s.kube.objects.home import Home
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.quota import find_room
from daft_k8s.kube.pods.launches import Admitted, Exited, Key, Launches, Leaving, News, Postponed, Started
from daft_k8s.kube.pods.snapshots import Change
from daft_k8s.kube.pods.state import Stage
from daft_k8s.kube.session.access import Access, choose
from daft_k8s.kube.session.session_objects import SessionObjects

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.kube.client.api import Api
    from daft_k8s.pool_news import PoolNews

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 3.0
"""The time after which a line says that the cluster has not taken the session in yet."""
_TICK_SECONDS = 1.0
_STOP_MARGIN_SECONDS = 3.0
_GRACE_SHARE = 0.9
"""Of the time between two lists: a Pod that no launch wants is deleted when the second list shows it."""


class PodLauncher:
    """Creates, tracks and deletes worker Pods. Thread-safe; `launch` and `stop` do not block.

    All that it does runs on an event loop and a thread of its own, the imports of the client and the first
    questions to the cluster included, so making one takes no time.

    Args:
        configuration: What a Pod looks like, and the time-outs.
        session_id: The session.
        token: The session's secret.
        manager_getter: Gives the pool, which is made after its launcher; None once it is gone.
        certificates: The files with which a worker proves who it is; empty: nothing is encrypted.
        access: How this process gets at the cluster; None: it is found out. Tests give another.
        summarize: Says in few numbers what the session does; it is published with the Lease.
        poll_seconds: The time between two lists of the Pods.

    Raises:
        ConfigurationError: The configuration cannot become a Pod.
        UnsupportedError: It asks for what is not there yet.
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
        self._creation = Creation(
            configuration, self._launches, cluster=self._cluster, provide=self._create, tell=self._tell
        )
        self._ailments = Ailments(self._launches, objects=self._objects, supply=self._supply)
        self._setup: asyncio.Task[tuple[Api, Home]] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._background: list[asyncio.Task[Any]] = []
        self._closed = False
        self._cluster_problem = self._setup_problem = ""
        self._gates_told: set[str] = set()
        self._thread = LoopThread("daft-k8s-pods")
        self._routes = Routes(
            configuration,
            self._launches,
            access=access,
            objects=self._objects,
            supply=self._supply,
            pool=self._pool,
            tell=self._tell,
            stop=self._begin_stop,
            call=self._call,
        )
        self._call(self._begin)

    @property
    def patience_seconds(self) -> float:
        """How long the pool waits for a worker that answers nothing, before it takes it for lost by itself."""
        return self._routes.patience_seconds

    @property
    def cluster_problem(self) -> str:
        """The reason why the cluster cannot be reached at all, with what to change; "": none is known."""
        return self._cluster_problem

    def launch(self, worker_id: str, launch_id: int) -> None:
        """Creates a Pod; `worker_started` or `worker_exited` of the pool follow."""
        self._call(self._begin_launch, (worker_id, launch_id), time.monotonic())

    def stop(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Deletes a Pod; its worker may drain, and is killed if that takes too long."""
        self._call(self._begin_stop, (worker_id, launch_id), reason)

    def kill(self, worker_id: str, launch_id: int, reason: str) -> None:
        """Deletes a Pod whose worker would not drain; it is killed after a moment."""
        self._call(self._begin_kill, (worker_id, launch_id), reason)

    def worker_ready(self, worker_id: str) -> None:
        """The pool uses a worker: it serves, although the API may not have told so, and may be away."""
        self._call(self._launches.serves, worker_id)

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
        self._apply(self._supply.was_listed(pods, asked_at=asked_at))
        if not self._closed:
            self._spawn(self._supply.clear(pods, asked_at=asked_at))

    def on_event(self, kind: str, pod: Mapping[str, Any]) -> None:
        """An event of the watch."""
        now = time.monotonic()
        self._apply(self._supply.was_deleted(pod, now) if kind == "DELETED" else self._supply.saw(pod, now))

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
        self._thread.loop.call_later(SILENCE_SECONDS, self._tell_if_silent)
        self._begin_setup()

    def _keep_on(self, *parts: Coroutine[Any, Any, None]) -> None:
        for part in parts:
            task = self._thread.loop.create_task(part)
            task.add_done_callback(_report_death)
            self._background.append(task)

    def _begin_setup(self) -> asyncio.Task[tuple[Api, Home]]:
        setup = self._setup = self._thread.loop.create_task(self._set_up())
        setup.add_done_callback(self._end_setup)
        return setup

    def _end_setup(self, setup: asyncio.Task[tuple[Api, Home]]) -> None:
        problem = None if setup.cancelled() else setup.exception()  # launches tell it
        self._setup_problem = "" if problem is None else str(problem)
        self._cluster_problem = self._setup_problem if isinstance(problem, ClusterError) else ""

    def _tell_if_silent(self) -> None:
        """Warns once if the cluster has not taken the session in for a while: the first query only waits."""
        if self._closed or self._objects.home is not None or self._cluster_problem:
            return
        api = self._objects.api
        which = "the cluster" if api is None else f"the cluster at {api.address} ({api.origin})"
        logger.warning(
            "%s has not %s for %g s%s; it is waited for, at most start_timeout_seconds (%g)",
            which,
            "taken the session in" if api is not None and api.has_answered else "answered",
            SILENCE_SECONDS,
            f" ({self._setup_problem})" if self._setup_problem else "",
            self._configuration.start_timeout_seconds,
        )

    async def _set_up(self) -> tuple[Api, Home]:
        api, home = await self._objects.set_up(self._look_at_quotas)
        if not self._closed:
            tracker = Tracker(
                api,
                namespace=home.namespace,
                selector=self._objects.selector,
                news=self,
                poll_seconds=self._poll_seconds,
            )
            self._keep_on(tracker.run(), self._objects.keep(), self._ailments.run())
        return api, home

    async def _look_at_quotas(self, api: Api, home: Home) -> None:
        """Finds out how many workers fit. Without the right to, the refusals will tell."""
        try:
            quotas = await api.list_quotas(home.namespace)
        except ApiError as error:
            logger.debug("the namespace's quotas could not be read: %s", error)
            return
        sample = worker_pod(self._configuration, home, session_id=self._session_id, worker_id="worker-0", launch_id=1)
        room = find_room(quotas, sample)
        if room is not None:
            self._creation.foresee(room, home.namespace)

    def _begin_launch(self, key: Key, asked_at: float) -> None:
        if self._closed:
            return
        self._apply(self._supply.begin(key, asked_at))  # the pool counts from there, however busy this thread was
        self._spawn(self._creation.create(key))

    def _begin_stop(self, key: Key, reason: str) -> None:
        self._launches.told_to_stop(key, reason, time.monotonic())
        self._creation.room_may_have_come()
        pod = self._launches.pod_of(key)
        if pod is not None:
            self._spawn(self._supply.stop(key, pod))

    def _begin_kill(self, key: Key, reason: str) -> None:
        pod = self._launches.pod_of(key)
        self._launches.told_to_stop(key, reason, time.monotonic())
        if pod is not None:
            self._spawn(self._kill(key, pod))

    async def _kill(self, key: Key, pod: str) -> None:
        await self._supply.stop(key, pod)
        await self._supply.remove(key)  # again, with a grace period that is shorter

    async def _cluster(self) -> tuple[Api, Home]:
        """What the set-up gives; begins it anew if the last try has failed."""
        setup = self._setup
        if setup is None or (setup.done() and (setup.cancelled() or setup.exception())):
            setup = self._begin_setup()
        return await asyncio.shield(setup)

    async def _create(self, key: Key, api: Api, home: Home) -> None:
        # The home as it is now: its owner is another one if its Lease was lost and made again.
        self._spawn(self._objects.secure())  # what the Pod mounts; its node asks for it again and again
        changes = await self._supply.provide(key, api, self._objects.home or home)
        if self._closed or not self._launches.is_wanted(key):
            await self._supply.withdraw(key)  # the request to stop overtook its creation
        self._tell(self._launches.admitted(key, time.monotonic()))
        self._apply(changes)

    def _apply(self, changes: list[Change]) -> None:
        now = time.monotonic()
        for change in changes:
            if change.state.stage is Stage.UNSCHEDULABLE:
                logger.warning("the Pod %s waits: %s", change.name, change.state.reason)
            elif change.state.stage is Stage.GATED and change.state.reason not in self._gates_told:
                # Once: what a queue admits comes and goes in its time.
                self._gates_told.add(change.state.reason)
                logger.warning("the Pod %s waits, and others may: %s", change.name, change.state.reason)
            else:
                logger.debug("the Pod %s: %s %s", change.name, change.state.stage.name, change.state.reason)
            self._tell(self._launches.has_state(change.name, change.state, now))
            if change.state.stage.over:
                self._creation.room_may_have_come()
            if change.state.stage is Stage.GONE:
                self._supply.forget(change.name)
            elif change.state.stage.over and not change.state.going:
                self._spawn(self._supply.tidy(change.name))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._tell(self._launches.tick(time.monotonic()))

    def _tell(self, news: Sequence[News]) -> None:
        pool = self._pool()
        for item in news:
            if isinstance(item, Exited) and item.delete:
                self._spawn(self._supply.remove(item.key))
            if pool is None:
                continue
            if isinstance(item, Started):
                self._spawn(self._routes.announce(item))
            elif isinstance(item, Postponed):
                pool.worker_postponed(*item.key, item.reason)
            elif isinstance(item, Admitted):
                pool.worker_admitted(*item.key)
            elif isinstance(item, Leaving):
                pool.worker_leaving(*item.key)
            else:
                self._routes.close(item.key)
                pool.worker_exited(*item.key, item.reason, item.restartable, item.cause)

    def _pool(self) -> PoolNews | None:
        """None: nobody is to be told any more, or not yet."""
        return None if self._closed else self._manager_getter()

    async def _shut_down(self, timeout_seconds: float) -> None:
        self._closed = True
        self._creation.close()
        self._routes.cancel()
        end = time.monotonic() + timeout_seconds
        # What is on its way to the API may arrive after a deletion, so it is waited for.
        under_way = [task for task in (self._setup, *self._tasks) if task is not None and not task.done()]
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
    """Raises whatever can be known before the cluster is asked.

    Raises:
        ConfigurationError: The `pod_template` sets what is the runner's own.
        UnsupportedError: The configuration asks for what is not there yet.
    """
    if configuration.elastic and configuration.allocation == "statefulset":
        raise UnsupportedError(
            'max_workers with allocation="statefulset" is not supported by daft_k8s: a StatefulSet only ever loses its '
            'last Pods, whatever these hold. Use allocation="pod" for a pool that grows and shrinks, or set num_workers'
        )
    sample = Home("default", configuration.image or "image")
    worker_pod(configuration, sample, session_id=session_id, worker_id="worker-0", launch_id=1)


def _report_death(task: asyncio.Task[Any]) -> None:
    """Tracking never ends by itself; if it does, everybody must know."""
    if not task.cancelled():
        logger.critical("the tracking of Pods has ended: %s", task.exception(), exc_info=task.exception())

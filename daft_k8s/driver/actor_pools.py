"""All actors of a session: starts pools, follows their workers, and ends them.

Runs on the session's event loop. A worker tells of its actors by calls to the driver, which arrive even over
broken connections; the loss of a worker is told by the pool of workers.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from daft_k8s.driver.actor_admission import admit
from daft_k8s.driver.actor_owners import PoolOwners
from daft_k8s.driver.actor_placement import Capacity, Placement
from daft_k8s.driver.actor_pool import (
    MAX_CONSTRUCTIONS_AGAIN,
    MAX_MOVES,
    Actor,
    ActorPool,
    ActorState,
    PoolRequest,
)
from daft_k8s.driver.actor_routes import ActorRoutes
from daft_k8s.errors import ActorError
from daft_k8s.wire.calls import ActorEvent, ActorNews, ActorPresence, ActorRoute, CheckActor, Done, FindActor

if TYPE_CHECKING:
    from concurrent.futures import Future

    from daft_k8s.driver.session import Session

logger = logging.getLogger("daft_k8s")


_IF_KILLED = "if it was for want of memory, raise worker_memory, or lower the UDF's max_concurrency or what it loads"


class ActorPools:
    """The session's actors."""

    def __init__(self, session: Session) -> None:
        configuration = session.configuration
        self._session = session
        self._loop = session.loop
        self._most_bytes = configuration.max_message_bytes
        self._most_workers = max(configuration.num_workers, configuration.max_workers or 0)
        self._placement = Placement(
            Capacity(
                cpus=max(1.0, configuration.worker_cpu),
                gpus=configuration.worker_gpu,
                memory_bytes=configuration.worker_memory_bytes,
            )
        )
        self._pools: dict[str, ActorPool] = {}
        self._routes = ActorRoutes(self._pools, self._revive)
        self._owners = PoolOwners()
        self._needed = 0
        session.calls.add(ActorNews, self.on_news)
        session.calls.add(FindActor, self.find_actor)
        session.calls.add(CheckActor, self.check_actor)
        session.add_worker_listener(self)

    # ------------------------------------------------------------------------------- workers

    def worker_ready(self, worker_id: str) -> None:
        """A worker takes actors from now on."""
        self.worker_lost(worker_id, "its process was replaced")
        self._placement.add_worker(worker_id)
        self._place_waiting()

    def worker_lost(self, worker_id: str, reason: str) -> None:
        """A worker is gone, and its actors with it; they are started elsewhere if that is allowed."""
        lost = self._placement.remove_worker(worker_id)
        for pool, actor in self._find_all(lost):
            told = f"{worker_id} was lost: {reason}"
            if actor.state is ActorState.STARTING:
                # With its container, perhaps, for what it took itself.
                self._on_killed(pool, actor, told)
                continue
            actor.reason = told
            actor.moves += 1
            may_move = pool.starting or pool.request.stateless
            if may_move and actor.moves <= MAX_MOVES:
                actor.state, actor.place = ActorState.WAITING, None
            else:
                actor.state = ActorState.FAILED
            pool.changed()
        self._place_waiting()

    # ------------------------------------------------------------------------------- starting

    async def start(self, request: PoolRequest) -> ActorPool:
        """Starts a pool; returns it as soon as all its actors are ready, or with those that are after the time-out.

        Raises:
            ConfigurationError: The request makes no sense.
            ActorError: No worker could ever hold one of its actors, or none came up in time.
            Exception: The exception of a constructor.
        """
        pool = self._admit(request)
        self._register(pool)
        return await self._bring_up(pool)

    def begin(self, request: PoolRequest) -> tuple[str, Future[ActorPool]]:
        """As `start`, but waits for nothing; returns the pool's id and what `start` would. Thread-safe.

        Raises:
            ConfigurationError: The request makes no sense.
            ActorError: No worker could ever hold one of its actors.
        """
        pool = self._admit(request)
        # Before any task that uses it can bind it to its query.
        self._loop.call_soon_threadsafe(self._register, pool)
        return pool.pool_id, asyncio.run_coroutine_threadsafe(self._bring_up(pool), self._loop)

    def _admit(self, request: PoolRequest) -> ActorPool:
        self._session.ensure_open()
        request = admit(
            request, capacity=self._placement.capacity, most_workers=self._most_workers, most_bytes=self._most_bytes
        )
        return ActorPool(uuid.uuid4().hex[:12], request)

    def _register(self, pool: ActorPool) -> None:
        self._pools[pool.pool_id] = pool
        self._owners.add(pool.pool_id)

    async def _bring_up(self, pool: ActorPool) -> ActorPool:
        request = pool.request
        try:
            self._place_waiting()
            await self._until_started(pool)
        except BaseException:
            self.stop(pool.pool_id)
            raise
        late = pool.in_state(ActorState.WAITING, ActorState.STARTING)
        if late:
            logger.warning(
                "%s goes on with %d of %d actors; after %g s %s",
                request.name,
                len(pool.actors) - len(late),
                request.count,
                request.start_timeout_seconds,
                pool.reasons(),
            )
        for actor in late:
            self._take_down(actor)
        pool.actors = pool.in_state(ActorState.READY)
        pool.starting = False
        self._report_need()
        return pool

    async def _until_started(self, pool: ActorPool) -> None:
        deadline = time.monotonic() + pool.request.start_timeout_seconds
        while pool.in_state(ActorState.WAITING, ActorState.STARTING, ActorState.FAILED):
            self._session.ensure_open()
            if self._pools.get(pool.pool_id) is not pool:
                raise ActorError(f"the query of {pool.request.name} has ended")
            failed = pool.in_state(ActorState.FAILED)
            if failed:
                raise pool.error_of(failed[0], trust_workers=self._session.configuration.trust_workers)
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await pool.wait_for_change(left)
        if not pool.in_state(ActorState.READY):
            raise ActorError(
                f"UDF actors failed to start within {pool.request.start_timeout_seconds:g} seconds: {pool.reasons()}; "
                "if they are only slow, call daft.set_execution_config(actor_udf_ready_timeout=...)"
            )

    def _place_waiting(self) -> None:
        """Gives room to those who wait, pools in the order in which they came."""
        if self._session.closed:
            return
        for pool in list(self._pools.values()):
            for actor in pool.in_state(ActorState.WAITING):
                if not pool.retired:
                    self._place(pool, actor)
        self._report_need()

    def _report_need(self) -> None:
        """Has an elastic pool of workers grow for those who wait: tasks that would make it do so come after them."""
        if self._session.configuration.max_workers is None:
            return
        waiting = [
            (pool.request.demand, len(pool.in_state(ActorState.WAITING)))
            for pool in self._pools.values()
            if not pool.retired
        ]
        needed = min(self._most_workers, self._placement.workers_needed(waiting))
        if needed != self._needed:
            self._needed = needed
            self._session.manager.need_workers(needed)

    def _place(self, pool: ActorPool, actor: Actor) -> None:
        demand = pool.request.demand
        place = self._placement.place(actor.actor_id, demand, avoided=actor.avoided)
        is_first = not pool.in_state(ActorState.STARTING, ActorState.READY)
        if place is None and is_first and pool.request.shares_cpus:
            # A pool without any actor might wait for ever for one that waits for it: two UDFs of one plan.
            # CPUs are shared with tasks in any case, so the first actor may share them with other actors.
            place = self._placement.place(actor.actor_id, demand, share_cpus=True, avoided=actor.avoided)
        if place is None:
            return
        actor.place = place
        actor.generation += 1
        actor.state = ActorState.STARTING
        spec = pool.spec_of(actor)
        if not self._session.manager.start_actor(place.worker_id, actor.actor_id, spec.encode()):
            # It is not ready any more, of which the news is on its way.
            self._placement.release(actor.actor_id)
            actor.state, actor.place = ActorState.WAITING, None
            actor.generation -= 1

    # ------------------------------------------------------------------------------- calls of workers

    async def find_actor(self, _worker_id: str, request: FindActor) -> ActorRoute:
        """Names the location of an actor, once there is one."""
        return await self._routes.find(request.pool_id, request.actor_id, request.failed)

    def check_actor(self, _worker_id: str, request: CheckActor) -> ActorPresence:
        """Tells without waiting if an actor is where a task looked for it."""
        return ActorPresence(self._routes.is_there(request.pool_id, request.actor_id, request.generation))

    def on_news(self, worker_id: str, news: ActorNews) -> Done:
        """Follows an event of an actor."""
        actor_id, event, generation = news.actor_id, news.event, news.generation
        found = [
            (pool, actor)
            for pool, actor in self._find_all([actor_id])
            if actor.generation == generation and actor.place is not None and actor.place.worker_id == worker_id
        ]
        if not found and event is ActorEvent.READY and not self._session.closed:
            # Its start reached a worker's next process before the news came that the one before was lost. The actor
            # is elsewhere now or not wanted at all, and nobody else would stop this copy.
            self._session.manager.stop_actor(worker_id, actor_id, generation)
        for pool, actor in found:
            if event is ActorEvent.READY and actor.state is ActorState.STARTING:
                actor.state, actor.address = ActorState.READY, news.address
            elif event is ActorEvent.LATE and pool.starting:
                actor.reason = news.reason  # the pool's own time-out is about to tell what that means
            elif event is ActorEvent.KILLED:
                self._take_down(actor)
                self._on_killed(pool, actor, news.reason)
                self._place_waiting()
            elif event in (ActorEvent.LATE, ActorEvent.FAILED):
                self._take_down(actor)
                actor.state, actor.reason, actor.error = ActorState.FAILED, news.reason, news.error
                self._place_waiting()
            pool.changed()
        return Done()

    def _on_killed(self, pool: ActorPool, actor: Actor, reason: str) -> None:
        """An actor or its worker was killed in its constructor."""
        actor.kills += 1
        actor.avoided = "" if actor.place is None else actor.place.worker_id
        if actor.kills <= MAX_CONSTRUCTIONS_AGAIN:
            label, most = pool.label(actor), MAX_CONSTRUCTIONS_AGAIN
            logger.warning("%s is started again (%d of %d): %s", label, actor.kills, most, reason)
            actor.state, actor.place, actor.reason = ActorState.WAITING, None, reason
        else:
            actor.state = ActorState.FAILED
            actor.reason = f"{reason}\nIt was killed in its constructor {actor.kills} times: {_IF_KILLED}"
        pool.changed()

    def _revive(self, retired: ActorPool) -> ActorPool:
        pool = retired.fresh_copy()
        pool.starting = False
        self._pools[pool.pool_id] = pool
        self._place_waiting()
        return pool

    # ------------------------------------------------------------------------------- ending

    def begin_query(self, query_id: str) -> None:
        """A query begins, to which pools that start from now on may belong. Thread-safe."""
        self._loop.call_soon_threadsafe(self._owners.begin_query, query_id)

    def bind(self, query_id: str, pool_ids: Iterable[str]) -> Callable[[], None]:
        """Ends these pools with this query, of which a task uses them, and none of them before that task. Thread-safe.

        Returns:
            What to call when the task has ended; only the first call counts. Thread-safe, too.
        """
        used = set(pool_ids)
        if used:
            self._loop.call_soon_threadsafe(self._bind, query_id, frozenset(used))

        def release() -> None:
            if used and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._release, used)

        return release

    def end_query(self, query_id: str) -> None:
        """Ends the pools of a query. Thread-safe."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._stop_all(self._owners.end_query(query_id)))

    def retire(self, pool_id: str) -> None:
        """Daft is done with a pool: its actors make room for others once no task is left to call them. Thread-safe."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._drop, pool_id)

    def find(self, pool_id: str) -> ActorPool | None:
        """The pool of this id, unless its query has ended."""
        return self._pools.get(pool_id)

    async def any_ready(self, pool_id: str) -> ActorPool:
        """A pool that has a ready actor, as soon as it has one.

        Raises:
            ActorError: There is none, and there will be none.
        """
        await self._routes.find(pool_id, "", ())
        return self._pools[pool_id]

    def stop(self, pool_id: str) -> None:
        """Ends a pool for good."""
        pool = self._pools.pop(pool_id, None)
        self._owners.forget(pool_id)
        if pool is not None:
            self._take_all_down(pool)

    def close(self) -> None:
        """Forgets all pools; their workers end, and the actors with them."""
        self._pools.clear()

    def __len__(self) -> int:
        return len(self._pools)

    def _stop_all(self, pool_ids: Iterable[str]) -> None:
        for pool_id in pool_ids:
            self.stop(pool_id)

    def _bind(self, query_id: str, pool_ids: Iterable[str]) -> None:
        self._stop_all(self._owners.bind(query_id, pool_ids))
        for pool_id in pool_ids:
            pool = self._pools.get(pool_id)
            if pool is not None:
                pool.unfinished_tasks += 1

    def _release(self, used: set[str]) -> None:
        while used:
            pool = self._pools.get(used.pop())
            if pool is not None:
                pool.unfinished_tasks -= 1
                self._retire_if_unused(pool)

    def _drop(self, pool_id: str) -> None:
        pool = self._pools.get(pool_id)
        if pool is not None:
            pool.dropped = True
            self._retire_if_unused(pool)

    def _retire_if_unused(self, pool: ActorPool) -> None:
        # With LIMIT, Daft drops a pool while tasks are still in calls.
        if pool.retired or not pool.dropped or pool.unfinished_tasks:
            return
        if pool.starting or not pool.request.stateless:
            self.stop(pool.pool_id)
            return
        pool.retired = True
        self._take_all_down(pool)

    def _take_all_down(self, pool: ActorPool) -> None:
        for actor in pool.actors:
            self._take_down(actor)
        pool.changed()
        self._place_waiting()

    def _take_down(self, actor: Actor) -> None:
        if actor.place is not None and not self._session.closed:
            self._session.manager.stop_actor(actor.place.worker_id, actor.actor_id, actor.generation)
        self._placement.release(actor.actor_id)

    def _find_all(self, actor_ids: Sequence[str]) -> list[tuple[ActorPool, Actor]]:
        found = []
        for actor_id in actor_ids:
            pool = self._pools.get(actor_id.partition("/")[0])
            actor = None if pool is None else pool.find(actor_id)
            if pool is not None and actor is not None:
                found.append((pool, actor))
        return found

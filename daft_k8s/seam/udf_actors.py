"""Daft's hooks for UDFs with actors: a pool of fixed size, and one that grows with the tasks that wait."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import ActorError
from daft_k8s.seam.actors import DriverActorHandle
from daft_k8s.seam.carried import carried
from daft_k8s.seam.parts import parts_of
from daft_k8s.wire.actor_messages import UDF_ACTOR
from daft_k8s.wire.raised import carrying, headline

if TYPE_CHECKING:
    from concurrent.futures import Future

    from daft.daft import PyExpr

    from daft_k8s.driver.actor_pools import ActorPool, ActorPools
    from daft_k8s.driver.actor_request import PoolRequest

logger = logging.getLogger("daft_k8s")


@carried
async def start_udf_actors(
    projection: PyExpr,
    num_actors: int,
    num_gpus_per_actor: float,
    num_cpus_per_actor: float,
    memory_per_actor: float,
    ray_options: dict[str, Any] | None,
    timeout: int,
    actor_name: str | None = None,
) -> list[DriverActorHandle]:
    """The actors of one UDF, at least one; which, is decided once all are ready or the time-out is over."""
    name = _name_of(actor_name)
    demand = demand_of(name, num_cpus_per_actor, num_gpus_per_actor, memory_per_actor, ray_options)
    pools, request = await _prepare(projection, name, num_actors, demand, timeout)
    return _handles_of(await pools.start(request), pools)


@carried
async def start_udf_actor_pool(
    projection: PyExpr,
    min_actors: int,
    max_actors: int,
    num_gpus_per_actor: float,
    num_cpus_per_actor: float,
    memory_per_actor: float,
    ray_options: dict[str, Any] | None,
    timeout: int,
    actor_name: str | None = None,
) -> UdfActorPool:
    """The actors of one UDF that has a lower and an upper bound; the lower one is started now.

    Daft 0.7.26 does not call this. The hook is that of a proposed change (min_concurrency beside max_concurrency).
    """
    name = _name_of(actor_name)
    demand = demand_of(name, num_cpus_per_actor, num_gpus_per_actor, memory_per_actor, ray_options)
    pools, request = await _prepare(projection, name, min_actors, demand, timeout)
    started = await pools.start(request)
    pool = UdfActorPool(pools, request, started, max_actors)
    if min_actors < max_actors and len(started.actor_ids) < min_actors:
        # Where both are the same, Daft was given one number, which has always been an upper bound.
        missing = min_actors - len(started.actor_ids)
        pool.teardown()
        raise ActorError(
            f"{name} needs at least {min_actors} actors (min_concurrency), but {missing} of them did not start in "
            f"{timeout} seconds; lower min_concurrency, or give the session more workers"
        )
    return pool


class UdfActorPool:
    """Actors of one UDF, as many as there are tasks for, between two bounds. Used on the session's event loop.

    Actors above the lower bound are started one by one and take calls once they are ready: no task waits for them.
    They stay until the pool ends.
    """

    def __init__(self, pools: ActorPools, request: PoolRequest, started: ActorPool, max_actors: int) -> None:
        self._pools = pools
        # A first actor may share the CPUs of other actors, so that no query waits for ever; these are not needed.
        self._request = dataclasses.replace(request, count=1, shares_cpus=False)
        self._min_actors, self._max_actors = request.count, max_actors
        self._handles = _handles_of(started, pools)
        self._coming: dict[str, Future[ActorPool]] = {}
        self._ended = False

    @carried
    async def get_actor_handles(self, pending_tasks: int = 1) -> list[DriverActorHandle]:
        """The actors that take calls; so many tasks wait or run, and more actors are started for them."""
        wanted = min(self._max_actors, max(self._min_actors, pending_tasks))
        for _ in range(wanted - len(self._handles) - len(self._coming)):
            self._start_one()
        return list(self._handles)

    @carried
    async def get_leased_actor_handles(self, pending_tasks: int = 1) -> list[DriverActorHandle]:
        """As `get_actor_handles`, for a task. A pool of ours ends only after the tasks that use it in any case."""
        return await self.get_actor_handles(pending_tasks)

    def release_actor_handles(self) -> None:
        """A task that had a lease has ended."""

    def cleanup_retired_actors(self) -> None:
        """Actors are retired with the whole pool only."""

    def teardown(self) -> None:
        """Daft is done with the UDF. Never raises."""
        self._ended = True
        coming, self._coming = self._coming, {}
        for pool_id in coming:
            with contextlib.suppress(Exception):
                self._pools.retire(pool_id)
        handles, self._handles = self._handles, []
        for handle in handles:
            with contextlib.suppress(Exception):
                handle.teardown()

    def __del__(self) -> None:
        # Daft drops the pool of a query that failed or was cancelled without tearing it down.
        self.teardown()

    def _start_one(self) -> None:
        pool_id, future = self._pools.begin(self._request)
        self._coming[pool_id] = future
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda ended: loop.call_soon_threadsafe(self._joined, pool_id, ended))

    def _joined(self, pool_id: str, started: Future[ActorPool]) -> None:
        self._coming.pop(pool_id, None)
        if started.cancelled():
            return
        error = started.exception()
        if error is not None:
            logger.info("%s goes on with %d actors: %s", self._request.name, len(self._handles), headline(error))
        elif self._ended:
            self._pools.retire(pool_id)
        else:
            self._handles += _handles_of(started.result(), self._pools)


def _name_of(actor_name: str | None) -> str:
    return f"UDF {actor_name}" if actor_name else "a UDF"


def _handles_of(pool: ActorPool, pools: ActorPools) -> list[DriverActorHandle]:
    return [DriverActorHandle(pool.pool_id, actor_id, pools) for actor_id in pool.actor_ids]


async def _prepare(
    projection: PyExpr, name: str, count: int, demand: Any, timeout: int
) -> tuple[ActorPools, PoolRequest]:
    from daft_k8s.driver.actor_request import PoolRequest
    from daft_k8s.driver.session import current_session

    parts = parts_of(current_session())
    # On a thread: with the data that the UDF refers to, it may be large, and all queries share the event loop.
    arguments = await asyncio.to_thread(carrying(_pickle_projection), name, projection)
    request = PoolRequest(
        name=name,
        factory=UDF_ACTOR,
        arguments=(arguments,),
        count=count,
        demand=demand,
        start_timeout_seconds=float(timeout),
        code=parts.code.reference,
        folder=parts.query_folders.latest(),
        search_path=parts.search_path.current(),
    )
    return parts.actor_pools, request


def _pickle_projection(name: str, projection: PyExpr) -> bytes:
    from daft.expressions import Expression, ExpressionsProjection
    from daft.pickle import dumps

    from daft_k8s.errors import CodeError

    try:
        pickled: bytes = dumps((dumps(ExpressionsProjection([Expression._from_pyexpr(projection)])),))
    except BaseException as error:  # whatever the __reduce__ of a user's object raises
        raise CodeError(
            f"{name} cannot be sent to the workers, because an object of yours in it cannot be pickled: "
            f"{headline(error)}. Make what it names (a lock, a connection) in __init__, which runs on the workers"
        ) from error
    return pickled


def demand_of(name: str, cpus: float, gpus: float, memory_bytes: float, ray_options: dict[str, Any] | None) -> Any:
    """The needs of an actor; Ray's options of the same meaning go first, the others are refused.

    Raises:
        UnsupportedError: Naming the option and what to use instead.
    """
    from daft_k8s.driver.actor_request import Demand
    from daft_k8s.seam.unsupported import refuse

    options = {key: value for key, value in (ray_options or {}).items() if value not in (None, {}, "")}
    cpus = options.pop("num_cpus", cpus)
    gpus = options.pop("num_gpus", gpus)
    memory_bytes = options.pop("memory", memory_bytes)
    options.pop("scheduling_strategy", None)  # actors are always spread
    if "label_selector" in options:
        refuse(f"a label_selector for one UDF ({name})", "choose the nodes of all workers with node_selector")
    if "runtime_env" in options:
        refuse(f"a runtime_env for one UDF ({name})", "put what it needs into the workers' image")
    if options:
        refuse(f"ray_options {', '.join(sorted(options))} of {name}", "leave them out")
    return Demand(cpus=float(cpus), gpus=float(gpus), memory_bytes=int(memory_bytes or 0))

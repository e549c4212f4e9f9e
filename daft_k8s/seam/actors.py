"""Daft's hooks for UDFs with actors, and the handles of actors that travel inside plans.

Workers import this module to unpickle the handles, so it imports neither Daft nor the driver.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft.daft import PyExpr, PyMicroPartition

    from daft_k8s.driver.actor_pools import ActorPools
    from daft_k8s.driver.session import Session
    from daft_k8s.worker.actor_calls import ActorPlace

_UDF_ACTOR = "daft_k8s.worker.udf_actor:UdfActor"

_collector = threading.local()


@contextlib.contextmanager
def collect_pickled_pools() -> Iterator[set[str]]:
    """Gathers the pools of whose actors this thread pickles handles meanwhile, i.e. those that a plan uses."""
    outer = getattr(_collector, "pools", None)
    pools: set[str] = set()
    _collector.pools = pools
    try:
        yield pools
    finally:
        _collector.pools = outer


def note_pickled_pool(pool_id: str) -> None:
    """Tells whoever gathers pools on this thread that a plan uses this one."""
    pools = getattr(_collector, "pools", None)
    if pools is not None:
        pools.add(pool_id)


class ActorHandle:
    """A worker's handle of one actor. In the driver it also says which plans use its pool."""

    def __init__(self, pool_id: str, actor_id: str) -> None:
        self.pool_id = pool_id
        self.actor_id = actor_id

    def __reduce__(self) -> tuple[Callable[..., ActorHandle], tuple[str, str]]:
        note_pickled_pool(self.pool_id)
        return ActorHandle, (self.pool_id, self.actor_id)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the actor, from a worker."""
        from daft_k8s.worker.actor_calls import call_actor

        return await call_actor(self.pool_id, self.actor_id, method, *arguments)

    async def call_and_stay(self, method: str, *arguments: Any) -> tuple[Any, ActorPlace]:
        """As `call`; returns also where the actor is that has answered, for calls that mean nothing elsewhere."""
        from daft_k8s.worker.actor_calls import call_and_stay

        return await call_and_stay(self.pool_id, self.actor_id, method, *arguments)

    def call_blocking(self, method: str, *arguments: Any) -> Future[Any]:
        """As `call`, on a thread of the worker that is not its event loop's."""
        from daft_k8s.worker.actor_calls import call_actor_blocking

        return call_actor_blocking(self.pool_id, self.actor_id, method, *arguments)

    async def eval_input(self, partition: PyMicroPartition) -> PyMicroPartition:
        """Daft calls this for each piece of rows, one of two for each actor at a time."""
        result: PyMicroPartition = await self.call("eval_input", partition)
        return result


class DriverActorHandle(ActorHandle):
    """The handle that Daft's scheduler holds; the pool ends with the last of them."""

    def __init__(self, pool_id: str, actor_id: str, pools: ActorPools) -> None:
        super().__init__(pool_id, actor_id)
        self._pools = pools

    def teardown(self) -> None:
        """Daft is done with the actor, i.e. with all of its pool."""
        self._pools.retire(self.pool_id)

    def __del__(self) -> None:
        # Daft drops the handles of a query that failed or was cancelled without tearing anything down.
        with contextlib.suppress(Exception):
            self.teardown()


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
    from daft_k8s.driver.actor_pool import PoolRequest
    from daft_k8s.driver.session import current_session
    from daft_k8s.seam.hooks import code_shipment

    name = f"UDF {actor_name}" if actor_name else "a UDF"
    session = current_session()
    # On a thread: with the data that the UDF refers to, it may be large, and the event loop is everybody's.
    arguments = await asyncio.to_thread(_pickle_projection, name, projection)
    pools = actor_pools(session)
    pool = await pools.start(
        PoolRequest(
            name=name,
            factory=_UDF_ACTOR,
            arguments=(arguments,),
            count=num_actors,
            demand=demand_of(name, num_cpus_per_actor, num_gpus_per_actor, memory_per_actor, ray_options),
            start_timeout_seconds=float(timeout),
            code=code_shipment(session).reference,
        )
    )
    return [DriverActorHandle(pool.pool_id, actor.actor_id, pools) for actor in pool.actors]


def _pickle_projection(name: str, projection: PyExpr) -> bytes:
    from daft.expressions import Expression, ExpressionsProjection
    from daft.pickle import dumps

    from daft_k8s.errors import CodeError

    try:
        pickled: bytes = dumps((dumps(ExpressionsProjection([Expression._from_pyexpr(projection)])),))
    except Exception as error:  # whatever the __reduce__ of somebody's object raises
        raise CodeError(
            f"{name} cannot be sent to the workers, because an object of yours in it cannot be pickled: {error}. Make "
            "what it names (a lock, a connection) in __init__, which runs on the workers"
        ) from error
    return pickled


def demand_of(name: str, cpus: float, gpus: float, memory_bytes: float, ray_options: dict[str, Any] | None) -> Any:
    """What an actor needs; Ray's options of the same meaning go first, the others are refused.

    Raises:
        UnsupportedError: Naming the option and what to use instead.
    """
    from daft_k8s.driver.actor_placement import Demand
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


def actor_pools(session: Session) -> ActorPools:
    """The session's actors."""
    from daft_k8s.driver.actor_pools import ActorPools
    from daft_k8s.errors import ConfigurationError

    pools = session.attachments.get("actors")
    if not isinstance(pools, ActorPools):
        raise ConfigurationError("the session was not started through daft_k8s.set_runner_k8s")
    return pools

"""The handles of actors that travel inside plans.

Workers import this module to unpickle the handles, so it imports neither Daft nor the driver.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft.daft import PyMicroPartition

    from daft_k8s.driver.actor_pools import ActorPools
    from daft_k8s.driver.session import Session
    from daft_k8s.worker.actor_calls import ActorPlace

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

    async def eval_input(self, input: PyMicroPartition) -> PyMicroPartition:
        """Daft calls this for each piece of rows, one of two for each actor at a time."""
        result: PyMicroPartition = await self.call("eval_input", input)
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


def actor_pools(session: Session) -> ActorPools:
    """The session's actors."""
    from daft_k8s.driver.actor_pools import ActorPools
    from daft_k8s.errors import ConfigurationError

    pools = session.attachments.get("actors")
    if not isinstance(pools, ActorPools):
        raise ConfigurationError("the session was not started through daft_k8s.set_runner_k8s")
    return pools

"""The handles of actors and of vLLM engines, with which a task calls them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from daft_k8s.handles.actor_calls import ActorPlace, ask_driver, call_actor, call_actor_blocking, call_and_stay
from daft_k8s.wire.calls import ChooseEngine

if TYPE_CHECKING:
    from daft.daft import PyMicroPartition

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
    """Adds a pool to those that `collect_pickled_pools` gathers on this thread."""
    pools = getattr(_collector, "pools", None)
    if pools is not None:
        pools.add(pool_id)


class ActorHandle:
    """A task's handle of one actor. Pickled in the driver, it also tells that the plan uses its pool."""

    def __init__(self, pool_id: str, actor_id: str) -> None:
        self.pool_id = pool_id
        self.actor_id = actor_id

    def __reduce__(self) -> tuple[Callable[..., ActorHandle], tuple[str, str]]:
        note_pickled_pool(self.pool_id)
        return ActorHandle, (self.pool_id, self.actor_id)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the actor, from a worker."""
        return await call_actor(self.pool_id, self.actor_id, method, *arguments)

    async def call_and_stay(self, method: str, *arguments: Any) -> tuple[Any, ActorPlace]:
        """As `call`; returns also where the actor is that has answered, for calls that mean nothing elsewhere."""
        return await call_and_stay(self.pool_id, self.actor_id, method, *arguments)

    def call_blocking(self, method: str, *arguments: Any) -> Future[Any]:
        """As `call`, on a thread of the worker that is not its event loop's."""
        return call_actor_blocking(self.pool_id, self.actor_id, method, *arguments)

    async def eval_input(self, input: PyMicroPartition) -> PyMicroPartition:
        """Daft calls this for each piece of rows, one of two for each actor at a time."""
        result: PyMicroPartition = await self.call("eval_input", input)
        return result


class EnginePool:
    """The engines of one vLLM expression, as the workers' tasks know them."""

    def __init__(self, pool_id: str) -> None:
        self.pool_id = pool_id

    def __reduce__(self) -> tuple[Callable[..., EnginePool], tuple[str]]:
        note_pickled_pool(self.pool_id)
        return EnginePool, (self.pool_id,)

    async def choose(self, prefix: str | None, num_prompts: int) -> ActorHandle:
        """The engine for a batch of prompts, from a worker; waits until the engines have started."""
        chosen = await ask_driver(ChooseEngine(self.pool_id, prefix, num_prompts))
        return ActorHandle(self.pool_id, chosen.actor_id)

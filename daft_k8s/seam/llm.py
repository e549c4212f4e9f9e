"""Daft's hook for vLLM: engines that are actors, and the driver's answer to which of them gets a batch of prompts."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from daft_k8s.errors import ActorError
from daft_k8s.handles.actors import EnginePool
from daft_k8s.seam.parts import parts_of
from daft_k8s.seam.prefix_router import PrefixRouter
from daft_k8s.wire.actor_messages import LLM_ENGINE
from daft_k8s.wire.calls import ChooseEngine, EngineChosen
from daft_k8s.wire.raised import headline

if TYPE_CHECKING:
    from concurrent.futures import Future

    from daft_k8s.driver.actor_pools import ActorPool, ActorPools
    from daft_k8s.driver.actor_request import PoolRequest


class LLMActors(EnginePool):
    """The engines of a vLLM node. Daft's scheduler makes this object, and drops it when the node's tasks have ended.

    It is made on a thread of the scheduler's, so it waits for nothing: engines that do not start fail the tasks.

    Raises:
        ActorError: No worker could ever hold an engine.
    """

    def __init__(
        self,
        model: str,
        engine_args: dict[str, Any],
        generate_args: dict[str, Any],
        gpus_per_actor: int,
        concurrency: int,
        load_balance_threshold: int,
    ) -> None:
        from daft.context import get_context
        from daft.pickle import dumps

        from daft_k8s.driver.actor_request import Demand, PoolRequest
        from daft_k8s.driver.session import current_session

        parts = parts_of(current_session())
        self._pools = parts.actor_pools
        request = PoolRequest(
            name=f"the vLLM model {model}",
            factory=LLM_ENGINE,
            arguments=(dumps((model, engine_args, generate_args)),),
            count=concurrency,
            demand=Demand(gpus=float(gpus_per_actor)),
            start_timeout_seconds=float(get_context().daft_execution_config.actor_udf_ready_timeout),
            code=parts.code.reference,
            folder=parts.query_folders.latest(),
            search_path=parts.search_path.current(),
        )
        super().__init__(parts.engine_pools.start(request, load_balance_threshold))

    def __del__(self) -> None:
        # No code tears them down: on Ray, too, they end with the last reference.
        with contextlib.suppress(Exception):
            self._pools.retire(self.pool_id)


class _Started(NamedTuple):
    name: str
    future: Future[ActorPool]
    load_balance_threshold: int


class EnginePools:
    """The routers of a session's engines. `start` is called on any thread, all else on the session's event loop."""

    def __init__(self, pools: ActorPools) -> None:
        self._pools = pools
        self._started: dict[str, _Started] = {}
        self._routers: dict[str, PrefixRouter] = {}

    def start(self, request: PoolRequest, load_balance_threshold: int) -> str:
        """Begins to start engines; returns the id of their pool."""
        for pool_id in [pool_id for pool_id, started in list(self._started.items()) if started.future.done()]:
            if not self._pools.exists(pool_id):
                self._started.pop(pool_id, None)
                self._routers.pop(pool_id, None)
        pool_id, future = self._pools.begin(request)
        self._started[pool_id] = _Started(request.name, future, load_balance_threshold)
        return pool_id

    async def choose(self, _worker_id: str, request: ChooseEngine) -> EngineChosen:
        """Names the engine for a batch of prompts."""
        return EngineChosen(await self._choose(request.pool_id, request.prefix, request.num_prompts))

    async def _choose(self, pool_id: str, prefix: str | None, num_prompts: int) -> str:
        started = self._started.get(pool_id)
        if started is None:
            raise LookupError("the query of these engines has ended")
        try:
            # One task that is cancelled must not cancel the start, for which others wait.
            pool = await asyncio.shield(asyncio.wrap_future(started.future))
        except ActorError:
            raise
        except Exception as error:  # what vLLM raised, which need not be here to be unpickled on the worker
            raise ActorError(f"{started.name} could not be started: {headline(error)}") from error
        ready = await self._pools.await_ready(pool_id)
        router = self._routers.get(pool_id)
        if router is None:
            router = self._routers[pool_id] = PrefixRouter(list(pool.actor_ids), started.load_balance_threshold)
        return router.choose(prefix, num_prompts, ready)

"""A session whose workers do what a test says, and scenarios of pools of actors on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from daft_k8s.config import load
from daft_k8s.driver.actor_placement import Demand
from daft_k8s.driver.actor_pool import ActorPool, PoolRequest
from daft_k8s.driver.actor_pools import ActorPools
from daft_k8s.driver.worker_calls import WorkerCalls
from daft_k8s.errors import SessionClosedError
from daft_k8s.wire.actor_messages import ActorSpec
from daft_k8s.wire.calls import ActorEvent, ActorNews, ActorRoute, Done, FindActor


class FakeSession:
    """Notes what workers are told."""

    def __init__(self, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        sizes = {"num_workers": 2, "worker_cpu": 2, "worker_memory": "1Gi", **options}
        self.configuration = load(sizes, environ={})
        self.loop = loop
        self.closed = False
        self.manager = self
        self.ready: set[str] = set()
        self.started: list[tuple[str, str, ActorSpec]] = []
        self.calls = WorkerCalls()
        self.stopped: list[str] = []
        self.stops: list[tuple[str, str, int]] = []
        self.needed: list[int] = []

    def ensure_open(self) -> None:
        if self.closed:
            raise SessionClosedError("closed")

    def add_worker_listener(self, listener: ActorPools) -> None:
        self.pools = listener

    def start_actor(self, worker_id: str, actor_id: str, payload: bytes) -> bool:
        if worker_id not in self.ready:
            return False
        self.started.append((worker_id, actor_id, ActorSpec.decode(payload)))
        return True

    def stop_actor(self, worker_id: str, actor_id: str, generation: int) -> None:
        self.stopped.append(actor_id)
        self.stops.append((worker_id, actor_id, generation))

    def need_workers(self, count: int) -> None:
        self.needed.append(count)

    def add_worker(self, worker_id: str) -> None:
        self.ready.add(worker_id)
        self.pools.worker_ready(worker_id)

    def lose_worker(self, worker_id: str) -> None:
        self.ready.discard(worker_id)
        self.pools.worker_lost(worker_id, "it was killed")

    def tell(self, event: ActorEvent, start: tuple[str, str, ActorSpec], reason: str = "", error: bytes = b"") -> None:
        worker_id, actor_id, spec = start
        news = ActorNews(actor_id, event, spec.generation, f"{worker_id}:7777", reason, error)
        assert self.pools.on_news(worker_id, news) == Done()

    def all_ready(self) -> None:
        for start in self.started:
            self.tell(ActorEvent.READY, start)


Scenario = Callable[[FakeSession, ActorPools], Awaitable[None]]


def play(scenario: Scenario, *, workers: int = 2, **options: Any) -> None:
    async def run() -> None:
        session = FakeSession(asyncio.get_running_loop(), **options)
        pools = ActorPools(session)  # type: ignore[arg-type]
        for number in range(workers):
            session.add_worker(f"worker-{number}")
        await scenario(session, pools)

    asyncio.run(asyncio.wait_for(run(), 20))


def request(count: int = 2, *, seconds: float = 10, **changes: Any) -> PoolRequest:
    wanted = {"demand": Demand(), **changes}
    return PoolRequest("UDF f", "module:Class", (b"",), count, start_timeout_seconds=seconds, **wanted)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def started(session: FakeSession, pools: ActorPools, wanted: PoolRequest) -> ActorPool:
    starting = asyncio.ensure_future(pools.start(wanted))
    await settle()
    session.all_ready()
    return await starting


async def route(pools: ActorPools, pool: ActorPool, number: int, *failed: tuple[str, int]) -> ActorRoute:
    return await pools.find_actor("worker-9", FindActor(pool.pool_id, f"{pool.pool_id}/{number}", failed))

"""The pool of actors behind the hook that a proposed change of Daft calls, on actors' pools that a test fills.

Not covered: Daft's own calls of it, which no released Daft makes; starting actors (`tests/unit/driver`).
"""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future
from typing import Any

import pytest

from daft_k8s.driver.actor_pools import ActorPool
from daft_k8s.driver.actor_request import Demand, PoolRequest
from daft_k8s.errors import ActorError
from daft_k8s.seam import udf_actors
from daft_k8s.seam.udf_actors import UdfActorPool, start_udf_actor_pool
from daft_k8s.wire.raised import CarriedError


def pool_of(pool_id: str, count: int) -> ActorPool:
    return ActorPool(pool_id, tuple(f"{pool_id}/{number}" for number in range(count)))


class FakePools:
    """In the place of `ActorPools`."""

    def __init__(self, ready: int | None = None) -> None:
        self.ready = ready
        self.requests: list[PoolRequest] = []
        self.begun: dict[str, Future[ActorPool]] = {}
        self.retired: list[str] = []

    async def start(self, request: PoolRequest) -> ActorPool:
        self.requests.append(request)
        return pool_of("first", request.count if self.ready is None else self.ready)

    def begin(self, request: PoolRequest) -> tuple[str, Future[ActorPool]]:
        self.requests.append(request)
        pool_id = f"more-{len(self.begun)}"
        self.begun[pool_id] = Future()
        return pool_id, self.begun[pool_id]

    def come_up(self, pool_id: str) -> None:
        self.begun[pool_id].set_result(pool_of(pool_id, self.requests[-1].count))

    def retire(self, pool_id: str) -> None:
        self.retired.append(pool_id)


async def make(monkeypatch: pytest.MonkeyPatch, pools: FakePools, least: int, most: int) -> UdfActorPool:
    async def prepare(_projection: Any, name: str, count: int, demand: Demand, timeout: int) -> Any:
        return pools, PoolRequest(name, "module:Class", (b"",), count, demand, float(timeout))

    monkeypatch.setattr(udf_actors, "_prepare", prepare)
    # As Daft's Rust would: all by position.
    projection: Any = None
    return await start_udf_actor_pool(projection, least, most, 0.0, 1.0, 0, None, 5, "infer")


def ids(handles: list[Any]) -> list[str]:
    return [handle.actor_id for handle in handles]


def test_the_lower_bound_is_started_at_once_and_more_join_when_they_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        pools = FakePools()
        pool = await make(monkeypatch, pools, 1, 3)
        assert pools.requests[0].count == 1
        assert ids(await pool.get_actor_handles(0)) == ["first/0"]
        assert pools.begun == {}
        assert ids(await pool.get_leased_actor_handles(10)) == ["first/0"], "a task waited for an actor"
        assert list(pools.begun) == ["more-0", "more-1"]
        assert [request.shares_cpus for request in pools.requests] == [True, False, False]
        assert ids(await pool.get_leased_actor_handles(10)) == ["first/0"]
        assert len(pools.begun) == 2, "more than the upper bound was started"
        pools.come_up("more-1")
        await asyncio.sleep(0)
        assert ids(await pool.get_actor_handles(10)) == ["first/0", "more-1/0"]
        pools.begun["more-0"].set_exception(ActorError("there is no room"))
        await asyncio.sleep(0)
        assert ids(await pool.get_actor_handles(1)) == ["first/0", "more-1/0"]
        assert len(pools.begun) == 2
        await pool.get_actor_handles(3)
        assert len(pools.begun) == 3, "what did not start is not tried again"
        pool.release_actor_handles()
        pool.cleanup_retired_actors()
        pool.teardown()

    asyncio.run(run())


def test_a_pool_ends_with_all_its_actors_also_those_that_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        pools = FakePools()
        pool = await make(monkeypatch, pools, 1, 3)
        await pool.get_actor_handles(3)
        pools.come_up("more-0")
        await asyncio.sleep(0)
        pool.teardown()
        assert {"first", "more-0", "more-1"} <= set(pools.retired)
        pools.retired.clear()
        pools.come_up("more-1")
        await asyncio.sleep(0)
        assert "more-1" in pools.retired
        assert await pool.get_actor_handles(0) == []

    asyncio.run(run())


def test_a_pool_that_daft_drops_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        pools = FakePools()
        pool = await make(monkeypatch, pools, 2, 2)
        del pool
        gc.collect()
        assert "first" in pools.retired

    asyncio.run(run())


def test_the_lower_bound_is_a_promise_where_it_differs_from_the_upper_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        pools = FakePools(ready=1)
        with pytest.raises(CarriedError, match=r"ActorError: UDF infer needs at least 2 actors .* 1 of them"):
            await make(monkeypatch, pools, 2, 3)
        assert "first" in pools.retired
        # One number is an upper bound, as ever.
        assert len(await (await make(monkeypatch, FakePools(ready=1), 2, 2)).get_actor_handles(2)) == 1

    asyncio.run(run())

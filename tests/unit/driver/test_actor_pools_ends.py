"""Ends of pools of actors: with their query, with the last task that uses them; and their return."""

from __future__ import annotations

import asyncio

import pytest

from daft_k8s.driver.actor_placement import Demand
from daft_k8s.driver.actor_pools import ActorPools
from daft_k8s.errors import ActorError
from daft_k8s.wire.calls import ActorEvent
from tests.unit.driver.session_of_actors import FakeSession, play, request, route, settle, started


def test_an_actor_that_came_back_with_its_pool_is_moved_as_often_as_a_new_one() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pools.begin_query("query")
        pool = await started(session, pools, request(1))
        pools.retire(pool.pool_id)
        for _ in range(6):
            await settle()
            release = pools.bind("query", [pool.pool_id])
            asked = asyncio.ensure_future(route(pools, pool, 0))
            await settle()
            session.tell(ActorEvent.READY, session.started[-1])
            await asked
            release()
        await settle()
        assert len(session.stopped) == 7
        pools.bind("query", [pool.pool_id])
        asked = asyncio.ensure_future(route(pools, pool, 0))
        await settle()
        session.all_ready()
        await asked
        worker_id = session.started[-1][0]
        session.lose_worker(worker_id)
        session.all_ready()
        assert (await route(pools, pool, 0)).worker_id != worker_id

    play(scenario)


def test_the_actors_of_a_query_end_with_it() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pools.begin_query("query")
        await settle()
        pool = await started(session, pools, request(2))
        pools.bind("query", [pool.pool_id])
        pools.end_query("another")
        await settle()
        assert session.stopped == []
        pools.end_query("query")
        await settle()
        assert len(session.stopped) == 2
        with pytest.raises(ActorError, match="has ended"):
            await route(pools, pool, 0)

    play(scenario)


def test_a_pool_that_still_starts_ends_with_the_last_query_that_may_want_it() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        for query in ("a", "b"):
            pools.begin_query(query)
        await settle()
        starting = asyncio.ensure_future(pools.start(request(1)))
        await settle()
        pools.end_query("a")
        await settle()
        assert not starting.done()
        pools.end_query("b")
        with pytest.raises(ActorError, match="has ended"):
            await starting
        assert len(session.stopped) == 1

    play(scenario)


def test_a_pool_that_daft_is_done_with_makes_room_and_comes_back_if_a_task_runs_again() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pools.begin_query("query")
        pool = await started(session, pools, request(4))
        pools.retire(pool.pool_id)
        await settle()
        assert len(session.stopped) == 4
        release = pools.bind("query", [pool.pool_id])
        asked = asyncio.ensure_future(route(pools, pool, 0))
        await settle()
        assert len(session.started) == 8
        for start in session.started[4:]:
            session.tell(ActorEvent.READY, start)
        assert (await asked).generation == 2
        assert len(session.stopped) == 4
        release()
        await settle()
        assert len(session.stopped) == 8

    play(scenario)


def test_a_pool_that_daft_is_done_with_ends_with_the_last_task_that_uses_it() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pools.begin_query("query")
        pool = await started(session, pools, request(2))
        releases = [pools.bind("query", [pool.pool_id]) for _ in range(2)]
        pools.retire(pool.pool_id)
        releases[0]()
        releases[0]()
        await settle()
        assert session.stopped == []
        assert (await route(pools, pool, 0)).generation == 1
        releases[1]()
        await settle()
        assert len(session.stopped) == 2

    play(scenario)


def test_a_pool_lives_on_between_two_of_its_tasks_until_daft_is_done_with_it() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pools.begin_query("query")
        pool = await started(session, pools, request(2))
        pools.bind("query", [pool.pool_id])()
        await settle()
        assert session.stopped == []
        assert (await route(pools, pool, 0)).generation == 1

    play(scenario)


def test_a_pool_that_still_starts_is_stopped_with_the_last_task_that_waits_for_it() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pools.begin_query("query")
        pool_id, future = pools.begin(request(2))
        release = pools.bind("query", [pool_id])
        pools.retire(pool_id)
        await settle()
        assert session.stopped == []
        release()
        with pytest.raises(ActorError, match="has ended"):
            await asyncio.wrap_future(future)
        assert len(session.stopped) == 2
        assert len(pools) == 0

    play(scenario)


def test_what_a_task_that_has_ended_still_asks_brings_no_actor_back() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pools.begin_query("query")
        pool = await started(session, pools, request(2))
        release = pools.bind("query", [pool.pool_id])
        pools.retire(pool.pool_id)
        release()
        await settle()
        before = list(session.started)
        with pytest.raises(ActorError, match="the tasks that use UDF f have ended"):
            await route(pools, pool, 0, (f"{pool.pool_id}/0", 1))
        assert session.started == before

    play(scenario)


def test_a_pool_that_went_on_with_fewer_actors_comes_back_with_the_same_ones() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pools.begin_query("query")
        starting = asyncio.ensure_future(pools.start(request(3, seconds=0.1)))
        await settle()
        for start in session.started[1:]:
            session.tell(ActorEvent.READY, start)
        pool = await starting
        ids = {actor.actor_id for actor in pool.actors}
        assert len(ids) == 2
        pools.retire(pool.pool_id)
        await settle()
        pools.bind("query", [pool.pool_id])
        asked = asyncio.ensure_future(route(pools, pool, 2))
        await settle()
        assert {actor_id for _, actor_id, _ in session.started[3:]} == ids
        session.all_ready()
        assert (await asked).generation == 2

    play(scenario)


def test_a_task_that_is_submitted_after_its_query_has_ended_keeps_no_actors() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        for query in ("cancelled", "other"):
            pools.begin_query(query)
        await settle()
        pool = await started(session, pools, request(2))
        pools.end_query("cancelled")
        pools.bind("cancelled", [pool.pool_id])
        await settle()
        assert len(session.stopped) == 2
        assert len(pools) == 0

    play(scenario)


def test_a_pool_that_is_begun_without_waiting_ends_with_the_query_whose_tasks_use_it() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        for query in ("its own", "other"):
            pools.begin_query(query)
        pool_id, future = pools.begin(request(2))
        pools.bind("its own", [pool_id])
        await settle()
        session.all_ready()
        pool = await asyncio.wrap_future(future)
        assert (await pools.any_ready(pool_id)) is pool
        assert len(pool.ready) == 2
        pools.end_query("its own")
        await settle()
        assert len(session.stopped) == 2
        assert pools.find(pool_id) is None

    play(scenario)


def test_room_that_comes_free_while_the_session_ends_goes_to_nobody() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(2, demand=Demand(gpus=1)))
        waiting = asyncio.ensure_future(pools.start(request(1, demand=Demand(gpus=1))))
        await settle()
        session.closed = True
        pools.retire(pool.pool_id)
        await settle()
        assert len(session.started) == 2
        waiting.cancel()

    play(scenario, worker_gpu=1)


def test_a_pool_that_is_dropped_while_it_starts_is_stopped() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool_id, future = pools.begin(request(2))
        await settle()
        pools.retire(pool_id)
        with pytest.raises(ActorError, match="has ended"):
            await asyncio.wrap_future(future)
        assert len(session.stopped) == 2
        assert len(pools) == 0

    play(scenario)

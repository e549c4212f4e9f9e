"""Pools of actors whose workers are lost: new places, and the routes that workers are told."""

from __future__ import annotations

import asyncio

import pytest

from daft_k8s.driver import actor_routes
from daft_k8s.driver.actor_pools import ActorPools
from daft_k8s.errors import ActorError
from daft_k8s.wire.calls import ActorEvent, CheckActor
from tests.unit.driver.session_of_actors import FakeSession, play, request, route, settle, started


def test_an_actor_of_a_lost_worker_is_started_again_and_calls_go_to_the_others_meanwhile() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(2))
        lost = next(start for start in session.started if start[0] == "worker-0")
        number = int(lost[1].rpartition("/")[2])
        session.lose_worker("worker-0")
        assert (await route(pools, pool, number)).worker_id == "worker-1"
        again = session.started[-1]
        assert (again[0], again[1], again[2].generation) == ("worker-1", lost[1], 2)
        session.tell(ActorEvent.READY, lost)
        assert (await route(pools, pool, number)).actor_id != lost[1], "news of a lost place were believed"
        session.tell(ActorEvent.READY, again)
        assert (await route(pools, pool, number)).generation == 2

    play(scenario)


def test_an_actor_is_not_moved_for_ever() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(1))
        for _ in range(5):
            session.all_ready()
            session.lose_worker("worker-0")
            session.add_worker("worker-0")
        assert len(session.started) == 5
        with pytest.raises(ActorError, match=r"no actor of UDF f is left: .*worker-0 was lost: it was killed"):
            await route(pools, pool, 0)

    play(scenario, workers=1, num_workers=1)


def test_a_place_that_failed_is_not_named_again() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(2))
        first = (f"{pool.pool_id}/0", 1)
        assert (await route(pools, pool, 0)).actor_id.endswith("/0")
        assert (await route(pools, pool, 0, first)).actor_id.endswith("/1")

    play(scenario)


def test_an_actor_with_a_state_that_is_lost_is_not_replaced() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(2, stateless=False))
        worker_id, actor_id, _ = session.started[0]
        session.lose_worker(worker_id)
        with pytest.raises(ActorError, match=r"UDF f is incomplete: .* was lost: it was killed; run the query again"):
            await route(pools, pool, int(actor_id[-1]))
        assert len(session.started) == 2

    play(scenario)


def test_a_check_of_an_actors_place_is_answered_without_waiting() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(1))

        def there(generation: int, pool_id: str = pool.pool_id) -> bool:
            return pools.check_actor("worker-9", CheckActor(pool_id, f"{pool_id}/0", generation)).is_there

        assert there(1)
        assert not there(1, "unknown")
        session.lose_worker(session.started[0][0])
        assert not there(1)
        session.all_ready()
        assert (there(1), there(2)) == (False, True)
        pools.retire(pool.pool_id)
        await settle()
        assert not there(2)
        assert len(session.started) == 2

    play(scenario)


def test_a_place_that_could_not_be_reached_is_named_again_if_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor_routes, "UNREACHED_SECONDS", 0.01)

    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        for stateless in (True, False):
            pool = await started(session, pools, request(1, stateless=stateless))
            place = (f"{pool.pool_id}/0", 1)
            assert (await route(pools, pool, 0, place, place)).generation == 1

    play(scenario)


def test_a_place_that_could_not_be_reached_is_not_named_while_a_new_one_comes() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(1))
        asked = asyncio.ensure_future(route(pools, pool, 0, (f"{pool.pool_id}/0", 1)))
        await settle()
        session.lose_worker(session.started[0][0])
        await settle()
        session.tell(ActorEvent.READY, session.started[-1])
        assert (await asked).generation == 2

    play(scenario)


def test_news_that_are_repeated_do_not_bring_an_actor_back_that_has_failed() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(1))
        session.tell(ActorEvent.FAILED, session.started[0], "it was replaced 4 times")
        session.tell(ActorEvent.READY, session.started[0])
        with pytest.raises(ActorError, match="was replaced 4 times"):
            await route(pools, pool, 0)

    play(scenario)


def test_a_copy_of_an_actor_that_came_up_where_it_is_not_wanted_any_more_is_stopped() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(1))
        (first,) = session.started
        worker_id, actor_id, _ = first
        # Its start reached the next process of the worker that was lost.
        session.lose_worker(worker_id)
        assert session.started[1][0] != worker_id
        session.add_worker(worker_id)
        assert session.stops == []
        session.tell(ActorEvent.READY, first)
        assert session.stops == [(worker_id, actor_id, 1)]
        session.tell(ActorEvent.READY, session.started[1])
        session.tell(ActorEvent.READY, session.started[1])
        assert (await route(pools, pool, 0)).generation == 2
        assert len(session.stops) == 1
        pools.stop(pool.pool_id)
        session.tell(ActorEvent.READY, first)
        assert session.stops[-1] == (worker_id, actor_id, 1)
        assert len(session.stops) == 3

    play(scenario)


def test_a_route_that_never_comes_ends_with_an_error() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(1, seconds=0.2))
        with pytest.raises(ActorError, match=r"no actor of UDF f could be reached for 0\.2 s"):
            await route(pools, pool, 0, (f"{pool.pool_id}/0", 1))

    play(scenario)

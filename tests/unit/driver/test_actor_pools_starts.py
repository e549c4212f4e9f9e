"""Starts of pools of actors: room, workers, constructors that fail, are late or are killed.

Time-outs are real but tiny, and only where the test is about one. Placement has tests of its own.
"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from daft_k8s.driver.actor_placement import Demand
from daft_k8s.driver.actor_pool import ActorState
from daft_k8s.driver.actor_pools import ActorPools
from daft_k8s.errors import ActorError, ConfigurationError
from daft_k8s.wire.calls import ActorEvent
from tests.unit.driver.session_of_actors import FakeSession, play, request, route, settle, started


def test_a_pool_is_there_when_all_its_actors_are_ready() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(3)))
        await settle()
        assert sorted(worker_id for worker_id, _, _ in session.started) == ["worker-0", "worker-0", "worker-1"]
        for start in session.started[:2]:
            session.tell(ActorEvent.READY, start)
        await settle()
        assert not starting.done()
        session.tell(ActorEvent.READY, session.started[2])
        assert len((await starting).actors) == 3

    play(scenario)


def test_the_first_actor_of_a_pool_shares_cpus_unless_the_pool_can_do_without() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        await started(session, pools, request(1, demand=Demand(cpus=2)))
        patient = asyncio.ensure_future(pools.start(request(1, demand=Demand(cpus=2), shares_cpus=False)))
        await settle()
        assert len(session.started) == 1
        sharing = asyncio.ensure_future(pools.start(request(1, demand=Demand(cpus=2))))
        await settle()
        assert len(session.started) == 2
        for starting in (patient, sharing):
            starting.cancel()

    play(scenario, workers=1)


def test_a_pool_waits_for_its_first_worker() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(1)))
        await settle()
        assert session.started == []
        session.add_worker("worker-0")
        session.all_ready()
        assert (await starting).actors[0].address == "worker-0:7777"

    play(scenario, workers=0)


def test_actors_that_wait_for_room_make_an_elastic_pool_grow_and_no_longer_when_they_have_it() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(6)))
        await settle()
        assert session.needed == [3]
        session.add_worker("worker-0")
        session.add_worker("worker-1")
        session.lose_worker("worker-1")
        session.add_worker("worker-1")
        assert session.needed == [3]
        session.add_worker("worker-2")
        assert session.needed == [3, 0]
        for start in session.started:
            session.tell(ActorEvent.READY, start)
        assert len((await starting).actors) == 6

    play(scenario, workers=0, num_workers=1, min_workers=0, max_workers=5)


def test_a_pool_that_gives_up_waiting_needs_no_more_workers() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(3, seconds=0.05)))
        await settle()
        assert session.needed == [2]
        session.all_ready()
        assert len((await starting).actors) == 2
        assert session.needed == [2, 0]

    play(scenario, workers=1, num_workers=1, min_workers=0, max_workers=5)


def test_a_pool_of_workers_of_a_fixed_size_is_asked_for_no_more() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(1)))
        await settle()
        session.add_worker("worker-0")
        session.all_ready()
        await starting
        assert session.needed == []

    play(scenario, workers=0)


def test_after_the_time_out_a_pool_goes_on_with_those_that_are_ready_and_stops_the_others() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(2, seconds=0.1)))
        await settle()
        session.tell(ActorEvent.READY, session.started[0])
        pool = await starting
        assert [actor.actor_id for actor in pool.actors] == [session.started[0][1]]
        assert session.stopped == [session.started[1][1]]

    play(scenario)


def test_a_pool_of_which_no_actor_came_up_fails_and_leaves_nothing() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        with pytest.raises(
            ActorError, match=r"failed to start within 0\.1 seconds: actor 0 of UDF f is being construct"
        ):
            await pools.start(request(1, seconds=0.1))
        assert len(session.stopped) == len(session.started) == 1
        assert len(pools) == 0

    play(scenario)


def test_a_constructor_that_fails_ends_the_start_at_once() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(2)))
        await settle()
        session.tell(ActorEvent.FAILED, session.started[1], "it exited with code 9")
        with pytest.raises(
            ActorError, match="actor 1 of UDF f on worker-1 could not be started: it exited with code 9"
        ):
            await starting
        assert session.started[0][1] in session.stopped
        assert len(pools) == 0

    play(scenario)


def test_an_actor_that_is_killed_in_its_constructor_is_started_again_elsewhere() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(1)))
        await settle()
        session.tell(ActorEvent.KILLED, session.started[0], "it was killed by SIGKILL")
        await settle()
        assert [(worker_id, spec.generation) for worker_id, _, spec in session.started] == [
            ("worker-0", 1),
            ("worker-1", 2),
        ]
        actor_id = session.started[0][1]
        assert session.stops == [("worker-0", actor_id, 1)], "an elastic pool would keep the worker for it"
        session.tell(ActorEvent.READY, session.started[0])
        assert not starting.done(), "news of the lost place were believed"
        session.tell(ActorEvent.READY, session.started[1])
        assert (await starting).actors[0].state is ActorState.READY

    play(scenario)


def test_an_actor_that_is_killed_in_its_constructor_three_times_fails_the_query_with_the_signal_and_the_advice() -> (
    None
):
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(2)))
        await settle()
        victim = session.started[0][1]
        for _ in range(3):
            start = [start for start in session.started if start[1] == victim][-1]
            session.tell(ActorEvent.KILLED, start, "the process of actor 0 of UDF f was killed by SIGKILL")
            await settle()
        words = (
            r"actor 0 of UDF f on worker-0 could not be started: .* SIGKILL\nIt was killed in its constructor 3 times: "
        )
        with pytest.raises(ActorError, match=words + ".*raise worker_memory"):
            await starting
        assert sum(actor_id == victim for _, actor_id, _ in session.started) == 3
        assert len(pools) == 0

    play(scenario)


def test_an_actor_that_was_moved_and_is_killed_in_its_constructor_is_started_again_while_the_query_runs() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(1))
        session.lose_worker("worker-0")
        session.tell(ActorEvent.KILLED, session.started[-1], "it was killed by SIGKILL")
        asked = asyncio.ensure_future(route(pools, pool, 0))
        await settle()
        session.tell(ActorEvent.READY, session.started[-1])
        assert (await asked).generation == 3

    play(scenario)


def test_an_actor_whose_worker_dies_in_its_constructor_is_started_on_another() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(1, stateless=False)))
        await settle()
        session.lose_worker("worker-0")
        await settle()
        session.tell(ActorEvent.READY, session.started[-1])
        assert (await starting).actors[0].address == "worker-1:7777"

    play(scenario)


def test_a_constructor_that_always_takes_its_worker_with_it_fails_the_query_after_three_workers() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(1)))
        for number in range(3):
            await settle()
            worker_id = session.started[number][0]
            session.lose_worker(worker_id)
            session.add_worker(worker_id)
        words = r"worker-0 was lost: it was killed\nIt was killed in its constructor 3 times: .* raise worker_memory"
        with pytest.raises(ActorError, match=words):
            await starting
        assert [worker_id for worker_id, _, _ in session.started] == ["worker-0", "worker-1", "worker-0"]

    play(scenario)


def test_a_constructor_that_is_late_does_not_fail_a_pool_of_which_others_are_ready() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = asyncio.ensure_future(pools.start(request(2, seconds=0.2)))
        await settle()
        session.tell(ActorEvent.READY, session.started[0])
        session.tell(ActorEvent.LATE, session.started[1], "its constructor was not done after 0.2 s")
        await settle()
        assert [actor.actor_id for actor in (await starting).actors] == [session.started[0][1]]
        assert session.stopped == [session.started[1][1]]

    play(scenario)


def test_what_no_worker_could_hold_is_refused_with_the_sums() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        words = r"asks for 1 CPUs, 3 GPUs, and each worker has 2 CPUs, 1,024 MiB \(2 workers: 4 CPUs, 2,048 MiB\)"
        with pytest.raises(ActorError, match=words):
            await pools.start(request(1, demand=Demand(gpus=3)))
        with pytest.raises(ConfigurationError, match="neither a share of one GPU nor a whole number"):
            await pools.start(request(1, demand=Demand(gpus=1.5)))

    play(scenario)


def test_more_actors_than_fit_become_as_many_as_fit() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        assert len((await started(session, pools, request(100))).actors) == 4

    play(scenario)


def test_a_second_udf_gets_its_first_actor_though_all_cpus_are_taken() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        await started(session, pools, request(4))
        second = asyncio.ensure_future(pools.start(request(2, seconds=0.1)))
        await settle()
        session.all_ready()
        assert len((await second).actors) == 1

    play(scenario)


def test_an_object_that_no_worker_would_take_is_refused_before_anything_starts() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        with pytest.raises(ActorError, match=r"UDF f .* 9 MiB, and max_message_bytes allows 8 MiB"):
            await pools.start(dataclasses.replace(request(1), arguments=(bytes(9 << 20),)))
        assert session.started == []

    play(scenario, max_message_bytes="8Mi")


def test_what_no_worker_could_hold_is_refused_when_a_pool_is_begun() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        with pytest.raises(ActorError, match="No single actor can be scheduled"):
            pools.begin(request(1, demand=Demand(gpus=3)))
        assert len(pools) == 0

    play(scenario)

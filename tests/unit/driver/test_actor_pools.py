"""The driver's side of actors, with a session whose workers do what a test says: starts, losses, routes, ends.

Time-outs are real but tiny, and only where the test is about one. Placement has tests of its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from daft_k8s.config import load
from daft_k8s.driver import actor_routes
from daft_k8s.driver.actor_placement import Demand
from daft_k8s.driver.actor_pool import ActorPool, ActorState, PoolRequest
from daft_k8s.driver.actor_pools import ActorPools
from daft_k8s.driver.worker_calls import WorkerCalls
from daft_k8s.errors import ActorError, ConfigurationError, SessionClosedError
from daft_k8s.wire.actor_messages import ActorSpec
from daft_k8s.wire.calls import ActorEvent, ActorNews, ActorRoute, CheckActor, Done, FindActor


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


def test_a_route_that_never_comes_ends_with_an_error() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        pool = await started(session, pools, request(1, seconds=0.2))
        with pytest.raises(ActorError, match=r"no actor of UDF f could be reached for 0\.2 s"):
            await route(pools, pool, 0, (f"{pool.pool_id}/0", 1))

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


def test_whether_an_actor_is_still_at_a_place_is_told_without_waiting() -> None:
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


def test_an_object_that_no_worker_would_take_is_refused_before_anything_starts() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        with pytest.raises(ActorError, match=r"UDF f .* 9 MiB, and max_message_bytes allows 8 MiB"):
            await pools.start(dataclasses.replace(request(1), arguments=(bytes(9 << 20),)))
        assert session.started == []

    play(scenario, max_message_bytes="8Mi")


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


def test_what_no_worker_could_hold_is_refused_when_a_pool_is_begun() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        with pytest.raises(ActorError, match="No single actor can be scheduled"):
            pools.begin(request(1, demand=Demand(gpus=3)))
        assert len(pools) == 0

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

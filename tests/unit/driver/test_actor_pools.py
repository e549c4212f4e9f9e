"""The driver's end of actors on an extension that a test plays: what is asked of it, and what becomes of its answers.

Not covered: which actors are placed where, restarted and ended, which the core decides (`rust_ext/core/src/actors`).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from daft_k8s.config import load
from daft_k8s.driver.actor_pools import ActorPool, ActorPools
from daft_k8s.driver.actor_request import Demand, PoolRequest
from daft_k8s.driver.worker_calls import WorkerCalls
from daft_k8s.errors import ActorError, ConfigurationError, SessionClosedError
from daft_k8s.wire.actor_messages import ActorSpec
from daft_k8s.wire.calls import ActorEvent, ActorNews, ActorRoute, CheckActor, FindActor
from daft_k8s.wire.pickled_errors import encode_error

PLACE = ("pool-1/0", 2, "worker-3", "worker-3:7777")


class Failure(NamedTuple):
    """Stands in for `ActorFailure`."""

    kind: str
    reason: str
    actor: str = ""
    error: bytes = b""


class FakeManager:
    """Notes what it is told, and answers when the test says so."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.specs: list[ActorSpec] = []
        self.callbacks: list[Callable[..., None]] = []
        self.refusal: Exception | None = None
        self.ready: list[list[str] | None] = []

    def start_actors(self, _request: PoolRequest, specs: list[bytes], callback: Callable[..., None]) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.specs = [ActorSpec.decode(spec) for spec in specs]
        self.callbacks.append(callback)
        return "pool-1"

    def find_actor(
        self, pool_id: str, actor_id: str | None, failed: list[tuple[str, int]], callback: Callable[..., None]
    ) -> None:
        self.told.append((pool_id, actor_id, failed))
        self.callbacks.append(callback)

    def ready_actors(self, _pool_id: str) -> list[str] | None:
        return self.ready.pop(0)

    def is_actor_at(self, actor_id: str, generation: int) -> bool:
        return (actor_id, generation) == ("pool-1/0", 2)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.told.append((name, *arguments))


class FakeSession:
    """As much of a session as actors need."""

    def __init__(self) -> None:
        self.configuration = load({"max_message_bytes": "8Mi"}, environ={})
        self.calls = WorkerCalls()
        self.closed = False
        self.fake = FakeManager()

    def ensure_open(self) -> None:
        if self.closed:
            raise SessionClosedError("closed")

    @property
    def manager(self) -> FakeManager:
        self.ensure_open()
        return self.fake


Scenario = Callable[[FakeSession, ActorPools], Awaitable[None]]


def play(scenario: Scenario) -> None:
    async def run() -> None:
        session = FakeSession()
        await scenario(session, ActorPools(session))  # type: ignore[arg-type]

    asyncio.run(asyncio.wait_for(run(), 20))


def request(**changes: Any) -> PoolRequest:
    return dataclasses.replace(PoolRequest("UDF f", "module:Class", (b"",), 2, Demand(), 10.0), **changes)


async def begun(task: Awaitable[Any]) -> asyncio.Future[Any]:
    started = asyncio.ensure_future(task)
    await asyncio.sleep(0)
    return started


def test_a_pool_goes_on_with_the_actors_that_the_core_names() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = await begun(pools.start(request(arguments=(b"a", b"b"))))
        assert [(spec.name, spec.arguments) for spec in session.fake.specs] == [("UDF f", b"a"), ("UDF f", b"b")]
        session.fake.callbacks[0](["pool-1/1"], None)
        assert await starting == ActorPool("pool-1", ("pool-1/1",))

    play(scenario)


@pytest.mark.parametrize(
    ("failure", "raised", "words"),
    [
        (Failure("not_started", "failed to start within 10 seconds"), ActorError, "within 10 seconds"),
        (Failure("ended", "the query of UDF f has ended"), ActorError, "has ended"),
        (Failure("closed", "the session was shut down"), SessionClosedError, "was shut down"),
        (
            Failure("constructor", "it exited with code 9", "actor 1 of UDF f on worker-1"),
            ActorError,
            "actor 1 of UDF f on worker-1 could not be started: it exited with code 9",
        ),
        (
            Failure("constructor", "traceback", "actor 1 of UDF f", encode_error(LookupError("no model"))),
            LookupError,
            "no model",
        ),
        (
            Failure("constructor", "traceback", "actor 1 of UDF f", encode_error(StopIteration(7))),
            ActorError,
            "actor 1 of UDF f could not be started: traceback",
        ),
    ],
)
def test_a_pool_that_does_not_start_raises_why(failure: Failure, raised: type[Exception], words: str) -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = await begun(pools.start(request()))
        session.fake.callbacks[0](None, failure)
        with pytest.raises(raised, match=words) as error:
            await starting
        if raised is LookupError:
            assert getattr(error.value, "__notes__", []) == ["raised in actor 1 of UDF f\ntraceback"]

    play(scenario)


def test_a_request_that_is_refused_raises_at_once() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        session.fake.refusal = ValueError("gpus=1.5 is neither")
        with pytest.raises(ConfigurationError, match="neither"):
            pools.begin(request())
        session.fake.refusal = RuntimeError("No single actor can be scheduled")
        with pytest.raises(ActorError, match="No single actor"):
            pools.begin(request())
        with pytest.raises(ActorError, match=r"UDF f .* 9 MiB, and max_message_bytes allows 8 MiB"):
            pools.begin(request(arguments=(bytes(9 << 20),)))
        session.closed = True
        with pytest.raises(SessionClosedError):
            pools.begin(request())
        assert session.fake.callbacks == []

    play(scenario)


def test_a_start_that_is_cancelled_ends_its_pool_and_a_late_answer_is_ignored() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        starting = await begun(pools.start(request()))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert session.fake.told == [("end_actors", "pool-1")]
        session.fake.callbacks[0](None, Failure("ended", "the query has ended"))

    play(scenario)


def test_a_call_is_told_where_its_actor_is_or_why_there_is_none() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        asked = await begun(pools.find_actor("worker-9", FindActor("pool-1", "pool-1/0", (("pool-1/0", 1),))))
        assert session.fake.told == [("pool-1", "pool-1/0", [("pool-1/0", 1)])]
        session.fake.callbacks[0](PLACE, None)
        assert await asked == ActorRoute(*PLACE)
        asked = await begun(pools.find_actor("worker-9", FindActor("pool-1", "pool-1/0")))
        session.fake.callbacks[1](None, "the query of this actor has ended")
        with pytest.raises(ActorError, match="has ended"):
            await asked
        there = [pools.check_actor("worker-9", CheckActor("pool-1", "pool-1/0", at)).is_there for at in (1, 2)]
        assert there == [False, True]

    play(scenario)


def test_ready_actors_are_awaited_again_if_they_are_lost_in_the_moment_of_the_answer() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        session.fake.ready = [[], ["pool-1/0"]]
        asked = await begun(pools.await_ready("pool-1"))
        session.fake.callbacks[0](PLACE, None)
        while len(session.fake.callbacks) < 2:
            await asyncio.sleep(0)
        session.fake.callbacks[1](PLACE, None)
        assert await asked == ["pool-1/0"]
        assert session.fake.told[0] == ("pool-1", None, [])

    play(scenario)


def test_news_of_actors_is_passed_on_but_a_restart_that_its_worker_makes_is_none() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        for event in ActorEvent:
            pools.on_news("worker-0", ActorNews("pool-1/0", event, 3, "worker-0:7777", "why", b"error"))
        told = [("actor_news", "worker-0", "pool-1/0", 3, name, "worker-0:7777", "why", b"error") for name in EVENTS]
        assert session.fake.told == told
        session.closed = True
        pools.on_news("worker-0", ActorNews("pool-1/0", ActorEvent.READY, 3, "", "", b""))

    play(scenario)


EVENTS = ["ready", "killed", "late", "failed"]


def test_the_pools_of_a_task_are_bound_until_it_ends_once() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        release = pools.bind("query", {"pool-1"})
        release()
        release()
        assert session.fake.told == [("bind_actors", "query", ["pool-1"]), ("release_actors", ["pool-1"])]
        pools.bind("query", ())()
        assert len(session.fake.told) == 2

    play(scenario)


def test_a_session_that_is_over_has_no_actors() -> None:
    async def scenario(session: FakeSession, pools: ActorPools) -> None:
        release = pools.bind("query", ["pool-1"])
        session.fake.ready = [[], None]
        assert (pools.exists("pool-1"), pools.exists("pool-1")) == (True, False)
        session.closed = True
        release()
        pools.retire("pool-1")
        pools.end("pool-1")
        assert not pools.exists("pool-1")

    play(scenario)

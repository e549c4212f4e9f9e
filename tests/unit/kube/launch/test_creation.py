"""How often and when Pods are asked for while the API refuses them, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.creation import Creation
from daft_k8s.kube.objects.quota import Room
from daft_k8s.kube.objects.target import Target
from daft_k8s.kube.pods.launches import Admitted, Exited, Key, Launches, Postponed, Started
from daft_k8s.kube.pods.lifecycle import Changed, Effect, Event, Lifecycle, Report
from daft_k8s.kube.pods.snapshots import Change
from daft_k8s.kube.pods.state import read_state
from tests.unit.kube.pod_json import ready_pod
from tests.unit.kube.virtual_time import run_for

START_TIMEOUT_SECONDS = 120
QUOTA = 'pods "p" is forbidden: exceeded quota: small, requested: pods=1, used: pods={used}, limited: pods={limit}'


class Namespace:
    """What is asked for in a namespace, and when; what it answers is the test's."""

    def __init__(self, answer: Callable[[Key], ApiError | None] = lambda key: None) -> None:
        self.asked: list[tuple[float, Key]] = []
        self.made: dict[Key, float] = {}
        self.given_up: list[Exited] = []
        self.postponed: list[Postponed] = []
        self.answer = answer
        self.setup_problem: ApiError | None = None
        self.set_ups = 0
        self.answer_seconds = 0.01
        self.under_way = self.most_under_way = 0
        self.launches = Launches(start_timeout_seconds=START_TIMEOUT_SECONDS, termination_seconds=30)
        self.lifecycle = Lifecycle(self.launches)
        self.creation: Creation

    @classmethod
    def with_quota(cls, pods: int) -> Namespace:
        """One that has room for so many Pods."""
        namespace = cls()
        refusal = ApiError("create pods", 403, QUOTA.format(used=pods, limit=pods), reason="Forbidden")
        namespace.answer = lambda key: None if len(namespace.made) < pods else refusal
        return namespace

    async def cluster(self) -> tuple[Any, Target]:
        await asyncio.sleep(0.01)
        self.set_ups += 1
        if self.setup_problem is not None:
            raise self.setup_problem
        return None, Target("jobs", "image")

    async def provide(self, key: Key, api: Any, target: Target) -> list[Change]:
        self.asked.append((now(), key))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.answer_seconds)
        self.under_way -= 1
        problem = self.answer(key)
        if problem is not None:
            raise problem
        self.made[key] = now()
        return []

    async def withdraw(self, key: Key) -> None: ...

    def handle(self, event: Event) -> None:
        self.carry_out(self.lifecycle.handle(event, now()))

    def carry_out(self, effects: Sequence[Effect]) -> None:
        told = [effect.news for effect in effects if isinstance(effect, Report)]
        self.given_up += [news for news in told if isinstance(news, Exited)]
        self.postponed += [news for news in told if isinstance(news, Postponed)]

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.given_up += self.launches.tick(now())

    async def create(self, workers: int) -> None:
        supply: Any = self
        self.creation = Creation(
            Configuration(allocation="pod", num_workers=workers),
            self.launches,
            cluster=self.cluster,
            supply=supply,
            emit=self.handle,
        )
        ticking = asyncio.ensure_future(self.tick())
        keys = [(f"worker-{number}", 1) for number in range(workers)]
        for key in keys:
            self.launches.began(key, f"pod-of-{key[0]}", now())
        try:
            await asyncio.gather(*(self.creation.create(key) for key in keys))
        finally:
            ticking.cancel()

    async def create_with(self, workers: int, room: Room) -> None:
        """As `create`, where it is known what the quotas leave."""
        creating = asyncio.ensure_future(self.create(workers))
        await asyncio.sleep(0)
        self.creation.foresee(room, "jobs")
        await creating

    def times(self) -> list[float]:
        return [time for time, _ in self.asked]


def now() -> float:
    return asyncio.get_event_loop().time()


def refusing(*problems: ApiError) -> Callable[[Key], ApiError | None]:
    """Refuses with these, one after the other, and then no more."""
    left = list(problems)
    return lambda key: left.pop(0) if left else None


@pytest.mark.parametrize(("retry_after", "waited"), [(None, 0.5), (7.0, 7.0), (600.0, 30.0)])
def test_an_api_that_says_when_to_come_again_is_obeyed_for_half_a_minute_at_most(
    retry_after: float | None, waited: float
) -> None:
    throttled = ApiError("create pods", 429, "slow down", retry_after_seconds=retry_after)
    namespace = Namespace(refusing(throttled))
    run_for(100, namespace.create(1))
    first, second = namespace.times()
    assert second - first == pytest.approx(waited, abs=0.1)
    assert len(namespace.made) == 1


def test_an_api_that_goes_on_stumbling_is_asked_less_and_less_and_its_words_end_the_launch() -> None:
    namespace = Namespace(lambda key: ApiError("create pods", 503, "etcd has no leader"))
    run_for(300, namespace.create(1))
    assert 10 <= len(namespace.asked) <= 20
    pauses = [later - earlier for earlier, later in pairwise(namespace.times())]
    assert max(pauses) < 11
    [news] = namespace.given_up
    assert "not ready after 120 s" in news.reason
    assert "etcd has no leader" in news.reason
    assert news.restartable


def test_a_full_quota_of_which_nothing_was_known_is_asked_a_few_times_a_minute_by_a_thousand_workers() -> None:
    namespace = Namespace.with_quota(2)
    run_for(60, namespace.create(1000))
    assert len(namespace.made) == 2
    assert len(namespace.asked) <= 2 + 20 + 4, "those that were under way at the first refusal, then one at a time"
    assert namespace.given_up == []


def test_a_thousand_workers_are_asked_for_twenty_at_a_time() -> None:
    namespace = Namespace()
    run_for(60, namespace.create(1000))
    assert len(namespace.made) == 1000
    assert namespace.most_under_way == 20


def test_credentials_that_worked_and_are_refused_for_a_minute_cost_no_worker() -> None:
    """As an authenticator does that is away, and every API server behind which it stands."""

    def answer(key: Key) -> ApiError | None:
        return ApiError("create pods", 401, "Unauthorized", reason="Unauthorized") if now() < 60 else None

    namespace = Namespace(answer)
    run_for(100, namespace.create(4))
    assert namespace.given_up == []
    assert len(namespace.made) == 4
    assert len(namespace.asked) <= 4 * 13


def test_credentials_that_are_refused_for_good_end_the_launch_with_those_words() -> None:
    namespace = Namespace(lambda key: ApiError("create pods", 401, "Unauthorized", reason="Unauthorized"))
    run_for(300, namespace.create(1))
    [news] = namespace.given_up
    assert "not ready after 120 s" in news.reason
    assert "Unauthorized" in news.reason


def test_a_quota_that_has_no_room_for_the_secret_is_waited_for_with_pauses() -> None:
    words = 'secrets "s" is forbidden: exceeded quota: small, requested: secrets=1, used: secrets=3, limited: secrets=3'
    namespace = Namespace()
    namespace.setup_problem = ApiError("create secrets", 403, words, reason="Forbidden")
    run_for(100, namespace.create(1))
    assert namespace.given_up == []
    assert "has no room left for it" in namespace.postponed[0].reason
    assert namespace.set_ups <= 15


def test_credentials_that_were_never_accepted_are_told_at_once() -> None:
    namespace = Namespace()
    namespace.setup_problem = ApiError("create secrets", 401, "Unauthorized", reason="Unauthorized")
    run_for(1, namespace.create(1))
    [news] = namespace.given_up
    assert "does not accept the driver's credentials" in news.reason
    assert namespace.asked == []


def test_a_launch_that_a_foreseen_quota_keeps_waiting_is_postponed_with_that_reason() -> None:
    namespace = Namespace()

    run_for(5, namespace.create_with(3, Room(2, "small", "pods: 2 of 2 are free, a worker takes 1")))
    assert len(namespace.made) == 2
    [news] = namespace.postponed
    assert news.key not in namespace.made
    assert "the ResourceQuota 'small' of the namespace 'jobs' has no room left for it" in news.reason
    given_up = [news.key for news in namespace.launches.tick(START_TIMEOUT_SECONDS)]
    assert news.key not in given_up


def test_whoever_has_a_place_in_what_a_quota_leaves_is_made_at_once_however_many_want_more() -> None:
    namespace = Namespace()
    run_for(2, namespace.create_with(100, Room(50, "small", "pods: 50 of 50 are free, a worker takes 1")))
    assert len(namespace.made) == 50
    assert len(namespace.postponed) == 50
    assert not {news.key for news in namespace.postponed} & set(namespace.made)


def test_a_quota_that_leaves_less_than_was_foreseen_is_asked_no_more_once_it_has_refused() -> None:
    namespace = Namespace.with_quota(30)
    run_for(9, namespace.create_with(100, Room(80, "small", "pods: 80 of 80 are free, a worker takes 1")))
    assert len(namespace.made) == 30
    assert len(namespace.asked) <= 30 + 20, "those that were under way at the first refusal"
    assert len({news.key for news in namespace.postponed}) == 70


def test_a_launch_that_was_told_to_stop_is_not_asked_for_again() -> None:
    namespace = Namespace(lambda key: ApiError("create pods", 0, "no answer"))

    async def stop_after_a_while() -> None:
        creating = asyncio.ensure_future(namespace.create(2))
        await asyncio.sleep(5)
        asked = len([key for _, key in namespace.asked if key[0] == "worker-0"])
        namespace.launches.request_stop(("worker-0", 1), "not wanted", now())
        await asyncio.sleep(60)
        assert len([key for _, key in namespace.asked if key[0] == "worker-0"]) == asked
        assert len(namespace.asked) > 2 * asked
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)

    run_for(100, stop_after_a_while())


NO_ANSWER = ApiError("create pods", 0, "TimeoutError")


@pytest.mark.parametrize(
    "refusal",
    [NO_ANSWER, ApiError("create pods", 403, QUOTA.format(used=1, limit=1), reason="Forbidden"),
     ApiError("create pods", 422, "invalid")],
    ids=["a slow webhook", "the Pod itself has used up the quota", "refused"],
)  # fmt: skip
def test_a_pod_that_is_seen_is_not_asked_for_again_whatever_was_answered(refusal: ApiError) -> None:
    def answer(key: Key) -> ApiError:
        if now() < 20:
            return NO_ANSWER
        # The watch shows the Pod that an earlier try has made, before this one is refused.
        namespace.handle(Changed([Change("pod-of-worker-0", read_state(ready_pod()))]))
        return refusal

    namespace = Namespace(answer)
    run_for(1_000, namespace.create(1))
    last = namespace.times()[-1]
    assert 20 <= last < 40
    assert namespace.given_up == []
    assert namespace.postponed == []


def test_a_pod_that_is_seen_while_its_launch_waits_for_a_quota_keeps_no_other_waiting() -> None:
    full = ApiError("create pods", 403, QUOTA.format(used=1, limit=1), reason="Forbidden")
    answers = [NO_ANSWER, full]  # the first request has made the Pod
    namespace = Namespace(lambda key: answers.pop(0) if answers else None)

    async def work() -> None:
        creating = asyncio.ensure_future(namespace.create(1))
        await asyncio.sleep(5)
        assert len(namespace.postponed) == 1
        news = namespace.launches.has_state("pod-of-worker-0", read_state(ready_pod()), now())
        assert [type(item) for item in news] == [Admitted, Started]
        await creating
        assert len(namespace.asked) == 2

    run_for(1_000, work())
    assert namespace.given_up == []


def test_closing_ends_every_wait_at_once() -> None:
    problems = {
        "worker-0": ApiError("create pods", 429, "slow down", retry_after_seconds=30.0),
        "worker-1": ApiError("create pods", 403, QUOTA.format(used=1, limit=1), reason="Forbidden"),
        "worker-2": ApiError("create pods", 403, QUOTA.format(used=1, limit=1), reason="Forbidden"),
    }
    namespace = Namespace(lambda key: problems[key[0]])

    async def close_after_a_while() -> None:
        creating = asyncio.ensure_future(namespace.create(3))
        await asyncio.sleep(2)
        namespace.creation.close()
        await asyncio.wait_for(creating, 0.1)

    run_for(100, close_after_a_while())
    assert namespace.given_up == []

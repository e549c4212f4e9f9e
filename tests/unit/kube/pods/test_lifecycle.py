"""The decisions about launches, as effects of events. What states of Pods mean for a launch: test_launches.py."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.kube.pods.launches import Admitted, Exited, Key, Launches, Postponed
from daft_k8s.kube.pods.lifecycle import (
    Asking,
    Changed,
    CloseRoute,
    Create,
    Created,
    Delayed,
    Effect,
    EndWanted,
    Event,
    Forget,
    Lifecycle,
    Log,
    NoRoom,
    NotCreated,
    OfferRoom,
    OpenRoute,
    Reachable,
    Remove,
    Report,
    SecureSecret,
    Serves,
    Silent,
    StartWanted,
    Stop,
    Tidy,
    TimePassed,
    Unreachable,
)
from daft_k8s.kube.pods.snapshots import Change
from daft_k8s.kube.pods.state import GONE, PodState, Stage

KEY: Key = ("worker-0", 1)
WAY = Reachable(KEY, "10.0.0.9:7777", "10.0.0.9:7778")


class Session:
    """The decisions of one session, with the launches that began in it."""

    def __init__(self) -> None:
        self.launches = Launches(start_timeout_seconds=100, termination_seconds=30)
        self.lifecycle = Lifecycle(self.launches)

    def begin(self, key: Key = KEY, now: float = 0.0) -> list[Effect]:
        self.launches.began(key, pod_of(key), now)
        return self.lifecycle.handle(StartWanted(key), now)

    def handle(self, event: Event, now: float = 1.0) -> list[Effect]:
        """The effects without the lines for the log."""
        return [effect for effect in self.lifecycle.handle(event, now) if not isinstance(effect, Log)]

    def show(self, state: PodState, key: Key = KEY, now: float = 1.0) -> list[Effect]:
        return self.handle(Changed([Change(pod_of(key), state)]), now)


def pod_of(key: Key) -> str:
    return f"pod-of-{key[0]}-{key[1]}"


READY = PodState(Stage.READY, address="10.0.0.9")
ENDED = PodState(Stage.FAILED, "it ended with exit code 1", exit_code=1)
LINGERS = PodState(Stage.TERMINATING, "it is deleted", going=True)


@pytest.fixture
def session() -> Session:
    session = Session()
    assert session.begin() == [Create(KEY)]
    return session


def test_a_worker_that_serves_is_told_once_a_way_to_it_is_open(session: Session) -> None:
    assert session.handle(Created(KEY)) == []
    assert session.show(READY) == [OpenRoute(KEY, "10.0.0.9")]
    assert session.handle(WAY) == [Report(WAY)]


def test_a_way_that_is_open_only_after_its_worker_was_told_to_stop_is_closed_again(session: Session) -> None:
    session.show(READY)
    assert session.handle(EndWanted(KEY, "idle")) == [OfferRoom(), Stop(KEY, pod_of(KEY))]
    assert session.handle(WAY) == [CloseRoute(KEY)]


def test_a_worker_that_would_not_drain_is_stopped_by_force(session: Session) -> None:
    session.show(READY)
    assert Stop(KEY, pod_of(KEY), forced=True) in session.handle(EndWanted(KEY, "stuck", forced=True))


def test_a_process_that_ended_is_told_and_leaves_its_pod_for_those_who_read_its_log(session: Session) -> None:
    session.show(READY)
    close, told, room, tidy = session.show(ENDED)
    assert (close, room, tidy) == (CloseRoute(KEY), OfferRoom(), Tidy(pod_of(KEY)))
    assert isinstance(told, Report) and isinstance(told.news, Exited) and told.news.restartable
    assert session.show(GONE) == [OfferRoom(), Forget(pod_of(KEY))]


def test_a_launch_that_takes_too_long_has_its_pod_removed(session: Session) -> None:
    session.show(PodState(Stage.CREATING, node="n"))
    remove, close, told = session.handle(TimePassed(), now=100.0)
    assert (remove, close) == (Remove(KEY), CloseRoute(KEY))
    assert isinstance(told, Report) and isinstance(told.news, Exited) and "not ready after 100 s" in told.news.reason
    assert session.handle(TimePassed(), now=200.0) == []


def test_a_silent_worker_is_lost_at_once_and_once_while_its_pod_is_stopped(session: Session) -> None:
    session.show(READY)
    room, stop, close, told = session.handle(Silent(KEY, "nothing has come from it for 20 s"))
    assert (room, stop, close) == (OfferRoom(), Stop(KEY, pod_of(KEY)), CloseRoute(KEY))
    assert isinstance(told, Report) and isinstance(told.news, Exited)
    assert (told.news.cause, told.news.restartable) == ("infrastructure", True)
    assert session.handle(Silent(KEY, "nothing has come from it for 21 s")) == []


def test_a_worker_that_cannot_be_reached_is_over_and_its_pod_goes(session: Session) -> None:
    session.show(READY)
    remove, close, told = session.handle(Unreachable(KEY, "port-forward is forbidden", restartable=False))
    assert (remove, close) == (Remove(KEY), CloseRoute(KEY))
    assert isinstance(told, Report) and isinstance(told.news, Exited) and not told.news.restartable
    assert session.handle(WAY) == [CloseRoute(KEY)]


def test_what_holds_pods_back_is_a_warning_once_for_all_of_them(session: Session) -> None:
    session.begin(("worker-1", 1))
    gated = PodState(Stage.GATED, "its queue has not admitted it")
    changes = [Change(pod_of(key), gated) for key in (KEY, ("worker-1", 1))]
    lines = [item for item in session.lifecycle.handle(Changed(changes), 1.0) if isinstance(item, Log)]
    assert [line.level for line in lines] == [logging.WARNING, logging.DEBUG]


keys = st.sampled_from([KEY, ("worker-0", 2), ("worker-1", 1)])
shown = st.sampled_from([READY, ENDED, LINGERS, GONE, PodState(Stage.CREATING), PodState(Stage.GATED, "a queue")])
events: Any = st.one_of(
    st.builds(EndWanted, keys, st.just("idle"), st.booleans()),
    st.builds(lambda key, state: Changed([Change(pod_of(key), state)]), keys, shown),
    st.builds(NoRoom, keys, st.just("the quota is full")),
    st.builds(Created, keys),
    st.builds(NotCreated, keys, st.just("refused"), st.booleans()),
    st.builds(lambda key: Reachable(key, "a:1", "a:2"), keys),
    st.builds(Unreachable, keys, st.just("no way"), st.booleans()),
    st.just(TimePassed()),
)


@given(st.lists(st.tuples(events, st.floats(0, 60)), max_size=30))
def test_whatever_happens_a_launch_ends_once_its_way_is_closed_with_it_and_nothing_is_told_of_it_later(
    history: list[tuple[Event, float]],
) -> None:
    session, now, over = Session(), 0.0, set()
    for key in (KEY, ("worker-0", 2), ("worker-1", 1)):
        session.begin(key)
    for event, seconds in history:
        now += seconds
        effects = session.handle(event, now)
        for effect in effects:
            if isinstance(effect, Report):
                assert effect.news.key not in over
                if isinstance(effect.news, Exited):
                    over.add(effect.news.key)
                    assert CloseRoute(effect.news.key) in effects
            if isinstance(effect, Stop | OpenRoute):
                assert effect.key not in over
    assert all((session.launches.pod_of(key) is None) == (key in over) for key in (KEY, ("worker-0", 2)))


def test_a_worker_that_the_pool_has_reached_is_not_given_up() -> None:
    session = Session()
    session.launches = Launches(start_timeout_seconds=100, termination_seconds=30, ask_at_once=True)
    session.lifecycle = Lifecycle(session.launches)
    session.begin()
    session.show(PodState(Stage.STARTING, address="10.0.0.9"))
    assert session.handle(Serves("worker-0")) == []
    assert session.handle(TimePassed(), now=1000.0) == []


def test_the_session_has_its_secret_before_a_pod_is_asked_for(session: Session) -> None:
    assert session.handle(Asking(KEY)) == [SecureSecret()]


def test_a_creation_that_is_delayed_is_told_with_the_end(session: Session) -> None:
    assert session.handle(Delayed(KEY, "the API does not answer")) == []
    [_, _, told] = session.handle(TimePassed(), now=100.0)
    assert isinstance(told, Report) and isinstance(told.news, Exited)
    assert told.news.reason.endswith("the API does not answer")


def test_a_launch_without_room_is_postponed_and_admitted_once_its_pod_is_made(session: Session) -> None:
    assert session.handle(NoRoom(KEY, "the quota is full")) == [Report(Postponed(KEY, "the quota is full"))]
    assert session.handle(TimePassed(), now=1000.0) == []
    change = Change(pod_of(KEY), READY)
    assert session.handle(Created(KEY, [change]), 1000.0) == [Report(Admitted(KEY)), OpenRoute(KEY, "10.0.0.9")]


@pytest.mark.parametrize("restartable", [True, False])
def test_a_pod_that_cannot_be_made_is_told_and_was_never_there(session: Session, restartable: bool) -> None:
    text = "the Pod pod-of-worker-0-1 could not be created: forbidden"
    exited = Exited(KEY, text, restartable, False, "never_started")
    assert session.handle(NotCreated(KEY, "forbidden", restartable)) == [CloseRoute(KEY), Report(exited)]


def test_what_a_launch_began_with_is_applied_before_its_pod_is_asked_for() -> None:
    session = Session()
    session.launches.began(KEY, pod_of(KEY), 0.0)
    effects = session.handle(StartWanted(KEY, [Change("another", GONE)]))
    assert effects == [OfferRoom(), Forget("another"), Create(KEY)]


def test_a_silent_worker_is_told_with_its_pod_and_why(session: Session) -> None:
    session.show(READY)
    [*_, told] = session.handle(Silent(KEY, "not heard for 20 s"))
    text = "worker-0 (Pod pod-of-worker-0-1): not heard for 20 s"
    assert told == Report(Exited(KEY, text, True, False, "infrastructure"))


def test_a_worker_that_cannot_be_reached_is_told_with_the_reason(session: Session) -> None:
    session.show(READY)
    [*_, told] = session.handle(Unreachable(KEY, "no port-forward", restartable=True))
    text = "worker-0 (Pod pod-of-worker-0-1): the driver cannot reach it: no port-forward"
    assert told == Report(Exited(KEY, text, True, True, "never_started"))


def test_each_change_of_a_pod_is_a_line_of_the_log(session: Session) -> None:
    gated = PodState(Stage.GATED, "a queue holds it")
    [first, *_] = session.lifecycle.handle(Changed([Change("p", gated)]), 1.0)
    [second, *_] = session.lifecycle.handle(Changed([Change("q", gated)]), 1.0)
    assert first == Log(logging.WARNING, "the Pod p waits, and others may: a queue holds it")
    assert second == Log(logging.DEBUG, "the Pod q: GATED a queue holds it")


def test_several_ends_at_once_are_all_told() -> None:
    session = Session()
    other: Key = ("worker-1", 1)
    session.begin()
    session.begin(other)
    told = [effect.news.key for effect in session.handle(TimePassed(), now=100.0) if isinstance(effect, Report)]
    assert told == [KEY, other]

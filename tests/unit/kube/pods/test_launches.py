"""When a launch has started and when it is given up, in virtual time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from daft_k8s.kube.pods.launches import Admitted, Exited, Launches, Leaving, Postponed, Started
from daft_k8s.kube.pods.state import GONE, PodState, Stage, read_state
from tests.unit.kube.pod_json import UNSCHEDULABLE, disruption, ended, pod, ready_pod, waiting

KEY = ("worker-0", 1)
READY = read_state(ready_pod())
STARTING = read_state(pod(phase="Running", own={"running": {}}, ip="10.0.0.1"))
PULL_FAILING = read_state(pod(node="n", own=waiting("ErrImagePull", "manifest unknown")))


@pytest.fixture
def launches() -> Launches:
    launches = Launches(start_timeout_seconds=100, termination_seconds=30)
    launches.began(KEY, "p", 0)
    return launches


def test_a_ready_pod_has_started_once(launches: Launches) -> None:
    assert launches.has_state("p", READY, 1) == [Started(KEY, "10.0.0.1")]
    assert launches.has_state("p", READY, 2) == []
    assert launches.tick(10_000) == []


@pytest.fixture
def asked_at_once() -> Launches:
    launches = Launches(start_timeout_seconds=100, termination_seconds=30, ask_at_once=True)
    launches.began(KEY, "p", 0)
    return launches


def test_a_pod_that_runs_has_not_started_before_its_node_says_that_it_serves(launches: Launches) -> None:
    assert launches.has_state("p", STARTING, 1) == []
    assert launches.has_state("p", READY, 2) == [Started(KEY, "10.0.0.1")]


def test_a_pod_that_is_asked_at_once_has_started_as_soon_as_it_runs_and_has_an_address(asked_at_once: Launches) -> None:
    assert asked_at_once.has_state("p", dataclasses.replace(STARTING, address=""), 1) == []
    assert asked_at_once.has_state("p", STARTING, 2) == [Started(KEY, "10.0.0.1")]
    assert asked_at_once.has_state("p", READY, 3) == []
    assert asked_at_once.tick(10_000) == []


def test_a_pod_that_is_asked_at_once_and_never_is_ready_is_given_up_like_any_other(asked_at_once: Launches) -> None:
    asked_at_once.has_state("p", STARTING, 1)
    assert asked_at_once.tick(89) == []
    [news] = asked_at_once.tick(90)
    assert "not ready after 100 s; its process runs but does not serve yet" in news.reason


def test_a_worker_that_the_pool_uses_is_not_given_up_where_the_api_is_away_and_cannot_say_that_it_is_ready(
    asked_at_once: Launches,
) -> None:
    asked_at_once.has_state("p", STARTING, 1)
    asked_at_once.serves("worker-0")
    assert asked_at_once.tick(10_000) == []


def test_news_that_a_workers_last_process_serves_says_nothing_of_one_that_does_not_run_yet(
    asked_at_once: Launches,
) -> None:
    asked_at_once.serves("worker-0")
    asked_at_once.has_state("p", STARTING, 1)
    [news] = asked_at_once.tick(90)
    assert "not ready after 100 s" in news.reason


def test_what_a_pod_that_was_asked_at_once_had_taken_on_counts_when_it_crashes(asked_at_once: Launches) -> None:
    asked_at_once.has_state("p", STARTING, 1)
    [news] = asked_at_once.has_state("p", read_state(pod(phase="Failed", own=ended(1))), 2)
    assert isinstance(news, Exited)
    assert news.cause == "crash"


def test_an_ended_pod_has_exited_once_and_is_left_to_be_read(launches: Launches) -> None:
    [news] = launches.has_state("p", read_state(pod(phase="Failed", own=ended(1, "Error", "Traceback"))), 1)
    assert isinstance(news, Exited)
    assert (news.restartable, news.delete) == (True, False)
    assert "worker-0 (Pod p): its process ended with exit code 1; last log lines:\n  Traceback" in news.reason
    assert launches.has_state("p", GONE, 2) == []
    assert len(launches) == 0


def test_a_pull_may_fail_for_a_moment(launches: Launches) -> None:
    launches.has_state("p", PULL_FAILING, 10)
    assert launches.tick(29) == []
    launches.has_state("p", read_state(pod(node="n", own=waiting("ContainerCreating"))), 29.5)
    assert launches.tick(40) == []


def test_a_pull_that_goes_on_failing_ends_the_launch_for_good(launches: Launches) -> None:
    launches.has_state("p", PULL_FAILING, 10)
    launches.has_state("p", read_state(pod(node="n", own=waiting("ImagePullBackOff", "Back-off pulling"))), 20)
    [news] = launches.tick(30)
    assert (news.restartable, news.delete) == (False, True)
    assert "Back-off pulling" in news.reason


BACK_OFF = read_state(pod(node="n", own=waiting("ImagePullBackOff", 'Back-off pulling image "registry.test/image:1"')))
"""As older kubelets say it: without what went wrong."""


def test_a_registry_that_asks_for_patience_has_it_however_long_the_kubelet_backs_off(launches: Launches) -> None:
    throttled = read_state(pod(node="n", own=waiting("ErrImagePull", "pull QPS exceeded")))
    for began in (0, 11, 32):  # the kubelet waits for 10 s, 20 s, 40 s
        launches.has_state("p", throttled, began)
        launches.has_state("p", BACK_OFF, began + 1)
        assert launches.tick(began + 40) == []
    [news] = launches.tick(90)
    assert "pull QPS exceeded" in news.reason
    assert news.restartable


def test_a_back_off_adds_to_the_time_for_which_a_pull_has_failed_and_keeps_its_words(launches: Launches) -> None:
    launches.has_state("p", PULL_FAILING, 10)
    launches.has_state("p", BACK_OFF, 12)
    assert launches.tick(29) == []
    [news] = launches.tick(30)
    assert "manifest unknown" in news.reason
    assert not news.restartable


def test_a_back_off_is_a_failing_pull_where_nothing_was_said_before(launches: Launches) -> None:
    launches.has_state("p", BACK_OFF, 10)
    [news] = launches.tick(30)
    assert "Back-off pulling image" in news.reason


def test_an_invalid_image_ends_the_launch_at_once(launches: Launches) -> None:
    [news] = launches.has_state("p", read_state(pod(node="n", own=waiting("InvalidImageName", "x"))), 1)
    assert isinstance(news, Exited)
    assert (news.restartable, news.delete) == (False, True)


def test_an_unschedulable_pod_waits_for_a_node_and_then_tells_why(launches: Launches) -> None:
    launches.has_state("p", read_state(pod(conditions=[UNSCHEDULABLE])), 1)
    assert launches.tick(89) == []
    [news] = launches.tick(90)
    assert "didn't match Pod's node affinity/selector" in news.reason
    assert (news.restartable, news.delete) == (True, True)


def test_a_node_that_the_autoscaler_makes_is_waited_for_whatever_the_scheduler_says_until_then(
    launches: Launches,
) -> None:
    """Its words change with each try, and each try is a failure: none of that is a reason to give up early."""
    for second in range(0, 85, 5):
        words = f"0/{second} nodes are available: {second} Insufficient cpu."
        launches.has_state("p", read_state(pod(conditions=[UNSCHEDULABLE | {"message": words}])), second)
        assert launches.tick(second) == []
    launches.has_state("p", read_state(pod(node="new", own=waiting("ContainerCreating"))), 85)
    assert launches.tick(89) == []
    assert launches.has_state("p", READY, 89.5) == [Started(KEY, "10.0.0.1")]
    assert launches.tick(1000) == []


def test_a_volume_that_never_comes_ends_the_launch_with_what_its_pod_waits_for(launches: Launches) -> None:
    launches.has_state("p", read_state(pod(node="n1", own=waiting("ContainerCreating"))), 1)
    assert launches.tick(89) == []
    [news] = launches.tick(90)
    assert "its node n1 pulls the image, or makes its volumes" in news.reason
    assert (news.restartable, news.delete, news.cause) == (True, True, "never_started")


@pytest.mark.parametrize(
    "last",
    [None, pod(), pod(conditions=[UNSCHEDULABLE]), pod(node="n1", own=waiting("ContainerCreating"))],
    ids=["not seen yet", "pending", "unschedulable", "creating"],
)
def test_who_waits_for_a_pod_that_goes_before_it_serves_is_told(launches: Launches, last: Any) -> None:
    if last is not None:
        assert launches.has_state("p", read_state(last), 1) == []
    [news] = launches.has_state("p", GONE, 2)
    assert isinstance(news, Exited)
    assert "the Pod was deleted" in news.reason
    assert (news.restartable, news.cause) == (True, "never_started")


def test_a_pod_that_runs_without_an_address_has_started_when_it_has_one(launches: Launches) -> None:
    without = pod(node="n1", phase="Running", own={"running": {}}, ready=True)
    assert launches.has_state("p", read_state(without), 1) == []
    assert launches.tick(80) == []
    assert launches.has_state("p", READY, 81) == [Started(KEY, "10.0.0.1")]


def test_a_pod_that_never_gets_an_address_is_given_up_and_deleted(launches: Launches) -> None:
    without = pod(node="n1", phase="Running", own={"running": {}}, ready=True)
    launches.has_state("p", read_state(without), 1)
    [news] = launches.tick(90)
    assert "its process runs, but the Pod has no IP yet" in news.reason
    assert news.delete


def test_a_launch_of_which_nothing_is_known_is_given_up_too(launches: Launches) -> None:
    launches.has_problem(KEY, "the Kubernetes API does not take it: etcd is full")
    [news] = launches.tick(90)
    assert "etcd is full" in news.reason


def test_what_an_admitted_launch_waits_for_after_the_quota_is_told_when_it_is_given_up(launches: Launches) -> None:
    launches.postponed(KEY, "no room")
    launches.has_problem(KEY, "the StatefulSet's controller has not made it yet")
    assert launches.admitted(KEY, 1000) == [Admitted(KEY)]
    [news] = launches.tick(1090)
    assert news.reason.endswith("not ready after 100 s; the StatefulSet's controller has not made it yet")


def test_a_stopped_launch_is_heard_of_when_its_pod_is_gone(launches: Launches) -> None:
    launches.has_state("p", READY, 1)
    launches.request_stop(KEY, "not wanted", 2)
    assert not launches.is_wanted(KEY)
    assert launches.has_state("p", READY, 3) == []
    [news] = launches.has_state("p", GONE, 4)
    assert isinstance(news, Exited)
    assert "it was asked to stop: not wanted" in news.reason


def test_a_pod_that_does_not_end_counts_as_ended_after_its_grace_period(launches: Launches) -> None:
    launches.has_state("p", READY, 1)
    launches.has_state("p", read_state(ready_pod() | {"metadata": {"name": "p", "deletionTimestamp": "t"}}), 100)
    assert launches.tick(139) == []
    [news] = launches.tick(140)
    assert news.delete
    assert "does not end" in news.reason


def test_a_launch_that_was_stopped_before_its_pod_was_seen_has_it_deleted_once_more(launches: Launches) -> None:
    """The API may have made it after all: what it answered to the creation was lost, and the deletion came too soon."""
    launches.request_stop(KEY, "not wanted", 2)
    assert launches.tick(41) == []
    [news] = launches.tick(42)
    assert (news.delete, news.cause) == (True, "stopped")


def test_news_of_a_pod_that_nobody_waits_for_means_nothing(launches: Launches) -> None:
    assert launches.has_state("another", READY, 1) == []


@pytest.mark.parametrize(
    ("then", "cause"),
    [
        (pod(phase="Failed", own=ended(137, "OOMKilled")), "oom"),
        (pod(phase="Failed", own=ended(1)), "crash"),
        (pod(phase="Failed", own=ended(137)), "crash"),
        (pod(phase="Failed", own=ended(143)), "infrastructure"),
        (pod(phase="Failed", own=ended(137), deleting=True), "infrastructure"),
        (pod(phase="Failed", own=ended(137, "OOMKilled"), deleting=True), "oom"),
        (pod(phase="Failed", own=ended(139), deleting=True), "crash"),
        (pod(phase="Failed", reason="Evicted", message="ephemeral-storage"), "infrastructure"),
        (pod(phase="Failed", conditions=[disruption("PreemptionByScheduler")]), "infrastructure"),
        (pod(phase="Failed", reason="OutOfcpu"), "never_started"),
        (pod(phase="Succeeded", own=ended(0, "Completed")), "infrastructure"),
    ],
)
def test_the_end_of_a_worker_has_a_cause(launches: Launches, then: dict[str, Any], cause: str) -> None:
    launches.has_state("p", READY, 1)
    [news] = launches.has_state("p", read_state(then), 2)
    assert isinstance(news, Exited)
    assert news.cause == cause


def test_a_worker_that_never_was_ready_never_started_whatever_ended_it(launches: Launches) -> None:
    [news] = launches.has_state("p", read_state(pod(phase="Failed", own=ended(1))), 1)
    assert isinstance(news, Exited)
    assert news.cause == "never_started"


def test_a_worker_that_the_pool_stops_is_no_loss(launches: Launches) -> None:
    launches.has_state("p", READY, 1)
    launches.request_stop(KEY, "idle", 2)
    [news] = launches.has_state("p", GONE, 3)
    assert isinstance(news, Exited)
    assert news.cause == "stopped"


@pytest.mark.parametrize(
    ("going", "then", "words"),
    [
        (pod(deleting=True), pod(phase="Succeeded", own=ended(0)),
         "a user or a controller deletes it; its process has ended"),
        (pod(deleting=True), None, "the Pod was deleted (a user or a controller deletes it)"),
        (pod(deleting=True, conditions=[disruption("EvictionByEvictionAPI")]),
         pod(phase="Succeeded", own=ended(0)), "it was evicted, as when a node is drained"),
    ],
)  # fmt: skip
def test_a_worker_that_drained_because_its_pod_was_deleted_says_why(
    launches: Launches, going: dict[str, Any], then: dict[str, Any] | None, words: str
) -> None:
    launches.has_state("p", READY, 1)
    assert launches.has_state("p", read_state(going), 2) == [Leaving(KEY)]
    gone = PodState(Stage.GONE, "the Pod was deleted (a user or a controller deletes it)")
    [news] = launches.has_state("p", gone if then is None else read_state(then), 3)
    assert isinstance(news, Exited)
    assert words in news.reason
    assert news.reason.count("a user or a controller deletes it") <= 1
    assert news.cause == "infrastructure"


def test_what_is_said_of_a_launch_names_its_pod_and_node(launches: Launches) -> None:
    assert launches.describe(KEY, "silent") == "worker-0 (Pod p): silent"
    assert launches.node_of(KEY) == ""
    launches.has_state("p", READY, 1)
    assert launches.describe(KEY, "silent") == "worker-0 (Pod p on n1): silent"
    assert (launches.node_of(KEY), launches.node_of(("worker-9", 1))) == ("n1", "")
    assert launches.describe(("worker-9", 1), "silent") == "worker-9: silent"


GATED = read_state(pod(gates=("kueue.x-k8s.io/admission",)))


def test_a_pod_that_a_queue_holds_back_is_postponed_and_its_start_begins_when_it_is_admitted(
    launches: Launches,
) -> None:
    [news] = launches.has_state("p", GATED, 1)
    assert isinstance(news, Postponed)
    assert "kueue.x-k8s.io/admission" in news.reason
    assert launches.has_state("p", GATED, 2) == []
    assert launches.tick(10_000) == []
    assert launches.has_state("p", read_state(pod(conditions=[UNSCHEDULABLE])), 10_000) == [Admitted(KEY)]
    assert launches.tick(10_089) == []
    [ended_news] = launches.tick(10_090)
    assert "no node takes it" in ended_news.reason


def test_a_pod_that_is_admitted_and_runs_before_anybody_looks_has_started(launches: Launches) -> None:
    launches.has_state("p", GATED, 1)
    assert launches.has_state("p", READY, 9_000) == [Admitted(KEY), Started(KEY, "10.0.0.1")]


def test_the_answer_to_its_creation_does_not_admit_a_pod_that_a_queue_holds_back(launches: Launches) -> None:
    launches.has_state("p", GATED, 1)  # the watch was faster
    assert launches.admitted(KEY, 2) == []
    assert launches.tick(10_000) == []


def test_a_pod_that_waited_for_a_quota_and_then_for_a_queue_is_postponed_for_each(launches: Launches) -> None:
    launches.postponed(KEY, "the quota is full")
    assert launches.admitted(KEY, 1_000) == [Admitted(KEY)]
    [news] = launches.has_state("p", GATED, 1_000)
    assert isinstance(news, Postponed)


def test_a_pod_that_is_deleted_while_a_queue_holds_it_back_has_never_started(launches: Launches) -> None:
    launches.has_state("p", GATED, 1)
    assert launches.has_state("p", read_state(pod(gates=("g",), deleting=True)), 2) == []
    [news] = launches.has_state("p", GONE, 3)
    assert isinstance(news, Exited)
    assert (news.cause, news.restartable) == ("never_started", True)


def test_a_pod_that_a_queue_holds_back_and_that_was_told_to_stop_is_not_postponed(launches: Launches) -> None:
    launches.request_stop(KEY, "not wanted", 1)
    assert launches.has_state("p", GATED, 2) == []
    assert [news.key for news in launches.tick(1_000)] == [KEY]


def test_a_pod_that_could_not_be_created_is_told_with_its_name(launches: Launches) -> None:
    launches.bind(KEY, "p/u1/0")
    text = "the Pod p could not be created: the quota is full"
    assert launches.failed(KEY, "the quota is full", restartable=True) == [
        Exited(KEY, text, True, False, "never_started")
    ]
    assert launches.failed(KEY, "the quota is full", restartable=True) == []


def test_a_pod_that_could_not_be_created_after_a_stop_has_stopped(launches: Launches) -> None:
    launches.request_stop(KEY, "idle", 1)
    [news] = launches.failed(KEY, "forbidden", restartable=False)
    assert (news.cause, news.restartable) == ("stopped", False)


@pytest.mark.parametrize(("stop", "cause"), [(False, "never_started"), (True, "stopped")])
def test_a_pod_that_the_driver_cannot_reach_is_told_and_has_to_go(launches: Launches, stop: bool, cause: Any) -> None:
    if stop:
        launches.request_stop(KEY, "idle", 1)
    text = "worker-0 (Pod p): the driver cannot reach it: no port-forward"
    assert launches.unreachable(KEY, "no port-forward", restartable=False) == [Exited(KEY, text, False, True, cause)]
    assert launches.unreachable(KEY, "no port-forward", restartable=False) == []


def test_a_launch_that_is_bound_to_another_pod_hears_of_that_one_alone(launches: Launches) -> None:
    launches.has_problem(KEY, "it waited")
    launches.bind(KEY, "q")
    launches.bind(("worker-9", 1), "r")
    assert launches.pod_of(KEY) == "q"
    assert (launches.has_pod("p"), launches.has_pod("q"), launches.has_pod("r")) == (False, True, False)
    assert launches.has_state("p", READY, 1) == []
    assert launches.has_state("q", STARTING, 1) == []
    assert launches.is_seen(KEY)
    assert launches.describe(KEY, "why") == "worker-0 (Pod q): why"
    launches.bind(KEY, "q/u1/0")
    assert launches.describe(KEY, "why") == "worker-0 (Pod q): why"
    launches.bind(KEY, "q")
    [news] = launches.tick(90)
    assert news.reason == "worker-0 (Pod q): not ready after 100 s; its process runs but does not serve yet"
    assert not launches.has_pod("q")


def test_a_launch_is_seen_once_the_cluster_has_shown_its_pod(launches: Launches) -> None:
    assert not launches.is_seen(KEY)
    assert not launches.is_seen(("worker-9", 1))
    launches.has_state("p", read_state(pod()), 1)
    assert launches.is_seen(KEY)


def test_the_last_problem_of_a_creation_is_told_if_no_pod_comes(launches: Launches) -> None:
    launches.has_problem(KEY, "the API does not answer")
    [news] = launches.tick(90)
    assert news.reason == "worker-0 (Pod p): not ready after 100 s; the API does not answer"


CREATING = read_state(pod(node="n1"))


def test_the_pods_that_wait_longest_at_their_nodes_come_first(launches: Launches) -> None:
    for number, since in ((1, 7.0), (2, 3.0), (3, 5.0), (4, 1.0), (5, 2.0)):
        launches.began((f"worker-{number}", 1), f"p{number}", 0)
        launches.has_state(f"p{number}", CREATING, since)
    launches.has_state("p4", READY, 6)
    launches.request_stop(("worker-5", 1), "idle", 2)
    assert launches.waiting_on_nodes(12.9) == []
    assert launches.waiting_on_nodes(13) == [("worker-2", 1)]
    assert launches.waiting_on_nodes(17) == [("worker-2", 1), ("worker-3", 1), ("worker-1", 1)]


def test_a_warning_about_a_pod_at_its_node_is_news_once_and_is_told_with_its_end(launches: Launches) -> None:
    assert not launches.note_warning(KEY, "FailedMount: no volume")
    launches.has_state("p", CREATING, 1)
    assert not launches.note_warning(("worker-9", 1), "FailedMount: no volume")
    assert launches.note_warning(KEY, "FailedMount: no volume")
    assert not launches.note_warning(KEY, "FailedMount: no volume")
    assert launches.note_warning(KEY, "FailedMount: still no volume")
    [news] = launches.tick(90)
    assert news.reason == (
        "worker-0 (Pod p): not ready after 100 s; its node n1 pulls the image, or makes its volumes; "
        "Kubernetes warns: FailedMount: still no volume"
    )


def test_a_warning_about_a_pod_that_runs_or_of_an_earlier_stage_is_not_told(launches: Launches) -> None:
    launches.has_state("p", CREATING, 1)
    launches.note_warning(KEY, "FailedMount: no volume")
    launches.has_state("p", STARTING, 2)
    assert not launches.note_warning(KEY, "FailedMount: no volume")
    [news] = launches.tick(90)
    assert news.reason == "worker-0 (Pod p): not ready after 100 s; its process runs but does not serve yet"


def test_a_pod_that_does_not_end_is_given_up_after_its_grace_period(launches: Launches) -> None:
    launches.has_state("p", READY, 1)
    launches.request_stop(KEY, "idle", 10)
    assert launches.tick(49.9) == []
    [news] = launches.tick(50)
    assert news == Exited(
        KEY,
        "worker-0 (Pod p): it does not end; perhaps its node is lost; it serves; it was asked to stop: idle",
        True,
        True,
        "stopped",
    )


def test_a_launch_without_room_is_told_once_for_each_reason(launches: Launches) -> None:
    assert launches.postponed(KEY, "quota a is full") == [Postponed(KEY, "quota a is full")]
    assert launches.postponed(KEY, "quota a is full") == []
    assert launches.postponed(KEY, "quota b is full") == [Postponed(KEY, "quota b is full")]


def test_a_problem_of_its_creation_does_not_keep_a_launch_from_being_postponed(launches: Launches) -> None:
    launches.has_problem(KEY, "quota a is full")
    assert launches.postponed(KEY, "quota a is full") == [Postponed(KEY, "quota a is full")]

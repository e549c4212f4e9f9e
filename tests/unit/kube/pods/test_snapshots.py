"""What may be concluded from watching and listing, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.kube.pods.snapshots import PodStore
from daft_k8s.kube.pods.state import Cause, Stage
from tests.unit.kube.pod_json import disruption, ended, pod, ready_pod, waiting


@pytest.fixture
def store() -> PodStore:
    return PodStore(missing_after_seconds=60)


def stages(changes: list) -> list[Stage]:
    return [change.state.stage for change in changes]


def test_a_pod_is_news_once_for_each_state(store: PodStore) -> None:
    assert stages(store.saw(pod(version=1), 0)) == [Stage.PENDING]
    assert store.saw(pod(version=2), 1) == []
    assert stages(store.saw(ready_pod(version=3), 2)) == [Stage.READY]
    assert store.was_listed([ready_pod(version=3)], asked_at=3) == []


def test_a_list_that_is_older_than_the_watch_changes_nothing(store: PodStore) -> None:
    store.saw(ready_pod(version=9), 5)
    assert store.was_listed([pod(version=4)], asked_at=4) == []
    assert store.state("p").stage is Stage.READY


def test_a_list_after_all_other_news_is_the_truth_where_versions_have_gone_back(store: PodStore) -> None:
    """As when the cluster's database is restored."""
    store.saw(ready_pod(version=900), 5)
    assert store.saw(pod(phase="Failed", own=ended(1), version=4), 6) == []
    assert store.was_listed([pod(phase="Failed", own=ended(1), version=4)], asked_at=5.5) == []
    assert stages(store.was_listed([pod(phase="Failed", own=ended(1), version=4)], asked_at=7)) == [Stage.FAILED]
    assert store.was_listed([pod(phase="Failed", own=ended(1), version=4)], asked_at=8) == []


def test_a_pod_whose_name_another_has_is_gone_once(store: PodStore) -> None:
    assert store.was_replaced("p") == []
    store.saw(ready_pod(), 0)
    assert stages(store.was_replaced("p")) == [Stage.GONE]
    assert store.was_replaced("p") == []


def test_a_pod_that_no_list_shows_is_gone_only_after_its_time(store: PodStore) -> None:
    store.saw(ready_pod(), 100)
    assert store.was_listed([], asked_at=101) == []
    assert store.was_listed([], asked_at=159.9) == []
    assert stages(store.was_listed([], asked_at=160)) == [Stage.GONE]
    assert store.was_listed([], asked_at=200) == []


def test_a_list_that_shows_a_pod_begins_its_time_anew(store: PodStore) -> None:
    store.saw(ready_pod(), 0)
    store.was_listed([ready_pod()], asked_at=50)
    assert store.was_listed([], asked_at=100) == []
    assert stages(store.was_listed([], asked_at=110)) == [Stage.GONE]


def test_time_without_a_list_proves_nothing(store: PodStore) -> None:
    store.saw(ready_pod("a"), 0)
    store.saw(ready_pod("b"), 100_000)
    assert store.state("a").stage is Stage.READY


def test_a_pod_that_was_made_while_the_list_was_under_way_is_not_missing(store: PodStore) -> None:
    store.saw(pod(), 1000)
    assert store.was_listed([], asked_at=900) == []


def test_a_deletion_that_the_watch_tells_counts_at_once(store: PodStore) -> None:
    store.saw(ready_pod(), 0)
    assert stages(store.was_deleted(ready_pod(version=3), 1)) == [Stage.GONE]
    assert store.was_deleted(ready_pod(version=3), 2) == []


def test_the_deletion_of_another_pod_of_that_name_is_not_this_ones(store: PodStore) -> None:
    store.saw(ready_pod(uid="new"), 0)
    assert store.was_deleted(ready_pod(uid="old"), 1) == []


def test_late_news_of_a_deleted_pod_does_not_bring_it_back(store: PodStore) -> None:
    store.saw(ready_pod(version=2), 0)
    store.was_deleted(ready_pod(version=5), 1)
    assert store.saw(ready_pod(version=4), 2) == []
    assert store.was_listed([ready_pod(version=4)], asked_at=0.5) == []
    assert store.state("p").stage is Stage.GONE


def test_another_pod_of_that_name_is_news(store: PodStore) -> None:
    store.saw(ready_pod(uid="old", version=7), 0)
    assert stages(store.saw(pod(uid="new", version=8), 1)) == [Stage.PENDING]


def test_a_deletion_keeps_the_reason_of_the_end(store: PodStore) -> None:
    store.saw(ready_pod(), 0)
    last = pod(phase="Failed", own=ended(137), conditions=[disruption("PreemptionByScheduler")], version=9)
    [change] = store.was_deleted(last, 1)
    assert change.state.cause is Cause.PREEMPTED
    assert "preempted" in change.state.reason


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["watch", "list", "empty list", "silence"]),
        st.floats(0, 40),
        st.booleans(),
    ),
    max_size=60,
)


@given(EVENTS)
def test_a_pod_is_only_missed_after_a_minute_in_which_nothing_showed_it(events: list[tuple[str, float, bool]]) -> None:
    store, now, version = PodStore(), 0.0, 1
    store.saw(ready_pod(version=version), now)
    shown = now
    for kind, seconds, changed in events:
        now += seconds
        version += changed
        if kind == "watch":
            store.saw(ready_pod(version=version), now)
            shown = now
        elif kind == "list":
            store.was_listed([ready_pod(version=version)], asked_at=now)
            shown = now
        elif kind == "empty list":
            gone = store.was_listed([], asked_at=now)
            assert bool(gone) == (now - shown >= 60)
            if gone:
                return
    assert store.state("p").stage is Stage.READY


def test_each_pod_of_a_list_is_news_and_so_is_each_that_it_lacks(store: PodStore) -> None:
    changes = store.was_listed([ready_pod("a"), ready_pod("b")], asked_at=0)
    assert [(change.name, change.state.stage) for change in changes] == [("a", Stage.READY), ("b", Stage.READY)]
    store.was_deleted(ready_pod("a", version=3), 1)
    changes = store.was_listed([pod("c")], asked_at=100)
    assert [(change.name, change.state.stage) for change in changes] == [("c", Stage.PENDING), ("b", Stage.GONE)]


def test_each_change_names_its_pod(store: PodStore) -> None:
    store.saw(ready_pod("a"), 0)
    store.saw(ready_pod("b"), 0)
    [deleted] = store.was_deleted(ready_pod("a", version=3), 1)
    [replaced] = store.was_replaced("b")
    assert (deleted.name, replaced.name) == ("a", "b")


def test_a_pod_that_is_forgotten_is_unknown(store: PodStore) -> None:
    store.forget("p")
    store.saw(ready_pod(), 0)
    store.forget("p")
    assert store.state("p") is None
    assert stages(store.saw(ready_pod(), 1)) == [Stage.READY]


def test_a_pod_that_goes_takes_along_why(store: PodStore) -> None:
    def gone(*shown: dict) -> tuple[str, Cause]:
        store = PodStore()
        for version, item in enumerate(shown):
            item["metadata"]["resourceVersion"] = str(version)
            store.saw(item, 0)
        [change] = store.was_replaced("p")
        assert change.state.stage is Stage.GONE
        return change.state.reason, change.state.cause

    assert gone(ready_pod()) == ("the Pod was deleted", Cause.NONE)
    assert gone(pod(phase="Running", own={"running": {}})) == ("the Pod was deleted", Cause.NONE)
    assert gone(pod(node="n", own=waiting("ErrImagePull", "denied"))) == (
        "the Pod was deleted (its image 'registry.test/image:1' cannot be pulled (ErrImagePull: denied))",
        Cause.IMAGE,
    )
    assert gone(pod(phase="Failed", own=ended(1))) == ("its process ended with exit code 1", Cause.PROCESS)


def test_a_deletion_of_a_pod_that_ran_says_that_it_was_deleted(store: PodStore) -> None:
    store.saw(ready_pod(), 0)
    [change] = store.was_deleted(ready_pod(version=3), 1)
    assert change.state.reason == "the Pod was deleted"
    store.saw(pod("q"), 0)
    [change] = store.was_deleted(pod("q", phase="Failed", own=ended(1), version=3), 1)
    assert change.state.reason == "its process ended with exit code 1"


def test_news_of_the_same_version_counts_and_older_news_does_not(store: PodStore) -> None:
    store.saw(pod(version=5), 0)
    assert stages(store.saw(ready_pod(version=5), 1)) == [Stage.READY]
    assert store.saw(pod(version=4), 2) == []
    store.was_deleted(ready_pod(version=6), 3)
    assert store.saw(ready_pod(version=7), 4) == []


def test_a_pod_without_a_version_is_read_all_the_same(store: PodStore) -> None:
    found = ready_pod()
    del found["metadata"]["resourceVersion"]
    assert stages(store.saw(found, 0)) == [Stage.READY]
    assert stages(store.saw(pod(phase="Failed", own=ended(1), version=1), 1)) == [Stage.FAILED]

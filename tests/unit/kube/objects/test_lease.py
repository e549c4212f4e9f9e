"""A session's Lease: what renews it, when it counts as dead, what it owns. Sweeps: tests/unit/kube/session."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from daft_k8s.kube.objects.lease import (
    MOST_LIFE,
    bears_name_of_session,
    is_dead,
    life,
    owner,
    owners,
    read_time,
    renewal,
    session_lease,
)
from daft_k8s.kube.objects.names import SESSION_LABEL, SUMMARY_ANNOTATION
from daft_k8s.kube.objects.target import Owner, Target

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc)
SECOND = datetime.timedelta(seconds=1)


def make(*, orphan_timeout_seconds: float = 120.0) -> dict[str, Any]:
    return session_lease(
        "s1", Target("jobs", "i"), holder="ada", orphan_timeout_seconds=orphan_timeout_seconds, now=NOW
    )


@pytest.mark.parametrize(("orphan_timeout", "duration"), [(10.0, 30), (150.0, 30), (151.0, 31), (1000.0, 200)])
def test_a_lease_outlasts_the_workers_that_live_on_without_a_driver(orphan_timeout: float, duration: int) -> None:
    made = make(orphan_timeout_seconds=orphan_timeout)
    assert made["spec"]["leaseDurationSeconds"] == duration
    assert life(made).total_seconds() >= orphan_timeout


def test_a_lease_has_an_owner_only_where_one_is_known() -> None:
    assert "ownerReferences" not in make()["metadata"]


def test_a_renewal_tells_the_time_and_what_the_session_does() -> None:
    change = renewal(NOW, "2 running")
    assert change == {
        "metadata": {"annotations": {SUMMARY_ANNOTATION: "2 running"}},
        "spec": {"renewTime": "2026-11-22T12:00:00.000000Z"},
    }


def test_a_renewal_without_a_summary_removes_the_former_one() -> None:
    assert renewal(NOW)["metadata"]["annotations"] == {SUMMARY_ANNOTATION: None}


def test_times_are_written_in_utc_whatever_zone_they_are_given_in() -> None:
    east = NOW.astimezone(datetime.timezone(datetime.timedelta(hours=5)))
    assert renewal(east) == renewal(NOW)


def test_a_lease_is_dead_only_after_five_durations_without_a_renewal() -> None:
    made = make()
    assert not is_dead(made, NOW + 150 * SECOND)
    assert is_dead(made, NOW + 151 * SECOND)
    made["spec"] |= renewal(NOW + 100 * SECOND)["spec"]
    assert not is_dead(made, NOW + 250 * SECOND)


@pytest.mark.parametrize("lease", [{}, {"spec": None}, {"spec": {"renewTime": "yesterday"}}])
def test_a_lease_that_cannot_be_read_is_not_dead(lease: dict[str, Any]) -> None:
    assert not is_dead(lease, NOW + datetime.timedelta(days=365))


@pytest.mark.parametrize("lease", [{}, {"spec": None}, {"spec": {"leaseDurationSeconds": "30"}}])
def test_a_lease_without_a_duration_lives_for_ever(lease: dict[str, Any]) -> None:
    assert life(lease) == datetime.timedelta.max


def test_the_duration_that_a_lease_claims_is_bounded_on_both_sides() -> None:
    assert life({"spec": {"leaseDurationSeconds": 1}}) == 150 * SECOND
    assert life({"spec": {"leaseDurationSeconds": 40}}) == 200 * SECOND
    assert life({"spec": {"leaseDurationSeconds": 2**31 - 1}}) == MOST_LIFE


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"name": "daft-s1", "labels": {SESSION_LABEL: "s1"}}, True),
        ({"name": "daft-s2", "labels": {SESSION_LABEL: "s1"}}, False),
        ({"name": "daft-s1", "labels": {}}, False),
        ({"name": "daft-s1", "labels": None}, False),
        ({"name": "daft-s1"}, False),
        ({"name": "daft-none"}, False),
    ],
)
def test_the_lease_of_a_session_bears_its_label_and_its_name(metadata: dict[str, Any], expected: bool) -> None:
    assert bears_name_of_session({"metadata": metadata}) is expected


def test_the_lease_and_the_drivers_pod_own_what_the_session_has_made() -> None:
    references = [{"kind": "Pod", "uid": "pod"}, {"kind": "Job", "uid": "job"}, {"kind": "Pod"}]
    assert owners({"metadata": {"uid": "lease", "ownerReferences": references}}) == {"lease", "pod"}
    assert owners({"metadata": {"uid": "lease", "ownerReferences": None}}) == {"lease"}
    assert owners({"metadata": {}}) == frozenset()


def test_a_lease_is_referred_to_by_its_name_and_uid() -> None:
    found = owner({"metadata": {"name": "daft-s1", "uid": "u1"}})
    assert found == Owner("daft-s1", "u1", "Lease", "coordination.k8s.io/v1")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-22T12:00:00Z", NOW),
        ("2026-11-22T12:00:00.250000Z", NOW + datetime.timedelta(milliseconds=250)),
        ("2026-11-22", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_times_are_read_with_and_without_a_fraction(text: object, time: datetime.datetime | None) -> None:
    assert read_time(text) == time

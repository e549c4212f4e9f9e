"""The events that Kubernetes writes about a Pod."""

from __future__ import annotations

from typing import Any

import pytest

from daft_k8s.kube.pods.pod_events import last_warning


def warning(message: str, reason: str = "FailedMount", **times: str) -> dict[str, Any]:
    return {
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"name": "daft-s1-worker-0-1"},
        **times,
    }


def test_the_newest_warning_is_told() -> None:
    events = [
        warning("old", lastTimestamp="2026-01-01T00:00:05Z"),
        warning("new", series={"lastObservedTime": "2026-01-01T00:00:09.000000Z"}, eventTime="2026-01-01T00:00:01Z"),
        {**warning("fine", lastTimestamp="2026-01-01T00:01:00Z"), "type": "Normal"},
    ]
    assert last_warning(events) == "FailedMount: new"
    assert last_warning([]) == ""
    assert last_warning([{}, {"type": "Warning"}]) == ""


def of(uid: str | None) -> dict[str, Any]:
    return {**warning(f"of {uid}"), "involvedObject": {"name": "p"} if uid is None else {"name": "p", "uid": uid}}


def test_warnings_of_another_pod_of_that_name_are_left_out() -> None:
    assert last_warning([of("old")], "new") == ""
    assert last_warning([of("old"), of("new")], "new") == "FailedMount: of new"
    assert last_warning([of("old")]) == "FailedMount: of old"


def test_a_warning_that_does_not_say_which_pod_it_means_counts() -> None:
    assert last_warning([of(None)], "new") == "FailedMount: of None"
    assert last_warning([{**warning("m"), "involvedObject": None}], "new") == "FailedMount: m"


@pytest.mark.parametrize("field", ["lastTimestamp", "eventTime"])
def test_each_time_of_an_event_counts(field: str) -> None:
    early = warning("early", **{field: "2026-01-01T00:00:05Z"})
    late = warning("late", **{field: "2026-01-01T00:00:06Z"})
    assert last_warning([early, late]) == last_warning([late, early]) == "FailedMount: late"


def test_a_warning_is_one_line_that_is_cut() -> None:
    assert last_warning([warning("two\n  lines")]) == "FailedMount: two lines"
    assert len(last_warning([warning("x" * 1000)])) == 500
    assert last_warning([warning("")]) == "FailedMount"

"""Which process of a StatefulSet's Pods stands for which launch, in Pods' JSON as Kubernetes gives it."""

from __future__ import annotations

from typing import Any

import pytest

from daft_k8s.kube.pods.incarnations import Incarnations, first_process, pod_name, split
from daft_k8s.kube.pods.state import Cause, Stage, read_state

FIRST, SECOND = ("worker-0", 1), ("worker-0", 2)
RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
KILLED: dict[str, Any] = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
PAUSING: dict[str, Any] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}}


def shown(
    *,
    uid: str = "aaaaaaaa-1",
    restarts: int = 0,
    state: dict[str, Any] | None = None,
    last: dict[str, Any] | None = None,
    version: int = 1,
    deleting: bool = False,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "s-0", "uid": uid, "resourceVersion": str(version)}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    own = {
        "name": "worker",
        "ready": True,
        "restartCount": restarts,
        "state": state or RUNNING,
        "lastState": last or {},
    }
    sidecar = {"name": "a-sidecar", "restartCount": 7, "state": RUNNING}
    status = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [sidecar, own]}
    return {"metadata": metadata, "spec": {}, "status": status}


def names_of(processes: Any) -> list[str]:
    return [process["metadata"]["name"] for process in processes]


def test_a_pod_that_never_restarted_is_one_process() -> None:
    [process] = split(shown())
    assert process["metadata"]["name"] == "s-0/aaaaaaaa/0"
    assert pod_name(process["metadata"]["name"]) == "s-0"
    assert read_state(process).stage is Stage.READY


def test_a_pod_without_any_status_is_one_process() -> None:
    [process] = split({"metadata": {"name": "s-0", "uid": "u"}})
    assert process["metadata"]["name"] == "s-0/u/0"


def test_a_restart_in_place_is_an_end_with_its_reason_and_a_new_process() -> None:
    before, present = split(shown(restarts=1, last=KILLED))
    assert names_of([before, present]) == ["s-0/aaaaaaaa/0", "s-0/aaaaaaaa/1"]
    assert read_state(before).stage is Stage.FAILED
    assert "OOMKilled" in read_state(before).reason
    assert read_state(present).stage is Stage.READY


def test_a_process_that_the_kubelet_will_start_again_later_has_ended() -> None:
    [process] = split(shown(state=PAUSING, last=KILLED))
    assert process["metadata"]["name"] == "s-0/aaaaaaaa/0"
    assert read_state(process).stage is Stage.FAILED


def test_a_launch_stands_for_the_first_process_that_no_other_has_had() -> None:
    known = Incarnations()
    assert known.wants("s-0", FIRST) is None
    known.saw(shown(), 0)
    assert known.bind("s-0") == (FIRST, "s-0/aaaaaaaa/0")
    assert known.wants("s-0", SECOND) is None  # it is the old process that is still seen
    known.saw(shown(restarts=1, last=KILLED, version=2), 0)
    assert known.bind("s-0") == (SECOND, "s-0/aaaaaaaa/1")
    assert known.bind("s-0") is None


def test_a_launch_takes_a_process_that_came_before_it_was_wanted() -> None:
    known = Incarnations()
    known.saw(shown(), 0)
    assert known.wants("s-0", FIRST) == "s-0/aaaaaaaa/0"


def test_a_pod_that_is_being_deleted_is_not_what_the_next_launch_gets() -> None:
    known = Incarnations()
    known.saw(shown(deleting=True), 0)
    assert known.wants("s-0", FIRST) is None
    known.saw(shown(uid="bbbbbbbb-2", version=2), 0)
    assert known.bind("s-0") == (FIRST, "s-0/bbbbbbbb/0")


def test_another_pod_of_the_name_proves_that_the_old_one_is_gone() -> None:
    known = Incarnations()
    known.saw(shown(), 0)
    seen = known.saw(shown(uid="bbbbbbbb-2", version=2), 0)
    assert names_of(seen.gone) == ["s-0/aaaaaaaa/0"]
    assert names_of(seen.processes) == ["s-0/bbbbbbbb/0"]


def test_several_restarts_at_once_end_the_process_that_was_known_as_the_last_one_ended() -> None:
    known = Incarnations()
    known.saw(shown(), 0)
    seen = known.saw(shown(restarts=3, last=KILLED, version=2), 1)
    assert seen.gone == ()
    assert names_of(seen.processes) == ["s-0/aaaaaaaa/0", "s-0/aaaaaaaa/2", "s-0/aaaaaaaa/3"]
    assert [read_state(process).cause for process in seen.processes[:2]] == [Cause.OUT_OF_MEMORY] * 2
    assert read_state(seen.processes[2]).stage is Stage.READY


def test_several_restarts_at_once_of_which_the_last_one_pauses_are_told_by_its_end() -> None:
    known = Incarnations()
    known.saw(shown(), 0)
    seen = known.saw(shown(restarts=2, state=PAUSING, last=KILLED, version=2), 1)
    assert names_of(seen.processes) == ["s-0/aaaaaaaa/0", "s-0/aaaaaaaa/2"]
    assert read_state(seen.processes[0]).cause is Cause.OUT_OF_MEMORY


def test_several_restarts_of_which_no_end_is_known_are_told_as_a_process_that_is_gone() -> None:
    known = Incarnations()
    known.saw(shown(), 0)
    seen = known.saw(shown(restarts=3, version=2), 1)
    assert names_of(seen.gone) == ["s-0/aaaaaaaa/0"]


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "CreateContainerError", "ErrImagePull"])
def test_a_process_after_which_none_can_be_made_has_ended_itself(reason: str) -> None:
    [process] = split(shown(restarts=1, state={"waiting": {"reason": reason}}, last=KILLED))
    assert process["metadata"]["name"] == "s-0/aaaaaaaa/1"
    assert read_state(process).cause is Cause.OUT_OF_MEMORY


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_a_process_that_is_being_made_is_another_than_the_one_that_ended(reason: str) -> None:
    before, present = split(shown(restarts=1, state={"waiting": {"reason": reason}}, last=KILLED))
    assert names_of([before, present]) == ["s-0/aaaaaaaa/0", "s-0/aaaaaaaa/1"]
    assert read_state(before).cause is Cause.OUT_OF_MEMORY
    assert not read_state(present).stage.over


def test_a_list_after_all_other_news_is_the_truth_whatever_its_versions() -> None:
    known = Incarnations()
    known.saw(shown(uid="bbbbbbbb-2", version=500), 10)
    assert known.saw(shown(version=4), 9, listed=True).processes == ()
    seen = known.saw(shown(version=4), 11, listed=True)
    assert names_of(seen.processes) == ["s-0/aaaaaaaa/0"]
    assert names_of(seen.gone) == ["s-0/bbbbbbbb/0"]


def test_a_restored_database_that_knows_fewer_restarts_ends_no_process() -> None:
    known = Incarnations()
    known.saw(shown(restarts=2, last=KILLED, version=500), 10)
    seen = known.saw(shown(version=4), 11, listed=True)
    assert (seen.processes, seen.gone) == ((), ())


def test_a_list_that_is_older_than_the_watch_changes_nothing() -> None:
    known = Incarnations()
    known.saw(shown(uid="bbbbbbbb-2", version=5), 0)
    assert known.saw(shown(version=4), 0).processes == ()


def test_a_launch_that_is_over_gets_no_process() -> None:
    known = Incarnations()
    known.wants("s-0", FIRST)
    known.no_longer_wants("s-0", FIRST)
    known.saw(shown(), 0)
    assert known.bind("s-0") is None


def test_the_process_of_a_deleted_pod_is_the_last_one() -> None:
    last = Incarnations().was_deleted(shown(restarts=2, last=KILLED))
    assert last["metadata"]["name"] == "s-0/aaaaaaaa/2"
    assert Incarnations().was_deleted(shown())["metadata"]["name"] == "s-0/aaaaaaaa/0"


def test_a_pod_that_never_restarted_is_as_its_first_process_left_it() -> None:
    found = shown()
    assert first_process(found) is found
    without_an_end = shown(restarts=1)
    assert first_process(without_an_end) is without_an_end


@pytest.mark.parametrize("found", [shown(restarts=1, last=KILLED), shown(restarts=1, state=KILLED)])
def test_a_pod_that_restarted_is_shown_as_its_first_process_left_it(found: dict[str, Any]) -> None:
    first = first_process(found)
    assert first["metadata"] == found["metadata"]
    assert read_state(first).cause is Cause.OUT_OF_MEMORY
    [sidecar, own] = first["status"]["containerStatuses"]
    assert sidecar == found["status"]["containerStatuses"][0]
    assert (own["state"], own["restartCount"]) == (KILLED, 0)


def test_a_pod_that_is_replaced_by_one_with_another_uid_is_over() -> None:
    incarnations = Incarnations()
    incarnations.saw(shown(uid="first"), 0.0)
    seen = incarnations.saw(shown(uid="second", version=2), 1.0)
    assert names_of(seen.processes) == ["s-0/second/0"]
    assert names_of(seen.gone) == ["s-0/first/0"]


def test_news_of_fewer_restarts_is_of_a_database_that_was_restored() -> None:
    incarnations = Incarnations()
    incarnations.saw(shown(restarts=3, version=5), 0.0)
    assert incarnations.saw(shown(restarts=1, version=6), 1.0).processes == ()

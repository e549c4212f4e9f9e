"""Pods that no launch wants, from what lists show. Their deletion: tests/unit/kube/launch/test_clearing.py."""

from __future__ import annotations

from typing import Any

from daft_k8s.kube.pods.unwanted import Unwanted
from tests.unit.kube.pod_json import pod, ready_pod


def no(_: Any) -> bool:
    return False


def test_a_pod_that_lists_go_on_showing_is_due_after_its_grace_and_again_after_another() -> None:
    unwanted = Unwanted(20)
    assert unwanted.was_listed([pod("a")], no, asked_at=0) == []
    assert unwanted.was_listed([pod("a"), pod("b")], no, asked_at=19) == []
    assert unwanted.was_listed([pod("a"), pod("b")], no, asked_at=20) == ["a"]
    assert unwanted.was_listed([pod("a"), pod("b")], no, asked_at=39) == ["b"]
    assert unwanted.was_listed([pod("a"), pod("b")], no, asked_at=40) == ["a"]


def test_a_pod_that_a_launch_wants_or_that_is_being_deleted_is_never_due() -> None:
    unwanted = Unwanted(20)
    shown = [ready_pod("wanted"), pod("going", deleting=True)]
    for second in range(0, 100, 10):
        assert unwanted.was_listed(shown, lambda item: item["metadata"]["name"] == "wanted", asked_at=second) == []


def test_a_pod_that_some_list_did_not_show_begins_its_grace_anew() -> None:
    unwanted = Unwanted(20)
    unwanted.was_listed([pod("a")], no, asked_at=0)
    unwanted.was_listed([], no, asked_at=10)
    assert unwanted.was_listed([pod("a")], no, asked_at=20) == []

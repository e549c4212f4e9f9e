"""How soon a session on Pods is of use, where the nodes have the image. Runs alone: what else runs takes its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.integration import first_queries
from tests.integration.cluster import Namespace
from tests.integration.outside import OutsideDriver

FIRST_ROW_SECONDS = 5.0
THREE_READY_SECONDS = 8.0


def judge(facts: dict[str, Any], name: str) -> None:
    first, ready = facts["first_row_seconds"], facts["three_ready_seconds"]
    print(f"{name}: first row after {first:.1f} s, three workers ready after {ready:.1f} s")
    assert facts["first"] == 500
    assert first < FIRST_ROW_SECONDS
    assert ready < THREE_READY_SECONDS


def test_a_driver_pod_has_its_first_row_within_5_seconds_and_three_workers_within_8(namespace: Namespace) -> None:
    judge(namespace.start(first_queries.START).finish(), "inside")


def test_a_driver_outside_has_its_first_row_within_5_seconds_and_three_workers_within_8(
    start_outside: Callable[[str], OutsideDriver],
) -> None:
    judge(start_outside(first_queries.START).finish(), "outside")

"""The sleep of a driver's machine. That a real one wakes with its workers: tests/integration/test_outside.py."""

from __future__ import annotations

import pytest

from daft_k8s.config import load
from daft_k8s.kube.launch.sleep import SleepDetector, describe_sleep
from daft_k8s.kube.session.outside import OUTSIDE_ORPHAN_SECONDS, with_patience


def test_a_long_gap_between_looks_is_a_sleep_and_is_told_once() -> None:
    detector = SleepDetector(100.0)
    assert [detector.look(now) for now in (101.0, 102.0, 150.0, 750.0, 751.0)] == [0, 0, 0, 600.0, 0]


@pytest.mark.parametrize(
    ("slept_seconds", "words"),
    [
        (90.0, "asleep for 90 s. The session goes on: workers wait 15 min"),
        (8 * 3600 + 720, "asleep for 8 h 12 min; workers wait 15 min"),
    ],
)
def test_on_waking_one_line_says_what_has_become_of_the_workers(slept_seconds: float, words: str) -> None:
    text = describe_sleep(slept_seconds, 900.0)
    assert words in text and "\n" not in text
    assert ("new ones" in text) == (slept_seconds > 900)


def test_workers_wait_longer_for_a_driver_outside_unless_somebody_chose_otherwise() -> None:
    assert with_patience(load({}, {})).orphan_timeout_seconds == OUTSIDE_ORPHAN_SECONDS == 900
    assert with_patience(load({"orphan_timeout_seconds": 120}, {})).orphan_timeout_seconds == 120
    assert with_patience(load({}, {"DAFT_K8S_ORPHAN_TIMEOUT_SECONDS": "60"})).orphan_timeout_seconds == 60

"""Why a local process ended, from what its launcher knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from daft_k8s.allocation.exit_reasons import cause_of_exit
from daft_k8s.allocation.memory_kills import count_memory_kills


@pytest.mark.parametrize(
    ("returncode", "memory_kills", "cause"),
    [
        (-9, 1, "oom"),
        (-9, 0, "crash"),
        (-11, 1, "crash"),
        (1, 0, "crash"),
        (0, 0, "infrastructure"),
        (-15, 0, "infrastructure"),
        (143, 0, "infrastructure"),
        (-1, 0, "infrastructure"),
        (-2, 0, "infrastructure"),
        (70, 0, "never_started"),
    ],
)
def test_an_exit_has_a_cause(returncode: int, memory_kills: int, cause: str) -> None:
    found = cause_of_exit(returncode, was_ready=True, was_told_to_stop=False, memory_kills=memory_kills)
    assert found == cause


def test_a_process_that_was_not_ready_never_started() -> None:
    assert cause_of_exit(1, was_ready=False, was_told_to_stop=False, memory_kills=0) == "never_started"


def test_a_process_that_was_told_to_stop_is_no_loss() -> None:
    assert cause_of_exit(-9, was_ready=True, was_told_to_stop=True, memory_kills=3) == "stopped"


def test_memory_kills_are_those_of_the_own_control_group_and_else_of_the_machine(tmp_path: Path) -> None:
    own, machine = tmp_path / "own", tmp_path / "vmstat"
    own.write_text("4:memory:/old\n0::/pods/p1\n")
    machine.write_text("nr_free_pages 1\noom_kill 7\n")
    assert count_memory_kills(tmp_path, own, machine) == 7
    group = tmp_path / "pods" / "p1"
    group.mkdir(parents=True)
    (group / "memory.events").write_text("oom 9\noom_kill 2\noom_group_kill 1\n")
    assert count_memory_kills(tmp_path, own, machine) == 2


def test_where_nobody_counts_memory_kills_there_are_none(tmp_path: Path) -> None:
    assert count_memory_kills(tmp_path, tmp_path / "none", tmp_path / "none") == 0

"""The end of a staged write, on a real folder: whole, broken off and repeated, and refused.

Queries that carry it out are in tests/local/test_writes_killed.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daft_k8s.handles.file_moves import Moves

STAGING = ".daft-write-1"


def staged(folder: Path, *files: str, replaces: str = "append") -> Moves:
    for file in files:
        path = folder / STAGING / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    return Moves(str(folder), STAGING, files, replaces)


def found(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("old", "k=1/old", "k=1/deep/old", "k=2/old", "_SUCCESS"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    return tmp_path


@pytest.mark.parametrize(
    ("replaces", "left"),
    [
        ("append", ["_SUCCESS", "k=1/deep/old", "k=1/new", "k=1/old", "k=2/old", "k=3/new", "old"]),
        ("overwrite", ["k=1/new", "k=3/new"]),
        ("overwrite-partitions", ["_SUCCESS", "k=1/new", "k=2/old", "k=3/new", "old"]),
    ],
)
def test_each_mode_replaces_the_files_that_daft_replaces(folder: Path, replaces: str, left: list[str]) -> None:
    moves = staged(folder, "k=1/new", "k=3/new", replaces=replaces)
    moves.carry_out()
    assert found(folder) == left
    moves.carry_out()
    assert found(folder) == left


def test_files_that_no_task_has_listed_and_leftovers_are_removed(folder: Path) -> None:
    moves = staged(folder, "listed")
    (folder / STAGING / "stray").write_text("half a file")
    left = folder / ".daft-write-0"
    left.mkdir()
    (left / "late").write_text("late")
    moves._replace(leftovers=(str(left), str(folder / ".daft-write-gone"))).carry_out()
    assert "listed" in found(folder)
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_the_success_marker_comes_last_and_replaces_the_old_one(folder: Path) -> None:
    moves = staged(folder, "new", "_SUCCESS", replaces="overwrite")._replace(files=("new",))
    moves.carry_out()
    assert found(folder) == ["_SUCCESS", "new"]
    assert (folder / "_SUCCESS").read_text() == "_SUCCESS"


@pytest.mark.parametrize("done", [1, 2])
def test_a_try_that_was_broken_off_is_completed_by_the_next(folder: Path, done: int) -> None:
    moves = staged(folder, "a", "b", replaces="overwrite")
    for name in ("a", "b")[:done]:
        os.rename(folder / STAGING / name, folder / name)
    moves.carry_out()
    assert found(folder) == ["a", "b"]


@pytest.mark.parametrize("replaces", ["append", "overwrite", "overwrite-partitions"])
def test_a_file_that_cannot_be_moved_leaves_the_folder_as_it_was(folder: Path, replaces: str) -> None:
    before = found(folder)
    moves = staged(folder, "k=1/new", "old/new", replaces=replaces)  # `old` is a file
    with pytest.raises(OSError, match=f"nothing was written to {folder}"):
        moves.carry_out()
    assert [name for name in found(folder) if not name.startswith(STAGING)] == before


def test_a_file_that_is_in_neither_place_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing was written"):
        staged(folder, "a")._replace(files=("a", "b")).carry_out()


PROGRAM = """
import sys
from daft_k8s.handles.file_moves import Moves, on_worker, removal_on_worker
folder, staging = sys.argv[1:]
assert on_worker(Moves(folder, staging, ("new",), "overwrite")).to_pydict() == {"moves": [True]}
assert removal_on_worker((folder + "/k=1",)).to_pydict() == {"folders": [True]}
"""


def test_a_worker_can_do_it_in_a_query(folder: Path) -> None:
    staged(folder, "new")
    # In a process of its own: a query settles for good which runner a process has.
    subprocess.run([sys.executable, "-c", PROGRAM, str(folder), STAGING], check=True, timeout=60)
    assert found(folder) == ["new"]
    assert not (folder / "k=1").exists()

"""The end of a staged write, on a real folder: whole, broken off at each step and repeated, refused, copied.

Queries that carry it out are in tests/local/test_writes_killed.py.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.handles import file_moves
from daft_k8s.handles.file_moves import Moves, remove_folders

STAGING = ".daft-write-1"
OLD = ["_SUCCESS", "k=1/deep/old", "k=1/old", "k=2/old", "old"]
MODES = ["append", "overwrite", "overwrite-partitions"]


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
    for name in OLD:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    return tmp_path


@pytest.mark.parametrize(
    ("replaces", "left"),
    [
        ("append", sorted([*OLD, "k=1/new", "k=3/new"])),
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


def test_files_of_a_write_that_runs_at_the_same_time_are_left_alone(folder: Path) -> None:
    (folder / ".daft-write-other").mkdir()
    (folder / ".daft-write-other" / "file").write_text("of another write")
    staged(folder, "new", replaces="overwrite").carry_out()
    assert found(folder) == [".daft-write-other/file", "new"]


def test_the_success_marker_comes_last_and_replaces_the_old_one(folder: Path) -> None:
    moves = staged(folder, "new", "_SUCCESS", replaces="overwrite")._replace(files=("new",), marker=True)
    moves.carry_out()
    assert found(folder) == ["_SUCCESS", "new"]
    assert (folder / "_SUCCESS").read_text() == "_SUCCESS"
    moves.carry_out()
    assert found(folder) == ["_SUCCESS", "new"]


class KilledError(BaseException):
    """Stands for the end of the process: nothing is cleaned up."""


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the process end at a call of the file system, the first of which is 0."""
    calls = iter(range(1000))

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **options: Any) -> Any:
            if next(calls) >= step:
                raise KilledError
            return call(*arguments, **options)

        return made

    for name in ("rename", "remove", "makedirs"):
        monkeypatch.setattr(file_moves.os, name, counted(getattr(os, name)))
    monkeypatch.setattr(file_moves.shutil, "rmtree", counted(file_moves.shutil.rmtree))


@pytest.mark.parametrize("step", range(30))
@pytest.mark.parametrize("replaces", MODES)
def test_a_try_that_was_killed_is_completed_by_the_next_or_undone(folder: Path, replaces: str, step: int) -> None:
    moves = staged(folder, "k=1/new", "k=3/new", "_SUCCESS", replaces=replaces)
    moves = moves._replace(files=moves.files[:2], marker=True)
    expected = {"append": {*OLD}, "overwrite": {"_SUCCESS"}, "overwrite-partitions": {"_SUCCESS", "k=2/old", "old"}}
    new = sorted({*expected[replaces], "k=1/new", "k=3/new"})
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at(step, monkeypatch)
        ended = None
        try:
            moves.carry_out()
        except KilledError as error:
            ended = error
    if step % 2:
        moves.carry_out()
        assert found(folder) == new
        assert (folder / "_SUCCESS").read_text() == "_SUCCESS"
    elif ended is not None:
        remove_folders((str(folder / STAGING),))
        assert found(folder) in (OLD, new)
        assert not list(folder.glob(".daft-write-*"))


@pytest.mark.parametrize("replaces", MODES)
def test_a_file_that_cannot_be_moved_leaves_the_folder_as_it_was(folder: Path, replaces: str) -> None:
    moves = staged(folder, "k=1/new", "gone", replaces=replaces)
    (folder / STAGING / "gone").unlink()
    with pytest.raises(FileNotFoundError, match=f"nothing was written to {folder}"):
        moves.carry_out()
    assert [name for name in found(folder) if not name.startswith(STAGING)] == OLD


@pytest.mark.parametrize("replaces", MODES)
def test_where_files_cannot_be_renamed_they_are_copied(
    folder: Path, replaces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def rename_folders_alone(source: str, target: str) -> None:
        if not os.path.isdir(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(file_moves.os, "rename", rename_folders_alone)
    staged(folder, "k=1/new", replaces=replaces).carry_out()
    left = {"append": {*OLD}, "overwrite": set(), "overwrite-partitions": {"_SUCCESS", "k=2/old", "old"}}[replaces]
    assert found(folder) == sorted({*left, "k=1/new"})


def test_old_files_that_can_be_neither_renamed_nor_removed_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    moves = staged(folder, replaces="overwrite")
    monkeypatch.setattr(file_moves.os, "rename", refuse)
    monkeypatch.setattr(file_moves.os, "remove", refuse)
    with pytest.raises(OSError, match=r"the new files are in .* could not be removed: .*_SUCCESS \(.* and 2 more"):
        moves.carry_out()


def test_what_an_earlier_run_has_moved_is_undone_before_the_next_publishes(folder: Path) -> None:
    earlier = staged(folder, "k=1/earlier", "gone", replaces="overwrite")
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at(8, monkeypatch)
        with pytest.raises(KilledError):
            earlier.carry_out()
    assert found(folder) != sorted([*OLD, *(f"{STAGING}/{file}" for file in earlier.files)])
    (folder / ".daft-write-2").mkdir()
    (folder / ".daft-write-2" / "later").write_text("later")
    Moves(str(folder), ".daft-write-2", ("later",), "overwrite", leftovers=(str(folder / STAGING),)).carry_out()
    assert found(folder) == ["later"]


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

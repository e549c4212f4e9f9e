"""The folder that a query belongs to. Not covered: workers (tests/unit/worker/test_current_folder.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from daft_k8s.seam.query_folders import QueryFolders


def test_a_query_keeps_the_folder_in_which_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    folders = QueryFolders(enabled=True)
    monkeypatch.chdir(first)
    folders.begin("a")
    monkeypatch.chdir(second)
    assert folders.of("a") == folders.latest() == str(first)
    folders.begin("b")
    assert (folders.of("a"), folders.of("b"), folders.latest()) == (str(first), str(second), str(second))
    folders.end("b")
    assert folders.latest() == str(first)
    folders.end("a")
    folders.end("a")
    assert folders.of("a") == folders.latest() == str(second)  # the folder of now, for what is not known any more


def test_a_folder_that_was_removed_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    folders = QueryFolders(enabled=True)
    folders.begin("a")
    assert folders.of("a") == ""


def test_workers_with_disks_of_their_own_are_told_no_folder() -> None:
    folders = QueryFolders(enabled=False)
    folders.begin("a")
    assert folders.of("a") is None and folders.latest() is None

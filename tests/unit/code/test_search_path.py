"""The driver's search path on its way to local workers, and what a worker adds to its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daft_k8s.code.search_path import search_path, with_entries_of


def test_the_path_is_absolute_and_has_each_entry_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    monkeypatch.chdir(tmp_path)
    found = search_path(["", "/a", "lib", "/a", "/run_id=10:00:00", Path("/no string")])
    assert found == (str(tmp_path), "/a", str(tmp_path / "lib"), "/run_id=10:00:00")


def test_a_hook_that_is_no_folder_keeps_its_name() -> None:
    assert search_path(["__editable__.package-1.0.finder.__path_hook__"]) == (
        "__editable__.package-1.0.finder.__path_hook__",
    )


def test_a_current_folder_that_was_removed_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    os.rmdir(tmp_path)
    assert search_path(["", "/a"]) == ("/a",)


@pytest.mark.parametrize(
    ("current", "wanted", "merged"),
    [
        (["/script", "/lib"], ["/script", "/lib"], ["/script", "/lib"]),
        (["/script", "/lib"], ["/script", "/lib", "/new"], ["/script", "/lib", "/new"]),
        (["/script", "/lib"], ["/new", "/script", "/lib"], ["/new", "/script", "/lib"]),
        (["/script", "/lib"], ["/script", "/1", "/2", "/lib"], ["/script", "/1", "/2", "/lib"]),
        (["/shipped", "/script", "/lib"], ["/new", "/script", "/lib"], ["/shipped", "/new", "/script", "/lib"]),
        (["/script", "/gone", "/lib"], ["/script", "/lib", "/new"], ["/script", "/gone", "/lib", "/new"]),
        (["/shipped"], ["/new"], ["/shipped", "/new"]),
        ([], ["/new"], ["/new"]),
    ],
)
def test_what_is_new_gets_the_place_that_it_has_on_the_driver(
    current: list[str], wanted: list[str], merged: list[str]
) -> None:
    assert with_entries_of(current, wanted) == merged

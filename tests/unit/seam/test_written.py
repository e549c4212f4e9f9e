"""What the error of a query says of what it has written. Not covered: real files (tests/local/test_error_words.py)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s.seam.written import Written

PLAN = """* PhysicalWrite:
|   Parquet
|   Root dir = {place}
"""


def run_that(*, has_written: bool, stages_files: bool = False) -> Any:
    return SimpleNamespace(has_written=has_written, stages_files=stages_files, session=None)


def test_a_staged_write_has_written_nothing() -> None:
    run = run_that(has_written=False, stages_files=True)
    assert written("/data/out/.daft-write-0123456789abcdef/").describe(run) == "nothing was written to /data/out"


def ended(kind: str = "success", *, is_at_hand: bool = False) -> Any:
    # No worker is known of a partition either after its session's end.
    return SimpleNamespace(kind=kind, partitions=[SimpleNamespace(worker_id=None, is_at_hand=is_at_hand)])


def written(place: str = "s3://bucket/out") -> Written:
    result = Written()
    result.expect(PLAN.format(place=place))
    return result


def test_a_query_that_has_sent_no_writing_task_leaves_nothing() -> None:
    assert written().describe(run_that(has_written=False)) == ""


def test_tasks_that_had_begun_are_told_with_their_place() -> None:
    text = written().describe(run_that(has_written=True))
    assert text == ("tasks of it that write to s3://bucket/out had begun, and may have left unfinished files there")


def test_finished_tasks_are_counted_and_shuffles_and_failures_are_not() -> None:
    result = written()
    for name, kind in (("Scan->PhysicalWrite", "success"), ("Scan->PhysicalWrite", "failed"),
                       ("Scan->RepartitionWrite", "success"), ("Scan->CommitWrite", "success")):  # fmt: skip
        result.task_ended(name, ended(kind))
    assert result.describe(run_that(has_written=True)) == (
        "1 task of it had written to s3://bucket/out before, and others may have begun to. These files stay: remove "
        "them before you write again"
    )


@pytest.mark.parametrize("is_at_hand", [True, False])
def test_files_are_named_only_if_their_list_is_at_hand(is_at_hand: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr("daft_k8s.seam.partitions.fetch_micropartitions", lambda _, refs: fetched.extend(refs) or [])
    result = written()
    result.task_ended("Scan->PhysicalWrite", ended(is_at_hand=is_at_hand))
    result.describe(run_that(has_written=True))
    assert len(fetched) == is_at_hand


def test_a_table_says_that_nothing_was_committed() -> None:
    result = Written()
    result.expect(PLAN.replace("Root dir", "Table Location").format(place="s3://bucket/table"))
    result.task_ended("Scan->CatalogWrite", ended())
    assert result.describe(run_that(has_written=True)).endswith(". Nothing was committed")


@pytest.mark.parametrize("has_written", [True, False])
def test_an_error_has_a_note_where_there_is_something_to_tell(has_written: bool) -> None:
    error = ValueError("no")
    written().annotate(error, run_that(has_written=has_written))
    assert bool(getattr(error, "__notes__", ())) == has_written
